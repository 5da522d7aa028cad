"""When a text was said: the best path of the network's scores that spells it.

CTC leaves a network free to write a label anywhere in its sound, and a trained one writes it in a frame or two, blanks
between. So a word begins in the first frame of its first label and ends with the last frame of its last one; blanks
inside belong to it, those before and after to nobody. The ends of drawn-out sounds come out early.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torchaudio
from torch import Tensor

from ..errors import InputError
from ..text import Alphabet, frames_needed
from ..transcripts.transcript import Word

BLANK = 0
LOWEST = -1e4  # of log-probabilities: where all paths have -inf or NaN, forced_align answers with memory never written
# Where two of the three ways into a state are equally good, forced_align takes the third, the worst (pytorch/audio
# issue 4221, torchaudio 2.11): so that no two are, this much noise at most is added, in float64, to what it sees.
JITTER = 1e-6
MOST_CELLS = 1_000_000_000  # frames x labels: forced_align takes up to 2 bytes for each


@dataclass(frozen=True)
class Span:
    """Where one label lies in the best path."""

    label: int
    start: int  # its first output frame
    end: int  # the frame after its last one
    score: float  # natural logarithm of its probability in its best frame


def align(log_probs: Tensor, labels: Sequence[int]) -> list[Span]:
    """Where labels lie in the likeliest CTC path that spells them (Viterbi, `torchaudio.functional.forced_align`).

    Args:
        log_probs: (T, V) log-probabilities of one utterance
        labels: of its text, without blanks

    Returns:
        As many spans as labels, in order; the frames between them are blank

    Raises:
        InputError: more labels than the frames can hold, or so many of both that memory would not do
    """
    needed, frames = frames_needed(labels), len(log_probs)
    if needed > frames:
        raise InputError(
            f"align: the text has {len(labels)} labels, which take {needed} output frames, and the recording has "
            f"{frames}; give the text of this recording"
        )
    if not labels:
        return []
    if frames * len(labels) > MOST_CELLS:
        raise InputError(
            f"align: {frames} output frames times {len(labels)} labels is too much for memory; cut the recording at "
            "pauses and align the parts"
        )
    scores = log_probs.detach().cpu().double().nan_to_num(nan=LOWEST).clamp_min(LOWEST)
    noise = JITTER * torch.rand(scores.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    path, _ = torchaudio.functional.forced_align((scores + noise)[None], torch.tensor([labels]), blank=BLANK)
    path_scores = scores.gather(1, path[0, :, None].long())[:, 0]
    return list(spans_of(path[0].tolist(), path_scores.tolist()))


def spans_of(path: list[int], scores: list[float]) -> Iterable[Span]:
    """Of a path, one label for each frame, and the log-probabilities along it."""
    start = 0
    for label, run in groupby(path):
        end = start + len(list(run))
        if label != BLANK:
            yield Span(label, start, end, max(scores[start:end]))
        start = end


def words_of(
    log_probs: Tensor,
    text: str,
    alphabet: Alphabet,
    seconds_per_frame: float,
    offset_seconds: float = 0.0,
    duration: float = math.inf,
) -> tuple[Word, ...]:
    """The words of a text and when they were said.

    Output frame t is centred on t * seconds_per_frame (features are centred on multiples of the hop, and strides keep
    the middle): it stands for the time from half a frame before to half a frame after.

    A word's confidence is the geometric mean, over its labels, of each label's probability in its best frame. The other
    frames of a label lie on its edges, where the blank is nearly as likely, and say nothing of whether it was heard:
    without them the confidence tells right words from wrong ones better (AN4 dev, area under the ROC curve 0.94 instead
    of 0.89).

    Args:
        log_probs: (T, V) log-probabilities of one recording, or of a piece of it
        text: in the alphabet; words are divided by spaces, and a text without any is one word
        seconds_per_frame: from one output frame to the next
        offset_seconds: where the piece begins in the recording
        duration: of the recording, s; times are clipped to lie between `offset_seconds` and this

    Raises:
        InputError: characters outside the alphabet, and all of `align`
    """
    spans = align(log_probs, alphabet.encode(text))

    def seconds(edge: int) -> float:
        return min(max(offset_seconds + (edge - 0.5) * seconds_per_frame, offset_seconds), duration)

    words, first = [], 0
    for word in text.split(" "):
        inside = spans[first : first + len(word)]
        first += len(word) + 1
        if inside:
            confidence = math.exp(sum(span.score for span in inside) / len(inside))
            words.append(Word(word, seconds(inside[0].start), seconds(inside[-1].end), min(confidence, 1.0)))
    return tuple(words)


def mean_confidence(words: Sequence[Word]) -> float:
    """Geometric mean, at least one word: a few words that were certainly not said tell more than many that were."""
    return math.exp(sum(math.log(max(word.confidence, 1e-30)) for word in words) / len(words))

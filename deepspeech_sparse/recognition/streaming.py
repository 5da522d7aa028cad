"""Live recognition: audio goes in chunk by chunk, text comes out while it is said.

    with recognizer.stream() as stream:
        for chunk in microphone:
            for result in stream.feed(chunk):
                print(result)
        print(stream.finish())

An utterance ends with a pause, and the network begins anew with the next: it learned from utterances, and after some of
them without a break it errs twice as often (benchmarks/README.md). The text of an utterance is that of
`Recognizer.transcribe`, however the audio is cut into chunks; time and memory of a chunk do not depend on how long the
stream has been going on. Decoding is greedy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..engine.network import SparseNetwork
from ..engine.stream import NetworkStream, future_frames
from ..errors import InputError
from ..features import FrontEnd
from ..model import NetworkConfig
from ..model_config import ModelConfig
from ..text import Alphabet
from ..transcripts.transcript import Segment, Word

PAUSE = 0.8  # s without a letter that end a segment
LONGEST = 30.0  # s of a segment, after which the next space ends it; twice that, and anything does
BLANK = 0
RECIPE = "recipes/an4/streaming-sparse.yaml trains one that can"


@dataclass(frozen=True)
class Partial:
    """What has been said since the last pause, so far."""

    text: str


@dataclass(frozen=True)
class Final:
    """What was said between two pauses; it does not change any more."""

    segment: Segment
    continues: bool = False  # it goes on with the last word before it: nobody paused for a minute, not even for a space


def joined(finals: list[Final]) -> str:
    """The text of all segments."""
    return "".join(("" if final.continues else " ") + final.segment.text for final in finals).strip()


class FeatureStream:
    """The front end, chunk by chunk: frames are those of the whole recording."""

    def __init__(self, front_end: FrontEnd) -> None:
        self.front_end, config = front_end, front_end.config
        self.size, self.hop = config.transform_size, config.hop_samples
        self.missing = self.size // 2 - (config.window_samples + 1) // 2  # samples that the window hides at each end
        self.samples = torch.zeros(self.size // 2)  # from half a transform before the next frame on
        self.total, self.given = 0, 0  # samples, frames

    @torch.inference_mode()
    def __call__(self, samples: Tensor, *, last: bool = False) -> Tensor:
        """Samples (n,) -> features (t, F) of the frames that are sure now."""
        self.total += len(samples)
        self.samples = torch.cat([self.samples, samples])
        if last:
            ready = self.front_end.frames(self.total) - self.given
            end = torch.zeros(max(0, (ready - 1) * self.hop + self.size - len(self.samples)))
        else:
            ready = (len(self.samples) + self.missing - self.size) // self.hop + 1
            end = torch.zeros(self.missing)
        if ready <= 0:
            return torch.zeros(0, self.front_end.config.bins)
        spectrum = torch.stft(
            torch.cat([self.samples, end])[None, : (ready - 1) * self.hop + self.size],
            self.size,
            hop_length=self.hop,
            win_length=self.front_end.config.window_samples,
            window=self.front_end.window,
            center=False,
            return_complex=True,
        )
        self.samples = self.samples[ready * self.hop :]
        self.given += ready
        return self.front_end.normalised(self.front_end.log_power(spectrum)[0], None)


@dataclass
class Said:
    """A label, where it is in time, and how sure it was at its best."""

    label: int
    first: int  # output frame
    last: int
    log_prob: float


@dataclass
class GreedyStream:
    """The best path, frame by frame, divided by pauses into segments with words.

    Args:
        alphabet: label 0 is the blank
        seconds_per_frame: of the output
    """

    alphabet: Alphabet
    seconds_per_frame: float
    frame: int = 0  # of the next log-probabilities
    before: int = BLANK  # label of the frame before
    said: list[Said] = field(default_factory=list)  # since the last final; begins with a letter, no space after another
    space: bool = True  # whether one was heard before the first of them

    def __call__(self, log_probs: Tensor) -> tuple[list[Final], int, bool]:
        """Read on, up to a pause.

        Args:
            log_probs: (t, V)

        Returns:
            segments that ended, how many of the t frames were read, and whether a pause ended the utterance with them
        """
        finals: list[Final] = []
        best, labels = log_probs.max(-1)
        for read, (score, label) in enumerate(zip(best.tolist(), labels.tolist()), start=1):
            if label != BLANK and label == self.before and self.said and self.said[-1].label == label:
                self.said[-1].last = self.frame
                self.said[-1].log_prob = max(self.said[-1].log_prob, score)
            elif label != BLANK:
                if self.too_long():  # there may never be a blank to end it
                    finals += self.final()
                if self.is_space(label) and not self.said:
                    self.space = True
                elif not (self.is_space(label) and self.is_space(self.said[-1].label)):
                    self.said.append(Said(label, self.frame, self.frame, score))
            self.before = label
            self.frame += 1
            if self.pauses():
                finals += self.final()
                self.before, self.space = BLANK, True
                return finals, read, True
            if label == BLANK and self.too_long():  # else the last label may go on in the next frame
                finals += self.final()
        return finals, len(log_probs), False

    @property
    def text(self) -> str:
        """What has been said since the last final."""
        return " ".join(self.alphabet.decode(said.label for said in self.said).split())

    def is_space(self, label: int) -> bool:
        return self.alphabet.symbols[label - 1] == " "

    def pauses(self) -> bool:
        """Whether there has been no letter for `PAUSE` s since the last."""
        if not self.said:
            return False
        letter = self.said[-2 if self.is_space(self.said[-1].label) else -1]
        return (self.frame - 1 - letter.last) * self.seconds_per_frame >= PAUSE

    def too_long(self) -> bool:
        """Whether a segment without a pause, whose last label is over, ends before the next frame."""
        if not self.said:
            return False
        lasts = (self.frame - self.said[0].first) * self.seconds_per_frame
        return lasts >= (LONGEST if self.is_space(self.said[-1].label) else 2 * LONGEST)

    def final(self) -> list[Final]:
        """The segment that ends here, none if nothing was said."""
        words: list[list[Said]] = [[]]
        for said in self.said:
            if self.is_space(said.label):
                words.append([])
            else:
                words[-1].append(said)
        continues = not self.space and bool(words[0])
        found = tuple(self.word(letters) for letters in words if letters)
        if self.said:
            self.space = self.is_space(self.said[-1].label) or (self.space and not found)
        self.said = []
        if not found:
            return []
        text = " ".join(word.text for word in found)
        return [Final(Segment(text, found[0].start, found[-1].end, found), continues)]

    def word(self, letters: list[Said]) -> Word:
        """Times and confidence as `decoding/alignment.py` has them."""
        start = max(0.0, (letters[0].first - 0.5) * self.seconds_per_frame)
        end = (letters[-1].last + 0.5) * self.seconds_per_frame
        confidence = math.exp(sum(said.log_prob for said in letters) / len(letters))
        return Word(self.alphabet.decode(said.label for said in letters), start, end, min(1.0, confidence))


class Stream:
    """One live recording; `Recognizer.stream()` makes it.

    Args:
        front_end, network, alphabet: of the model
        config: of the model

    Raises:
        InputError: a model that cannot hear as time goes on
    """

    def __init__(self, config: ModelConfig, front_end: FrontEnd, network: SparseNetwork, alphabet: Alphabet) -> None:
        refuse_what_cannot_stream(config)
        self.latency = algorithmic_latency(config)
        self.features = FeatureStream(front_end)
        self.network = NetworkStream(network)
        self.decoder = GreedyStream(alphabet, config.seconds_per_frame)
        self.shown, self.over = "", False

    def feed(self, samples: np.ndarray) -> list[Partial | Final]:
        """What new samples tell.

        Args:
            samples: (N,) float32 in [-1, 1] or int16 at the model's rate, any N

        Returns:
            segments that ended, then the text since, if it has changed

        Raises:
            InputError: other samples, a stream that is over
        """
        if self.over:
            raise InputError("stream: it is over; make a new one for another recording")
        results: list[Partial | Final] = [*self.read(self.network(self.features(checked(samples))), last=False)]
        text = self.decoder.text
        if text != self.shown:
            self.shown = text
            if text:
                results.append(Partial(text))
        return results

    def finish(self) -> list[Final]:
        """The end of the recording: what is still to be said of it. More of it is refused."""
        if self.over:
            return []
        self.over = True
        logits = self.network(self.features(torch.zeros(0), last=True), last=True)
        return self.read(logits, last=True) + self.decoder.final()

    def read(self, logits: Tensor, *, last: bool) -> list[Final]:
        """Decode; after a pause the network hears again, without its memory, what it has heard of the time since."""
        finals: list[Final] = []
        while True:
            found, read, paused = self.decoder(logits.log_softmax(-1))
            finals += found
            if not paused:
                return finals
            logits = self.network.restart(self.network.heard[read:], last=last)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True


def refuse_what_cannot_stream(config: ModelConfig) -> None:
    """InputError for models that must have heard the end before they can tell the beginning."""
    network = config.network
    if not isinstance(network, NetworkConfig):
        raise InputError(f"stream: {network.encoder} networks hear whole utterances; {RECIPE}")
    if network.bidirectional:
        raise InputError(f"stream: a bidirectional model reads from the end, too, and cannot stream; {RECIPE}")
    if config.features.normalise != "global":
        raise InputError(
            "stream: features normalised by the whole utterance (features.normalise: utterance) cannot stream; train "
            f"with features.normalise: global; {RECIPE}"
        )


def algorithmic_latency(config: ModelConfig) -> float:
    """Seconds of audio behind a frame's centre that it waits for: lookahead, half kernels, half a window."""
    features = config.features
    return future_frames(config.network) * features.hop_seconds + features.window / 2


def checked(samples: np.ndarray) -> Tensor:
    """Samples of a chunk as float32.

    Raises:
        InputError: another shape or type, NaN or infinity inside
    """
    samples = np.asarray(samples)
    if samples.ndim != 1 or samples.dtype not in (np.float32, np.float64, np.int16):
        raise InputError(f"stream: samples of shape {samples.shape} {samples.dtype}; (N,) float32 or int16 fit")
    if samples.dtype == np.int16:
        samples = samples / np.float32(32768)
    if not np.isfinite(samples).all():
        raise InputError("stream: samples are NaN or infinite; mend what records them")
    return torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))

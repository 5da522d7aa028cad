"""New utterances from the words of a corpus: recordings are cut between words, and the pieces joined in other orders.

A network that reads in both directions learns a small corpus by heart, whole utterances at a time; words in ever new
company it must hear. A trained model says where the words are. After aligned data augmentation (Lam, Ohta, Schamoni,
Riezler 2021, arXiv 2104.01393), which puts single words of other speakers into an utterance.
"""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from .audio import load_audio, write_flac
from .augment import rms
from .corpora.manifest import Utterance, read_manifest, samples_of, write_manifest
from .errors import InputError
from .files import refuse_unwritable
from .recognition.recognizer import Recognizer, unlikely
from .transcripts.transcript import Word

ANYBODY = 0.25  # share of pieces whose first word is drawn from the vocabulary, where rare words count as much, and
# then one who says it
RARE = 0.3  # share of the other pieces whose first word is drawn from the speaker's own vocabulary
LENGTHS = 2, 12  # words of a new utterance, at least and about at most
FADE = 0.008  # s, from one piece into the next
REACH = 0.04, 0.02  # s before the end of a word and after the start of the next in which they may be cut, too
SHORTEST = 0.02, 0.01  # s from the start of a word, and from the cut before it, to the cut behind it
HEARD = 0.02  # s over which loudness is measured
SILENCE = 1e-6  # rms added to every piece, so that none has none
LOUDER = 4.0  # most by which a piece is brought to the loudness of the first

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spoken:
    """An utterance and where its words can be cut apart."""

    utterance: Utterance
    words: tuple[str, ...]
    edges: tuple[float, ...]  # one more than words, in s from the start of the utterance to its end


Place = tuple[Spoken, int]  # a word of an utterance


@dataclass(frozen=True)
class Piece:
    """Words that follow each other in an utterance."""

    spoken: Spoken
    first: int
    end: int

    @property
    def words(self) -> tuple[str, ...]:
        return self.spoken.words[self.first : self.end]

    def samples(self, sample_rate: int) -> np.ndarray:
        """(N,) float32. Read when it is needed: a corpus need not fit into memory."""
        utterance, start = self.spoken.utterance, self.spoken.edges[self.first]
        seconds = self.spoken.edges[self.end] - start
        return load_audio(utterance.audio, sample_rate=sample_rate, offset=utterance.offset + start, duration=seconds)


def splice(model: Path, manifest: Path, out: Path, *, copies: int = 5, seed: int = 0) -> Path:
    """Write a corpus of new utterances, `copies` for each of a manifest.

    A new utterance consists of pieces of one word or several, most of them by the speaker of the old one. The same
    model, manifest and seed give the same recordings.

    Args:
        model: a trained model of that language and alphabet: what `Recognizer.load` takes
        manifest: of the recordings; those without a speaker count as one speaker's
        out: folder for the new manifest, which has the name of the old one, and for audio/ with a folder of that name
        copies: new utterances for each old one
        seed: of everything drawn

    Returns:
        the new manifest

    Raises:
        InputError: copies below 1, `out` is the manifest's own folder or holds its recordings, no text that the model
            hears, and all of `read_manifest`, `Recognizer.load` and `Recognizer.align`
    """
    if copies < 1:
        raise InputError(f"splice: copies = {copies} must be at least 1")
    written = out / manifest.name
    if written.resolve() == manifest.resolve():
        raise InputError(f"{written}: would overwrite the manifest that is spliced; choose another --out")
    utterances = read_manifest(manifest)
    audio = out / "audio" / manifest.stem
    if any(utterance.audio.is_relative_to(audio.resolve()) for utterance in utterances):
        raise InputError(f"{audio}: holds recordings of {manifest} itself; choose another --out")
    refuse_unwritable(written)
    recognizer = Recognizer.load(model)
    rate = recognizer.sample_rate
    voices: dict[str, list[Spoken]] = defaultdict(list)
    for utterance in utterances:
        found = spoken(recognizer, utterance)
        if found is not None:
            voices[voice_of(utterance)].append(found)
    if not voices:
        raise InputError(f"{manifest}: {model} hears none of its texts; give a model of the corpus's language")
    heard = sum(map(len, voices.values()))
    if heard < len(utterances):
        log.warning("%s: %d of %d utterances are left out", manifest, len(utterances) - heard, len(utterances))
    splicer = Splicer(voices, random.Random(seed))
    new = []
    for copy in range(copies):
        for number, utterance in enumerate(utterances):
            pieces = splicer.utterance(voice_of(utterance))
            samples = joined([piece.samples(rate) for piece in pieces], rate)
            path = audio / f"{copy}-{number:05d}.flac"
            write_flac(path, samples, rate)
            text = " ".join(word for piece in pieces for word in piece.words)
            new.append(
                Utterance(f"splice{copy}-{utterance.id}", path.resolve(), len(samples) / rate, text, utterance.speaker)
            )
    write_manifest(written, new)
    return written


def voice_of(utterance: Utterance) -> str:
    return utterance.speaker or ""


def spoken(recognizer: Recognizer, utterance: Utterance) -> Spoken | None:
    """An utterance, cut between its words; None, and the log says so, where the model does not hear its text in it."""
    rate = recognizer.sample_rate
    try:
        samples = samples_of(utterance, rate)
        [log_probs] = recognizer.log_probs([samples])
        text = recognizer.alphabet.written(utterance.text)
        words = [word for part in recognizer.segments(text, log_probs, len(samples) / rate) for word in part.words]
    except InputError as error:
        log.warning("%s: left out: %s", utterance.id, error)
        return None
    if not words or unlikely(words):
        log.warning("%s: left out: its text is not heard in it", utterance.id)
        return None
    edges = tuple(edge / rate for edge in edges_between(samples, words, rate))
    return Spoken(utterance, tuple(word.text for word in words), edges)


def edges_between(samples: np.ndarray, words: Sequence[Word], sample_rate: int) -> list[int]:
    """Where to cut: 0, between two words the quietest moment from the end of one to the start of the next, and N."""
    window = max(1, round(HEARD * sample_rate))
    loudness = np.convolve(np.square(samples), np.ones(window) / window, "same")
    edges = [0]
    for word, following in pairwise(words):
        earliest = int(word.start * sample_rate) + round(SHORTEST[0] * sample_rate)
        first = max(int((word.end - REACH[0]) * sample_rate), edges[-1] + round(SHORTEST[1] * sample_rate), earliest)
        end = max(min(int((following.start + REACH[1]) * sample_rate), len(samples) - 1), first + 1)
        edges.append(first + int(np.argmin(loudness[first:end])))
    return [*edges, len(samples)]


class Splicer:
    """Draws the pieces of new utterances.

    Args:
        voices: what each speaker said
        draw: all randomness
    """

    def __init__(self, voices: Mapping[str, Sequence[Spoken]], draw: random.Random) -> None:
        self.random, self.voices = draw, voices
        self.lengths = [len(said.words) for own in voices.values() for said in own]
        self.places: dict[str, dict[str, list[Place]]] = defaultdict(lambda: defaultdict(list))  # word -> speaker ->
        for speaker, own in voices.items():
            for said in own:
                for index, word in enumerate(said.words):
                    self.places[word][speaker].append((said, index))
        self.vocabulary = sorted(self.places)
        self.vocabulary_of = {
            speaker: sorted({word for said in own for word in said.words}) for speaker, own in voices.items()
        }

    def utterance(self, speaker: str) -> list[Piece]:
        """Pieces of a new utterance, most of them of one speaker."""
        wanted = min(max(self.random.choice(self.lengths), LENGTHS[0]), LENGTHS[1])
        pieces: list[Piece] = []
        while sum(len(piece.words) for piece in pieces) < wanted:
            said, first = self.place(speaker)
            end = first + 1  # 1, 2, 3, ... words with probability 1/2, 1/4, 1/8, ...
            while self.random.random() < 0.5 and end < len(said.words):
                end += 1
            pieces.append(Piece(said, first, end))
        return pieces

    def place(self, speaker: str) -> Place:
        """Where a piece begins."""
        if speaker not in self.voices or self.random.random() < ANYBODY:
            word = self.random.choice(self.vocabulary)
            speaker = self.random.choice(sorted(self.places[word]))
            return self.random.choice(self.places[word][speaker])
        if self.random.random() < RARE:
            return self.random.choice(self.places[self.random.choice(self.vocabulary_of[speaker])][speaker])
        own = self.voices[speaker]
        [said] = self.random.choices(own, weights=[len(said.words) for said in own])
        return said, self.random.randrange(len(said.words))


def joined(pieces: Sequence[np.ndarray], sample_rate: int) -> np.ndarray:
    """One recording (N,) of several, each as loud as the first (`LOUDER`) and fading into the next."""
    samples, *following = pieces
    level = rms(samples) + SILENCE
    for piece in following:
        louder = np.float32(np.clip(level / (rms(piece) + SILENCE), 1 / LOUDER, LOUDER))
        samples = faded(samples, piece * louder, round(FADE * sample_rate))
    return samples


def faded(before: np.ndarray, after: np.ndarray, fade: int) -> np.ndarray:
    """One after the other; the last `fade` samples of the first and the first of the second lie on each other."""
    fade = min(fade, len(before), len(after))
    rising = np.linspace(0, 1, fade, dtype=np.float32)
    both = before[len(before) - fade :] * (1 - rising) + after[:fade] * rising
    return np.concatenate([before[: len(before) - fade], both, after[fade:]])

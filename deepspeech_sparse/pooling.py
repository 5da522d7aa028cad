"""Pieces of many recordings heard together: batched by length, then put in order again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from .errors import InputError
from .joining import Joiner, Stretch
from .pauses import Piece, pieces_of
from .text import Alphabet
from .transcript import Segment, Transcript

WINDOW = 120.0  # s of audio that are held, and sorted by length, before they are heard
BATCH = 60.0  # s of audio in one batch, padding included


def no_one(seconds: float) -> None:
    """Nobody asks how far it is."""


@dataclass(frozen=True)
class Sound:
    """A recording, not yet read."""

    name: str
    blocks: Iterator[np.ndarray]  # (N_i,) float32 at the model's rate
    duration: float | None = None  # s, where it is known better than by counting samples


@dataclass(frozen=True)
class Broken:
    """A recording that could not be read."""

    source: str
    reason: InputError | OSError


class Listener(Protocol):
    """What a recognizer offers to hear pieces with."""

    name: str
    alphabet: Alphabet
    sample_rate: int  # Hz
    step: int  # samples from one output frame to the next

    def log_probs(self, recordings: list[np.ndarray]) -> list[Tensor]:
        """Recordings (N_i,) -> as many (T_i, V)."""

    def heard(
        self, stretch: Stretch, name: str, duration: float, *, alone: bool
    ) -> tuple[Segment | None, float | None]:
        """What was said in a stretch, and the language model's score."""


class Hearing:
    """What is known so far of one recording."""

    def __init__(self, sound: Sound, listener: Listener) -> None:
        self.sound = sound
        self.listener = listener
        symbols = listener.alphabet.symbols
        self.joiner = Joiner(listener.step, symbols.index(" ") + 1 if " " in symbols else None)
        self.segments: list[Segment] = []
        self.lm_score: float | None = None
        self.samples = 0  # to the end of the last piece
        self.pieces = 0
        self.seconds = 0.0  # taken
        self.ended = False
        self.trouble: InputError | OSError | None = None

    def read(self) -> Iterator[Piece]:
        """Its pieces; what goes wrong is noted."""
        pieces = pieces_of(self.sound.blocks, self.listener.sample_rate, self.listener.step)
        try:
            while True:
                started = time.perf_counter()
                piece = next(pieces, None)
                self.seconds += time.perf_counter() - started
                if piece is None:
                    break
                yield piece
        except (InputError, OSError) as error:
            self.trouble = error
        self.ended = True

    def add(self, piece: Piece, log_probs: Tensor) -> None:
        started = time.perf_counter()
        self.pieces += 1
        self.samples = piece.start + len(piece.samples)
        self.note(self.joiner.add(piece, log_probs))
        self.seconds += time.perf_counter() - started

    def note(self, stretches: Iterable[Stretch], *, alone: bool = False) -> None:
        for stretch in stretches:
            segment, lm_score = self.listener.heard(stretch, self.sound.name, self.duration, alone=alone)
            if segment is not None:
                self.segments.append(segment)
            if lm_score is not None:
                self.lm_score = lm_score + (self.lm_score or 0.0)

    @property
    def duration(self) -> float:
        """So far, s; one sample at a high rate may become none."""
        return self.sound.duration or max(1, self.samples) / self.listener.sample_rate

    def result(self) -> Transcript | Broken:
        """Of a recording that has ended."""
        if self.trouble is not None:
            return Broken(self.sound.name, self.trouble)
        started = time.perf_counter()
        self.note(self.joiner.rest(), alone=self.pieces == 1)
        self.seconds += time.perf_counter() - started
        text = " ".join(segment.text for segment in self.segments)
        return Transcript(
            text,
            tuple(self.segments),
            self.duration,
            self.seconds,
            self.listener.name,
            self.sound.name,
            self.lm_score,
        )


def transcribe_pooled(
    listener: Listener, sounds: Iterable[Sound], on_audio: Callable[[float], None] = no_one
) -> Iterator[Transcript | Broken]:
    """Recordings in their order, each as soon as the window that it ends in has been heard.

    A window holds WINDOW seconds of audio, of one recording or of many, so memory does not grow with their length or
    number.

    Args:
        on_audio: called with the seconds of audio heard by each batch
    """
    open_ones: deque[Hearing] = deque()
    window: list[tuple[Hearing, Piece]] = []
    held = 0.0
    for sound in sounds:
        open_ones.append(Hearing(sound, listener))
        for piece in open_ones[-1].read():
            window.append((open_ones[-1], piece))
            held += len(piece.samples) / listener.sample_rate
            if held >= WINDOW:
                yield from hear(listener, window, open_ones, on_audio)
                window, held = [], 0.0
        if len(open_ones) >= 1000:  # nothing but broken ones
            yield from hear(listener, window, open_ones, on_audio)
            window, held = [], 0.0
    yield from hear(listener, window, open_ones, on_audio)


def hear(
    listener: Listener,
    window: list[tuple[Hearing, Piece]],
    open_ones: deque[Hearing],
    on_audio: Callable[[float], None],
) -> Iterator[Transcript | Broken]:
    """A window of pieces, and the results of recordings that end in it."""
    found: list[Tensor | None] = [None] * len(window)
    for batch in batches([0 if piece.silent else len(piece.samples) for _, piece in window], listener.sample_rate):
        started = time.perf_counter()
        pieces = [window[index][1] for index in batch]
        log_probs = listener.log_probs([piece.samples[: 0 if piece.silent else None] for piece in pieces])
        taken = (time.perf_counter() - started) / max(1, sum(len(piece.samples) for piece in pieces))
        for index, rows, piece in zip(batch, log_probs, pieces):
            window[index][0].seconds += taken * len(piece.samples)
            found[index] = rows
        on_audio(sum(len(piece.samples) for piece in pieces) / listener.sample_rate)
    for (hearing, piece), rows in zip(window, found):
        hearing.add(piece, rows)
    while open_ones and open_ones[0].ended:
        yield open_ones.popleft().result()


def batches(lengths: list[int], sample_rate: int) -> Iterator[list[int]]:
    """Indexes of about equal lengths (samples) together, so that little is padded."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[index] > BATCH * sample_rate:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch

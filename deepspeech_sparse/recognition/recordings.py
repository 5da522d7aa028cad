"""Recordings on their way to transcripts: what is known of each so far, and the phrases of all in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..transcripts.transcript import Failure, Segment, Transcript
from .phrases import Phrase

POOL = 120.0  # s of phrases that wait for others of their length
BATCH = 60.0  # s, padding included, that the network hears at once


@dataclass
class Recording:
    """One source while it is heard."""

    name: str
    duration: float = 0.0  # s read so far
    seconds: float = 0.0  # taken so far
    phrases: int = 0  # found so far
    heard: dict[int, tuple[Segment | None, float | None]] = field(default_factory=dict)  # by number; score of the LM
    read: bool = False  # whether its end was reached
    error: str | None = None

    @property
    def done(self) -> bool:
        return self.error is not None or (self.read and len(self.heard) == self.phrases)

    def result(self, model: str) -> Transcript | Failure:
        """What became of it."""
        if self.error is not None:
            return Failure(self.name, self.error)
        ordered = [self.heard[number] for number in range(self.phrases)]
        segments = tuple(segment for segment, _ in ordered if segment is not None)
        scores = [score for _, score in ordered if score is not None]
        text = " ".join(segment.text for segment in segments)
        score = sum(scores) if scores else None
        return Transcript(text, segments, self.duration, self.seconds, model, self.name, score)


@dataclass(frozen=True)
class Waiting:
    """A phrase, and what it is the how-manieth of."""

    recording: Recording
    number: int
    phrase: Phrase

    @property
    def length(self) -> int:
        """Frames of the features."""
        return len(self.phrase.features)


class Pool:
    """Phrases of any recordings that wait to be heard, those of like length together.

    Args:
        hear: what hears a batch
        frames_per_second: of the features
    """

    def __init__(self, hear: Callable[[list[Waiting]], None], frames_per_second: float) -> None:
        self.hear = hear
        self.most, self.batch = POOL * frames_per_second, BATCH * frames_per_second
        self.waiting: list[Waiting] = []

    def add(self, recording: Recording, phrase: Phrase) -> None:
        """One phrase more; many are heard at once."""
        self.waiting.append(Waiting(recording, recording.phrases, phrase))
        recording.phrases += 1
        if sum(item.length for item in self.waiting) >= self.most:
            self.empty()

    def empty(self) -> None:
        """Hear all that wait."""
        for batch in self.batches():
            self.hear(batch)
        self.waiting = []

    def batches(self) -> Iterator[list[Waiting]]:
        batch: list[Waiting] = []
        for item in sorted(self.waiting, key=lambda item: item.length):
            if batch and (len(batch) + 1) * item.length > self.batch:
                yield batch
                batch = []
            batch.append(item)
        if batch:
            yield batch

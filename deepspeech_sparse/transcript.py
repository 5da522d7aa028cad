"""What was heard in a recording: plain values, and their form in JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Word:
    """A word and when it was said."""

    text: str
    start: float  # s from the beginning of the recording
    end: float  # s
    confidence: float  # 0 to 1


@dataclass(frozen=True)
class Segment:
    """What was said between two pauses, or between two places where a long recording was cut."""

    text: str
    start: float  # s
    end: float  # s
    words: tuple[Word, ...]


@dataclass(frozen=True)
class Transcript:
    """What was heard in one recording."""

    text: str
    segments: tuple[Segment, ...]
    duration: float  # s of audio
    seconds: float  # taken to read and recognise it
    model: str  # name of the model
    source: str  # path of the file, or what else was given
    lm_score: float | None = None  # natural logarithm, summed over the segments; None without a language model

    @property
    def words(self) -> tuple[Word, ...]:
        """Of all segments."""
        return tuple(word for segment in self.segments for word in segment.words)

    @property
    def real_time_factor(self) -> float:
        """Seconds taken per second of audio; below 1 is faster than speech."""
        return self.seconds / self.duration

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: the fields by their names, and `real_time_factor`; words lie in their segments."""
        return asdict(self) | {"real_time_factor": self.real_time_factor}

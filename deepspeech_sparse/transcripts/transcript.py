"""What was heard in a recording: plain values, and their form in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import InputError

MOST_SECONDS = 1e9  # more is a mistake, not a recording


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
        """Seconds taken per second of audio; below 1 is faster than speech. 0 for no audio."""
        return real_time_factor(self.seconds, self.duration)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON. Later versions may add keys; these keep their names and meanings:

            text              str
            segments          list of {text, start, end, words}
                words         list of {text, start, end, confidence}
            duration          float, s of audio
            seconds           float, taken
            real_time_factor  float, seconds / duration as they stand here
            model             str
            source            str
            lm_score          float, or None without a language model

        Times in the recording are rounded to milliseconds, confidences (0 to 1) to four digits.
        """
        duration = round(self.duration, 3)
        return {
            "text": self.text,
            "segments": [
                {
                    "text": segment.text,
                    "start": round(segment.start, 3),
                    "end": round(segment.end, 3),
                    "words": [
                        {
                            "text": word.text,
                            "start": round(word.start, 3),
                            "end": round(word.end, 3),
                            "confidence": round(word.confidence, 4),
                        }
                        for word in segment.words
                    ],
                }
                for segment in self.segments
            ],
            "duration": duration,
            "seconds": self.seconds,
            "real_time_factor": real_time_factor(self.seconds, duration),
            "model": self.model,
            "source": self.source,
            "lm_score": self.lm_score,
        }

    @classmethod
    def from_dict(cls, values: Any, name: str = "transcript") -> Transcript:
        """What `to_dict` gave. Keys that it does not know are passed over: a later version may have written them.

        Args:
            name: how errors call it, a path for example

        Raises:
            InputError: names what is missing or of the wrong kind; times that end before they begin
        """
        segments = [
            Segment(
                value_of(segment, "text", "text", where),
                *stretch_of(segment, where),
                tuple(
                    Word(
                        value_of(word, "text", "text", inside),
                        *stretch_of(word, inside),
                        number_of(word, "confidence", inside, most=1),
                    )
                    for inside, word in items_of(segment, "words", where)
                ),
            )
            for where, segment in items_of(values, "segments", name)
        ]
        return cls(
            text=value_of(values, "text", "text", name),
            segments=tuple(segments),
            duration=number_of(values, "duration", name),
            seconds=number_of(values, "seconds", name),
            model=value_of(values, "model", "text", name),
            source=value_of(values, "source", "text", name),
            lm_score=None if values.get("lm_score") is None else number_of(values, "lm_score", name, least=-1e300),
        )


@dataclass(frozen=True)
class Failure:
    """A recording that could not be transcribed."""

    source: str
    error: str  # names the file, what is wrong and the remedy


def real_time_factor(seconds: float, duration: float) -> float:
    """Seconds taken per second of audio, 0 for no audio."""
    return seconds / duration if duration else 0.0


KINDS = {"text": str, "list": (list, tuple), "number": (int, float)}


def value_of(values: Any, key: str, kind: str, name: str) -> Any:
    """InputError unless `values` has this key, and under it something of a kind of KINDS."""
    if not isinstance(values, dict) or key not in values:
        raise InputError(f"{name}: has no {key}; give what Transcript.to_dict() wrote")
    value = values[key]
    if not isinstance(value, KINDS[kind]) or isinstance(value, bool):
        raise InputError(f"{name}: {key} = {value!r} is no {kind}")
    return value


def items_of(values: Any, key: str, name: str) -> list[tuple[str, Any]]:
    """Each item of a list, behind what errors call it."""
    return [(f"{name}: {key}[{index}]", item) for index, item in enumerate(value_of(values, key, "list", name))]


def number_of(values: Any, key: str, name: str, *, least: float = 0.0, most: float = MOST_SECONDS) -> float:
    """InputError unless it lies between the two, as NaN and the infinities do not."""
    value = value_of(values, key, "number", name)
    if not least <= value <= most:
        raise InputError(f"{name}: {key} = {value!r} must be a number from {least:g} to {most:g}")
    return float(value)


def stretch_of(values: Any, name: str) -> tuple[float, float]:
    """Start and end, s."""
    start, end = number_of(values, "start", name), number_of(values, "end", name)
    if end < start:
        raise InputError(f"{name}: ends at {end:g} s, before it begins at {start:g} s")
    return start, end

"""The verb `data check`: everything in a manifest that would spoil a training, found before it starts, by utterance.

Every utterance's audio is decoded the way training will decode it. Nothing is mended or written.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from ..audio import probe_audio
from ..errors import InputError
from ..text import Alphabet, counted, frames_needed
from .manifest import Utterance, read_manifest, samples_of

# Kind of problem -> whether training would fail on it. Utterances with too few frames it leaves out, by name.
KINDS = {
    "missing audio": True,
    "unreadable audio": True,
    "foreign characters": True,
    "too few frames": False,
    "empty text": False,
    "wrong duration": False,
    "duplicate id": False,
    "duplicate audio": False,
}
TOLERANCE = 0.05  # seconds by which a duration may differ from the file's; other tools round theirs
SHOWN = 10  # utterances of one kind that are printed


@dataclass(frozen=True)
class Problem:
    """What is wrong with one utterance."""

    kind: str  # a key of KINDS
    utterance: str  # id
    detail: str


@dataclass(frozen=True)
class ManifestReport:
    """How much speech a manifest holds and what is wrong with it."""

    manifest: Path
    utterances: int
    speakers: int  # different ones, 0 if the manifest names none
    hours: float
    shortest: float  # seconds, like the next two
    median: float
    longest: float
    problems: tuple[Problem, ...]

    @property
    def fatal(self) -> bool:
        """Whether training on this manifest would fail."""
        return not self.utterances or any(KINDS[problem.kind] for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"manifest": str(self.manifest), "fatal": self.fatal}

    def print(self, console: Console) -> None:
        """A line on the contents, and a table of the problems with up to `SHOWN` utterances of each kind."""
        speakers = f" of {counted(self.speakers, 'speaker')}" if self.speakers else ""
        console.print(
            f"{self.manifest}: {counted(self.utterances, 'utterance')}{speakers}, {self.hours:.2f} h; "
            f"{self.shortest:.2f} s to {self.longest:.2f} s, median {self.median:.2f} s",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        if not self.utterances:
            console.print("nothing to train on")
        elif not self.problems:
            console.print("no problems")
        else:
            console.print(self._table())

    def _table(self) -> Table:
        table = Table("problem", "utterances", "which")
        by_kind = defaultdict(list)
        for problem in self.problems:
            by_kind[problem.kind].append(problem)
        for kind, fatal in KINDS.items():
            if problems := by_kind[kind]:
                lines = [f"{problem.utterance}: {problem.detail}" for problem in problems[:SHOWN]]
                if len(problems) > SHOWN:
                    lines.append(f"... and {len(problems) - SHOWN} more")
                table.add_row(kind + (" (training fails)" if fatal else ""), str(len(problems)), Text("\n".join(lines)))
        return table


def check_manifest(
    manifest: Path,
    *,
    alphabet: Alphabet,
    frames: Callable[[float], int] | None = None,
    sample_rate: int = 16_000,
) -> ManifestReport:
    """Look at every utterance of a manifest: its audio, its text, and whether one can be aligned with the other.

    Args:
        manifest: JSON lines with `audio_filepath`, `duration`, `text`
        alphabet: the characters a model will write
        frames: seconds of audio -> output frames of the network; None leaves the check for too few frames out
        sample_rate: that of the training, Hz

    Raises:
        InputError: the manifest itself is not well formed.
    """
    utterances = read_manifest(manifest, audio_must_exist=False)
    problems = _find_duplicates(utterances)
    for utterance in utterances:
        problems += _check_text(utterance, alphabet, frames)
    length_of = lru_cache(maxsize=None)(_length)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = pool.map(lambda utterance: _check_audio(utterance, length_of, sample_rate), utterances)
        console = Console(stderr=True)
        for found in track(answers, "decoding", total=len(utterances), console=console, transient=True):
            problems += found
    durations = [utterance.duration for utterance in utterances] or [0.0]
    return ManifestReport(
        manifest=Path(manifest),
        utterances=len(utterances),
        speakers=len({utterance.speaker for utterance in utterances} - {None}),
        hours=sum(durations) / 3600,
        shortest=min(durations),
        median=median(durations),
        longest=max(durations),
        problems=tuple(problems),
    )


def _find_duplicates(utterances: list[Utterance]) -> list[Problem]:
    problems = []
    ids = Counter(utterance.id for utterance in utterances)
    problems += [Problem("duplicate id", id, f"{count} times") for id, count in ids.items() if count > 1]
    first: dict[tuple[Path, float], str] = {}
    for utterance in utterances:
        other = first.setdefault((utterance.audio, utterance.offset), utterance.id)
        if other != utterance.id:
            problems.append(Problem("duplicate audio", utterance.id, f"same audio as {other}"))
    return problems


def _check_text(utterance: Utterance, alphabet: Alphabet, frames: Callable[[float], int] | None) -> list[Problem]:
    if not utterance.text.strip():
        return [Problem("empty text", utterance.id, "no text")]
    if foreign := alphabet.foreign(utterance.text):
        return [Problem("foreign characters", utterance.id, " ".join(map(repr, foreign)))]
    if frames is not None:
        have, need = int(frames(utterance.duration)), frames_needed(alphabet.encode(utterance.text))
        if have < need:
            return [Problem("too few frames", utterance.id, f"{have} output frames, the text needs {need}")]
    return []


def _check_audio(utterance: Utterance, length_of: Callable[[Path], float], sample_rate: int) -> list[Problem]:
    if not utterance.audio.is_file():
        return [Problem("missing audio", utterance.id, f"no file {utterance.audio}")]
    try:
        left = length_of(utterance.audio) - utterance.offset
        samples = samples_of(utterance, sample_rate)
    except InputError as error:
        return [Problem("unreadable audio", utterance.id, str(error))]
    heard = len(samples) / sample_rate
    if heard < min(utterance.duration, left) - TOLERANCE:
        return [Problem("unreadable audio", utterance.id, f"only {heard:.2f} of {left:.2f} s can be decoded")]
    # A segment may end before its file does; a whole file should be taken whole.
    if utterance.duration > left + TOLERANCE or (not utterance.offset and utterance.duration < left - TOLERANCE):
        return [Problem("wrong duration", utterance.id, f"{utterance.duration:.2f} s of {left:.2f} s in the file")]
    return []


def _length(audio: Path) -> float:
    """Seconds of a file, which may hold many utterances."""
    return probe_audio(audio).duration

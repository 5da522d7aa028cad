"""A transcript as text for people and for other programs: one small class for each format.

A writer has the `extension` of its files and `write(transcript) -> str`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..errors import InputError
from ..files import refuse_unwritable, write_whole
from .subtitles import cues_of
from .transcript import Transcript

Format = Literal["txt", "srt", "vtt", "tsv", "json", "all"]


class TextWriter:
    """The text alone, in one line."""

    extension = "txt"

    def write(self, transcript: Transcript) -> str:
        return " ".join(transcript.text.split()) + "\n"


class SrtWriter:
    """SubRip subtitles; an empty file where nothing was heard."""

    extension = "srt"

    def write(self, transcript: Transcript) -> str:
        cues = [
            f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n" + "\n".join(cue.lines) + "\n"
            for number, cue in enumerate(cues_of(transcript), 1)
        ]
        return "\n".join(cues)


class VttWriter:
    """WebVTT subtitles (W3C Candidate Recommendation of 2019); only the header where nothing was heard."""

    extension = "vtt"

    def write(self, transcript: Transcript) -> str:
        cues = [
            f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n" + "\n".join(map(escaped, cue.lines)) + "\n"
            for cue in cues_of(transcript)
        ]
        return "WEBVTT\n\n" + "\n".join(cues)


class TsvWriter:
    """A row for each segment: start and end in ms, text, as openai/whisper writes them."""

    extension = "tsv"

    def write(self, transcript: Transcript) -> str:
        rows = [
            f"{round(1000 * segment.start)}\t{round(1000 * segment.end)}\t{' '.join(segment.text.split())}\n"
            for segment in transcript.segments
        ]
        return "start\tend\ttext\n" + "".join(rows)


class JsonWriter:
    """All of `Transcript.to_dict()` in one line, so that several make JSON lines."""

    extension = "json"

    def write(self, transcript: Transcript) -> str:
        return json.dumps(transcript.to_dict(), ensure_ascii=False) + "\n"


WRITERS = {writer.extension: writer for writer in (TextWriter(), SrtWriter(), VttWriter(), TsvWriter(), JsonWriter())}


def clock(milliseconds: int, point: str) -> str:
    """E.g. 01:02:03,004; more digits for hours where there are."""
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"


def escaped(line: str) -> str:
    """A line of a WebVTT cue: & < > would be read as entities and tags."""
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def rendered(transcript: Transcript, format: str) -> str:
    """A transcript in one of WRITERS' formats."""
    return writable(WRITERS[format].write(transcript))


def writable(text: str) -> str:
    """`text` with a ? for what is no character: names of files from old archives need not be UTF-8."""
    return text.encode(errors="replace").decode()


def write_transcript(transcript: Transcript, folder: Path, stem: str, formats: Sequence[str]) -> list[Path]:
    """Write FOLDER/STEM.FORMAT for each format, whole or not at all; a stem may have folders in it.

    Raises:
        InputError: what cannot be written
    """
    paths = [folder / f"{stem}.{format}" for format in formats]
    for path, format in zip(paths, formats):
        write_whole(path, rendered(transcript, format).encode())
    return paths


def formats_of(format: str, out: Path | None, files: int) -> tuple[str, ...]:
    """What a --format means.

    Raises:
        InputError: something that makes no sense on stdout, or a folder that cannot be written to
    """
    if out is not None:
        refuse_unwritable(out / "transcript")
    elif format == "all":
        raise InputError("--format all needs --out FOLDER, one file of each format for each recording")
    elif format in ("srt", "vtt", "tsv") and files > 1:
        raise InputError(f"--format {format} of {files} recordings needs --out FOLDER, a file for each")
    return tuple(WRITERS) if format == "all" else (format,)


def stems_of(files: Sequence[Path]) -> dict[Path, str]:
    """A name for the results of each file, without extension, no two alike.

    That is the file's own name without its suffix. Files that would share one keep their suffix, and as many of their
    folders as tell them apart: a/call.wav and b/call.wav become a/call.wav and b/call.wav.
    """
    places = {file: Path(os.path.abspath(file)) for file in files}  # of a link its own name, not its target's
    stems = {place: place.stem for place in places.values()}
    for depth in range(1, 1 + max((len(place.parts) for place in stems), default=0)):
        shared = Counter(stems.values())
        for place, stem in stems.items():
            if shared[stem] > 1:
                stems[place] = "/".join(place.parts[1:][-depth:])
    return {file: stems[place] for file, place in places.items()}

"""Utterances and the manifest that lists them: JSON lines in the convention of NeMo.

    {"id": "cen1-fash-b", "audio_filepath": "audio/fash/cen1-fash-b.flac", "duration": 4.05, "text": "h i n i c h"}

A manifest that this module has read is well formed and its audio files exist. Whether the audio can be decoded and the
text can be learnt is the business of `check.py`.

Names of audio files that are no UTF-8 survive, as escapes of JSON; in ids and speakers the escapes are spelled out; a
text with half a character in it is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..audio import load_audio
from ..errors import InputError
from ..files import write_whole
from ..text import spelled_out

EXAMPLE = '{"id": "a1", "audio_filepath": "a1.flac", "duration": 2.5, "text": "hello world"}'
LONGEST = 1e9  # seconds of audio that a manifest may claim


@dataclass(frozen=True)
class Utterance:
    """A stretch of audio and what is said in it."""

    id: str
    audio: Path  # absolute
    duration: float  # seconds
    text: str
    speaker: str | None = None
    offset: float = 0.0  # seconds into the audio file at which the utterance begins


def samples_of(utterance: Utterance, sample_rate: int) -> np.ndarray:
    """What is heard of it, (N,) float32 at `sample_rate` Hz.

    Raises:
        InputError: audio that cannot be read
    """
    return load_audio(utterance.audio, sample_rate=sample_rate, offset=utterance.offset, duration=utterance.duration)


def read_manifest(path: Path | str, *, audio_must_exist: bool = True) -> list[Utterance]:
    """The utterances of a manifest, in its order.

    `id`, `speaker` and `offset` may be absent; the id is then the audio path as written, with `@offset` where there is
    one. Audio paths are relative to the manifest's folder. Blank lines are skipped.

    Raises:
        InputError: no such file, not UTF-8, or a line that is not JSON, lacks a key, holds a value of the wrong kind,
            or (unless `audio_must_exist` is false) names an audio file that is not there. Names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such manifest. `deepspeech-sparse data prepare` writes one")
    folder = path.parent.resolve()
    utterances = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            utterance = _parse(line, folder, where)
            if audio_must_exist and not utterance.audio.is_file():
                raise InputError(
                    f"{where}: audio file {utterance.audio} does not exist. "
                    f"Paths are relative to the manifest's folder; prepare the corpus again or mend `audio_filepath`"
                )
            utterances.append(utterance)
    return utterances


def write_manifest(path: Path | str, utterances: Iterable[Utterance]) -> None:
    """Write a manifest, see `write_whole`. Audio paths become relative to its folder."""
    path = Path(path)
    folder = path.parent.resolve()
    lines = (json.dumps(_entry(utterance, folder), ensure_ascii=False) for utterance in utterances)
    write_whole(path, "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))  # JSON's own escapes


def write_manifests(out: Path, splits: Mapping[str, Iterable[Utterance]]) -> dict[str, Path]:
    """A manifest for each split in the folder `out`: split -> `out`/split.jsonl."""
    manifests = {split: out / f"{split}.jsonl" for split in splits}
    for split, path in manifests.items():
        write_manifest(path, splits[split])
    return manifests


def _entry(utterance: Utterance, folder: Path) -> dict[str, Any]:
    audio = utterance.audio.parent.resolve() / utterance.audio.name
    entry: dict[str, Any] = {
        "id": utterance.id,
        "audio_filepath": Path(os.path.relpath(audio, folder)).as_posix(),
        "duration": round(utterance.duration, 6),
        "text": utterance.text,
    }
    if utterance.speaker is not None:
        entry["speaker"] = utterance.speaker
    if utterance.offset:
        entry["offset"] = round(utterance.offset, 6)
    return entry


def _parse(line: bytes, folder: Path, where: str) -> Utterance:
    try:
        entry = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 ({error.reason}). Save the manifest as UTF-8") from None
    except ValueError as error:  # numbers of thousands of digits, too
        raise InputError(f"{where}: not JSON ({error}). A line looks like {EXAMPLE}") from None
    except RecursionError:
        raise InputError(f"{where}: nested too deeply. A line looks like {EXAMPLE}") from None
    if not isinstance(entry, dict):
        raise InputError(f"{where}: not a JSON object. A line looks like {EXAMPLE}")
    missing = [key for key in ("audio_filepath", "duration", "text") if key not in entry]
    if missing:
        raise InputError(f"{where}: lacks {', '.join(missing)}. A line looks like {EXAMPLE}")

    name = entry["audio_filepath"]
    if not isinstance(name, str) or not name.strip() or not can_be_a_path(name):
        raise InputError(f"{where}: audio_filepath = {name!r} must be the path of an audio file")
    if not isinstance(entry["text"], str):
        raise InputError(f"{where}: text = {entry['text']!r} must be a string")
    refuse_no_character(entry["text"], where)
    duration = _seconds(entry["duration"], "duration", where)
    if duration == 0:
        raise InputError(f"{where}: duration = 0 must be more than 0 seconds. Remove the line or mend the duration")
    offset = _seconds(entry.get("offset") or 0.0, "offset", where)
    return Utterance(
        id=_label(entry, "id", where) or spelled_out(f"{name}@{offset:g}" if offset else name),
        audio=Path(os.path.normpath(folder / name)),
        duration=duration,
        text=entry["text"],
        speaker=_label(entry, "speaker", where),
        offset=offset,
    )


def can_be_a_path(name: str) -> bool:
    """Whether the system could have a file of this name."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:  # half a character, and no byte of a name that is no UTF-8
        return False


def refuse_no_character(text: str, where: str) -> None:
    """InputError for half a character, which JSON can escape and nothing can write."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: text holds {text[error.start]!r}, which is no character. Mend the text") from None


def _seconds(value: object, key: str, where: str) -> float:
    # bool is an int in Python, and json reads NaN and Infinity
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < LONGEST:
        raise InputError(f"{where}: {key} = {value!r:.40} must be a number of seconds, 0 or more, below {LONGEST:g}")
    return float(value)


def _label(entry: dict[str, Any], key: str, where: str) -> str | None:
    """A name that may be absent and that other tools may write as a number."""
    value = entry.get(key)
    if value is None or (isinstance(value, (str, int)) and not isinstance(value, bool)):
        return None if value is None else spelled_out(str(value))
    raise InputError(f"{where}: {key} = {value!r} must be a string")

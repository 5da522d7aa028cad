"""Any folder of audio with a table of texts: CSV, TSV or JSON lines. Common Voice's layout is one of these.

    clips/a1.mp3, clips/a2.mp3, ...          audio of any format that `audio.py` reads; it stays as it is
    train.tsv, dev.tsv, test.tsv             or one table of any name, with or without a column `split`

A table needs a header with an audio and a text column. What has `audio_filepath`, `duration` and `text` in JSON lines
already is a manifest and needs no preparation.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ..audio import probe_audio
from ..errors import InputError
from ..text import normalise, spelled_out
from .archive import unpack
from .manifest import Utterance, refuse_no_character, write_manifests
from .splits import hold_out

# Column names that mean the same; the first that a table has is taken.
COLUMNS = {
    "audio": ("audio_filepath", "audio", "path", "file", "file_name", "filename", "wav_filename", "wav"),
    "text": ("text", "sentence", "transcript", "transcription"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "split": ("split",),
}
SPLIT_NAMES = {"train": "train", "training": "train", "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev"}
SPLIT_NAMES |= {"test": "test", "testing": "test"}
SHARE = 0.1  # of the utterances that is held out where the tables do not say

Row = dict[str, str]


def prepare_folder(archive: Path, out: Path, *, table: Path | None = None) -> dict[str, Path]:
    """Manifests in `out` for audio that a table describes.

    The split comes from a column `split`, else from the table's name (train, dev or valid, test). Where neither says,
    a tenth of the utterances is held out for test; where there is no dev set, a tenth of train. Speakers stay whole.

    Args:
        archive: folder, tar or zip with the audio
        out: another folder, for train.jsonl, dev.jsonl, test.jsonl, and for the audio where `archive` is no folder
        table: CSV, TSV or JSON lines; None takes those nearest the top of the folder

    Returns:
        split -> manifest

    Raises:
        InputError: no table, or one without the columns; rows whose audio is missing or unreadable.
    """
    if out.resolve() == archive.resolve():
        raise InputError(f"{out}: manifests might replace tables of the same name. Choose another folder with --out")
    files = unpack(archive, out / "audio")
    root = archive if archive.is_dir() else out / "audio"
    tables = [table] if table is not None else _find_tables(files, archive)
    by_name = defaultdict(list)
    for file in files:
        by_name[file.name].append(file)

    splits: dict[str | None, list[Utterance]] = defaultdict(list)
    broken: list[str] = []
    for each in tables:
        for where, row in _read_table(each):
            split = _split(row.get("split"), where) if row.get("split") else SPLIT_NAMES.get(each.stem.lower())
            try:
                splits[split].append(_utterance(row, each.parent, root, by_name))
            except InputError as error:
                broken.append(f"{where}: {error}")
    if broken:
        more = f"\n... and {len(broken) - 10} more" if len(broken) > 10 else ""
        raise InputError(
            f"{archive}: {len(broken)} rows cannot be used. Mend or remove them:\n" + "\n".join(broken[:10]) + more
        )
    if not any(splits.values()):
        raise InputError(f"{archive}: no rows in {', '.join(str(each) for each in tables)}")

    complete = _complete(splits)
    return write_manifests(out, {split: utterances for split, utterances in complete.items() if utterances})


def _complete(splits: dict[str | None, list[Utterance]]) -> dict[str, list[Utterance]]:
    """Train, dev and test, where utterances without a split (None) are distributed over the three."""
    train, dev, test = (splits.get(split, []) for split in ("train", "dev", "test"))
    rest, held = hold_out(splits.get(None, []), SHARE)
    train, test = train + rest, test + held
    if not dev:
        train, dev = hold_out(train, SHARE)
    return {"train": train, "dev": dev, "test": test}


def _find_tables(files: list[Path], archive: Path) -> list[Path]:
    """The tables nearest the top: those named after a split, or the only one."""
    tables = [file for file in files if file.suffix.lower() in (".csv", ".tsv", ".jsonl")]
    top = min((len(file.parts) for file in tables), default=0)
    tables = [file for file in tables if len(file.parts) == top]
    named = [file for file in tables if file.stem.lower() in SPLIT_NAMES]
    if named or len(tables) == 1:
        return named or tables
    if not tables:
        raise InputError(f"{archive}: no .csv, .tsv or .jsonl inside. Write one with columns audio and text")
    names = ", ".join(file.name for file in tables)
    raise InputError(f"{archive}: which of {names} describes the audio? Say so with --table")


def _read_table(table: Path) -> Iterator[tuple[str, Row]]:
    """Where each row stands, and its audio, text, speaker and split."""
    columns: dict[str, str] = {}
    for where, cells in _read_cells(table):
        if not columns or table.suffix.lower() == ".jsonl":
            columns = _find_columns(list(cells), where)
        row = {meaning: cells[name] for meaning, name in columns.items()}
        for meaning in ("audio", "text"):
            if row[meaning] is None:
                raise InputError(f"{where}: no {columns[meaning]}. Every row needs as many cells as the header")
        yield where, {meaning: str(value).strip() for meaning, value in row.items() if value is not None}


def _read_cells(table: Path) -> Iterator[tuple[str, dict]]:
    """Rows as they stand, by the names of the header."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            if table.suffix.lower() == ".jsonl":
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield f"{table}, line {number}", _json_object(line, f"{table}, line {number}")
                return
            if table.suffix.lower() == ".tsv":
                # quotation marks in TSV are part of the text, as in Common Voice
                reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            else:
                header = file.readline()
                file.seek(0)
                reader = csv.DictReader(file, delimiter=max(",;\t|", key=header.count))
            for cells in reader:
                yield f"{table}, line {reader.line_num}", cells
    except OSError as error:
        raise InputError(f"{table}: cannot read the table ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{table}: not UTF-8. Save the table as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{table}: not a table ({error})") from None


def _json_object(line: str, where: str) -> dict:
    try:
        cells = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error})") from None
    if not isinstance(cells, dict):
        raise InputError(f"{where}: not a JSON object")
    if cells.get("offset"):
        raise InputError(f"{where}: has an offset, so this is a manifest already. Use it as it is")
    return cells


def _find_columns(header: list[str], where: str) -> dict[str, str]:
    known = {str(name).strip().lower(): name for name in header if name is not None}
    columns = {}
    for meaning, names in COLUMNS.items():
        name = next((known[name] for name in names if name in known), None)
        if name is not None:
            columns[meaning] = name
        elif meaning in ("audio", "text"):
            raise InputError(
                f"{where}: no column for the {meaning} among {', '.join(map(str, header))}. "
                f"Name one {' or '.join(names)}"
            )
    return columns


def _split(name: str, where: str) -> str:
    if name.lower() not in SPLIT_NAMES:
        raise InputError(f"{where}: split = {name!r} must be one of {', '.join(SPLIT_NAMES)}")
    return SPLIT_NAMES[name.lower()]


def _utterance(row: Row, beside: Path, root: Path, by_name: dict[str, list[Path]]) -> Utterance:
    refuse_no_character(row["text"], row["audio"])
    audio = _find_audio(row["audio"], beside, root, by_name)
    relative = audio.relative_to(root) if audio.is_relative_to(root) else audio
    return Utterance(
        id=spelled_out(relative.with_suffix("").as_posix()),
        audio=audio.resolve(),
        duration=probe_audio(audio).duration,
        text=normalise(row["text"]),
        speaker=spelled_out(row.get("speaker") or "") or None,
    )


def _find_audio(name: str, beside: Path, root: Path, by_name: dict[str, list[Path]]) -> Path:
    """The file a row means: as written, beside the table or beneath the folder, else the only one of its name."""
    for folder in (beside, root):
        if name and (folder / name).is_file():
            return folder / name
    found = by_name.get(Path(name).name, [])
    if len(found) == 1:
        return found[0]
    raise InputError(f"{len(found)} files named {name!r}" if found else f"no audio file {name!r}")

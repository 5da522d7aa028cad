"""Results on disk: a file appears whole or not at all, and an older one survives a full disk."""

import csv
import errno
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import InputError


def write_whole(path: str | Path, content: bytes) -> None:
    """Write `content` under another name, flush it to disk, then rename it to `path`; missing folders are made.

    Raises:
        InputError: when it cannot be written; what was at `path` is still there
    """
    path = Path(path)
    refuse_unwritable(path)
    place = Path(os.path.realpath(path)) if path.is_symlink() else path  # the link stays, the file it leads to changes
    digest = hashlib.sha256(os.fsencode(place.name)).hexdigest()[:12]  # a name may be as long as the system allows
    partial = place.with_name(f".{digest}.{os.getpid()}.partial")
    try:
        if place.exists() and not place.is_file():  # a pipe or a device is written into, not replaced
            place.write_bytes(content)
            return
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, place)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({reason(error)}); make room or choose another place") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write plain values as JSON, see `write_whole`."""
    content = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path, content.encode(errors="backslashreplace"))  # names that are no UTF-8 become JSON's own escapes


def refuse_unwritable(path: str | Path) -> None:
    """InputError when no file can be written at `path`: to be asked before an hour of work, not after it."""
    path = Path(path)
    try:
        folder, special = path.is_dir(), path.exists() and not path.is_file()
    except OSError as error:  # a name that is too long, above all
        raise InputError(f"{path}: cannot be written ({reason(error)}); choose another name") from error
    if folder:
        raise InputError(f"{path}: is a folder; give the name of a file to write")
    if special and os.access(path, os.W_OK):
        return  # a pipe or a device, which needs nothing of its folder
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: its folder cannot be made ({reason(error)}); choose another place") from error
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: its folder cannot be written to; choose another place")


def reason(error: OSError) -> str:
    return "no space left on the disk" if error.errno == errno.ENOSPC else error.strerror or str(error)


def write_epoch(path: Path, columns: Sequence[str], epoch: int, rows: Sequence[Mapping[str, object]]) -> None:
    """Put the rows of an epoch into a CSV table in the place of whatever it has of that epoch or later ones."""
    earlier: list[Mapping[str, object]] = []
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            earlier = [row for row in csv.DictReader(file) if int(row["epoch"]) < epoch]
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, columns)
    writer.writeheader()
    writer.writerows([*earlier, *rows])
    write_whole(path, table.getvalue().encode())

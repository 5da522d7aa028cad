"""Archives of corpora: fetched, looked into, unpacked. Knows tar (plain or compressed), zip and folders; no corpus.

Nothing is ever written outside the folder it is meant for: a member whose name or link leads elsewhere, or that is a
device, makes the whole archive refused. Members reach the disk as plain files with new names and new permissions.
"""

from __future__ import annotations

import hashlib
import logging
import lzma
import os
import stat
import tarfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPException
from pathlib import Path, PurePosixPath, PureWindowsPath
from posixpath import normpath
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ..errors import InputError
from ..files import reason, refuse_unwritable

log = logging.getLogger(__name__)

CHUNK = 1 << 20  # bytes read at a time
LARGEST = 1 << 32  # bytes of a file in an archive
PATIENCE = 30.0  # seconds without a byte after which a download has failed

Wanted = Callable[[PurePosixPath], bool]


def read_files(source: Path | str, wanted: Wanted = lambda path: True) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The path and content of every wanted file of a tar, zip or folder, in the order of the archive.

    Raises:
        InputError: not an archive, truncated, damaged, or holding a member that leads outside.
    """
    source = Path(source)
    if source.is_dir():
        yield from _read_folder(source, wanted)
    elif not source.exists():
        raise InputError(f"{source}: no such archive or folder")
    elif _is_zip(source):
        yield from _read_zip(source, wanted)
    else:
        yield from _read_tar(source, wanted)


def unpack(source: Path | str, out: Path, wanted: Wanted = lambda path: True) -> list[Path]:
    """The wanted files on disk: where they are if the source is a folder, else written beneath `out`."""
    source = Path(source)
    if source.is_dir():
        return [source / path for path in list_folder(source) if wanted(path)]
    targets = []
    for path, content in read_files(source, wanted):
        target = out / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            raise InputError(
                f"{target}: cannot be written ({error.strerror}). Make room or choose another folder"
            ) from None
        targets.append(target)
    return list(dict.fromkeys(targets))  # a member may come twice; the last one counts


def download(address: str, target: Path, *, sha256: str | None = None) -> Path:
    """Fetch `address` into the file `target`, which appears complete and verified or not at all.

    A target that is there already is kept, provided its checksum is right.

    Raises:
        InputError: no connection, an error of the server, an incomplete transfer, another checksum, or no room.
    """
    if target.is_file() and (sha256 is None or _sha256(target) == sha256):
        log.info("%s is here already", target)
        return target
    refuse_unwritable(target)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    try:
        found = _fetch(address, unfinished)
        if sha256 is not None and found != sha256:
            raise InputError(
                f"{address}: the download has SHA-256 {found}, expected {sha256}. "
                f"Try again, or fetch it by another way and pass it with --archive"
            )
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def _fetch(address: str, target: Path) -> str:
    """Write what `address` serves to `target` and return its SHA-256."""
    digest = hashlib.sha256()
    name = TextColumn("{task.description}")
    columns = (name, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    try:
        with (
            urllib.request.urlopen(address, timeout=PATIENCE) as response,
            target.open("wb") as file,
            Progress(*columns, console=Console(stderr=True)) as progress,
        ):
            size = int(response.headers.get("Content-Length") or 0)
            task = progress.add_task(address.rsplit("/", 1)[-1], total=size or None)
            while chunk := response.read(CHUNK):
                _append(file, chunk, target)
                digest.update(chunk)
                progress.advance(task, len(chunk))
            received = file.tell()
    except InputError:  # a ValueError itself
        raise
    except (OSError, HTTPException, ValueError) as error:
        why = str(error).strip()  # of an answer that is no HTTP, its line
        raise InputError(f"{address}: cannot download ({why}). Fetch it by hand and pass it with --archive") from None
    if received < size:
        raise InputError(f"{address}: the connection ended after {received} of {size} bytes. Try again")
    return digest.hexdigest()


def _append(file: BinaryIO, chunk: bytes, target: Path) -> None:
    """Write and flush: what a full disk says must not be taken for what the network says."""
    try:
        file.write(chunk)
        file.flush()
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({reason(error)}). Make room or choose another folder") from None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _read_folder(source: Path, wanted: Wanted) -> Iterator[tuple[PurePosixPath, bytes]]:
    for path in list_folder(source):
        if wanted(path):
            yield path, (source / path).read_bytes()


def list_folder(source: Path) -> Iterator[PurePosixPath]:
    """Every file beneath a folder, sorted. Links are followed, for the folder is the user's own, but not in circles."""
    seen = set()
    for folder, folders, files in os.walk(source, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(files):
            path = PurePosixPath(Path(folder, name).relative_to(source).as_posix())
            if not _is_litter(path):
                yield path


def _is_zip(source: Path) -> bool:
    """By its first bytes: zipfile.is_zipfile looks for the end, and sees a zip in a tar that ends with one."""
    with source.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _read_zip(source: Path, wanted: Wanted) -> Iterator[tuple[PurePosixPath, bytes]]:
    try:
        with zipfile.ZipFile(source) as archive:
            for member in archive.infolist():
                path = _inside(member.filename, source)
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise InputError(f"{source}: member {member.filename} is a link. Unpack it and pass the folder")
                if not member.is_dir() and not _is_litter(path) and wanted(path):
                    refuse_oversized(member.filename, member.file_size, source)
                    yield path, archive.read(member)
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{source}: truncated, damaged or encrypted zip ({error}). Fetch it again") from None


def _read_tar(source: Path, wanted: Wanted) -> Iterator[tuple[PurePosixPath, bytes]]:
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                path = _inside(member.name, source)
                if member.issym():
                    _inside(normpath(path.parent / member.linkname), source)
                elif member.islnk():
                    _inside(member.linkname, source)
                elif not member.isfile() and not member.isdir():
                    raise InputError(f"{source}: member {member.name} is a device. This is no corpus; do not use it")
                if _is_litter(path) or not wanted(path):
                    continue
                refuse_oversized(member.name, member.size, source)
                content = archive.extractfile(member)
                if content is not None:
                    with closing(content):
                        yield path, content.read()
            _check_end(archive, source)
    except KeyError as error:
        raise InputError(f"{source}: a link names a member that is not in the archive ({error})") from None
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{source}: not an archive, or truncated or damaged ({error}). Fetch it again") from None


def refuse_oversized(name: str, size: int, source: Path) -> None:
    """InputError for a file that would not fit into memory; a few bytes of an archive can claim terabytes."""
    if size > LARGEST:
        raise InputError(f"{source}: member {name} claims {size:,} bytes, no recording has. Do not use this archive")


def _check_end(archive: tarfile.TarFile, source: Path) -> None:
    """Refuse a tar without its end mark: tarfile takes a cut or unreadable header for the end and says nothing."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise InputError(f"{source}: truncated or damaged at byte {archive.offset} of the tar. Fetch it again")
    while archive.fileobj.read(CHUNK):  # the checksum of gzip, bzip2 and xz comes last
        pass


def _inside(name: str, source: Path) -> PurePosixPath:
    """A member's name as a path that stays inside, or InputError. The rules of Windows, being stricter, decide."""
    path = PureWindowsPath(name)
    if path.drive or path.root or ".." in path.parts or "\0" in name:
        raise InputError(f"{source}: member {name!r} leads outside the archive's folder. Do not trust this archive")
    return PurePosixPath(path.as_posix())


def _is_litter(path: PurePosixPath) -> bool:
    """Whether a file is one that macOS or an editor leaves behind rather than part of a corpus."""
    return "__MACOSX" in path.parts or path.name.startswith("._") or path.name == ".DS_Store"

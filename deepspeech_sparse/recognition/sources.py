"""Which recordings are meant: files, folders, globs, manifests, stdin and, where allowed, addresses."""

from __future__ import annotations

import glob
import sys
import tempfile
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import numpy as np

from ..audio import EXTENSIONS, audio_files, read_blocks
from ..corpora.manifest import read_manifest
from ..errors import InputError

MOST_BYTES = 4 << 30  # of one download
TIMEOUT = 30.0  # s without a byte


@dataclass(frozen=True)
class Excerpt:
    """A recording, or a part of it, not yet opened."""

    source: Path | BinaryIO | str  # a str is an address
    name: str  # how transcripts and errors call it
    offset: float = 0.0  # s
    duration: float | None = None  # s, None to the end

    def blocks(self, sample_rate: int) -> Iterator[np.ndarray]:
        """Its samples, (N_i,) float32.

        Raises:
            InputError: what `audio.read_blocks` says, an address that gives nothing, a folder without recordings
        """
        options = {"sample_rate": sample_rate, "offset": self.offset, "duration": self.duration, "name": self.name}
        if isinstance(self.source, str):
            with fetched(self.source) as path:
                yield from read_blocks(path, **options)
        elif isinstance(self.source, Path) and self.source.is_dir():
            raise InputError(f"{self.name}: holds no audio file; they are known by {', '.join(EXTENSIONS)}")
        else:
            yield from read_blocks(self.source, **options)


def excerpts_of(arguments: Iterable[str | Path], *, allow_urls: bool = False) -> list[Excerpt]:
    """What arguments mean, in their order, each recording once.

    - a folder: every audio file in it and below, by extension, hidden ones left out, sorted
    - a glob such as `calls/**/*.wav`, of which no file has the name: what it matches, sorted
    - a manifest (.jsonl): its utterances, with their offset and duration; the name is PATH#ID, and of several with
      the same id PATH#ID@900-1900ms
    - `-`: encoded audio on stdin
    - http:// and https:// where `allow_urls`
    - anything else: a file, whether it is there or not

    Raises:
        InputError: an address that is not allowed, a manifest that cannot be read, nothing found
    """
    arguments = [str(argument) for argument in arguments]
    found: dict[object, Excerpt] = {}
    for argument in arguments:
        for excerpt in meant_by(argument, allow_urls):
            place = real_path(excerpt.source) if isinstance(excerpt.source, Path) else argument
            found.setdefault((place, excerpt.offset, excerpt.duration), excerpt)
    if not found:
        raise InputError(f"{', '.join(arguments)}: no audio file there; give files, folders, globs or a manifest")
    return told_apart(list(found.values()))


def told_apart(excerpts: list[Excerpt]) -> list[Excerpt]:
    """The same, those of one name with the times they have in their recording: NAME@900ms, NAME@900-1900ms."""
    shared = Counter(excerpt.name for excerpt in excerpts)

    def named(excerpt: Excerpt) -> Excerpt:
        if shared[excerpt.name] == 1:
            return excerpt
        times = [excerpt.offset] if excerpt.duration is None else [excerpt.offset, excerpt.offset + excerpt.duration]
        return replace(excerpt, name=f"{excerpt.name}@{'-'.join(f'{1000 * time:.0f}' for time in times)}ms")

    return [named(excerpt) for excerpt in excerpts]


def meant_by(argument: str, allow_urls: bool) -> Iterator[Excerpt]:
    """Of one argument."""
    if argument == "-":
        if sys.stdin is None:
            raise InputError("-: there is no stdin")
        yield Excerpt(sys.stdin.buffer, "stdin")
        return
    if address := address_of(argument):
        if not allow_urls:
            raise InputError(f"{argument}: addresses are fetched only with --allow-urls")
        yield Excerpt(address, address)
        return
    path = Path(argument)
    try:
        path.exists()
    except OSError as error:
        raise InputError(f"{argument[:200]}: cannot be a file ({error.strerror})") from error
    if path.is_dir():
        yield from (
            Excerpt(file, str(file)) for file in audio_files(path) or [path]
        )  # without audio it fails when read
    elif path.suffix == ".jsonl" and path.is_file():
        for utterance in read_manifest(path, audio_must_exist=False):
            name = f"{utterance.audio}#{utterance.id}"
            yield Excerpt(utterance.audio, name, utterance.offset, utterance.duration)
    elif glob.has_magic(argument) and not path.exists():
        matches = [match for match in sorted(glob.glob(argument, recursive=True)) if Path(match).is_file()]
        yield from (Excerpt(Path(match), match) for match in matches or [argument])  # none: it fails as a file
    else:
        yield Excerpt(path, argument)


def real_path(path: Path) -> Path:
    """Where a file lies, as far as links tell."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # links in a circle
        return path.absolute()


def address_of(argument: str) -> str | None:
    """http and https; Path() makes one slash of two, so one will do.

    Raises:
        InputError: another scheme
    """
    scheme, colon, rest = argument.partition(":/")
    if not colon or not scheme.isalnum() or len(scheme) == 1 or Path(argument).exists():  # a letter: a drive
        return None
    if scheme.lower() not in ("http", "https"):
        raise InputError(f"{argument}: of addresses only http and https are fetched")
    return f"{scheme.lower()}://{rest.lstrip('/')}"


class SameSchemes(urllib.request.HTTPRedirectHandler):
    """A server must not send us to ftp."""

    def redirect_request(self, request, file, code, message, headers, address):
        if urlsplit(address).scheme not in ("http", "https"):
            raise InputError(f"{request.full_url}: leads to {address}; only http and https are fetched")
        return super().redirect_request(request, file, code, message, headers, address)


@contextmanager
def fetched(address: str, most: int = MOST_BYTES, timeout: float = TIMEOUT) -> Iterator[Path]:
    """What lies at an address, on disk for a while.

    Raises:
        InputError: no answer, an error, more than `most` bytes, `timeout` seconds of silence
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "download"
        try:
            opener = urllib.request.build_opener(SameSchemes)
            with opener.open(address, timeout=timeout) as answer, path.open("wb") as file:
                while content := answer.read(1 << 20):
                    file.write(content)
                    if file.tell() > most:
                        raise InputError(f"{address}: more than {most} bytes; fetch it yourself and give the file")
        except InputError:  # a ValueError itself
            raise
        except (urllib.error.URLError, HTTPException, OSError, ValueError) as error:
            raise InputError(f"{address}: cannot be fetched ({getattr(error, 'reason', error)})") from error
        yield path

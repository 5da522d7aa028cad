"""Sentences to learn a language model from: text files, one in a line, also compressed, and manifests."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from ..corpora.manifest import read_manifest
from ..errors import InputError
from ..text import SPACE_MARK, Alphabet

Units = Literal["words", "characters"]
RESERVED = ("<s>", "</s>", "<unk>")

log = logging.getLogger(__name__)


def read_sentences(paths: Iterable[Path], alphabet: Alphabet = Alphabet()) -> Iterator[str]:
    """The lines of text files (.gz too) and the texts of manifests (.jsonl), as `alphabet` writes them; no empty ones.

    Raises:
        InputError: a file that cannot be read, is not UTF-8 or holds control characters
    """
    for path in map(Path, paths):
        empty = 0
        for text in texts_of(path):
            text = alphabet.written(text)
            if text:
                yield text
            else:
                empty += 1
        if empty:
            log.info("%s: %d empty lines left out", path, empty)


def texts_of(path: Path) -> Iterator[str]:
    if path.suffix == ".jsonl":
        yield from (utterance.text for utterance in read_manifest(path, audio_must_exist=False))
        return
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if b"\0" in line:
                    raise InputError(f"{path}, line {number}: holds binary data; give text, one sentence in a line")
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, line {number}: not UTF-8 ({error.reason}); convert it, e.g. with iconv") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason}); give text, one sentence in a line") from error


def units_of(sentence: str, units: Units) -> list[str]:
    """A sentence as what the model predicts: its words, or its characters with | for the space.

    Raises:
        InputError: a unit that ARPA files reserve

    Example:
        >>> units_of("to be", "characters")
        ['t', 'o', '|', 'b', 'e']
    """
    if units == "words":
        found = sentence.split()
        reserved = next((word for word in found if word.lower() in RESERVED), None)  # an alphabet may write capitals
        if reserved:
            raise InputError(f"text {sentence[:60]!r}: {reserved} is reserved for language models; remove it")
        return found
    if SPACE_MARK in sentence:
        raise InputError(
            f"text {sentence[:60]!r}: {SPACE_MARK} stands for the space in models of characters; remove it"
        )
    return list(sentence.replace(" ", SPACE_MARK))

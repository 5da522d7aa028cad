"""Lexicons: the words that a decoder may write, with their spelling.

word<TAB>w o r d
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError
from ..files import write_whole
from ..text import Alphabet

log = logging.getLogger(__name__)


def write_lexicon(path: Path, words: Iterable[str], alphabet: Alphabet) -> int:
    """Write words in order, each spelled by its characters; those that the alphabet cannot write are left out.

    Returns:
        how many were written

    Raises:
        InputError: it cannot be written, or there is no word for it
    """
    words = sorted(set(words))
    foreign = [word for word in words if alphabet.foreign(word)]
    if foreign:
        log.info("%s: %d words left out that the alphabet cannot write, e.g. %s", path, len(foreign), foreign[0])
    left = set(foreign)
    lines = [f"{word}\t{' '.join(word)}\n" for word in words if word not in left]
    if not lines:
        raise InputError(f"{path}: {alphabet.symbols!r} writes none of the words; give the alphabet of the model")
    write_whole(path, "".join(lines).encode())
    return len(lines)

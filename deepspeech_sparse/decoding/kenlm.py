"""Language models through KenLM, which comes with flashlight-text, and what can be wrong with their files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError

LOG10 = math.log(10.0)  # KenLM's scores are decimal logarithms; alpha weighs natural ones, as in ctcdecode
REMEDY = "pip install 'deepspeech-sparse[beam]' (wheels up to Python 3.12), or choose --decoder.kind greedy"


def load_kenlm(path: Path, units: Sequence[str], what: str) -> Any:
    """A KenLM model whose unit i is `units[i]`.

    Args:
        path: ARPA, plain or gzip'ed, or KenLM's binary form
        units: words or characters, as the model writes them
        what: how an error calls them

    Raises:
        InputError: flashlight-text is not installed; no such file, damaged, or a model of other units
    """
    refuse_without_flashlight()
    from flashlight.lib.text.decoder.kenlm import KenLM

    refuse_missing(path)
    refuse_other_units(path, units, what)
    try:
        with silent_stderr():  # KenLM draws a progress bar
            return KenLM(str(path), dictionary(units))
    except (RuntimeError, UnicodeDecodeError) as error:  # KenLM quotes what it found, whatever that is
        reason = " ".join(str(error).split("Exception", 1)[-1].split())[:160].strip(" .")
        raise InputError(f"{path}: KenLM cannot read this language model ({reason}); build it again") from error


def refuse_missing(path: Path) -> None:
    """InputError unless there is a file."""
    if not path.is_file():
        raise InputError(f"{path}: no such language model; `deepspeech-sparse lm build` makes one")


def refuse_without_flashlight() -> None:
    """InputError unless flashlight-text is installed."""
    try:
        import flashlight.lib.text.decoder.kenlm  # noqa: F401
    except ImportError as error:
        raise InputError(f"decoder: beam search needs the package flashlight-text ({error}); {REMEDY}") from error


def dictionary(entries: Sequence[str]) -> Any:
    """Entries numbered in order."""
    from flashlight.lib.text.dictionary import Dictionary

    numbered = Dictionary()
    for entry in entries:
        numbered.add_entry(entry)
    return numbered


def refuse_other_units(path: Path, units: Sequence[str], what: str) -> None:
    """InputError if an ARPA file has hardly any of the units; KenLM's binary form does not tell its own."""
    known = set(arpa_units(path))
    if known and sum(unit in known for unit in units) < 0.1 * len(units):
        raise InputError(
            f"{path}: this language model knows hardly any of {what}, e.g. not {units[-1]!r}. A lexicon needs one of "
            "words (`lm build`), a search without one needs characters (`lm build --units characters`)"
        )


def arpa_units(path: Path) -> Iterator[str]:
    """The single units of an ARPA file, none of anything else."""
    with open(path, "rb") as file:
        if not file.readline(80).lstrip().startswith(b"\\data\\"):
            return
        inside = False
        for line in file:
            if line.startswith(b"\\"):
                if inside:
                    return
                inside = line.startswith(b"\\1-grams:")
            elif inside and b"\t" in line:
                yield line.split(b"\t")[1].strip().decode("utf-8", "replace")


@contextmanager
def silent_stderr() -> Iterator[None]:
    """What C++ code says meanwhile is lost."""
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)

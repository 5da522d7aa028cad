"""ARPA files: the text form of language models that KenLM and others read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..files import write_whole
from .counts import BEGIN, Counts
from .kneser_ney import Smoothed

NEVER = -99.0  # log10, by convention, of <s>, which is never predicted


def write_arpa(path: Path, counts: Counts, smoothed: list[Smoothed]) -> None:
    """Write a model; the file appears whole or not at all.

    Raises:
        InputError: it cannot be written
    """
    write_whole(path, "".join(arpa_lines(counts, smoothed)).encode())


def arpa_lines(counts: Counts, smoothed: list[Smoothed]) -> Iterator[str]:
    yield "\\data\\\n"
    for k, order in enumerate(smoothed, start=1):
        yield f"ngram {k}={int(order.kept.sum())}\n"
    names: list[str] = []
    for k, (ngrams, order) in enumerate(zip(counts.orders, smoothed), start=1):
        units = (counts.vocabulary[unit] for unit in ngrams.unit.tolist())
        names = [f"{names[c]} {u}" for c, u in zip(ngrams.context.tolist(), units)] if k > 1 else list(units)
        yield f"\n\\{k}-grams:\n"
        yield from order_lines(names, order, backoffs=k < len(smoothed), begin=BEGIN if k == 1 else None)
    yield "\n\\end\\\n"


def order_lines(names: list[str], order: Smoothed, *, backoffs: bool, begin: int | None) -> Iterator[str]:
    with np.errstate(divide="ignore"):
        probabilities = np.log10(order.probability)
    if begin is not None:
        probabilities[begin] = NEVER
    rows = zip(names, probabilities.tolist(), np.log10(order.backoff).tolist(), order.kept.tolist())
    if backoffs:
        return (f"{p:.7f}\t{name}\t{backoff:.7f}\n" for name, p, backoff, kept in rows if kept)
    return (f"{p:.7f}\t{name}\n" for name, p, _, kept in rows if kept)

"""How often each n-gram occurs, by sorting whole columns of numbers.

An n-gram of order k is known by its row in a table of that order; its context (without the last unit) and its suffix
(without the first) are rows in the table of order k - 1.

    sentence  <s> a b </s>     order 1   <unk> <s> </s> a b      order 2   <s> a,  a b,  b </s>
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..errors import InputError

UNKNOWN, BEGIN, END = 0, 1, 2  # rows of order 1


@dataclass(frozen=True)
class NGrams:
    """All n-grams of one order, a row each."""

    context: np.ndarray  # (rows,) int64, row of order k - 1; all 0 for order 1
    unit: np.ndarray  # (rows,) int64, the last unit, a row of order 1
    suffix: np.ndarray  # (rows,) int64, row of order k - 1; all 0 for order 1
    count: np.ndarray  # (rows,) int64, occurrences
    begins: np.ndarray  # (rows,) bool, whether it starts with <s>

    def __len__(self) -> int:
        return len(self.unit)


@dataclass(frozen=True)
class Counts:
    """The n-grams of a text up to some order."""

    vocabulary: list[str]  # <unk>, <s>, </s>, then units as they came
    orders: list[NGrams]
    units: int  # in the text
    sentences: int


def count(sentences: Iterable[list[str]], order: int) -> Counts:
    """Count all n-grams of sentences; each is framed by one <s> and one </s>.

    Raises:
        InputError: no sentence, an order that KenLM cannot read
    """
    if not 2 <= order <= 6:
        raise InputError(f"lm: order {order}: 2 to 6 are possible, no others can be read by KenLM")
    rows: dict[str, int] = {"<unk>": UNKNOWN, "<s>": BEGIN, "</s>": END}
    text, units, total = [], 0, 0
    for sentence in sentences:
        text.append(BEGIN)
        text.extend([rows.setdefault(unit, len(rows)) for unit in sentence])
        text.append(END)
        units, total = units + len(sentence), total + 1
    if not total:
        raise InputError("lm: the texts hold no sentence; one is expected in each line")
    words = np.array(text, dtype=np.int64)
    vocabulary = list(rows)
    occurrences = np.bincount(words, minlength=len(vocabulary))
    nothing = np.zeros(len(vocabulary), dtype=np.int64)
    orders = [NGrams(nothing, np.arange(len(vocabulary)), nothing, occurrences, np.arange(len(vocabulary)) == BEGIN)]
    rows_here, starts = words, np.arange(len(words))  # of the n-grams that start at `starts`
    for k in range(2, order + 1):
        ends = starts + k - 1
        inside = ends < len(words)
        inside[inside] = words[ends[inside]] != BEGIN  # no n-gram goes over the end of its sentence
        follow = np.full(len(words) + 1, -1)
        follow[starts] = rows_here
        starts, ends, contexts = starts[inside], ends[inside], rows_here[inside]
        keys, first, rows_here, occurrences = np.unique(
            contexts * len(vocabulary) + words[ends], return_index=True, return_inverse=True, return_counts=True
        )
        context = keys // len(vocabulary)
        suffix = follow[starts[first] + 1]
        orders.append(NGrams(context, keys % len(vocabulary), suffix, occurrences, orders[-1].begins[context]))
    return Counts(vocabulary, orders, units, total)

"""Interpolated modified Kneser-Ney smoothing (Chen and Goodman 1998, section 4.1; Heafield et al. 2013, section 3).

    p(w | h) = max(a(hw) - D(a(hw)), 0) / A(h) + gamma(h) p(w | h'),     h' = h without its first unit
    A(h) = sum over w of a(hw),     gamma(h) = what the discounts of h freed, over A(h)

a is the count for the highest order and for n-grams that start with <s>; below it is the number of different units that
precede the n-gram. Order 1 is interpolated with 1 / (units + <unk> + </s>).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from .counts import BEGIN, UNKNOWN, Counts, NGrams

FALLBACK = np.array([0.0, 0.5, 1.0, 1.5])  # lmplz --discount_fallback: where a text is too small to estimate them

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Smoothed:
    """The probabilities of one order."""

    probability: np.ndarray  # (rows,) of the last unit after its context; of <s> 0
    backoff: np.ndarray  # (rows,) weight of the lower order after this n-gram; 1 where nothing was seen after it
    kept: np.ndarray  # (rows,) bool, false for what pruning takes away


def smooth(counts: Counts, prune: Sequence[int] = ()) -> list[Smoothed]:
    """Probabilities and backoff weights of all orders.

    Args:
        prune: for each order, the n-grams that occur so many times or fewer are left out, and what they had goes to
            the lower order; 0 keeps all; the last one stands for higher orders, too

    Raises:
        InputError: thresholds that are negative, fall, or take single units away
    """
    thresholds = checked_thresholds(prune, len(counts.orders))
    smoothed: list[Smoothed] = []
    for k, ngrams in enumerate(counts.orders, start=1):
        adjusted = adjusted_counts(counts.orders, k)
        kept = ngrams.count > thresholds[k - 1]
        kept[: 3 if k == 1 else 0] = True
        discounts = discounts_of(adjusted[adjusted > 0], k)
        contexts = len(counts.orders[k - 2]) if k > 1 else 1
        total = np.bincount(ngrams.context, adjusted, contexts)
        removed = np.where(kept, np.minimum(discounts[np.minimum(adjusted, 3)], adjusted), adjusted)
        freed = np.bincount(ngrams.context, removed, contexts)
        seen = total > 0
        gamma = np.where(seen, freed / np.where(seen, total, 1), 1.0)
        own = (adjusted - removed) / np.where(seen, total, 1)[ngrams.context]
        lower = smoothed[-1].probability[ngrams.suffix] if k > 1 else 1.0 / (len(counts.vocabulary) - 1)
        probability = own + gamma[ngrams.context] * lower
        if k == 1:
            probability[BEGIN] = 0.0  # never predicted
        else:  # gamma is of the contexts, which are the n-grams of the order below
            smoothed[-1] = replace(smoothed[-1], backoff=gamma)
        smoothed.append(Smoothed(probability, np.ones(len(ngrams)), kept))
    return smoothed


def adjusted_counts(orders: list[NGrams], k: int) -> np.ndarray:
    """a of all n-grams of order k: (rows,) int64; 0 for <s> and <unk> alone."""
    ngrams = orders[k - 1]
    if k == len(orders):
        adjusted = ngrams.count.copy()
    else:
        preceded = np.bincount(orders[k].suffix, minlength=len(ngrams))  # each longer n-gram is another predecessor
        adjusted = np.where(ngrams.begins, ngrams.count, preceded)
    if k == 1:
        adjusted[[BEGIN, UNKNOWN]] = 0
    return adjusted


def discounts_of(adjusted: np.ndarray, k: int) -> np.ndarray:
    """0, D1, D2 and D3+ (Chen and Goodman 1998, Eq. 26) from the counts of one order, (n,) all positive."""
    n1, n2, n3, n4 = (int((adjusted == times).sum()) for times in (1, 2, 3, 4))
    if min(n1, n2, n3):
        y = n1 / (n1 + 2 * n2)
        found = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        if (found[1:] > 0).all():
            return found
    log.info("order %d: too few n-grams occur 1 to 4 times to estimate discounts; 0.5, 1 and 1.5 are taken", k)
    return FALLBACK


def checked_thresholds(prune: Sequence[int], orders: int) -> list[int]:
    """One for each order."""
    thresholds = [*prune, *[prune[-1] if prune else 0] * orders][:orders]
    if any(threshold < 0 for threshold in prune) or thresholds != sorted(thresholds):
        raise InputError(f"lm: prune {list(prune)}: 0 or more, none smaller than the one before, e.g. [0, 0, 1]")
    if thresholds[0] > 0 or len(prune) > orders:
        raise InputError(f"lm: prune {list(prune)}: at most {orders} thresholds, the first 0: single units stay")
    return thresholds

"""Few values for many weights: one-dimensional k-means, entries that float16 can hold.

Weights are rounded to float16 first, of which there are less than 65,536: however many weights there are, k-means runs
over a histogram that is exact, and a weight finds its entry in a table.
"""

from __future__ import annotations

import numpy as np

ROUNDS = 300  # of Lloyd's algorithm at most; each takes less than a millisecond


def codebook_of(values: np.ndarray, entries: int) -> tuple[np.ndarray, np.ndarray]:
    """A codebook for some values, and the entry of each.

    A zero has an entry of its own, which no other value gets.

    Args:
        values: (count,) float16, finite
        entries: how many there may be at most, at least 2

    Returns:
        codebook (at most `entries`,) float16, rising; indices (count,) uint8
    """
    histogram = np.bincount(values.view(np.uint16), minlength=1 << 16)
    histogram[0x8000], histogram[0] = 0, histogram[0] + histogram[0x8000]  # minus zero is a zero
    present = np.flatnonzero(histogram).astype(np.uint16)
    points = present.view(np.float16)
    order = np.argsort(points)
    present, points = present[order], points[order].astype(np.float64)
    counts = histogram[present].astype(np.float64)
    zero = points == 0
    if len(points) <= entries:
        centres = points
    else:
        centres = fitted(points[~zero], counts[~zero], entries - int(zero.any()))
    others = np.unique(centres.astype(np.float16))
    others = others[others != 0]  # no centre may make a zero of what is none
    codebook = np.union1d(others, np.zeros(int(zero.any()), np.float16))
    table = np.zeros(1 << 16, np.uint8)
    table[present] = np.searchsorted(codebook, nearest(others, points) if len(others) else points)
    if zero.any():
        table[[0, 0x8000]] = np.searchsorted(codebook, 0)
    return codebook, table[values.view(np.uint16)]


def fitted(points: np.ndarray, counts: np.ndarray, entries: int) -> np.ndarray:
    """Centres of 1-D k-means by Lloyd's algorithm, from quantiles: points (P,) rising -> (entries,) rising."""
    # How dense the centres of the best quantiser lie: by the cube root of the density (Panter and Dite 1951).
    gaps = np.diff(points, prepend=-np.inf, append=np.inf)
    widths = np.minimum(gaps[:-1], gaps[1:])
    shares = np.cumsum((counts * widths**2) ** (1 / 3))
    centres = points[np.searchsorted(shares, (np.arange(entries) + 0.5) / entries * shares[-1])]
    total = np.concatenate([[0], np.cumsum(counts)])
    moment = np.concatenate([[0], np.cumsum(counts * points)])
    for _ in range(ROUNDS):
        borders = np.concatenate([[0], np.searchsorted(points, (centres[:-1] + centres[1:]) / 2), [len(points)]])
        weights = np.diff(total[borders])
        better = np.where(weights > 0, np.diff(moment[borders]) / np.maximum(weights, 1), centres)
        if np.array_equal(better, centres):
            break
        centres = better
    return centres


def nearest(centres: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The centre next to each point, both rising."""
    wide = centres.astype(np.float64)
    return centres[np.searchsorted((wide[:-1] + wide[1:]) / 2, points)]

"""The k-th smallest of many million sizes, exactly, in a few passes over memory.

torch's kthvalue takes half a second for a layer of 2560 GRU units on a CPU, and one is needed at every mask update.
Here a random sample brackets the answer, one pass counts what lies below the bracket and collects what lies inside,
and only those few are sorted. A sample that misleads costs time, never the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

SAMPLE = 1 << 16
CHUNK = 1 << 16  # sizes looked at at once: they stay in the cache between the comparisons


def size_quantile(sizes: Sequence[Tensor], share: float) -> float:
    """Threshold below which `share` of all sizes lie: the smallest size that at least that share does not exceed.

    Args:
        sizes: any shapes, none negative
        share: 0 to 1; at 1 the threshold exceeds every size

    Example:
        >>> size_quantile([torch.tensor([4.0, 1.0]), torch.tensor([2.0, 3.0])], 0.5)   # 1 and 2 are below
        3.0
    """
    count = sum(size.numel() for size in sizes)
    # Half a unit's rounding must not cost a whole unit: 0.7 * 10 is 6.999... in binary.
    rank = math.floor(share * count + 1e-6) + 1
    if rank > count:
        largest = max(size.max().item() for size in sizes)
        return float(np.nextafter(np.float32(largest), np.float32(np.inf)))
    return kth_smallest(sizes, rank)


def kth_smallest(sizes: Sequence[Tensor], rank: int) -> float:
    """The `rank`-th smallest of all sizes, counted from 1."""
    if any(size.is_cuda for size in sizes):  # a radix select: milliseconds
        return torch.cat([size.flatten() for size in sizes]).kthvalue(rank).values.item()
    arrays = [size.detach().float().reshape(-1).numpy() for size in sizes]
    count = sum(map(len, arrays))
    if count > 4 * SAMPLE:
        found = within_bracket(arrays, rank, *bracket(arrays, rank / count))
        if found is not None:
            return found
    return float(np.partition(np.concatenate(arrays), rank - 1)[rank - 1])


def bracket(arrays: list[np.ndarray], share: float) -> tuple[float, float]:
    """Two values between which the quantile `share` lies, but for one case in many thousands."""
    count = sum(map(len, arrays))
    generator = np.random.default_rng(0)  # its own: training's randomness must not depend on pruning
    sample = np.sort(
        np.concatenate([a[generator.integers(len(a), size=1 + SAMPLE * len(a) // count)] for a in arrays if len(a)])
    )
    # Five standard errors of a rank, and a few ranks more where the quantile is close to 0 or 1.
    reach = 5 * math.sqrt(len(sample) * share * (1 - share)) + 10
    low, high = math.floor(share * len(sample) - reach), math.ceil(share * len(sample) + reach)
    return (
        float(sample[low]) if low >= 0 else 0.0,
        float(sample[high]) if high < len(sample) else math.inf,
    )


def within_bracket(arrays: list[np.ndarray], rank: int, low: float, high: float) -> float | None:
    """The `rank`-th smallest if it lies between `low` and `high`, else None. Zeros, often many, are only counted."""
    below = 0
    inside = []
    smallest = float(np.finfo(np.float32).smallest_subnormal)
    low = max(low, smallest)
    for array in arrays:
        for start in range(0, len(array), CHUNK):
            chunk = array[start : start + CHUNK]
            under = chunk < low
            below += np.count_nonzero(under)
            inside.append(chunk[(chunk <= high) & ~under])
    if low == smallest and rank <= below:  # only zeros are below
        return 0.0
    candidates = np.concatenate(inside)
    place = rank - below - 1
    if not 0 <= place < len(candidates):
        return None
    return float(np.partition(candidates, place)[place])

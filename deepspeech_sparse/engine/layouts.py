"""Which layout a matrix is packed in: the one that multiplies fastest on this machine, measured.

A layout costs so much time for each value that it stores. That price is measured once in a process, on a small matrix;
how many values a matrix needs in a layout (blocks have zeros inside, dense has all of them) is counted.
"""

from __future__ import annotations

import time
from functools import cache

import torch
from torch import Tensor

from .sparse import BLOCKS, MOST_COLUMNS, SparseMatrix

# A block's values are cheaper than single ones, but on no machine this many times: more zeros inside need no measuring.
MOST_TIMES = 6
ROWS, COLUMNS = 512, 1024  # of the matrix that prices are measured on
SAMPLE = 1024  # rows of a matrix that are looked at


def fastest_layout(dense: Tensor, frames: int, values: str = "float32") -> tuple[int, int] | None:
    """The block of `SparseMatrix.from_dense` that is expected to multiply fastest; None is dense.

    Args:
        dense: (rows, columns)
        frames: columns of x at once: 1 for a recurrent matrix, 16 for one that sees many frames
        values: as what they are stored
    """
    if dense.shape[1] > MOST_COLUMNS:
        return None
    counts = stored_in_layouts(dense)
    if not counts[1, 1]:
        return (1, 1)
    worth = [block for block, stored in counts.items() if stored <= MOST_TIMES * counts[1, 1]]
    if len(worth) == 1:
        return worth[0]
    return min(worth, key=lambda block: counts[block] * seconds_per_value(block, frames, values))


def stored_in_layouts(dense: Tensor) -> dict[tuple[int, int] | None, int]:
    """Values that each layout would store of a sample of the rows."""
    rows = dense.shape[0] // 16 * 16
    if not rows:
        return {(1, 1): int(dense.count_nonzero()), None: dense.numel()}
    groups = dense[:rows].unflatten(0, (-1, 16))  # whole blocks of every height
    kept = groups[:: max(1, rows // SAMPLE)].flatten(0, 1) != 0
    counts: dict[tuple[int, int] | None, int] = {None: kept.numel()}
    for down, across in BLOCKS:
        padded = torch.nn.functional.pad(kept, (0, -kept.shape[1] % across))
        blocks = padded.unflatten(1, (-1, across)).any(2).unflatten(0, (-1, down)).any(1)
        counts[down, across] = int(blocks.sum()) * down * across
    return counts


@cache
def seconds_per_value(block: tuple[int, int] | None, frames: int, values: str = "float32") -> float:
    """The price of a layout on one thread: the shortest of several products."""
    generator = torch.Generator().manual_seed(0)
    down, across = block or (1, 1)
    kept = torch.rand(ROWS // down, COLUMNS // across, generator=generator) < (0.1 if block else 1)
    matrix = SparseMatrix.from_dense(
        kept.float().repeat_interleave(down, 0).repeat_interleave(across, 1), block, values
    )
    x = torch.ones(COLUMNS, frames)
    if frames == 1:
        x = x[:, 0]
    shortest = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        matrix.matmul(x, threads=1)
        shortest = min(shortest, time.perf_counter() - started)
    return shortest / max(matrix.stored, 1)

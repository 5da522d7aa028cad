"""Which weights are not zero: the blocks that hold them, as steps from one block to the next.

A block is a single weight, or the rectangle in which a matrix was pruned. Blocks are counted row by row, and a step of
one byte leads from one to the next: 0 to 254 empty blocks are passed before the next full one, 255 passes 255 empty
ones and no more. For a mask without structure gaps are geometric, which forgets how far it has come: a histogram of
such steps, escapes included, loses nothing to one of whole gaps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .codec import CHUNK

ESCAPE = 255


@dataclass(frozen=True)
class Grid:
    """A matrix divided into blocks; a kernel counts as the matrix (C', C * k...)."""

    rows: int
    columns: int
    block: tuple[int, int]  # rows, columns

    @property
    def fits(self) -> bool:
        """Whether the blocks tile the matrix."""
        return self.rows % self.block[0] == 0 and self.columns % self.block[1] == 0

    @property
    def blocks(self) -> int:
        return self.rows * self.columns // self.block_size

    @property
    def block_size(self) -> int:
        return self.block[0] * self.block[1]

    def full_blocks(self, kept: np.ndarray) -> np.ndarray:
        """Numbers of the blocks that hold a kept weight, rising: kept (rows, columns) bool -> (count,)."""
        if self.block_size > 1:
            kept = self.by_block(kept).any((1, 3))
        return np.flatnonzero(kept)

    def count_full(self, kept: np.ndarray) -> int:
        """How many `full_blocks` there are."""
        return int(np.count_nonzero(kept if self.block_size == 1 else self.by_block(kept).any((1, 3))))

    def by_block(self, matrix: np.ndarray) -> np.ndarray:
        """The same memory as (rows of blocks, rows of a block, columns of blocks, columns of a block)."""
        rows, columns = self.block
        return matrix.reshape(self.rows // rows, rows, self.columns // columns, columns)

    def values(self, matrix: np.ndarray, blocks: np.ndarray) -> np.ndarray:
        """The weights of some blocks, block by block: (rows, columns) -> (count * block_size,)."""
        if self.block_size == 1:
            return matrix.ravel()[blocks]
        across, down = blocks % (self.columns // self.block[1]), blocks // (self.columns // self.block[1])
        return self.by_block(matrix)[down, :, across, :].ravel()

    def set_values(self, matrix: np.ndarray, blocks: np.ndarray, values: np.ndarray) -> None:
        """The inverse of `values`, in place; `matrix` is contiguous."""
        if self.block_size == 1:
            matrix.reshape(-1)[blocks] = values
            return
        across, down = blocks % (self.columns // self.block[1]), blocks // (self.columns // self.block[1])
        self.by_block(matrix)[down, :, across, :] = values.reshape(-1, *self.block)


def steps_to(blocks: np.ndarray) -> np.ndarray:
    """The steps that lead to these blocks: (count,) rising -> (steps,) uint8."""
    escapes, rest = np.divmod(np.diff(blocks, prepend=-1) - 1, ESCAPE)
    steps = np.full(len(blocks) + int(escapes.sum()), ESCAPE, np.uint8)
    steps[np.cumsum(escapes + 1) - 1] = rest
    return steps


def blocks_after(steps: np.ndarray, blocks: int, count: int) -> Iterator[np.ndarray]:
    """The inverse of `steps_to`, a stretch at a time.

    Args:
        steps: (steps,) uint8
        blocks: that the matrix has
        count: how many of them are full

    Raises:
        ValueError: steps beyond the last block, or to another number of blocks
    """
    full = len(steps) - int(np.count_nonzero(steps == ESCAPE))
    if full != count:
        raise ValueError(f"leads to {full} blocks instead of {count}")
    last = -1
    for place in range(0, len(steps), CHUNK):
        chunk = steps[place : place + CHUNK].astype(np.int64)
        ends = chunk != ESCAPE
        chunk += ends
        reached = np.cumsum(chunk, out=chunk)
        reached += last
        last = int(reached[-1])
        if last >= blocks:
            raise ValueError(f"leads to block {last} of {blocks}")
        yield reached[ends]

"""The two ways in which a packed matrix multiplies. What they may be given, `sparse.py` has checked."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ..machine.runtime import native
from .values import Rounded

DENSE_ROWS = 16  # rows of a dense matrix that lie side by side
Block = tuple[int, int] | None  # rows x columns; None for a dense matrix


class NativeProduct:
    """In the C++ of `native/`: values and 16-bit indices in the layouts of layouts/matrices.h."""

    def __init__(self, matrix: Rounded, block: Block) -> None:
        numbers = matrix.numbers
        scales = torch.empty(0) if matrix.scales is None else matrix.scales
        if block is None:
            side_by_side = padded(numbers, (DENSE_ROWS, 1)).unflatten(0, (-1, DENSE_ROWS)).transpose(1, 2)
            shape, indices, values = numbers.shape, (), side_by_side
        else:
            shape = (*numbers.shape, *block)
            indices, values = blocks_of(numbers, block)
        values = values.to(matrix.dtype).flatten().numpy()
        if matrix.dtype == torch.float16:
            values = values.view(np.uint16)
        self.rows = numbers.shape[0]
        self.matrix = native().Matrix(*shape, *indices, values, scales.numpy())

    @property
    def stored(self) -> int:
        return self.matrix.stored

    @property
    def bytes(self) -> int:
        return self.matrix.bytes

    def matmul(self, x: Tensor, threads: int) -> Tensor:
        """(columns,) -> (rows,), (columns, batch) -> (rows, batch)"""
        # NumPy's arrays are made and handed over 3 to 4 microseconds faster than tensors: small products take 10.
        y = np.empty((self.rows, *x.shape[1:]), np.float32)
        self.matrix.multiply(x.numpy(), y, threads)
        return torch.from_numpy(y)

    def linear(self, x: Tensor, threads: int) -> Tensor:
        """(n, columns) -> (n, rows)"""
        y = np.empty((x.shape[0], self.rows), np.float32)
        self.matrix.linear(x.numpy(), y, threads)
        return torch.from_numpy(y)


class TorchProduct:
    """In torch's sparse CSR, which is MKL's on x86. Stores the same values, so that NaN in x reaches the same rows.

    Values are rounded, but kept as float32. A matrix without blocks is torch's dense one.
    """

    def __init__(self, matrix: Rounded, block: Block) -> None:
        dense = matrix.values()
        if block is None:
            self.matrix = dense.clone()
            return
        kept = stored_positions(dense, block)
        with beta_warning_off():
            positions = kept.to_sparse_csr()
            self.matrix = torch.sparse_csr_tensor(
                positions.crow_indices().int(),  # MKL's own width: others are converted for each product
                positions.col_indices().int(),
                dense[kept],
                size=dense.shape,
                check_invariants=True,
            )

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """What is kept, values first."""
        if self.matrix.layout == torch.strided:
            return (self.matrix,)
        return self.matrix.values(), self.matrix.crow_indices(), self.matrix.col_indices()

    @property
    def stored(self) -> int:
        return self.parts[0].numel()

    @property
    def bytes(self) -> int:
        return sum(part.numel() * part.element_size() for part in self.parts)

    def matmul(self, x: Tensor, threads: int) -> Tensor:
        """(columns,) -> (rows,), (columns, batch) -> (rows, batch)"""
        if 0 in (*self.matrix.shape, x.numel(), self.stored):  # MKL refuses some of these
            return torch.zeros((self.matrix.shape[0], *x.shape[1:]))
        with threads_of_torch(threads):
            return self.matrix @ x

    def linear(self, x: Tensor, threads: int) -> Tensor:
        """(n, columns) -> (n, rows)"""
        return self.matmul(x.t(), threads).t().contiguous()


def blocks_of(numbers: Tensor, block: tuple[int, int]) -> tuple[tuple[np.ndarray, np.ndarray], Tensor]:
    """The blocks that are not all zero: starts and columns, int64, and values (blocks, rows, columns)."""
    if block == (1, 1):
        with beta_warning_off():
            csr = numbers.to_sparse_csr()
        return (csr.crow_indices().contiguous().numpy(), csr.col_indices().contiguous().numpy()), csr.values()
    # As torch's to_sparse_bsr, which takes the memory of several such matrices on its way.
    tiles = padded(numbers, block).unflatten(0, (-1, block[0])).unflatten(2, (-1, block[1])).transpose(1, 2)
    kept = torch.zeros(tiles.shape[:2], dtype=torch.bool)
    for row in range(block[0]):
        for column in range(block[1]):
            kept |= tiles[:, :, row, column] != 0
    starts = torch.zeros(len(kept) + 1, dtype=torch.int64)
    torch.cumsum(kept.sum(1), 0, out=starts[1:])
    return (starts.numpy(), np.ascontiguousarray(np.nonzero(kept.numpy())[1])), tiles[kept]


def padded(dense: Tensor, block: tuple[int, int]) -> Tensor:
    """With rows and columns of zeros, to whole blocks."""
    return torch.nn.functional.pad(dense, (0, -dense.shape[1] % block[1], 0, -dense.shape[0] % block[0]))


def stored_positions(dense: Tensor, block: tuple[int, int]) -> Tensor:
    """Which values lie in a block that is not all zero: (rows, columns), bool."""
    kept = dense != 0
    if block == (1, 1):
        return kept
    (rows, columns), (r, c) = dense.shape, block
    blocks = padded(kept, block).unflatten(0, (-1, r)).unflatten(2, (-1, c)).any(3).any(1)
    return blocks.repeat_interleave(r, 0).repeat_interleave(c, 1)[:rows, :columns]


@contextmanager
def threads_of_torch(threads: int) -> Iterator[None]:
    """torch's own number of threads, put back afterwards."""
    before = torch.get_num_threads()
    if threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def beta_warning_off() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR|BSR) tensor support|Sparse invariant checks")
        yield

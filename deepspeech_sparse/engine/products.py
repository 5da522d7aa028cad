"""The two ways in which a packed matrix multiplies. What they may be given, `sparse.py` has checked."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .runtime import native


class NativeProduct:
    """In the C++ of `native/`: values and 16-bit indices in the layouts of layout.h."""

    def __init__(self, dense: Tensor, block: tuple[int, int]) -> None:
        rows, columns = block
        with beta_warning_off():
            if block == (1, 1):
                blocks = dense.to_sparse_csr()
            else:
                padding = (0, -dense.shape[1] % columns, 0, -dense.shape[0] % rows)
                blocks = torch.nn.functional.pad(dense, padding).to_sparse_bsr(block)
        parts = (blocks.crow_indices(), blocks.col_indices(), blocks.values().flatten())
        self.rows = dense.shape[0]
        self.matrix = native().Matrix(*dense.shape, *block, *(part.contiguous().numpy() for part in parts))

    @property
    def stored(self) -> int:
        return self.matrix.stored

    @property
    def bytes(self) -> int:
        return self.matrix.bytes

    def __call__(self, x: Tensor, threads: int) -> Tensor:
        y = torch.empty((self.rows, *x.shape[1:]))
        self.matrix.multiply(x.numpy(), y.numpy(), threads)  # as NumPy: handing over a tensor takes 2 microseconds more
        return y


class TorchProduct:
    """In torch's sparse CSR, which is MKL's on x86. Stores the same values, so that NaN in x reaches the same rows."""

    def __init__(self, dense: Tensor, block: tuple[int, int]) -> None:
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
    def stored(self) -> int:
        return self.matrix.values().numel()

    @property
    def bytes(self) -> int:
        parts = (self.matrix.crow_indices(), self.matrix.col_indices(), self.matrix.values())
        return sum(part.numel() * part.element_size() for part in parts)

    def __call__(self, x: Tensor, threads: int) -> Tensor:
        if 0 in (*self.matrix.shape, x.numel(), self.stored):  # MKL refuses some of these
            return torch.zeros((self.matrix.shape[0], *x.shape[1:]))
        with threads_of_torch(threads):
            return self.matrix @ x


def stored_positions(dense: Tensor, block: tuple[int, int]) -> Tensor:
    """Which values lie in a block that is not all zero: (rows, columns), bool."""
    kept = dense != 0
    if block == (1, 1):
        return kept
    (rows, columns), (r, c) = dense.shape, block
    padded = torch.nn.functional.pad(kept, (0, -columns % c, 0, -rows % r))
    blocks = padded.unflatten(0, (-1, r)).unflatten(2, (-1, c)).any(3).any(1)
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

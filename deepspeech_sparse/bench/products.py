"""Sparse products against dense ones, torch's CSR and SciPy's CSR: bursts of each in turn, A B C D A B C D."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable
from functools import partial

import scipy.sparse
import torch
from torch import Tensor

from ..engine import SparseMatrix
from ..engine.values import FORMATS
from ..machine.timing import in_bursts
from ..report.tables import Column, Table
from .weights import PATTERNS, kept, pair

SIZES = ((1760, 1760), (7680, 2560))
SPARSITIES = (0.9, 0.95)
BATCHES = (1, 16)
OTHERS = ("dense", "torch", "SciPy")
NOTE = (
    "Times in ms, medians; ratios of medians and, in brackets, of the shortest times, which other jobs disturb less. A "
    "burst multiplies one matrix several times running, as a recurrent layer does: it lies in the nearest cache that "
    "holds it. Dense is the best of torch.mv or mm on row-major and column-major operands, torch's CSR the better of "
    "32-bit and 64-bit indices. SciPy always has one thread. Fewer bits for the values only with one vector: with "
    "sixteen, products are bound by arithmetic."
)


def products(
    *, threads: int, full: bool, sizes: tuple[tuple[int, int], ...] = SIZES, seconds: float | None = None
) -> Table:
    """The table: a row for each size, batch, pattern, sparsity and format of the values.

    Args:
        seconds: spent on each contestant of each row, 1 or, for the quick table, 0.05
    """
    seconds = seconds or (1.0 if full else 0.05)
    columns = (
        Column("product"),
        Column("zeros", "{:.0%}".format),
        Column("pattern"),
        Column("values"),
        Column("batch", str),
        *(Column(title, "{:.3f}".format) for title in ("ours", "dense", "CSR torch", "CSR SciPy")),
        *(pair(f"x {name}") for name in OTHERS),
        Column("bytes per non-zero", "{:.2f}".format),
        Column("GB/s", "{:.1f}".format),
        Column("G non-zeros/s", "{:.2f}".format),
    )
    rows = [
        (f"{size[0]}x{size[1]}", sparsity, pattern, values, batch, *figures)
        for size in sizes
        for batch in BATCHES
        for pattern in PATTERNS
        for sparsity in SPARSITIES
        for values, figures in measured(size, sparsity, pattern, batch, threads, seconds).items()
    ]
    note = f"{NOTE} {seconds} s for each contestant."
    return Table("products", "Sparse products", columns, tuple(rows), note)


def measured(
    size: tuple[int, int], sparsity: float, pattern: str, batch: int, threads: int, seconds: float
) -> dict[str, tuple[float | tuple[float, float], ...]]:
    """The figures of a row for each format of the values."""
    block = PATTERNS[pattern]
    dense = torch.randn(size) * kept(size, block, sparsity)
    formats = FORMATS if batch == 1 else FORMATS[:1]
    ours = {values: SparseMatrix.from_dense(dense, block, values) for values in formats}
    times = in_bursts(contestants(ours, dense, batch, threads), seconds)
    entries = int((dense != 0).sum())
    return {values: figures(times, f"ours {values}", matrix.bytes, entries) for values, matrix in ours.items()}


def figures(
    times: dict[str, list[float]], who: str, size: int, entries: int
) -> tuple[float | tuple[float, float], ...]:
    """Milliseconds, ratios and rates of one contestant that reads `size` bytes."""
    ours, least = best(times, who, statistics.median), best(times, who, min)
    others = [best(times, name, statistics.median) for name in OTHERS]
    ratios = [(other / ours, best(times, name, min) / least) for name, other in zip(OTHERS, others)]
    milliseconds = [1e3 * time for time in (ours, *others)]
    return (*milliseconds, *ratios, size / entries, size / ours / 1e9, entries / ours / 1e9)


def contestants(
    ours: dict[str, SparseMatrix], dense: Tensor, batch: int, threads: int
) -> dict[str, Callable[[], object]]:
    """Who multiplies: variants of one contestant share a name up to the colon."""
    columns = dense.shape[1]
    x = torch.randn(columns, batch) if batch > 1 else torch.randn(columns)
    multiply = torch.mm if batch > 1 else torch.mv
    by_column = dense.t().contiguous().t()
    x_by_column = x.t().contiguous().t() if batch > 1 else x
    numpy = x.numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its CSR beta
        wide = dense.to_sparse_csr()
        parts = wide.crow_indices().int(), wide.col_indices().int(), wide.values()
        narrow = torch.sparse_csr_tensor(*parts, size=dense.shape, check_invariants=True)
    sci = scipy.sparse.csr_matrix(tuple(part.numpy() for part in reversed(parts)), shape=dense.shape)
    return {
        **{f"ours {values}": partial(matrix.matmul, x, threads=threads) for values, matrix in ours.items()},
        "dense:rows": lambda: multiply(dense, x),
        "torch:32": lambda: narrow @ x,
        "SciPy": lambda: sci @ numpy,
        "dense:columns": lambda: multiply(by_column, x),
        "torch:64": lambda: wide @ x,
        "dense:rows, x by columns": lambda: multiply(dense, x_by_column),
    }


def best(times: dict[str, list[float]], name: str, statistic: Callable[[list[float]], float]) -> float:
    """Of the variants of a contestant, the fastest by a statistic."""
    return min(statistic(values) for key, values in times.items() if key.split(":")[0] == name)

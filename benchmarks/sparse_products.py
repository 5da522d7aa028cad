"""Sparse products against dense ones, torch's CSR and SciPy's CSR: bursts of each in turn, A B C D A B C D.

    python benchmarks/sparse_products.py [--threads 1] [--seconds 1.0] [--blocks 1x1 8x1] [--values float32 float16]

Prints a Markdown table: medians, ratios of medians and, in brackets, of the shortest times, which other jobs on the
machine disturb less. A burst multiplies one matrix several times running, as a recurrent layer does: the
matrix lies in the nearest cache that holds it. Dense is the best of torch.mv or mm on row-major and column-major
operands, torch's CSR the better of 32-bit and 64-bit indices. SciPy has one thread whatever --threads says. Blocks
`dense` are our own dense product. Values take turns too, but only with one vector: with sixteen, products are bound
by arithmetic, and the first of --values stands for all. DEEPSPEECH_SPARSE_KERNELS forces a path.
"""

import argparse
import math
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import scipy.sparse
import torch
from torch import Tensor

from deepspeech_sparse.engine import SparseMatrix, runtime
from deepspeech_sparse.engine.values import FORMATS

SIZES = ((1760, 1760), (7680, 2560))
SPARSITIES = (0.9, 0.95)
BATCHES = (1, 16)
BURST = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="spent on each contestant of each row")
    parser.add_argument("--blocks", nargs="+", default=["1x1", "8x1"], choices=["1x1", "8x1", "16x1", "4x4", "dense"])
    parser.add_argument("--values", nargs="+", default=list(FORMATS), choices=FORMATS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"{machine()}; kernels: {runtime().path}; {options.threads} thread(s)\n")
    print("| product | zeros | block | values | batch | ours | dense | CSR torch | CSR SciPy |", end="")
    print(" x dense | x torch | x SciPy | bytes per non-zero | GB/s | G non-zeros/s |\n|" + "---|" * 15)
    ratios = {"torch": [], "SciPy": []}
    for rows, columns in SIZES:
        for batch in BATCHES:
            for name in options.blocks:
                block = None if name == "dense" else tuple(int(side) for side in name.split("x"))
                for sparsity in SPARSITIES:
                    dense = pruned(rows, columns, *(block or (1, 1)), sparsity)
                    formats = options.values if batch == 1 else options.values[:1]
                    ours = {values: SparseMatrix.from_dense(dense, block, values) for values in formats}
                    times = measure(contestants(ours, dense, batch, options.threads), options.seconds)
                    for values, matrix in ours.items():
                        row = f"| {rows}x{columns} | {sparsity:.0%} | {name} | {values} | {batch} |"
                        print(
                            row, results(times, f"ours {values}", matrix, int((dense != 0).sum()), ratios), flush=True
                        )
    for name, values in ratios.items():
        mean = math.exp(statistics.fmean(map(math.log, values)))
        print(f"\nAgainst CSR of {name}: {mean:.1f} times as fast in the geometric mean, {min(values):.1f} at worst.")
    print(f"\nLoad average at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")


def results(
    times: dict[str, list[float]], who: str, matrix: SparseMatrix, entries: int, ratios: dict[str, list[float]]
) -> str:
    """The numbers of one row; its ratios to CSR are added to `ratios`."""
    ours = best(times, who, statistics.median)
    others = {name: best(times, name, statistics.median) for name in ("dense", "torch", "SciPy")}
    least = {name: best(times, name, min) / best(times, who, min) for name in others}
    for name in ratios:
        ratios[name].append(others[name] / ours)
    cells = [f"{seconds * 1e3:.3f} ms" for seconds in (ours, *others.values())]
    cells += [f"{others[name] / ours:.1f} ({least[name]:.1f})" for name in others]
    cells += [f"{matrix.bytes / entries:.2f}", f"{matrix.bytes / ours / 1e9:.1f}", f"{entries / ours / 1e9:.2f}"]
    return " | ".join(cells) + " |"


def machine() -> str:
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass  # no Linux
    return f"{model}, {os.cpu_count()} cores; torch {torch.__version__}, SciPy {scipy.__version__}"


def pruned(rows: int, columns: int, r: int, c: int, sparsity: float) -> Tensor:
    """Random weights, that share of their blocks zero."""
    kept = torch.rand(rows // r, columns // c) >= sparsity
    return torch.randn(rows, columns) * kept.repeat_interleave(r, 0).repeat_interleave(c, 1)


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


def measure(contestants: dict[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    """Seconds of single products of each, bursts in turn until everyone had its `seconds`."""
    times = {name: [] for name in contestants}
    while min(map(sum, times.values())) < seconds:
        for name, multiply in contestants.items():
            if sum(times[name]) > 3 * seconds:
                continue
            multiply()  # into the caches
            for _ in range(BURST):
                start = time.perf_counter()
                multiply()
                times[name].append(time.perf_counter() - start)
    return times


def best(times: dict[str, list[float]], name: str, statistic: Callable[[list[float]], float]) -> float:
    """Of the variants of a contestant, the fastest by a statistic."""
    return min(statistic(values) for key, values in times.items() if key.split(":")[0] == name)


if __name__ == "__main__":
    main()

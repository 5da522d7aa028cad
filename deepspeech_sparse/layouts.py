"""How the sparse engine stores each matrix of a model, for people."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from .engine.sparse import SparseMatrix
from .export import any_model, megabytes
from .inference import known_to_engine, sparse_network


def packed_matrices(model: Path) -> dict[str, SparseMatrix]:
    """The matrices of a model as the engine packs them, by name; none of a network that it does not know.

    Raises:
        InputError: whatever is wrong with the model
    """
    loaded = any_model(model)
    if not known_to_engine(loaded.config):
        return {}
    return sparse_network(loaded.config, loaded.network.state_dict(), None).matrices


def print_matrices(matrices: dict[str, SparseMatrix], console: Console) -> None:
    """A row for each: its blocks, how many values are kept, and the bytes beside those of the dense matrix."""
    if not matrices:
        console.print("\nsparse engine: does not know this network; torch computes it", highlight=False)
        return
    table = Table(
        Column("in the sparse engine", overflow="fold"), "shape", "blocks", "stored", "bytes", "of dense", box=None
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for name, matrix in matrices.items():
        rows, columns = matrix.shape
        share = f"{matrix.bytes / (4 * rows * columns):.1%}"
        sides = (f"{rows}x{columns}", "x".join(map(str, matrix.block)))
        table.add_row(name, *sides, f"{matrix.stored:,}", f"{matrix.bytes:,}", share)
    values = sum(matrix.shape[0] * matrix.shape[1] for matrix in matrices.values())
    size = sum(matrix.bytes for matrix in matrices.values())
    table.add_row(
        "all", "", "", f"{sum(m.stored for m in matrices.values()):,}", f"{size:,}", f"{size / 4 / values:.1%}"
    )
    console.print()
    console.print(table)
    console.print(f"{megabytes(size)} in memory, {megabytes(4 * values)} dense", highlight=False)

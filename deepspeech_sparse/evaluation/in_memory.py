"""What a model is once the sparse engine has packed it, for people."""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from ..engine import SparseConvolution, SparseMatrix
from ..export import megabytes
from ..models import opened_model
from ..recognition.inference import known_to_engine, sparse_network

Packed = dict[str, SparseMatrix | SparseConvolution]


def packed_weights(model: Path) -> Packed:
    """The kernels and matrices of a model as the engine packs them here, by name; none if it does not know the network.

    Raises:
        InputError: whatever is wrong with the model
    """
    opened = opened_model(model)
    if not known_to_engine(opened.config):
        return {}
    network = sparse_network(opened, None)
    return {**network.convolutions, **network.matrices}


def print_packed(packed: Packed, console: Console) -> None:
    """A row for each: how it lies in memory, how many values are kept, and the bytes beside those of the dense one."""
    if not packed:
        console.print("\nsparse engine: does not know this network; torch computes it", highlight=False)
        return
    names = Column("in the sparse engine", overflow="fold")
    table = Table(names, "shape", "layout", "values", "stored", "bytes", "of dense", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, weight in packed.items():
        if isinstance(weight, SparseMatrix):
            layout, values = weight.layout, weight.values
        else:
            layout, values = weight.choice, "float32"
        share = f"{weight.bytes / (4 * math.prod(weight.shape)):.1%}"
        shape = "x".join(map(str, weight.shape))
        table.add_row(name, shape, layout, values, f"{weight.stored:,}", f"{weight.bytes:,}", share)
    values = sum(math.prod(weight.shape) for weight in packed.values())
    size = sum(weight.bytes for weight in packed.values())
    stored = sum(weight.stored for weight in packed.values())
    table.add_row("all", "", "", "", f"{stored:,}", f"{size:,}", f"{size / 4 / values:.1%}")
    console.print()
    console.print(table)
    console.print(f"{megabytes(size)} in memory, {megabytes(4 * values)} dense", highlight=False)

"""What a weight may become in a model file, and how it is written: float32, float16, int8, codebook4 to codebook8.

float16 rounds to nearest even. int8 is symmetric with one float32 scale for each row, scale = max |row| / 127. A
codebook has at most 2^K entries that float16 can hold, see `codebook.py`. Only matrices and kernels are quantised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from ..engine.values import MOST
from ..engine.values import rounded as nearest
from .codebook import codebook_of
from .codec import Codec, decoded, encoded

Values = Literal["float32", "float16", "int8", "codebook4", "codebook5", "codebook6", "codebook7", "codebook8"]
VALUES = get_args(Values)
TABLES = {"int8": "scales"} | dict.fromkeys((name for name in VALUES if name.startswith("codebook")), "codebook")
FLOATS = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}


Parts = dict[str, tuple[Codec, np.ndarray]]  # name -> codec, bytes as (count,) uint8


def bits_of(values: Values) -> int:
    """Bits of a value, before any entropy coder."""
    return FLOATS[values].itemsize * 8 if values in FLOATS else int(values.removeprefix("codebook").replace("int", ""))


def rounded(matrix: np.ndarray, values: Values) -> tuple[np.ndarray, Parts]:
    """The levels of a matrix that `values` has, and the scales that go with them.

    Args:
        matrix: (rows, columns) float32

    Returns:
        levels: (rows, columns) float32, float16 (also for a codebook, which is fitted later) or int8; what is zero
            here is zero in the file
        scales: part `scales` for int8, else nothing

    Raises:
        ValueError: a weight that float16 cannot hold
    """
    if values == "float32":
        return matrix, {}
    found = nearest(torch.from_numpy(matrix), "int8" if values == "int8" else "float16")
    if found.scales is None:
        return found.numbers.half().numpy(), {}
    return found.numbers.to(torch.int8).numpy(), {"scales": ("none", as_bytes(found.scales.numpy().astype("<f4")))}


def written(levels: np.ndarray, values: Values, codec: Codec) -> Parts:
    """The parts of some levels (count,) of `rounded`."""
    if values in FLOATS:
        content = as_bytes(levels.astype(FLOATS[values], copy=False))
        if codec == "none":
            return {"values": ("none", content)}
        planes = content.reshape(len(levels), FLOATS[values].itemsize)  # each byte alone: exponents can be shortened
        return {f"values.{place}": encoded(plane.copy(), codec) for place, plane in enumerate(planes.T)}
    if values == "int8":
        return {"values": encoded((levels.astype(np.int16) + MOST).astype(np.uint8), codec)}
    bits = bits_of(values)
    codebook, indices = codebook_of(levels, 1 << bits)
    return {"values": encoded(indices, codec, bits), "codebook": ("none", as_bytes(codebook.astype("<f2")))}


def part_names(values: Values, codec_of: dict[str, Codec]) -> set[str]:
    """The parts, positions apart, that a tensor with these values must have; floats have two forms."""
    table = {TABLES[values]} if values in TABLES else set()
    if values in FLOATS and "values" not in codec_of:
        return {f"values.{place}" for place in range(FLOATS[values].itemsize)}
    return {"values"} | table


@dataclass(frozen=True)
class Levels:
    """Decoded values in a form that is still small: floats as stored, or indices into a table."""

    codes: np.ndarray  # (count,) float32, float16 or uint8
    table: np.ndarray | None  # float32

    def __getitem__(self, place: slice) -> np.ndarray:
        """Some values as float32."""
        codes = self.codes[place]
        return codes.astype(np.float32) if self.table is None else self.table[codes]


def read(parts: Parts, values: Values, count: int) -> Levels:
    """The values that `written` wrote; those of int8 lack their scales.

    Raises:
        ValueError: naming the part that is damaged
    """
    if values in FLOATS:
        kind = FLOATS[values]
        if "values" in parts:
            return Levels(read_part(parts, "values", count * kind.itemsize).view(kind), None)
        content = np.empty((count, kind.itemsize), np.uint8)
        for place in range(kind.itemsize):
            content[:, place] = read_part(parts, f"values.{place}", count)
        return Levels(content.view(kind)[:, 0], None)
    codes = read_part(parts, "values", count, 8 if values == "int8" else bits_of(values))
    if values == "int8":
        table = np.arange(-MOST, MOST + 1, dtype=np.float32)
    else:
        table = read_table(parts, "codebook", FLOATS["float16"], 1 << bits_of(values))
    if count and int(codes.max()) >= len(table):
        raise ValueError(f"values: index {codes.max()} into a table of {len(table)}")
    return Levels(codes, table)


def scaled(matrix: np.ndarray, parts: Parts) -> None:
    """Multiply each row of decoded int8 levels by its scale, in place."""
    scales = read_table(parts, "scales", FLOATS["float32"], len(matrix))
    if len(scales) != len(matrix) or (scales < 0).any():
        raise ValueError(f"scales: {len(scales)} for {len(matrix)} rows, the smallest {scales.min(initial=0)}")
    with np.errstate(over="ignore"):  # whoever reads the tensor refuses what is not finite
        matrix *= scales[:, None]


def read_table(parts: Parts, name: str, kind: np.dtype, most: int) -> np.ndarray:
    """A table of floats (count,) float32, count <= most."""
    content = parts[name][1]
    if len(content) % kind.itemsize or len(content) > most * kind.itemsize:
        raise ValueError(f"{name}: {len(content)} bytes, where {most} numbers have {most * kind.itemsize}")
    table = content.view(kind).astype(np.float32)
    if not np.isfinite(table).all():
        raise ValueError(f"{name}: holds numbers that are NaN or infinite")
    return table


def read_part(parts: Parts, name: str, count: int, bits: int = 8) -> np.ndarray:
    """The symbols (count,) uint8 of a part."""
    codec, content = parts[name]
    try:
        return decoded(content, codec, count, count, bits)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error


def as_bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(np.uint8).reshape(-1)

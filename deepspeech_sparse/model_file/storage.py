"""One tensor of a model file: cut into parts, and put together again.

    dense, float32    no parts: an ordinary tensor of the safetensors file
    dense             values of all weights, and scales or a codebook
    sparse            positions of the blocks that are not zero, the values of their weights, scales or a codebook

Whatever a stranger's file says is checked here, against nothing but itself; that shapes are those of the network is
`stored_model.py`'s business.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.sparse import BLOCKS
from .codec import CHUNK, CODECS, Codec, decoded, encoded
from .positions import ESCAPE, Grid, blocks_after, steps_to
from .values import TABLES, VALUES, Values, bits_of, part_names, read, rounded, scaled, written

MOST_WEIGHTS = 1 << 40  # of a tensor: any number that fits an index
PAYS = 0.95  # of the dense bits: tensors with few zeros are stored as they are
PART_BYTES = 200  # in the header of the file, about, for what is stored in parts


@dataclass(frozen=True)
class Storage:
    """How a tensor is stored, as the metadata of its file tells."""

    shape: tuple[int, ...]
    values: Values
    block: tuple[int, int] | None  # None: dense
    count: int  # blocks that are stored; all weights of a dense tensor
    codecs: dict[str, Codec]  # of each part

    @property
    def grid(self) -> Grid:
        return grid_of(self.shape, self.block or (1, 1))

    @property
    def stored(self) -> int:
        """Values that are stored."""
        return self.count * self.grid.block_size

    @property
    def bound(self) -> float:
        """Bits that a mask without structure and values of equal probability take at least."""
        positions = 0.0 if self.block is None else self.grid.blocks * entropy(self.count / self.grid.blocks)
        return positions + self.stored * bits_of(self.values)

    def to_json(self) -> dict[str, Any]:
        """Plain values for the metadata of a file."""
        return {
            "shape": list(self.shape),
            "values": self.values,
            "block": None if self.block is None else list(self.block),
            "count": self.count,
            "parts": self.codecs,
        }

    @classmethod
    def from_json(cls, told: Any) -> Storage:
        """What metadata tells, checked.

        Raises:
            ValueError: what is wrong, to be put behind the name of the tensor
        """
        if not isinstance(told, dict) or told.keys() != {"shape", "values", "block", "count", "parts"}:
            raise ValueError(f"is stored as {shortened(told)}, this version of deepspeech_sparse does not know that")
        shape, block, count, codecs = told["shape"], told["block"], told["count"], told["parts"]
        if not is_sizes(shape) or not 1 <= len(shape) <= 8 or math.prod(shape) > MOST_WEIGHTS:
            raise ValueError(f"has no possible shape: {shortened(shape)}")
        if told["values"] not in VALUES:
            raise ValueError(f"has values {shortened(told['values'])}; known are {', '.join(VALUES)}")
        if block is not None and not (is_sizes(block) and tuple(block) in BLOCKS):
            raise ValueError(f"has blocks {shortened(block)}; known are 1x1, 8x1, 16x1, 4x4")
        grid = grid_of(tuple(shape), tuple(block or (1, 1)))
        least = 0 if block else grid.blocks
        if not grid.fits or type(count) is not int or not least <= count <= grid.blocks:
            raise ValueError(f"of shape {tuple(shape)} cannot hold {shortened(count)} blocks of {block or 'all'}")
        if not isinstance(codecs, dict) or any(codec not in CODECS for codec in codecs.values()):
            raise ValueError(f"has parts {shortened(codecs)}; known codecs are {', '.join(CODECS)}")
        wanted = part_names(told["values"], codecs) | ({"positions"} if block else set())
        if codecs.keys() != wanted or any(codecs.get(table, "none") != "none" for table in TABLES.values()):
            raise ValueError(f"has parts {shortened(codecs)} instead of {', '.join(sorted(wanted))}")
        return cls(tuple(shape), told["values"], tuple(block) if block else None, count, dict(codecs))


def store(tensor: np.ndarray, values: Values, codec: Codec) -> tuple[Storage, dict[str, np.ndarray]] | None:
    """Cut a tensor into parts.

    Args:
        tensor: float32, finite

    Returns:
        how it is stored and its parts, (bytes,) uint8 each; None for what is best left as it is

    Raises:
        ValueError: a weight that `values` cannot hold
        ImportError: the codec's library is not installed
    """
    grid = grid_of(tensor.shape, (1, 1))
    levels, tables = rounded(tensor.reshape(grid.rows, grid.columns), values)
    kept = levels != 0
    block = smallest_form(kept, bits_of(values), codec)
    if block is None:
        if values == "float32":
            return None
        count, parts = grid.blocks, {}
        levels = levels.ravel()
    else:
        grid = grid_of(tensor.shape, block)
        full = grid.full_blocks(kept)
        count, parts = len(full), {"positions": encoded(steps_to(full), codec)}
        levels = grid.values(levels, full)
    parts |= written(levels, values, codec) | tables
    storage = Storage(tensor.shape, values, block, count, {name: used for name, (used, _) in parts.items()})
    contents = {name: content for name, (_, content) in parts.items()}
    if values == "float32" and sum(map(len, contents.values())) + PART_BYTES * len(contents) >= tensor.nbytes:
        return None
    return storage, contents


def restore(storage: Storage, contents: dict[str, np.ndarray]) -> np.ndarray:
    """The inverse of `store`: float32 in its shape.

    Args:
        contents: (bytes,) uint8 for each part that `storage` has

    Raises:
        ValueError: a damaged part, numbers that do not add up
        ImportError: the codec's library is not installed
    """
    grid, count = storage.grid, storage.count
    parts = {name: (codec, contents[name]) for name, codec in storage.codecs.items()}
    values = read(parts, storage.values, storage.stored)
    if storage.block is None:
        matrix = np.empty((grid.rows, grid.columns), np.float32)
        for place in range(0, count, CHUNK):
            matrix.reshape(-1)[place : place + CHUNK] = values[place : place + CHUNK]
    else:
        try:
            steps = decoded(contents["positions"], storage.codecs["positions"], count, count + grid.blocks // ESCAPE)
            matrix = np.zeros((grid.rows, grid.columns), np.float32)
            done = 0
            for full in blocks_after(steps, grid.blocks, count):
                start, done = done * grid.block_size, done + len(full)
                grid.set_values(matrix, full, values[start : done * grid.block_size])
        except ValueError as error:
            raise ValueError(f"positions: {error}") from error
    if storage.values == "int8":
        scaled(matrix, parts)
    return matrix.reshape(storage.shape)


def smallest_form(kept: np.ndarray, bits: int, codec: Codec) -> tuple[int, int] | None:
    """The blocks in which a matrix takes the fewest bits, by estimate; None for dense.

    Args:
        kept: (rows, columns) bool, what is not zero
        bits: of a value
    """
    sizes: dict[tuple[int, int] | None, float] = {None: PAYS * kept.size * bits}
    for block in BLOCKS:
        grid = Grid(*kept.shape, block)
        if grid.fits:
            count = grid.count_full(kept)
            plain = 8 * (count + (grid.blocks - count) / ESCAPE)
            positions = plain if codec == "none" else grid.blocks * entropy(count / grid.blocks)
            sizes[block] = positions + count * grid.block_size * bits
    return min(sizes, key=sizes.get)


def grid_of(shape: tuple[int, ...], block: tuple[int, int]) -> Grid:
    """A tensor as a matrix of blocks: a vector is one row, a kernel (C', C, k...) has C' rows."""
    rows = shape[0] if len(shape) > 1 else 1
    return Grid(rows, math.prod(shape) // rows, block)


def entropy(share: float) -> float:
    """Bits of a yes or no."""
    return -sum(p * math.log2(p) for p in (share, 1 - share) if p > 0)


def is_sizes(told: Any) -> bool:
    return isinstance(told, list) and all(type(size) is int and size > 0 for size in told)


def shortened(told: Any) -> str:
    text = repr(told)
    return text if len(text) < 80 else f"{text[:77]}..."

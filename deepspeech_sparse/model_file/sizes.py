"""Where the bytes of a model file go, and how near they are to what its zeros and values need."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .metadata import Description, describe_model
from .storage import Storage
from .stored_model import values_of
from .values import TABLES


@dataclass(frozen=True)
class TensorSize:
    """How one tensor is stored, and in how many bytes."""

    name: str  # in the file: network.head.weight
    values: str  # float32, float16, int8, codebook4 ..., int64
    form: str  # dense, or the blocks that are stored: 1x1, 8x1, ...
    codec: str  # of its parts, where it pays: none, zstd, entropy
    bytes: int


@dataclass(frozen=True)
class FileSizes:
    """The bytes of a model file by what they are for."""

    positions: int  # of what is not zero, in sparse tensors
    values: int  # of sparse tensors
    tables: int  # codebooks and scales
    dense: int  # tensors that are stored whole, in whatever values
    metadata: int  # the header: config, history, where each part lies
    bound: float  # the sum over tensors of n H(share of blocks stored) bits, and of the bits of each stored value
    tensors: tuple[TensorSize, ...]

    @property
    def total(self) -> int:
        return self.positions + self.values + self.tables + self.dense + self.metadata

    @property
    def above_bound(self) -> float:
        """How much larger than the bound the file is, as a share of it.

        Negative where the entropy coder finds values that are not equally frequent: the bound does not know of that.
        """
        return self.total / self.bound - 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"total": self.total, "above_bound": self.above_bound}

    def __str__(self) -> str:
        parts = {
            "positions": self.positions,
            "values": self.values,
            "codebooks and scales": self.tables,
            "dense tensors": self.dense,
            "metadata": self.metadata,
        }
        told = ", ".join(f"{name} {count:,}" for name, count in parts.items())
        return (
            f"{self.total:,} bytes: {told}\n"
            f"entropy bound of what is stored (unstructured mask, values of equal frequency): {self.bound:,.0f} bytes; "
            f"the file is {abs(self.above_bound):.1%} {'above' if self.above_bound >= 0 else 'below'} it"
        )


def file_sizes(path: str | Path) -> FileSizes:
    """The sizes in a model file, from its header alone.

    Raises:
        InputError: as `describe_model`
    """
    return sizes_of(describe_model(path), Path(path).stat().st_size)


def sizes_of(description: Description, size: int) -> FileSizes:
    """The sizes in a model file of `size` bytes."""
    sums = dict.fromkeys(("positions", "values", "tables", "dense"), 0)
    bound, tensors = 0.0, []
    for key, storage in description.storage.items():
        for part, count in description.part_bytes[key].items():
            if part in TABLES.values():
                sums["tables"] += count
            elif storage is None or storage.block is None:
                sums["dense"] += count
            else:
                sums["positions" if part == "positions" else "values"] += count
        total = sum(description.part_bytes[key].values())
        bound += total if storage is None else storage.bound / 8
        tensors.append(TensorSize(key, values_of(storage, key), form_of(storage), codec_of(storage), total))
    return FileSizes(**sums, metadata=size - sum(sums.values()), bound=bound, tensors=tuple(tensors))


def form_of(storage: Storage | None) -> str:
    return "dense" if storage is None or storage.block is None else "x".join(map(str, storage.block))


def codec_of(storage: Storage | None) -> str:
    used = set() if storage is None else set(storage.codecs.values()) - {"none"}
    return "+".join(sorted(used)) or "none"

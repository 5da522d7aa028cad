"""Which weights go together: single ones, blocks, equal shares for parallel hardware, two of four.

A pattern tells the size of each unit of weights and, for these sizes and a threshold, which weights are below it.
Matrices have one row per output; a convolution kernel counts as the matrix (C', C * k...).

On a CPU numpy takes its part where torch is slow: a float matrix is compared with a number in a fifth of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .quantile import size_quantile
from .weights import Weight


@dataclass(frozen=True)
class Single:
    """Every weight for itself.

    Args:
        kind: single
    """

    kind: Literal["single"] = "single"

    def check(self, weight: Weight) -> None:
        """Fits everything."""

    def sizes(self, weight: Weight) -> Tensor:
        """|w|: (rows, columns)."""
        return magnitudes(weight)

    def below(self, weight: Weight, sizes: Tensor, threshold: float) -> Tensor:
        """True where a weight is smaller than `threshold`: (rows, columns)."""
        return smaller(sizes, threshold)

    def share(self, sparsity: float) -> float:
        """Share of units to prune for a share of zeros."""
        return sparsity


@dataclass(frozen=True)
class Blocks:
    """Rectangles of weights, kept or pruned as one: what vector instructions want.

    Narang, Undersander, Diamos 2017 (block-sparse RNNs): a block counts as its largest |w|.

    Args:
        kind: blocks
        rows: outputs that a block spans; 8x1 and 16x1 fill a vector register of a CPU
        columns: inputs that a block spans
        by: what a block counts as: its largest or its mean |w|
    """

    kind: Literal["blocks"]
    rows: int = 8
    columns: int = 1
    by: Literal["max", "mean"] = "max"

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise InputError(f"pruning: blocks of {self.rows} x {self.columns}: both must be at least 1")

    def check(self, weight: Weight) -> None:
        """InputError when blocks do not tile the matrix."""
        rows, columns = matrix(weight).shape
        if rows % self.rows or columns % self.columns:
            raise InputError(
                f"pruning: blocks of {self.rows} x {self.columns} do not tile {weight.name}, {rows} x {columns}. "
                f"Choose sizes that divide it, or leave it out with exclude: [{weight.name}]"
            )

    def sizes(self, weight: Weight) -> Tensor:
        """Largest or mean |w| of each block: (rows / r, columns / c)."""
        values = matrix(weight)
        rows, columns = values.shape
        tall = (rows // self.rows, self.rows, columns)
        wide = (rows // self.rows, columns // self.columns, self.columns)
        if self.by == "max":  # the largest |w| is the largest w or the smallest: no |w| of every weight is needed
            values = values.view(tall)
            return torch.maximum(values.amax(1).abs(), values.amin(1).abs()).view(wide).amax(2)
        return magnitudes(weight).view(tall).mean(1).view(wide).mean(2)

    def below(self, weight: Weight, sizes: Tensor, threshold: float) -> Tensor:
        """True in blocks smaller than `threshold`: (rows, columns)."""
        blocks = smaller(sizes, threshold)
        shape = (blocks.shape[0], self.rows, blocks.shape[1], self.columns)
        return blocks[:, None, :, None].expand(shape).reshape(matrix(weight).shape)

    def share(self, sparsity: float) -> float:
        """Share of units to prune for a share of zeros."""
        return sparsity


@dataclass(frozen=True)
class Balanced:
    """The same share of zeros in every gate and group of rows, so that parallel workers finish together.

    Load-balance-aware pruning of ESE (Han et al. 2017, section 4): the share that a threshold takes from the whole
    matrix is taken from each part of it, by size.

    Args:
        kind: balanced
        groups: groups of consecutive rows per gate; ESE gives one to each processing element
    """

    kind: Literal["balanced"]
    groups: int = 1

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise InputError(f"pruning: balanced over {self.groups} groups of rows; at least 1 is needed")

    def check(self, weight: Weight) -> None:
        """InputError when the rows of a gate do not split into so many groups."""
        rows = matrix(weight).shape[0]
        if rows % (len(weight.gates) * self.groups):
            raise InputError(
                f"pruning: balanced: the {rows} rows of {weight.name} do not split into {len(weight.gates)} gates of "
                f"{self.groups} groups. Choose groups that divides {rows // len(weight.gates)}"
            )

    def sizes(self, weight: Weight) -> Tensor:
        """|w|: (rows, columns)."""
        return magnitudes(weight)

    def below(self, weight: Weight, sizes: Tensor, threshold: float) -> Tensor:
        """True for the smallest weights of each part, as many as the matrix has below `threshold`."""
        # Not the mean of a float tensor: beyond 16 million entries float32 cannot count.
        share = int(quick(smaller(sizes, threshold)).sum()) / sizes.numel()
        parts = sizes.view(len(weight.gates) * self.groups, -1)
        limits = [size_quantile([part], share) for part in parts]
        return torch.stack([smaller(part, limit) for part, limit in zip(parts, limits)]).view(sizes.shape)

    def share(self, sparsity: float) -> float:
        """Share of units to prune for a share of zeros."""
        return sparsity


@dataclass(frozen=True)
class TwoOfFour:
    """At most two of four neighbours along the inputs stay: the 2:4 pattern of NVIDIA's sparse tensor cores.

    Mishra et al. 2021 (arXiv 2104.08378). A unit is the two smallest of four neighbours and counts as the larger of
    the two, so a rising threshold brings one group of four after the other into the pattern; all are at sparsity 0.5.

    Args:
        kind: 2:4
    """

    kind: Literal["2:4"]

    def check(self, weight: Weight) -> None:
        """InputError when rows do not split into fours."""
        columns = matrix(weight).shape[1]
        if columns % 4:
            raise InputError(
                f"pruning: 2:4: the {columns} columns of {weight.name} do not split into groups of four. "
                f"Leave it out with exclude: [{weight.name}]"
            )

    def sizes(self, weight: Weight) -> Tensor:
        """Second smallest |w| of each four: (rows, columns / 4)."""
        # Minima and maxima only: a sort of so many short rows takes seconds.
        values = magnitudes(weight)
        a, b, c, d = values.view(values.shape[0], -1, 4).unbind(-1)
        return torch.minimum(
            torch.maximum(torch.minimum(a, b), torch.minimum(c, d)),
            torch.minimum(torch.maximum(a, b), torch.maximum(c, d)),
        )

    def below(self, weight: Weight, sizes: Tensor, threshold: float) -> Tensor:
        """True for the two smallest of four whose unit is smaller than `threshold`: (rows, columns)."""
        # Of the weights themselves: where thresholds are tapered `sizes` are scaled.
        limit = torch.where(sizes < threshold, self.sizes(weight), -1.0)[..., None]
        values = magnitudes(weight)
        return (values.view(*sizes.shape, 4) <= limit).view(values.shape)

    def share(self, sparsity: float) -> float:
        """Share of units to prune for a share of zeros.

        Raises:
            InputError: more than half
        """
        if sparsity > 0.5:
            raise InputError(
                f"pruning: 2:4 leaves two of four weights, a sparsity of {sparsity} cannot be reached. "
                "Set sparsity: 0.5, or choose another pattern"
            )
        return 2 * sparsity


Pattern = Single | Blocks | Balanced | TwoOfFour


def matrix(weight: Weight) -> Tensor:
    """The weight as (rows, columns)."""
    return weight.parameter.detach().flatten(1)


def magnitudes(weight: Weight) -> Tensor:
    """|w|: (rows, columns)."""
    return torch.as_tensor(abs(quick(matrix(weight))))


def smaller(sizes: Tensor, threshold: float) -> Tensor:
    """True where a size is smaller than `threshold`, in the shape of `sizes`."""
    return torch.as_tensor(quick(sizes) < float(threshold))  # a number from numpy would compare as a double


def quick(tensor: Tensor) -> np.ndarray | Tensor:
    """The same numbers as a numpy array where that is faster and possible, without a copy."""
    return tensor.detach().numpy() if tensor.is_cpu and tensor.dtype in (torch.float32, torch.bool) else tensor

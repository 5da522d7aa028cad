"""How the values of a packed matrix are stored: float32, float16, or int8 with a scale for each row.

Rounding happens here, before anything is packed: what a matrix stores, and what multiplies, is the rounded one.
Rounding it once more changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FORMATS = ("float32", "float16", "int8")
MOST = 127  # of int8: -128 has no counterpart
SMALLEST_SCALE = torch.finfo(torch.float32).tiny  # smaller ones have fewer digits than int8 needs
LARGEST_SCALE = torch.finfo(torch.float32).max / 128  # times 127 it is finite


@dataclass(frozen=True)
class Rounded:
    """A dense matrix in the numbers that are stored."""

    numbers: Tensor  # (rows, columns) float32, all of which float32, float16 or int8 hold exactly
    scales: Tensor | None  # (rows,) float32 to multiply int8 by
    dtype: torch.dtype  # that they are stored as

    def values(self) -> Tensor:
        """The matrix that is multiplied: (rows, columns) float32."""
        return self.numbers if self.scales is None else self.numbers * self.scales[:, None]


def rounded(dense: Tensor, values: str) -> Rounded:
    """`dense`, (rows, columns) float32, rounded to one of FORMATS: to the nearest, ties to even.

    int8 is symmetric: a row's scale is its largest magnitude / 127. The scale multiplies the row's finished sum.

    Raises:
        ValueError: a value that is too large for float16, or for int8 one that is not finite
    """
    if values == "float32":
        return Rounded(dense, None, torch.float32)
    if values == "float16":
        half = dense.half()
        refuse(half.isinf() & dense.isfinite(), dense, "is beyond float16, which ends at 65504; use float32 or int8")
        return Rounded(half.float(), None, torch.float16)
    refuse(~dense.isfinite(), dense, "has no place in int8; use float32 or float16")
    scales = scales_of(dense)
    return Rounded((dense / scales[:, None]).round().clamp_(-MOST, MOST), scales, torch.int8)


def scales_of(dense: Tensor) -> Tensor:
    """(rows,) largest magnitudes / 127, or for a row that was rounded before the scale that it was rounded with.

    127 times a scale is rounded too, so that dividing by 127 may give a neighbour of that scale. If a whole row is
    multiples of the neighbour, the neighbour it was.
    """
    largest = dense.abs().amax(1) if dense.shape[1] else dense.new_zeros(dense.shape[0])
    scales = (largest / MOST).clamp(SMALLEST_SCALE, LARGEST_SCALE)
    exact = multiples(dense, scales)
    for neighbour in (scales.nextafter(torch.tensor(0.0)), scales.nextafter(torch.tensor(torch.inf))):
        better = ~exact & (neighbour >= SMALLEST_SCALE) & multiples(dense, neighbour)
        scales, exact = torch.where(better, neighbour, scales), exact | better
    return scales


def multiples(dense: Tensor, scales: Tensor) -> Tensor:
    """(rows,) which rows are whole multiples of their scale, from -127 to 127, but for rounding to float32."""
    numbers = (dense / scales[:, None]).round()
    return ((numbers * scales[:, None] == dense) & (numbers.abs() <= MOST)).all(1)


def refuse(bad: Tensor, dense: Tensor, why: str) -> None:
    """ValueError naming the first bad value."""
    if bad.any():
        row, column = bad.nonzero()[0].tolist()
        raise ValueError(f"the value {dense[row, column].item():g} in row {row}, column {column} {why}")

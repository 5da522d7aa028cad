"""From the tensors of a trained network to what the engine computes with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from ..model.config import ConvolutionConfig
from .convolution import SparseConvolution
from .layouts import fastest_layout
from .sparse import SparseMatrix

EPSILON = 1e-5  # of torch's batch norm


@dataclass(frozen=True)
class Affine:
    """A batch norm by its running statistics: x * scale + shift."""

    scale: Tensor
    shift: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale)


class Weights:
    """Reads the tensors of a network one by one, and remembers what it packed.

    Args:
        tensors: by the names of the network's state
        values: how the values of some are rounded already, "float16" or "int8", by the same names: they are packed so,
            as `SparseMatrix.from_dense` does
    """

    def __init__(self, tensors: Mapping[str, Tensor], values: Mapping[str, str] = MappingProxyType({})) -> None:
        self.tensors, self.values = tensors, values
        self.matrices: dict[str, SparseMatrix] = {}
        self.convolutions: dict[str, SparseConvolution] = {}

    def dense(self, name: str) -> Tensor:
        return self.tensors[name].detach()

    def matrix(self, name: str, *, frames: int = 16) -> SparseMatrix:
        """Packed in the layout that is fastest for x of so many frames: 1 if it multiplies a state, 16 at most."""
        dense = self.dense(name)
        values = self.values.get(name, "float32")
        self.matrices[name] = SparseMatrix.from_dense(dense, fastest_layout(dense, frames, values), values)
        return self.matrices[name]

    def norm(self, name: str) -> Affine:
        mean, variance, weight, bias = (
            self.dense(f"{name}.{part}") for part in ("running_mean", "running_var", "weight", "bias")
        )
        if (variance < 0).any():
            raise ValueError(f"{name}.running_var has a negative variance, {variance.min().item():g}")
        scale = weight / (variance + EPSILON).sqrt()
        return Affine(scale, bias - mean * scale)

    def convolution(self, name: str, config: ConvolutionConfig) -> None:
        """Pack a convolution and the norm behind it."""
        norm, key = self.norm(f"{name}.norm"), f"{name}.convolution.weight"
        self.convolutions[key] = SparseConvolution.from_dense(
            self.dense(key), config.stride[::-1], norm.scale, norm.shift
        )

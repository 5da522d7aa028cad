"""From the tensors of a trained network to what the engine computes with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..model.config import ConvolutionConfig
from ..model.masking import clipped_relu
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


@dataclass(frozen=True)
class DenseConvolution:
    """`MaskedConvolution` for one utterance of its own length, through torch."""

    weight: Tensor  # (C', C, frames, bins)
    stride: tuple[int, int]  # frames, bins
    norm: Affine

    def __call__(self, x: Tensor, threads: int) -> Tensor:
        """Shapes: (C, F, T) -> (C', F', T')"""
        padding = (self.weight.shape[2] // 2, self.weight.shape[3] // 2)
        y = torch.nn.functional.conv2d(x.transpose(1, 2), self.weight, stride=self.stride, padding=padding)
        y = y * self.norm.scale[:, None, None] + self.norm.shift[:, None, None]
        return clipped_relu(y).transpose(1, 2)


class Weights:
    """Reads the tensors of a network one by one, and remembers the matrices that it packed.

    Args:
        tensors: by the names of the network's state
        values: how the values of some are rounded already, "float16" or "int8", by the same names: they are packed so
    """

    def __init__(self, tensors: Mapping[str, Tensor], values: Mapping[str, str]) -> None:
        self.tensors, self.values = tensors, values
        self.matrices: dict[str, SparseMatrix] = {}

    def dense(self, name: str) -> Tensor:
        return self.tensors[name].detach()

    def matrix(self, name: str, *, frames: int = 16) -> SparseMatrix:
        """Packed in the layout that is fastest for x of so many frames: 1 if it multiplies a state, 16 at most."""
        dense = self.dense(name)
        block = fastest_layout(dense, frames)
        self.matrices[name] = SparseMatrix.from_dense(dense, block, self.values.get(name, "float32"))
        return self.matrices[name]

    def norm(self, name: str) -> Affine:
        mean, variance, weight, bias = (
            self.dense(f"{name}.{part}") for part in ("running_mean", "running_var", "weight", "bias")
        )
        scale = weight / (variance + EPSILON).sqrt()
        return Affine(scale, bias - mean * scale)

    def convolution(self, name: str, config: ConvolutionConfig) -> DenseConvolution:
        return DenseConvolution(
            self.dense(f"{name}.convolution.weight"), config.stride[::-1], self.norm(f"{name}.norm")
        )

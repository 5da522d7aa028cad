"""Random weights without a training: what is measured depends on where the zeros are, not on what the rest says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..report.tables import Column

PATTERNS = {"single": (1, 1), "8x1": (8, 1)}


def kept(shape: tuple[int, int], block: tuple[int, int], sparsity: float) -> Tensor:
    """Where a matrix has values: blocks kept by chance, (rows, columns) bool. The last blocks may be cut."""
    (rows, columns), (r, c) = shape, block
    blocks = torch.rand(-(-rows // r), -(-columns // c)) >= sparsity
    return blocks.repeat_interleave(r, 0).repeat_interleave(c, 1)[:rows, :columns]


def without_initialisation(build: Callable[..., nn.Module], *arguments: Any, **more: Any) -> nn.Module:
    """A module in eval mode, random weights of a size that keeps its state in bounds.

    The usual initialisation takes minutes for matrices of thousands of rows: it makes them orthogonal.
    """
    with torch.device("meta"):
        module = build(*arguments, **more)
    module.to_empty(device="cpu")
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.reset_parameters()
        for parameter in part.parameters(recurse=False):
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.5 / parameter.shape[1] ** 0.5)
            elif not isinstance(part, nn.modules.batchnorm._BatchNorm):
                nn.init.zeros_(parameter)
    return module.eval()


def pair(title: str, show: str = "{:.1f} ({:.1f})") -> Column:
    """A column of two figures: of the medians and, in brackets, of the shortest times."""
    return Column(title, lambda values: show.format(*values))

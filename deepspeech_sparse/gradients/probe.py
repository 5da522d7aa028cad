"""How much a weight gradient loses when gate gradients are rounded: its correlation with the exact one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from .rounded import RoundedGradients
from .rounding import EXACT


def correlations(
    module: nn.Module, layers: Mapping[str, RoundedGradients], loss: Callable[[], Tensor]
) -> dict[str, float]:
    """<dW, dW0> / (|dW| |dW0|) of all matrices of each layer together, 1 where nothing is lost; NaN if all are frozen.

    The loss is computed twice, with the same random numbers, and differentiated by these matrices alone. Buffers of
    `module` (the averages of a batch norm) and gradients that are there stay as they are.

    Args:
        module: whose buffers and layers the loss uses
        layers: by name, with the rounding that is to be judged
        loss: one batch, the same each time
    """
    matrices = {
        name: [weight for weight in layer.parameters() if weight.dim() > 1 and weight.requires_grad]
        for name, layer in layers.items()
    }
    if not any(matrices.values()):  # all frozen
        return dict.fromkeys(layers, math.nan)
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    rounded = {name: (layer.rounding, layer.seen) for name, layer in layers.items()}
    flat = [weight for weights in matrices.values() for weight in weights]
    devices = [torch.device("cuda", torch.cuda.current_device())] if flat and flat[0].is_cuda else []
    gradients = []
    try:
        for exact in (False, True):
            for name, layer in layers.items():
                layer.rounding, layer.seen = EXACT if exact else rounded[name][0], None
            with torch.random.fork_rng(devices), torch.enable_grad():
                torch.manual_seed(0)  # the same dropout, in a resumed training as well
                gradients.append(iter(torch.autograd.grad(loss(), flat, allow_unused=True)))
            with torch.no_grad():
                for name, buffer in module.named_buffers():
                    buffer.copy_(buffers[name])
    finally:
        for name, layer in layers.items():
            layer.rounding, layer.seen = rounded[name]
    rounded_ones, exact_ones = gradients
    return {
        name: cosine([next(rounded_ones) for _ in weights], [next(exact_ones) for _ in weights])
        for name, weights in matrices.items()
    }


def cosine(ours: list[Tensor | None], theirs: list[Tensor | None]) -> float:
    """Of two lists of tensors as one vector each, summed in float64; NaN if one of them is zero."""
    pairs = [(a.double().flatten(), b.double().flatten()) for a, b in zip(ours, theirs) if a is not None]
    dot, mine, other = (
        sum(float(f(a, b)) for a, b in pairs) for f in (lambda a, b: a @ b, lambda a, b: a @ a, lambda a, b: b @ b)
    )
    length = (mine * other) ** 0.5
    return dot / length if length else math.nan

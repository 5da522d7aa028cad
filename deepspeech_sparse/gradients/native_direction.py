"""The same as `direction.py` with the native kernels: on the CPU, in float32, fast where gate gradients are zero."""

from __future__ import annotations

import torch
from torch import Tensor

from ..machine.runtime import native
from .direction import Direction, GateGradients
from .rounding import Rounding

# Share of zeros from which products that skip them are faster than torch's dense ones: `bench gradients`. They skip
# zeros times infinity or NaN, too; what is not finite in the gradients themselves stays.
WORTH_IT = 0.6


def usable(*tensors: Tensor) -> bool:
    """Whether the kernels can compute with these."""
    return native() is not None and all(x.device.type == "cpu" and x.dtype == torch.float32 for x in tensors)


def forward(d: Direction) -> None:
    """See `direction.forward`."""
    native().train_forward(*fixed(d), *kept(d), torch.get_num_threads())


def backward(
    d: Direction, upper: Tensor, state: Tensor, memory: Tensor | None, rounding: Rounding, sample_every: int = 0
) -> GateGradients:
    """See `direction.backward`."""
    state, memory = (  # the kernels write into them
        x if x is None else x.clone(memory_format=torch.contiguous_format) for x in (state, memory)
    )
    shape = (*upper.shape[:2], len(d.weight))
    recurrent = upper.new_empty(shape)
    inputs = upper.new_empty(shape) if d.cell == "gru" else recurrent
    sample = upper.new_zeros(-(-len(upper) // sample_every), *shape[1:]) if sample_every else None
    entries = native().train_backward(
        *fixed(d),
        *kept(d),
        array(upper),
        array(state),
        array(memory),
        rounding.threshold,
        rounding.kept(len(d.weight)),
        sample_every,
        array(sample),
        array(recurrent),
        array(inputs if d.cell == "gru" else None),
        torch.get_num_threads(),
    )
    zeros = 1 - sum(entries) / max(1, recurrent.numel())
    return GateGradients(recurrent, inputs, state, memory, zeros, sample)


def fixed(d: Direction) -> tuple:
    return d.cell, d.backwards, d.lengths.numpy(), array(d.weight), array(d.bias)


def kept(d: Direction) -> tuple:
    return written(d.gates), written(d.states), written(d.memory), written(d.products)


def array(x: Tensor | None):
    """As the kernels take it: without a copy where the tensor has no gaps."""
    return None if x is None else x.detach().contiguous().numpy()


def written(x: Tensor | None):
    """As `array`, for what the kernels write into, too."""
    if x is not None and not x.is_contiguous():
        raise ValueError(f"a tensor of strides {x.stride()} to be written into; make it contiguous")
    return array(x)


def skipping_product(x: Tensor, weight: Tensor) -> Tensor:
    """x (N, K) weight (K, M) without the zeros of x."""
    y = x.new_empty(len(x), -(-weight.shape[1] // 16) * 16)
    native().skipping_product(array(x), array(weight), y.numpy(), torch.get_num_threads())
    return y[:, : weight.shape[1]]


def skipping_outer(x: Tensor, z: Tensor) -> Tensor:
    """x^T z without the zeros of x: (N, K), (N, M) -> (K, M)."""
    y = x.new_empty(x.shape[1], -(-z.shape[1] // 16) * 16)
    native().skipping_outer(array(x), array(z), y.numpy(), torch.get_num_threads())
    return y[:, : z.shape[1]]

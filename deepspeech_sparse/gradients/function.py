"""One direction of a recurrent layer as a differentiable function whose gate gradients are rounded.

Of the six matrix products of a training step (Wx, Uh; dnet W, dnet U, x dnet, h dnet) the last four read the rounded
gradient dnet, and skip its zeros where that is faster: the fourth flows back through time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import direction as with_torch
from . import native_direction as with_kernels
from .direction import Direction
from .rounding import EXACT, Rounding
from .seen import Seen


@dataclass(frozen=True)
class Way:
    """How a direction is read and what becomes of its gradient.

    Args:
        cell, backwards, lengths: see `Direction`
        rounding: of the gate gradients
        seen: takes notes in the backward pass, if not none
    """

    cell: str
    backwards: bool
    lengths: Tensor
    rounding: Rounding = EXACT
    seen: Seen | None = None


class Recurrence(torch.autograd.Function):
    """x (T, B, F), first state (B, H) -> states (T, B, H), last state (B, H); of an LSTM, memory too.

    Arguments: way, x, W (G H, F) or None where x is the input product already, U (G H, H), bias of both (G H) or None,
    bias of a GRU's last recurrent product (H) or None, first state, first memory or None. Frames that are not real have
    the first state.
    """

    @staticmethod
    def forward(ctx, way: Way, x, weight_ih, weight_hh, bias, bias_new, state, memory):
        compute = with_kernels if with_kernels.usable(x, weight_hh) else with_torch
        total = len(x)
        gates = (
            x.clone(memory_format=torch.contiguous_format)
            if weight_ih is None
            else torch.nn.functional.linear(x, weight_ih, bias)
        )
        states = state.expand(total + 1, *state.shape).contiguous()
        memories = None if memory is None else memory.expand(total + 1, *memory.shape).contiguous()
        products = None
        if way.cell == "gru":
            products = states.new_empty(total, *state.shape)
            bias_new = state.new_zeros(state.shape[1]) if bias_new is None else bias_new
        d = Direction(way.cell, way.backwards, way.lengths, weight_hh, bias_new, gates, states, memories, products)
        compute.forward(d)
        if way.cell not in ("gru", "lstm"):
            gates = None  # the state says what the gate was
        x = None if weight_ih is None else x
        ctx.save_for_backward(x, weight_ih, weight_hh, bias_new, gates, states, memories, products)
        ctx.way, ctx.compute, ctx.device_type = way, compute, states.device.type
        ctx.set_materialize_grads(False)
        outputs = states[:-1] if way.backwards else states[1:]
        return outputs, last(states, way), None if memories is None else last(memories, way)

    @staticmethod
    def backward(ctx, upper, last_state, last_memory):
        if torch.is_grad_enabled():
            raise RuntimeError(
                "gate gradients that are rounded have no derivative: create_graph=True is not possible with layers of "
                "deepspeech_sparse.gradients; use torch.nn's"
            )
        with torch.autocast(ctx.device_type, enabled=False):
            return Recurrence.back(ctx, upper, last_state, last_memory)

    @staticmethod
    def back(ctx, upper, last_state, last_memory):
        """`backward`, in the precision of the weights."""
        way, compute = ctx.way, ctx.compute
        x, weight_ih, weight_hh, bias_new, gates, states, memories, products = ctx.saved_tensors
        d = Direction(way.cell, way.backwards, way.lengths, weight_hh, bias_new, gates, states, memories, products)
        upper = torch.zeros_like(states[1:]) if upper is None else upper
        last_state, last_memory = (
            torch.zeros_like(states[0]) if gradient is None else gradient for gradient in (last_state, last_memory)
        )
        # Short utterances are sampled more often, never by their first frame alone.
        every = min(way.seen.sample_every, max(1, len(upper) // 4)) if way.seen is not None else 0
        back = compute.backward(d, upper, last_state, None if memories is None else last_memory, way.rounding, every)
        if way.seen is not None:
            way.seen.note(way.cell, way.lengths, back, every, 0 if x is None else x.shape[2])
        skip = compute is with_kernels and back.zeros >= with_kernels.WORTH_IT
        product = with_kernels.skipping_product if skip else torch.mm
        outer = with_kernels.skipping_outer if skip else lambda x, z: x.t() @ z
        needs = ctx.needs_input_grad
        at_x = at_weight = None
        recurrent, inputs = back.recurrent.flatten(0, 1), back.inputs.flatten(0, 1)
        if weight_ih is None:
            at_x = back.inputs
        else:
            at_x = product(inputs, weight_ih).view(x.shape) if needs[1] else None
            at_weight = outer(inputs, x.flatten(0, 1)) if needs[2] else None
        before = states[1:] if way.backwards else states[:-1]
        return (
            None,
            at_x,
            at_weight,
            outer(recurrent, before.flatten(0, 1)) if needs[3] else None,
            inputs.sum(0) if needs[4] else None,
            recurrent[:, -states.shape[2] :].sum(0) if needs[5] else None,
            back.state if needs[6] else None,
            back.memory if needs[7] else None,
        )


def last(places: Tensor, way: Way) -> Tensor:
    """(B, H) what stands behind the last frame that is read of each utterance."""
    if way.backwards:
        return places[0].clone()
    return places[way.lengths.to(places.device), torch.arange(places.shape[1], device=places.device)]

"""One direction of a recurrent layer, forwards and backwards, with torch: on any device, in any precision.

Symbols: T times, B utterances, H units, G gates in torch's order (GRU r, z, n; LSTM i, f, g, o). Frame t of utterance b
is real while t < lengths[b]. `native_direction.py` does the same with the native kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .rounding import Rounding

GATES = {
    "rnn": ("state",),
    "relu_rnn": ("state",),
    "clipped_rnn": ("state",),
    "gru": ("reset", "update", "new"),
    "lstm": ("input", "forget", "cell", "output"),
}
CLIP = 20.0  # of the clipped ReLU


@dataclass(frozen=True)
class Direction:
    """What both ways through the frames need.

        rnn, relu_rnn, clipped_rnn   h' = f(a + U h), f = tanh, max(., 0) or min(max(., 0), 20)
        gru     r, z = s(a + U h);  g = U_n h + b;  n = tanh(a_n + r g);  h' = n + z (h - n)
        lstm    i, f, o = s(a + U h);  g = tanh(a_g + U_g h);  c' = f c + i g;  h' = o tanh(c')

    Args:
        cell: one of these
        backwards: from the last frame to the first
        lengths: (B,) int64 on the CPU, frames that are real
        weight: (G H, H), U
        bias: (H,) of a GRU, b
        gates: (T, B, G H) the input products a with all other biases; `forward` turns a GRU's or LSTM's into the
            gates' values, other cells need none backwards
        states: (T + 1, B, H) h; read forwards, frame t makes place t + 1 of place t, read backwards the other way
            round. All places hold the first state until then, and keep it where nothing is real
        memory: (T + 1, B, H) c of an LSTM, likewise
        products: (T, B, H) g of a GRU, made by `forward`
    """

    cell: str
    backwards: bool
    lengths: Tensor
    weight: Tensor
    bias: Tensor | None
    gates: Tensor | None
    states: Tensor
    memory: Tensor | None
    products: Tensor | None

    @property
    def times(self) -> range:
        """Times in the order of reading."""
        total = len(self.states) - 1
        return range(total - 1, -1, -1) if self.backwards else range(total)

    def before(self, time: int) -> int:
        """The place that frame `time` reads."""
        return time + 1 if self.backwards else time

    def after(self, time: int) -> int:
        """The place that frame `time` makes."""
        return time if self.backwards else time + 1


@dataclass(frozen=True)
class GateGradients:
    """What comes back from the states.

    Args:
        recurrent: (T, B, G H) rounded gradient of U h with its bias
        inputs: (T, B, G H) rounded gradient of the input products a; a GRU's differs in its last gate
        state: (B, H) gradient of the first state
        memory: (B, H) gradient of the first memory of an LSTM
        zeros: share of `recurrent` that is zero, where that was counted on the way; else 0
        sample: (ceil(T / sample_every), B, G H) `recurrent` before it was rounded, at the middle one of every so many
            times; zeros where there is none
    """

    recurrent: Tensor
    inputs: Tensor
    state: Tensor
    memory: Tensor | None
    zeros: float
    sample: Tensor | None


def forward(d: Direction) -> None:
    """Fill gates, states, memory and products."""
    hidden = d.weight.shape[1]
    real = real_frames(d.lengths, len(d.states) - 1, d.states.device)
    first, first_memory = d.states[0].clone(), None if d.memory is None else d.memory[0].clone()
    for t in d.times:
        h = d.states[d.before(t)]
        product = h @ d.weight.t()
        gates = d.gates[t]
        if d.cell == "lstm":
            gates += product
            i, f, g, o = gates.chunk(4, dim=-1)
            for gate in (i, f, o):
                gate.sigmoid_()
            g.tanh_()
            c = f * d.memory[d.before(t)] + i * g
            d.memory[d.after(t)] = torch.where(real[t], c, first_memory)
            new = o * c.tanh()
        elif d.cell == "gru":
            reset_update, n = gates[:, : 2 * hidden], gates[:, 2 * hidden :]
            reset_update += product[:, : 2 * hidden]
            reset_update.sigmoid_()
            r, z = reset_update.chunk(2, dim=-1)
            torch.add(product[:, 2 * hidden :], d.bias, out=d.products[t])
            n.addcmul_(r, d.products[t]).tanh_()
            new = n + z * (h - n)
        else:
            a = gates + product
            new = a.tanh() if d.cell == "rnn" else a.clamp(0.0, CLIP) if d.cell == "clipped_rnn" else a.relu()
        d.states[d.after(t)] = torch.where(real[t], new, first)


def backward(
    d: Direction,
    upper: Tensor,
    state: Tensor,
    memory: Tensor | None,
    rounding: Rounding,
    sample_every: int = 0,
) -> GateGradients:
    """From the gradient of the states back to that of the gates, rounded at each time before it flows on.

    Args:
        upper: (T, B, H) gradient of the states
        state, memory: (B, H) gradients of the last state and memory
        sample_every: keep unrounded gradients of every so manieth time; 0 for none
    """
    hidden = d.weight.shape[1]
    real = real_frames(d.lengths, len(d.states) - 1, d.states.device)
    kept = rounding.kept(len(d.weight))
    recurrent = upper.new_zeros(*upper.shape[:2], len(d.weight))
    inputs = torch.zeros_like(recurrent) if d.cell == "gru" else recurrent
    sample = upper.new_zeros(-(-len(upper) // sample_every), *recurrent.shape[1:]) if sample_every else None
    for t in reversed(d.times):
        dh = state + upper[t]
        at_inputs, past, dc = step_back(d, t, dh, memory)
        at_inputs = at_inputs.masked_fill(~real[t], 0.0)
        at_gates = at_inputs
        if d.cell == "gru":  # the reset gate lies between the two
            r = d.gates[t, :, :hidden]
            at_gates = torch.cat([at_inputs[:, : 2 * hidden], at_inputs[:, 2 * hidden :] * r], dim=-1)
        if sample_every and t % sample_every == sample_every // 2:
            sample[t // sample_every] = at_gates
        score = at_inputs.abs().amax(0).nan_to_num(torch.inf) if kept else None
        at_inputs, at_gates = (rounded(x, rounding.threshold) for x in (at_inputs, at_gates))
        if kept:
            at = score.topk(kept).indices
            through = at_gates[:, at] @ d.weight[at]  # a smaller product
            rest = torch.ones_like(score, dtype=torch.bool)
            rest[at] = False
            at_inputs, at_gates = at_inputs.masked_fill(rest, 0.0), at_gates.masked_fill(rest, 0.0)
        else:
            through = at_gates @ d.weight
        recurrent[t] = at_gates
        if d.cell == "gru":
            inputs[t] = at_inputs
        state = torch.where(real[t], past + through, state)
        if memory is not None:
            memory = torch.where(real[t], dc, memory)
    return GateGradients(recurrent, inputs, state, memory, 0.0, sample)


def step_back(d: Direction, t: int, dh: Tensor, dc: Tensor | None) -> tuple[Tensor, Tensor | float, Tensor | None]:
    """Gradients of a (B, G H), of h past the recurrent product, and of c before frame t."""
    h = d.states[d.before(t)]
    if d.cell == "lstm":
        i, f, g, o = d.gates[t].chunk(4, dim=-1)
        shown = d.memory[d.after(t)].tanh()
        dc = dc + dh * o * (1 - shown * shown)
        at = (
            dc * g * i * (1 - i),
            dc * d.memory[d.before(t)] * f * (1 - f),
            dc * i * (1 - g * g),
            dh * shown * o * (1 - o),
        )
        return torch.cat(at, dim=-1), 0.0, dc * f
    if d.cell == "gru":
        r, z, n = d.gates[t].chunk(3, dim=-1)
        at_new = dh * (1 - z) * (1 - n * n)
        at = (at_new * d.products[t] * r * (1 - r), dh * (h - n) * z * (1 - z), at_new)
        return torch.cat(at, dim=-1), dh * z, None
    new = d.states[d.after(t)]
    if d.cell == "rnn":
        return dh * (1 - new * new), 0.0, None
    flat = new == 0 if d.cell == "relu_rnn" else (new == 0) | (new == CLIP)
    return dh.masked_fill(flat, 0.0), 0.0, None


def rounded(x: Tensor, threshold: float) -> Tensor:
    """Zero where |x| <= threshold; NaN stays, or a broken training would look like a sparse one."""
    return x.masked_fill(x.abs() <= threshold, 0.0) if threshold else x


def real_frames(lengths: Tensor, total: int, device: torch.device) -> Tensor:
    """(T, B, 1): which of so many frames are real."""
    return (torch.arange(total)[:, None] < lengths)[..., None].to(device)

"""A GRU over all time steps on a CPU, with a backward pass that does its large products once instead of per step.

torch has a fused GRU for GPUs only. On a CPU its gradient adds an outer product to the gradient of the recurrent matrix
at every time step; here all of them are one matrix product at the end, both directions run side by side, and a training
step of a small network takes less than half as long. The layer itself, and every other device, is `recurrent.py`.
"""

import torch
from torch import Tensor, nn

from .masking import frame_mask


def gru_on_cpu(cell: nn.GRU, x: Tensor, frames: Tensor) -> Tensor:
    """What a one-layer `cell` makes of a padded batch, as on packed sequences: the real frames only, then zeros.

    Shapes: x (B, T, F), frames (B,) -> (B, T, D * H), D directions side by side
    """
    directions = 2 if cell.bidirectional else 1
    suffixes = ("_l0", "_l0_reverse")[:directions]
    weight_ih, weight_hh, bias_ih, bias_hh = (
        torch.stack([getattr(cell, name + suffix) for suffix in suffixes])
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    # One product for all time steps and both directions: (T, B, F) -> (D, T, B, 3 H)
    inputs = nn.functional.linear(x.transpose(0, 1), weight_ih.flatten(0, 1), bias_ih.flatten())
    inputs = inputs.unflatten(-1, (directions, -1)).permute(2, 0, 1, 3)
    if directions == 2:
        backwards = reversed_frames(frames, x.shape[1])
        inputs = torch.stack([inputs[0], at_frames(inputs[1], backwards)])
    states = Recurrence.apply(inputs.contiguous(), weight_hh, bias_hh)
    if directions == 2:
        states = torch.cat([states[0], at_frames(states[1], backwards)], dim=-1)
    else:
        states = states[0]
    return states.transpose(0, 1) * frame_mask(frames, x.shape[1])[..., None]


def reversed_frames(frames: Tensor, total: int) -> Tensor:
    """Where frame t of each utterance lies when it is read from its end; its padding stays: (B,) -> (T, B).

    utterance of 3 frames in a batch of 5:  2 1 0 3 4
    """
    forwards = torch.arange(total)[:, None].expand(total, len(frames))
    return torch.where(forwards < frames, frames - 1 - forwards, forwards)


def at_frames(x: Tensor, positions: Tensor) -> Tensor:
    """x (T, B, F) read at positions (T, B)."""
    return x.gather(0, positions[..., None].expand(-1, -1, x.shape[-1]))


class Recurrence(torch.autograd.Function):
    """The recurrence behind the input product, gates in torch's order r, z, n and the reset gate after the product.

        r = s(a_r + U_r h + b_r);  z = s(a_z + U_z h + b_z);  g = U_n h + b_n
        n = tanh(a_n + r g);       h' = n + z (h - n)

    Shapes:
        inputs (D, T, B, 3 H): a, weight (D, 3 H, H): U, bias (D, 3 H): b -> states (D, T, B, H), from a zero state
    """

    @staticmethod
    def forward(ctx, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        directions, total, batch, width = inputs.shape
        hidden = width // 3
        states = inputs.new_zeros(directions, total + 1, batch, hidden)  # [0] lies before the first frame
        gates = inputs.clone()  # becomes r, z, n
        products = inputs.new_empty((*inputs.shape[:-1], hidden))  # g
        transposed = weight.transpose(1, 2).contiguous()
        bias = bias[:, None]
        for t in range(total):
            product = torch.baddbmm(bias, states[:, t], transposed)
            gate = gates[:, t]
            reset_update, new = gate[..., : 2 * hidden], gate[..., 2 * hidden :]
            reset_update += product[..., : 2 * hidden]
            reset_update.sigmoid_()
            products[:, t] = product[..., 2 * hidden :]
            new.addcmul_(reset_update[..., :hidden], products[:, t]).tanh_()
            torch.lerp(new, states[:, t], reset_update[..., hidden:], out=states[:, t + 1])
        ctx.save_for_backward(weight, states, gates, products)
        return states[:, 1:]

    @staticmethod
    def backward(ctx, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, states, gates, products = ctx.saved_tensors
        directions, total, batch, hidden = products.shape
        reset, update, new = gates.chunk(3, dim=-1)
        # What a gradient of h' is multiplied with on its way to each pre-activation, for all time steps at once.
        to_new = (1 - update) * (1 - new.square())
        to_update = (states[:, :-1] - new) * update * (1 - update)
        to_reset = products * reset * (1 - reset)
        recurrent = torch.empty_like(gates)  # gradient of U h + b
        gradient = upper.new_zeros(directions, batch, hidden)  # of the state, from the future
        for t in reversed(range(total)):
            gradient = gradient + upper[:, t]
            at_reset, at_update, at_product = recurrent[:, t].chunk(3, dim=-1)
            at_new = gradient * to_new[:, t]
            torch.mul(gradient, to_update[:, t], out=at_update)
            torch.mul(at_new, to_reset[:, t], out=at_reset)
            torch.mul(at_new, reset[:, t], out=at_product)
            to_new[:, t] = at_new  # no longer needed as a factor: now the gradient of a_n
            gradient = torch.baddbmm(gradient * update[:, t], recurrent[:, t], weight)
        flat = recurrent.flatten(1, 2)
        weight_gradient = torch.bmm(flat.transpose(1, 2), states[:, :-1].flatten(1, 2))
        inputs_gradient = torch.cat([recurrent[..., : 2 * hidden], to_new], dim=-1)
        return inputs_gradient, weight_gradient, flat.sum(1)

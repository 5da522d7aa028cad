"""Recurrent layers of the engine: all time steps and both directions in one call.

The input products of many frames are one large sparse product, the gates are fused behind the recurrent one, directions
run on separate threads: `native/layers/recurrence.cpp`. Without it the same is done with torch, a step at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..machine.runtime import native
from ..model.masking import clipped_relu
from .products import NativeProduct
from .sparse import SparseMatrix


@dataclass(frozen=True)
class Direction:
    """The weights of one direction, gates one below the other in torch's order.

    rnn, lstm, clipped_rnn    scale W x + shift + U h
    gru                       likewise, and `bias` is added to U h of the new gate, before the reset gate
    """

    input: SparseMatrix  # W (gates * H, F)
    recurrent: SparseMatrix  # U (gates * H, H)
    shift: Tensor  # (gates * H,)
    scale: Tensor | None = None  # (gates * H,)
    bias: Tensor | None = None  # (H,)


class Recurrence:
    """A recurrent layer without training: one direction, or a second one that reads from the end.

    Args:
        cell: rnn, gru, lstm or clipped_rnn, as in `NetworkConfig`
        directions: one or two
        sum: add the directions; otherwise they lie side by side

    Raises:
        ValueError: matrices or vectors that do not fit each other; native kernels only, as below
    """

    def __init__(self, cell: str, directions: tuple[Direction, ...], *, sum: bool) -> None:
        self.cell, self.directions, self.sum = cell, directions, sum
        hidden = directions[0].recurrent.shape[1]
        self.features = directions[0].input.shape[1]
        self.outputs = hidden * (1 if sum else len(directions))
        self.layer = None
        if isinstance(directions[0].input.product, NativeProduct):
            nothing = torch.empty(0)
            parts = [
                (
                    direction.input.product.matrix,
                    direction.recurrent.product.matrix,
                    *(
                        (nothing if vector is None else vector.contiguous()).numpy()
                        for vector in (direction.scale, direction.shift, direction.bias)
                    ),
                )
                for direction in directions
            ]
            self.layer = native().Recurrence(cell, sum, parts)

    def first_state(self) -> Tensor:
        """Of an utterance, for calls that go on with it: the units, and those of an LSTM's memory."""
        return torch.zeros(self.directions[0].recurrent.shape[1] * (2 if self.cell == "lstm" else 1))

    def __call__(self, x: Tensor, counts: Tensor, threads: int, state: Tensor | None = None) -> Tensor:
        """All time steps.

        Args:
            x: (frames, F) float32, packed by time
            counts: (T,) int64, how many utterances have a frame t (`Packing.counts`)
            threads: two use both directions; more share the rows of the matrices
            state: of one utterance in one direction, which becomes the one after its last frame here

        Returns:
            (frames, outputs) float32

        Raises:
            ValueError: shapes or counts that do not fit
        """
        if self.layer is None:
            return step_by_step(self, x, counts, threads, state)
        y = torch.empty(len(x), self.outputs)
        self.layer.run(
            x.contiguous().numpy(), counts.numpy(), y.numpy(), threads, None if state is None else state.numpy()
        )
        return y


def step_by_step(layer: Recurrence, x: Tensor, counts: Tensor, threads: int, going_on: Tensor | None = None) -> Tensor:
    """The same with torch, one product for each time step."""
    starts = (counts.cumsum(0) - counts).tolist()
    steps = list(zip(starts, counts.tolist()))
    ys = []
    for number, direction in enumerate(layer.directions):
        inputs = direction.input.linear(x, threads)
        inputs = inputs * direction.scale + direction.shift if direction.scale is not None else inputs + direction.shift
        hidden = direction.recurrent.shape[1]
        batch = max(counts.tolist(), default=0)
        state, memory = torch.zeros(batch, hidden), torch.zeros(batch, hidden)
        if going_on is not None:
            state[:1], memory[:1] = going_on[:hidden], going_on[-hidden:]
        y = torch.empty(len(x), hidden)
        for start, count in steps if number == 0 else reversed(steps):
            product = direction.recurrent.linear(state[:count], threads)
            state[:count] = cell_step(layer.cell, inputs[start : start + count], product, direction, state, memory)
            y[start : start + count] = state[:count]
        if going_on is not None and steps:
            going_on[:] = torch.cat([state[0], memory[0]])[: len(going_on)]
        ys.append(y)
    return sum(ys[1:], ys[0]) if layer.sum else torch.cat(ys, dim=1)


def cell_step(cell: str, a: Tensor, g: Tensor, direction: Direction, state: Tensor, memory: Tensor) -> Tensor:
    """h' (batch, H) from input and recurrent products (batch, gates * H); an LSTM's `memory` is replaced."""
    if cell == "clipped_rnn":
        return clipped_relu(a + g)
    if cell == "rnn":
        return (a + g).tanh()
    if cell == "gru":
        hidden = state.shape[1]
        reset, update = (a + g)[:, : 2 * hidden].sigmoid().chunk(2, dim=1)
        new = (a[:, 2 * hidden :] + reset * (g[:, 2 * hidden :] + direction.bias)).tanh()
        return new + update * (state[: len(a)] - new)
    keep, forget, new, show = (a + g).chunk(4, dim=1)
    memory[: len(a)] = forget.sigmoid() * memory[: len(a)] + keep.sigmoid() * new.tanh()
    return show.sigmoid() * memory[: len(a)].tanh()

"""What a backward pass saw: how many gate gradients were zero, and what they were before they were rounded."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .direction import GATES, GateGradients


@dataclass
class Seen:
    """Notes of one direction of one layer, of one backward pass.

    Args:
        sample_every: gradients before rounding are kept of every so manieth time, of short utterances more; 0 for none
        count: whether zeros are counted, which reads all gradients once more

    Attributes:
        zeros: (G,) share of zeros among the rounded gate gradients of real frames, by gate
        frames: real frames, of all utterances
        recurrent_zeros, input_zeros: shares of zeros in what the recurrent and input products read
        recurrent_macs, input_macs: multiply-accumulates of one such product
        sample: |dnet| before rounding of some times, real frames only
    """

    sample_every: int = 16
    count: bool = True
    zeros: list[float] = field(default_factory=list)
    frames: int = 0
    recurrent_zeros: float = 0.0
    input_zeros: float = 0.0
    recurrent_macs: int = 0
    input_macs: int = 0
    sample: Tensor | None = None

    def note(self, cell: str, lengths: Tensor, back: GateGradients, every: int, features: int) -> None:
        """Take notes of a backward pass over x with so many features, sampled at every so manieth time."""
        gates = len(GATES[cell])
        rows = back.recurrent.shape[2]
        self.frames = int(lengths.sum())
        each = self.frames * (rows // gates)  # gradients of one gate
        if back.sample is not None:
            times = torch.arange(len(back.sample))[:, None] * every + every // 2
            self.sample = back.sample[(times < lengths).to(back.sample.device)].abs()
        if not self.count:
            return
        entries, at_inputs = (
            x.flatten(0, 1).unflatten(1, (gates, -1)).count_nonzero((0, 2)).tolist()
            for x in (back.recurrent, back.inputs)
        )
        # Padding is zero, too: entries are counted, not zeros.
        self.zeros = [1 - count / max(1, each) for count in entries]
        self.recurrent_zeros, self.input_zeros = (
            1 - sum(counts) / max(1, each * gates) for counts in (entries, at_inputs)
        )
        self.recurrent_macs, self.input_macs = self.frames * rows * (rows // gates), self.frames * rows * features

    @property
    def redundant(self) -> float:
        """Multiply-accumulates of the training step whose factor is a zero: two products backwards each."""
        return 2 * (self.recurrent_zeros * self.recurrent_macs + self.input_zeros * self.input_macs)

    @property
    def macs(self) -> int:
        """All of them: one product forwards, two backwards, for inputs and for states (the paper's six)."""
        return 3 * (self.recurrent_macs + self.input_macs)

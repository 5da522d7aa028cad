"""From what was asked for and what the gradients were to what the next step rounds."""

from __future__ import annotations

import math

from torch import Tensor

from .config import Absolute, Relative, Target, Units
from .rounding import EXACT, Rounding

MEMORY = 0.9  # weight of what was known before: a batch is no more than a sample of the gradients
SAMPLE = 16384  # of them are enough for a quantile


def quantile(sizes: Tensor, share: float) -> float:
    """The value that a share of `sizes` does not exceed; 0 of none. Large ones are sampled evenly."""
    sizes = sizes.flatten()
    sizes = sizes[:: -(-len(sizes) // SAMPLE) or 1]
    sizes = sizes[sizes.isfinite()]
    return float(sizes.kthvalue(max(1, math.ceil(share * len(sizes)))).values) if len(sizes) else 0.0


class Threshold:
    """The rounding of all layers. They share a threshold: a layer whose gradients are small loses more of them.

    Quantiles belong to steps before: their geometric mean, recent steps first. Before the first of them is known,
    gradients are exact.

    Args:
        rule: what was asked for
        known: that mean, or none; all the state there is
    """

    def __init__(self, rule: Absolute | Relative | Target | Units, known: float | None = None) -> None:
        self.rule = rule
        self.known = known

    @property
    def follows(self) -> bool:
        """Whether it depends on what gradients were."""
        return isinstance(self.rule, (Relative, Target))

    def look(self, sizes: Tensor, strength: float = 1.0) -> None:
        """Learn from |dnet| of all layers before rounding, at a strength."""
        share = self.rule.quantile if isinstance(self.rule, Relative) else self.rule.sparsity * strength
        now = quantile(sizes, share) if share else 0.0
        if self.known and now:
            now = math.exp(MEMORY * math.log(self.known) + (1 - MEMORY) * math.log(now))
        self.known = now or self.known

    def rounding(self, strength: float) -> Rounding:
        """For the next step; `strength` is how far a ramp has come."""
        if not strength:
            return EXACT
        match self.rule:
            case Absolute():
                return Rounding(self.rule.threshold * strength)
            case Units():
                return Rounding(dropped=self.rule.dropped * strength)
            case Relative():
                return Rounding(self.rule.factor * strength * (self.known or 0.0))
            case Target():
                return Rounding(self.known or 0.0)

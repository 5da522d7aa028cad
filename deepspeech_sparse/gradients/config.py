"""What a user says about sparse gradients in YAML: which of them become zero, and when."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..errors import InputError


@dataclass(frozen=True)
class Absolute:
    """The paper's rule: a fixed number, which fits one batch size, one scale of the loss and one network.

    Args:
        kind: absolute
        threshold: single gate gradients with |dnet| up to it become zero
    """

    kind: Literal["absolute"]
    threshold: float = 1e-6

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < math.inf:
            raise InputError(f"gradients: threshold = {self.threshold} must be finite and at least 0; e.g. 1e-6")


@dataclass(frozen=True)
class Relative:
    """A threshold that follows the gradients: a part of a large one of them.

    Args:
        kind: relative
        factor: threshold, as part of that quantile
        quantile: of |dnet|, all layers together
    """

    kind: Literal["relative"]
    factor: float = 0.01
    quantile: float = 0.99

    def __post_init__(self) -> None:
        if not 0 <= self.factor < math.inf:
            raise InputError(f"gradients: factor = {self.factor} must be finite and at least 0; e.g. 0.01")
        refuse_share(self.quantile, "quantile", "the largest gradient of all is an accident; e.g. 0.99")


@dataclass(frozen=True)
class Target:
    """A threshold that follows the gradients so that a share of them becomes zero.

    Args:
        kind: sparsity
        sparsity: share of the gate gradients that become zero, all layers together
    """

    kind: Literal["sparsity"] = "sparsity"
    sparsity: float = 0.8

    def __post_init__(self) -> None:
        refuse_share(self.sparsity, "sparsity", "no gradient would be left; e.g. 0.8")


@dataclass(frozen=True)
class Units:
    """Whole gate units are dropped, at each time the ones with the smallest gradients (arXiv 1806.00512).

    Args:
        kind: units
        dropped: share of the gate units that is dropped, for all utterances of the batch alike
    """

    kind: Literal["units"]
    dropped: float = 0.5

    def __post_init__(self) -> None:
        refuse_share(self.dropped, "dropped", "no gradient would be left; e.g. 0.5")


def refuse_share(value: float, name: str, remedy: str) -> None:
    """InputError unless 0 <= value < 1."""
    if not 0 <= value < 1:
        raise InputError(f"gradients: {name} = {value} must be at least 0 and below 1: {remedy}")


@dataclass(frozen=True)
class GradientsConfig:
    """Sparsified back-propagation through time: small gate gradients become zero before they are used.

    Args:
        rule: absolute (the paper's fixed threshold), relative, sparsity, or units
        start: share of all steps trained with exact gradients first
        ramp: share of all steps in which threshold or share rise from zero, after `start`
        end: share of all steps after which gradients are exact again: sparse first, dense last
        every: optimizer steps between two counts of zeros, for the log
        probe: whether the first batch of each epoch is computed twice more, to correlate sparse with exact gradients
    """

    rule: Absolute | Relative | Target | Units = Target()
    start: float = 0.0
    ramp: float = 0.0
    end: float = 1.0
    every: int = 10
    probe: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end <= 1 or not 0 <= self.ramp <= self.end - self.start:
            raise InputError(
                f"gradients: need 0 <= start < end <= 1 and ramp within them, got start {self.start}, ramp {self.ramp} "
                f"and end {self.end} (shares of all steps)"
            )
        if self.every < 1:
            raise InputError(f"gradients: every = {self.every} must be at least 1")

    def strength(self, step: int, total_steps: int) -> float:
        """How far rounding has come at `step` of `total_steps`: 0 none, 1 all that was asked for."""
        done = step / max(1, total_steps)
        if not self.start <= done < self.end:
            return 0.0
        return min(1.0, (done - self.start) / self.ramp) if self.ramp else 1.0

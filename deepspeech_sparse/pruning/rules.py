"""From a schedule and the weights as they are now to the threshold due at a step.

A rule is called after every optimizer step with a function that gives the sizes of all units of its weights; it calls
that function only when it needs it, and returns None when no mask changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .quantile import size_quantile
from .schedules import NarangThreshold, OneStep, Rounds, SparsityRamp

Sizes = Callable[[], Sequence[Tensor]]


@dataclass(frozen=True)
class FixedThreshold:
    """The schedule's number is the threshold, whatever the weights are (Narang et al. 2017; Yu et al. 2012)."""

    schedule: NarangThreshold | OneStep

    def __call__(self, step: int, sizes: Sizes) -> float | None:
        return self.schedule(step)


@dataclass(frozen=True)
class RisingToTarget:
    """Narang's ramp towards a target sparsity instead of a fixed final threshold.

    What the schedule gives, relative to its last update, is the share of the full threshold due at a step, and the
    full threshold is the target's quantile of the sizes as they are now. At the last update the share is one: the
    target is met exactly (up to ties), with no dense run to measure q on.
    """

    schedule: NarangThreshold
    target: float  # share of units below the full threshold

    def __call__(self, step: int, sizes: Sizes) -> float | None:
        due = self.schedule(step)
        if due is None:
            return None
        return due / self.schedule(self.schedule.last_update) * size_quantile(sizes(), self.target)


@dataclass(frozen=True)
class SmallestShare:
    """The schedule's number is a share of zeros: the threshold is that quantile of the sizes as they are now."""

    schedule: SparsityRamp | OneStep | Rounds
    units: Callable[[float], float]  # share of units to prune for a share of zeros, see patterns

    def __call__(self, step: int, sizes: Sizes) -> float | None:
        sparsity = self.schedule(step)
        return None if sparsity is None else size_quantile(sizes(), self.units(sparsity))


@dataclass(frozen=True)
class Deviations:
    """Threshold = factor * standard deviation of the weights still there (Han et al. 2015, section 3.1).

    The paper says "the standard deviation of a layer's weights"; weights pruned in earlier rounds are left out here,
    they would pull it to zero and the rounds would prune ever less. Weights are spread around zero, so their deviation
    is the root of the mean square.
    """

    schedule: OneStep | Rounds  # only when
    factor: float

    def __call__(self, step: int, sizes: Sizes) -> float | None:
        if self.schedule(step) is None:
            return None
        squares, count = 0.0, 0
        for size in sizes():
            squares += torch.linalg.vector_norm(size, dtype=torch.float64).item() ** 2
            count += int(torch.count_nonzero(size))
        return self.factor * math.sqrt(squares / max(1, count))


Rule = FixedThreshold | RisingToTarget | SmallestShare | Deviations

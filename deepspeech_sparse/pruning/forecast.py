"""What a schedule will do, before any training: the pruner itself, on weights that move as training would move them.

Thresholds are the schedule's; the weights are a model of training. Adam's steps are as long as the learning rate, and
their directions vary: weights wander. With E the share of the sum of squared learning rates, an average weight has come
sqrt(E) of its way to where a dense training takes it, and strays from it like a random walk that must end there (a
Brownian bridge, variance E (1 - E)), `WANDER` times as far. What falls below the threshold on the way is gone, and what
is left wins back `RECOVERED` of the sum of squares that its matrix has lost. A group lasso and the lower learning
rate of a retraining are not in it.

Both numbers were fitted to five trainings of one small GRU; how far forecasts of other trainings were off is told in
benchmarks/README.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .pruner import Pruner
from .rules import FixedThreshold
from .schedules import NarangThreshold, Rounds, SparsityRamp

WANDER = 0.75
RECOVERED = 0.2
UPDATES = 200  # mask updates that a forecast follows; which one came before the last matters little, the last much


@dataclass(frozen=True)
class Update:
    """The state after one mask update."""

    step: int
    thresholds: dict[str, float]  # by group
    nonzeros: dict[str, int]  # by parameter


@torch.no_grad()
def updates_of(
    pruner: Pruner,
    steps: int,
    *,
    start: Mapping[str, Tensor],
    end: Mapping[str, Tensor],
    spent: Callable[[int], float],
) -> list[Update]:
    """The mask updates of a pruner whose module is not trained, but moved. The same for the same arguments.

    Args:
        pruner: of a module that nobody else needs: its weights are overwritten
        steps: of the training
        start: weights by parameter name before the first step
        end: weights to which a dense training takes them; `start` again where nobody knows
        spent: share of the sum of squared learning rates spent by a step, 0 to 1

    Raises:
        InputError: a layer would lose its last weight, with step and threshold
    """
    updates = []
    walks = {weight.name: Walk(start[weight.name].float(), end[weight.name].float()) for weight in pruner.weights}
    for step in thinned(due_steps(pruner, steps), UPDATES):
        for weight in pruner.weights:
            expected = walks[weight.name].at(spent(step))
            weight.parameter.copy_(without(expected, pruner.pruned.get(weight.name)))
        pruner.step(step)
        nonzeros = {weight.name: int(torch.count_nonzero(weight.parameter)) for weight in pruner.weights}
        updates.append(Update(step, dict(pruner.thresholds), nonzeros))
    return updates


class Walk:
    """A matrix that wanders from where it starts to where it ends."""

    def __init__(self, start: Tensor, end: Tensor) -> None:
        self.start, self.end = start, end
        self.reach = WANDER * (end - start).square().mean().sqrt().item()  # of a weight's straying, per unit of time
        self.astray = torch.zeros_like(start)
        self.time = 0.0
        self.random = torch.Generator().manual_seed(0)

    def at(self, time: float) -> Tensor:
        """The matrix at a time from 0 to 1; asked for in rising order."""
        if self.time < 1:
            left = (1 - time) / (1 - self.time)
            noise = torch.randn(self.start.shape, generator=self.random)
            self.astray.mul_(left).add_(noise, alpha=self.reach * math.sqrt(max(0.0, left * (time - self.time))))
            self.time = time
        return torch.lerp(self.start, self.end, math.sqrt(time)) + self.astray


def due_steps(pruner: Pruner, steps: int) -> list[int]:
    """All steps at which a mask is remade."""
    schedules = [group.rule.schedule for group in pruner.groups]
    return [step for step in range(1, steps + 1) if any(schedule(step) is not None for schedule in schedules)]


def thinned(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of them, evenly spread; the last is kept, the first need not be."""
    stride = max(1, math.ceil(len(items) / count))
    return list(items[::-1][::stride][::-1])


def without(weights: Tensor, pruned: Tensor | None) -> Tensor:
    """The weights with the pruned ones gone, and the others grown by what they win back."""
    if pruned is None:
        return weights
    whole = weights.square().sum()
    weights.masked_fill_(pruned, 0.0)
    left = weights.square().sum()
    return weights * torch.sqrt((left + RECOVERED * (whole - left)) / left) if left > 0 else weights


def schedule_words(pruner: Pruner, last: Update) -> list[str]:
    """What each group's schedule will do, a line each, with its hyper-parameters."""
    lines = []
    for group in pruner.groups:
        schedule = group.rule.schedule
        if isinstance(schedule, NarangThreshold):
            # A ramp to a target is one to q = 1, scaled by what is measured.
            scale = (
                1.0
                if isinstance(group.rule, FixedThreshold)
                else last.thresholds[group.name] / schedule(schedule.last_update)
            )
            lines.append(
                f"{group.name}: theta = {scale * schedule.slope:.4g} per {schedule.every} steps from step "
                f"{schedule.start}, phi = {scale * schedule.slope_ramp:.4g} from {schedule.ramp}, "
                f"masks frozen from {schedule.end}"
            )
        elif isinstance(schedule, SparsityRamp):
            lines.append(
                f"{group.name}: {schedule.updates} updates of every {schedule.every} steps from step {schedule.start} "
                f"to {schedule.last_update}, exponent {schedule.exponent:g}"
            )
        elif isinstance(schedule, Rounds):
            lines.append(f"{group.name}: rounds at steps {', '.join(map(str, schedule.steps))}")
        else:
            lines.append(f"{group.name}: everything at step {schedule.step}")
    return lines

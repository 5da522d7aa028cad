"""What a schedule will do, before any training: the pruner itself, on weights that move as training would move them.

Thresholds are the schedule's; the weights are a model of training in two sentences. From where they start to where a
dense training takes them, they travel in proportion to the learning rate spent. What pruning takes away from a matrix
in sum of squares, the weights that are left win back by half (`RECOVERED`). How far this is off is measured:
benchmarks/README.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .pruner import Pruner
from .rules import FixedThreshold
from .schedules import NarangThreshold, Rounds, SparsityRamp

RECOVERED = 0.5
UPDATES = 100  # mask updates that a forecast follows; with more, it leaves out evenly spread ones


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
    travelled: Callable[[int], float],
) -> list[Update]:
    """The mask updates of a pruner whose module is not trained, but moved.

    Args:
        pruner: of a module that nobody else needs: its weights are overwritten
        steps: of the training
        start: weights by parameter name before the first step
        end: weights to which a dense training takes them; `start` again where nobody knows
        travelled: share of that way done by a step, 0 to 1

    Raises:
        InputError: a layer would lose its last weight, with step and threshold
    """
    updates = []
    for step in followed(due_steps(pruner, steps)):
        for weight in pruner.weights:
            expected = torch.lerp(start[weight.name].float(), end[weight.name].float(), travelled(step))
            weight.parameter.copy_(without(expected, pruner.pruned.get(weight.name)))
        pruner.step(step)
        nonzeros = {weight.name: int(torch.count_nonzero(weight.parameter)) for weight in pruner.weights}
        updates.append(Update(step, dict(pruner.thresholds), nonzeros))
    return updates


def due_steps(pruner: Pruner, steps: int) -> list[int]:
    """All steps at which a mask is remade."""
    schedules = [group.rule.schedule for group in pruner.groups]
    return [step for step in range(1, steps + 1) if any(schedule(step) is not None for schedule in schedules)]


def followed(due: list[int]) -> list[int]:
    """At most `UPDATES` of them, the last one among them: which one came before matters little, which is last much."""
    stride = max(1, math.ceil(len(due) / UPDATES))
    return due[::-1][::stride][::-1]


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

"""From a target sparsity to the hyper-parameters that reach it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

from scipy.optimize import brentq

from ..errors import InputError
from .config import KINDS, Goal, PruningConfig
from .forecast import Update
from .pruner import Pruner

Run = Callable[[PruningConfig], tuple[Pruner, list[Update]]]


def solved(pruning: PruningConfig, target: float, run: Run) -> PruningConfig:
    """The config with goals that end at a target sparsity: a threshold where the method takes one, else itself.

    Raises:
        InputError: the target lies out of reach
    """
    exact = {kind: Goal(sparsity=target) for kind in pruning.goals}
    aimed = dataclasses.replace(pruning, **exact)
    if pruning.schedule.method not in ("narang", "hard"):
        return aimed
    groups = [tuple(exact)] if pruning.scope == "global" else [(kind,) for kind in exact]
    found = {}
    for kinds in groups:
        alone = dataclasses.replace(aimed, **{kind: exact[kind] if kind in kinds else None for kind in KINDS})
        q = solved_threshold(alone, target, run)
        found |= {kind: Goal(q=float(f"{q:.4g}")) for kind in kinds}
    return dataclasses.replace(aimed, **found)


def solved_threshold(aimed: PruningConfig, target: float, run: Run) -> float:
    """The q that the goals of `aimed`, all of one group, share to end at a target sparsity.

    Raises:
        InputError: the target lies out of reach
    """
    layers = f"{' and '.join(aimed.goals)} layers"
    refused: list[InputError] = []

    @functools.cache  # the ends of the bracket are asked for twice
    def excess(logarithm: float) -> float:
        goals = {kind: Goal(q=math.exp(logarithm)) for kind in aimed.goals}
        try:
            pruner, updates = run(dataclasses.replace(aimed, **goals))
        except InputError as error:  # as a rule, the threshold takes everything
            refused.append(error)
            return 1 - target
        weights = sum(weight.parameter.numel() for weight in pruner.weights)
        return 1 - sum(updates[-1].nonzeros.values()) / weights - target

    # With its target met by construction, the last threshold is where to look.
    _, updates = run(aimed)
    threshold = max(updates[-1].thresholds.values())
    if not threshold > 0:
        raise InputError(f"forecast: {layers} have more than {target:.1%} zeros already; raise the target")
    guess = math.log(threshold)
    if excess(guess - 2) > 0 or excess(guess + 2) < 0:
        why = f". The last that was refused: {refused[-1]}" if refused else ""
        raise InputError(f"forecast: no threshold for {layers} ends at {target:.1%} zeros{why}")
    return math.exp(brentq(excess, guess - 2, guess + 2, xtol=1e-3))

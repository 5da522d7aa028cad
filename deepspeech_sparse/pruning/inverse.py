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


def solved(
    pruning: PruningConfig, target: float, run: Callable[[PruningConfig], tuple[Pruner, list[Update]]]
) -> PruningConfig:
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

        @functools.cache  # the ends of the bracket are asked for twice
        def excess(logarithm: float, alone: PruningConfig = alone, kinds: tuple[str, ...] = kinds) -> float:
            goals = {kind: Goal(q=math.exp(logarithm)) for kind in kinds}
            try:
                pruner, updates = run(dataclasses.replace(alone, **goals))
            except InputError:  # the threshold takes everything
                return 1 - target
            weights = sum(weight.parameter.numel() for weight in pruner.weights)
            return 1 - sum(updates[-1].nonzeros.values()) / weights - target

        # With its target met by construction, the last threshold is where to look.
        _, updates = run(alone)
        guess = math.log(max(updates[-1].thresholds.values()))
        if excess(guess - 2) > 0 or excess(guess + 2) < 0:
            raise InputError(f"forecast: no threshold for {' and '.join(kinds)} layers ends at {target:.1%} zeros")
        q = math.exp(brentq(excess, guess - 2, guess + 2, xtol=1e-3))
        found |= {kind: Goal(q=float(f"{q:.4g}")) for kind in kinds}
    return dataclasses.replace(aimed, **found)

"""From a pruning config and a length of training to groups of weights, each with its rule: all refusals happen here."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from torch import Tensor, nn

from ..errors import InputError
from .config import Cubic, Goal, Hard, Iterative, Lottery, Narang, PruningConfig
from .patterns import Pattern
from .quantile import size_quantile
from .rules import Deviations, FixedThreshold, RisingToTarget, Rule, SmallestShare
from .schedules import NarangThreshold, OneStep, Rounds, SparsityRamp
from .weights import Weight, prunable_weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Length:
    """How long a training is, in optimizer steps."""

    total: int
    per_epoch: float

    def __post_init__(self) -> None:
        if self.total < 1 or self.total == math.inf or not self.per_epoch > 0:
            raise InputError(
                f"pruning: a schedule needs the length of the training, got {self.total} steps of "
                f"{self.per_epoch} per epoch; set max_epochs or max_steps, or give total_steps"
            )


@dataclass(frozen=True)
class Group:
    """Weights that share a threshold."""

    name: str  # recurrent, linear, convolution; with scope layer the layer's name; all with scope global
    weights: tuple[Weight, ...]
    factors: tuple[float, ...]  # each weight's share of the threshold, 1 without taper
    rule: Rule
    pattern: Pattern
    measured_q: float | None = None  # on a trained dense network

    def sizes(self) -> list[Tensor]:
        """Sizes of all units, in terms of the group's threshold."""
        return scaled_sizes(self.weights, self.factors, self.pattern)


def scaled_sizes(weights: Sequence[Weight], factors: Sequence[float], pattern: Pattern) -> list[Tensor]:
    """A weight with a lower threshold is one that looks larger to the common threshold."""
    sizes = (pattern.sizes(weight) for weight in weights)
    return [size if factor == 1 else size / factor for size, factor in zip(sizes, factors)]


def pruning_groups(
    module: nn.Module,
    config: PruningConfig,
    length: Length,
    *,
    load_dense: Callable[[Path], nn.Module] | None = None,
    measured_before: Mapping[str, float] = MappingProxyType({}),
) -> list[Group]:
    """The groups of a module's weights, with everything impossible refused before any training.

    Args:
        module: its weights are looked at, not changed
        config: what to prune, how far, when
        length: of the training
        load_dense: reads the trained module that a goal's `dense` names, parameters named as in `module`
        measured_before: group -> q that a resumed training had measured so; the dense one may have changed since

    Raises:
        InputError: a goal without weights, a pattern that does not fit, an impossible schedule, with the numbers
    """
    groups = []
    for name, (goal, weights, factors) in grouped(module, config).items():
        for weight in weights:
            config.pattern.check(weight)
        q = largest = None
        if goal.dense is not None:
            q = measured_before.get(name)
            if q is None:
                q, largest = measured(goal, name, config, load_dense)
            goal = Goal(q=q)
        rule = rule_of(goal, config, length)
        refuse_pruning_everything(name, rule, goal.q, largest)
        groups.append(Group(name, tuple(weights), tuple(factors), rule, config.pattern, q))
    return groups


def grouped(module: nn.Module, config: PruningConfig) -> dict[str, tuple[Goal, list[Weight], list[float]]]:
    """Goal, weights and factors by group name, as the config's scope has it."""
    weights = prunable_weights(module, include=config.include, exclude=config.exclude)
    groups: dict[str, tuple[Goal, list[Weight], list[float]]] = {}
    for kind, goal in config.goals.items():
        chosen = [weight for weight in weights if weight.kind == kind]
        if not chosen:
            raise InputError(
                f"pruning: a goal is given for {kind} layers, but the network has none"
                + (" that include and exclude leave" if config.include or config.exclude else "")
                + f". Remove pruning.{kind}, or add such layers"
            )
        layers = list(dict.fromkeys(weight.layer for weight in chosen))
        for weight in chosen:
            name = {"kind": kind, "layer": weight.layer or kind, "global": "all"}[config.scope]
            depth = layers.index(weight.layer) / max(1, len(layers) - 1)
            _, members, factors = groups.setdefault(name, (goal, [], []))
            members.append(weight)
            factors.append(1 - config.taper * depth)
    return groups


def rule_of(goal: Goal, config: PruningConfig, length: Length) -> Rule:
    """The rule by which a group's threshold moves."""
    schedule, units = config.schedule, config.pattern.share
    match schedule:
        case Narang():
            ramp = NarangThreshold.from_quantile(
                goal.q or 1.0,
                start=round(schedule.start_epoch * length.per_epoch),
                ramp=round(schedule.ramp * length.total),
                end=round(schedule.end * length.total),
                every=schedule.every,
                phi_ratio=schedule.phi_ratio,
            )
            return FixedThreshold(ramp) if goal.q else RisingToTarget(ramp, units(goal.sparsity))
        case Cubic():
            start, end = round(schedule.start_epoch * length.per_epoch), round(schedule.end * length.total)
            if start >= end:
                raise InputError(
                    f"pruning: starts at step {start} and ends at step {end} of {length.total}; "
                    "lower start_epoch or raise end"
                )
            every = max(1, schedule.every)
            ramp = SparsityRamp(
                goal.sparsity, start, (end - start) // every, schedule.every, schedule.initial, schedule.exponent
            )
            return SmallestShare(ramp, units)
        case Hard():
            step = max(1, round(schedule.at * length.total))
            if goal.q:
                return FixedThreshold(OneStep(step, goal.q))
            if goal.deviations:
                return Deviations(OneStep(step, goal.deviations), goal.deviations)
            return SmallestShare(OneStep(step, goal.sparsity), units)
        case Iterative():
            final = goal.sparsity or 0.5  # with a factor of the deviation only the steps matter
            when = Rounds(final, 1 - (1 - final) ** (1 / schedule.rounds), iterative_steps(schedule, length))
            return Deviations(when, goal.deviations) if goal.deviations else SmallestShare(when, units)
        case Lottery():
            steps = lottery_steps(schedule, lottery_rounds(config), length)
            return SmallestShare(Rounds(goal.sparsity, schedule.share, steps), units)


def iterative_steps(schedule: Iterative, length: Length) -> tuple[int, ...]:
    """Steps at which a round prunes; retraining follows each."""
    first, last = schedule.start * length.total, schedule.end * length.total
    apart = (last - first) / max(1, schedule.rounds - 1)
    return tuple(round(first + index * apart) for index in range(schedule.rounds))


def lottery_rounds(config: PruningConfig) -> int:
    """Rounds of pruning until the highest goal is met, each taking `share` of what is left."""
    highest = max(goal.sparsity for goal in config.goals.values())
    return math.ceil(math.log(1 - highest) / math.log(1 - config.schedule.share) - 1e-9)


def lottery_steps(schedule: Lottery, rounds: int, length: Length) -> tuple[int, ...]:
    """Steps at which a round ends; the last part of the training follows the last of them.

    | dense, L steps | from k: L - k steps | from k: L - k steps | ...        L + n (L - k) = total
                     prune, rewind         prune, rewind
    """
    rewind, single = rewind_step(schedule, length), round_length(schedule, rounds, length)
    if single <= rewind or single < 2:
        raise InputError(
            f"pruning: {rounds} rounds of {schedule.share:.0%} and a last training leave {single} of {length.total} "
            f"steps to each, but they rewind to step {rewind}. Train longer, raise share, or lower rewind_epoch"
        )
    return tuple(single + index * (single - rewind) for index in range(rounds))


def rewind_step(schedule: Lottery, length: Length) -> int:
    """Step k to which every round rewinds."""
    return round(schedule.rewind_epoch * length.per_epoch)


def round_length(schedule: Lottery, rounds: int, length: Length) -> int:
    """Length L of one training, so that all rounds fit into the whole."""
    return (length.total + rounds * rewind_step(schedule, length)) // (rounds + 1)


def measured(
    goal: Goal, name: str, config: PruningConfig, load_dense: Callable[[Path], nn.Module] | None
) -> tuple[float, float]:
    """q and the largest size in a trained dense module, measured as the group itself will be."""
    if load_dense is None:
        raise InputError(f"pruning: dense: {goal.dense} cannot be read here; measure q and give it instead")
    groups = grouped(load_dense(goal.dense), config)
    if name not in groups:
        raise InputError(f"pruning: {goal.dense} has no {name} weights to measure q on; give q or sparsity instead")
    _, weights, factors = groups[name]
    for weight in weights:
        config.pattern.check(weight)
    sizes = scaled_sizes(weights, factors, config.pattern)
    q = size_quantile(sizes, goal.percentile)
    if not q > 0:
        raise InputError(
            f"pruning: in {goal.dense} more than {goal.percentile:.0%} of the {name} weights are zero already, no q "
            "can be measured on them; name a dense model, or give q or sparsity instead"
        )
    log.info("pruning: q = %.4g for %s, the %g quantile of |w| in %s", q, name, goal.percentile, goal.dense)
    return q, max(size.max().item() for size in sizes)


def refuse_pruning_everything(name: str, rule: Rule, q: float | None, largest: float | None) -> None:
    """A phi that is far too big ends in an empty network; found beforehand."""
    if not isinstance(rule, FixedThreshold) or not isinstance(rule.schedule, NarangThreshold):
        return
    schedule = rule.schedule
    final = schedule(schedule.last_update)
    # q is meant to be about the 90th percentile of |w|, 1.6 standard deviations of a normal distribution. Past three
    # times that nothing survives; a dense network at hand gives the exact limit.
    limit = 3 * q if largest is None else min(3 * q, largest)
    if final >= limit:
        raise InputError(
            f"pruning: the threshold for {name} layers would end at {final:.4g}, {final / q:.1f} times q = {q:.4g}, "
            f"and prune everything (limit {limit:.4g}). theta = {schedule.slope:.4g}, phi = {schedule.slope_ramp:.4g} "
            f"per {schedule.every} steps from {schedule.start} over {schedule.ramp} to {schedule.end}; "
            "the paper's phi_ratio is 1.5 to 2"
        )

"""What a user says about pruning in YAML: how much, when, where, in which pattern."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import InputError
from .patterns import Balanced, Blocks, Single, TwoOfFour
from .weights import HEAD

KINDS = ("recurrent", "linear", "convolution")


@dataclass(frozen=True)
class Goal:
    """How far pruning goes in one type of layer. Give exactly one of q, dense, sparsity and deviations.

    Args:
        q: final threshold itself
        dense: trained dense run folder, checkpoint or model file; q is the `percentile` of its |w| (Narang's way)
        percentile: share of the dense weights below q
        sparsity: share of weights that is zero once pruning ends, whatever the weights do meanwhile
        deviations: threshold in standard deviations of the weights (Han's way); of blocks and groups of four in those
            of their sizes
    """

    q: float | None = None
    dense: Path | None = None
    percentile: float = 0.9
    sparsity: float | None = None
    deviations: float | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("q", "dense", "sparsity", "deviations") if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError(
                f"pruning: give exactly one of q, dense, sparsity and deviations per layer type, got {given or 'none'}"
            )
        for name in ("q", "deviations"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"pruning: {name} = {value} must be positive")
        if not 0 < self.percentile < 1:
            raise InputError(f"pruning: percentile = {self.percentile} must lie between 0 and 1")
        if self.sparsity is not None and not 0 < self.sparsity < 1:
            raise InputError(
                f"pruning: sparsity = {self.sparsity} must lie between 0 and 1; at 1 no weight would be left"
            )

    @property
    def means(self) -> str:
        """The one thing given: q, dense, sparsity or deviations."""
        return next(name for name in ("q", "dense", "sparsity", "deviations") if getattr(self, name) is not None)


@dataclass(frozen=True)
class Narang:
    """Gradual pruning by a rising threshold (Narang et al. 2017); defaults are the heuristics of their Table 1.

    Args:
        method: narang
        start_epoch: epochs trained dense before pruning starts
        ramp: share of all steps after which the threshold rises faster
        end: share of all steps after which masks are frozen
        every: optimizer steps between two mask updates (freq)
        phi_ratio: phi / theta, 1.5 to 2; above 1.5 the threshold ends above q
    """

    method: Literal["narang"] = "narang"
    start_epoch: float = 1.0
    ramp: float = 0.25
    end: float = 0.5
    every: int = 100
    phi_ratio: float = 1.5

    def __post_init__(self) -> None:
        if not 0 < self.ramp < self.end <= 1:
            raise InputError(
                f"pruning: need 0 < ramp < end <= 1, got ramp {self.ramp}, end {self.end} (shares of all steps)"
            )
        if not self.phi_ratio > 0:
            raise InputError(f"pruning: phi_ratio = {self.phi_ratio} must be positive")


@dataclass(frozen=True)
class Cubic:
    """Gradual pruning by a target sparsity (Zhu and Gupta 2017, Eq. 1).

    Args:
        method: cubic
        start_epoch: epochs trained dense before pruning starts
        end: share of all steps after which masks are frozen
        every: optimizer steps between two mask updates
        initial: sparsity at the first update
        exponent: 3 as in the paper, 1 for a linear ramp, or any other
    """

    method: Literal["cubic"]
    start_epoch: float = 1.0
    end: float = 0.5
    every: int = 100
    initial: float = 0.0
    exponent: float = 3.0

    def __post_init__(self) -> None:
        if not 0 < self.end <= 1:
            raise InputError(f"pruning: end = {self.end} (share of all steps) must be above 0 and at most 1")


@dataclass(frozen=True)
class Hard:
    """Hard pruning at one step (Yu et al. 2012).

    Args:
        method: hard
        at: share of all steps trained dense; then the smallest weights go, and the pattern stays
    """

    method: Literal["hard"]
    at: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.at <= 1:
            raise InputError(f"pruning: at = {self.at} (share of all steps) must be above 0 and at most 1")


@dataclass(frozen=True)
class Iterative:
    """Train, then prune and retrain in rounds (Han et al. 2015).

    Args:
        method: iterative
        start: share of all steps trained dense before the first round
        end: share of all steps at which the last round prunes
        rounds: times of pruning, evenly spread from start to end
        retrain_rate: factor on the learning rate from the first round on; in a training of your own its schedulers have
            to be proportional to their first rate, as LambdaLR is and OneCycleLR is not
    """

    method: Literal["iterative"]
    start: float = 0.4
    end: float = 0.8
    rounds: int = 3
    retrain_rate: float = 0.1

    def __post_init__(self) -> None:
        if self.rounds < 1 or not 0 < self.start <= self.end <= 1 or (self.rounds > 1 and self.start == self.end):
            raise InputError(
                f"pruning: need at least 1 round and 0 < start < end <= 1, got {self.rounds} rounds from {self.start} "
                f"to {self.end} (shares of all steps)"
            )
        if not self.retrain_rate > 0:
            raise InputError(f"pruning: retrain_rate = {self.retrain_rate} must be positive")


@dataclass(frozen=True)
class Lottery:
    """Lottery tickets: train, prune, rewind the weights that are left, again (Frankle and Carbin 2019).

    All rounds share the run's steps: with n rounds of pruning each of the n + 1 trainings gets about 1 / (n + 1).

    Args:
        method: lottery
        share: part of the remaining weights that goes per round; the number of rounds follows from the target
        rewind_epoch: epoch to whose weights, optimizer state and learning rate every round rewinds; 0 rewinds to the
            initial weights
    """

    method: Literal["lottery"]
    share: float = 0.2
    rewind_epoch: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(f"pruning: share = {self.share} must lie between 0 and 1")
        if self.rewind_epoch < 0:
            raise InputError(f"pruning: rewind_epoch = {self.rewind_epoch} must be at least 0")


@dataclass(frozen=True)
class PruningConfig:
    """Which weights become zero, and how.

    Args:
        recurrent: goal for input and recurrent matrices of all recurrent layers; none leaves them dense
        linear: goal for fully connected layers and attention
        convolution: goal for convolution kernels
        schedule: narang, cubic, hard, iterative or lottery, with its own settings
        scope: weights that share a threshold: those of one layer type (kind, as Narang), of one layer (as Zhu and
            Gupta), or all (global)
        taper: the last layer's threshold is lower than the first's by this share, those between in proportion
        pattern: single, blocks, balanced or 2:4
        masked_updates: whether a pruned weight still gets its gradient and may return; none: as the schedule's paper
            has it, yes for narang, no for the others
        group_lasso: factor of the penalty sum ||block||_2, which drives whole blocks to zero until masks are frozen
        include: only weights whose name matches one of these patterns, e.g. ["*weight_hh*"]; none for all
        exclude: weights to leave dense, by name pattern, beside the CTC head; [] prunes the head, too
    """

    recurrent: Goal | None = None
    linear: Goal | None = None
    convolution: Goal | None = None
    schedule: Narang | Cubic | Hard | Iterative | Lottery = Narang()
    scope: Literal["kind", "layer", "global"] = "kind"
    taper: float = 0.0
    pattern: Single | Blocks | Balanced | TwoOfFour = Single()
    masked_updates: bool | None = None
    group_lasso: float = 0.0
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = HEAD

    def __post_init__(self) -> None:
        goals = self.goals
        if not goals:
            raise InputError("pruning: give a goal for recurrent, linear or convolution layers, or leave `pruning` out")
        if self.scope == "global" and len(set(goals.values())) > 1:
            raise InputError(
                f"pruning: scope global has one threshold, so {', '.join(goals)} need the same goal; or set scope: kind"
            )
        if not 0 <= self.taper < 1:
            raise InputError(f"pruning: taper = {self.taper} must be at least 0 and below 1")
        if self.taper and self.scope == "layer" and any(goal.sparsity is not None for goal in goals.values()):
            raise InputError(
                f"pruning: taper = {self.taper} spreads one sparsity over layers, but scope layer gives each layer its "
                "own; set scope: kind, or leave taper out"
            )
        if self.group_lasso < 0 or (self.group_lasso and not isinstance(self.pattern, Blocks)):
            raise InputError(
                f"pruning: group_lasso = {self.group_lasso} must be at least 0, and needs blocks to be a group of "
                "weights; set pattern: {kind: blocks, rows: 8, columns: 1}"
            )
        allowed = {
            "narang": ("q", "dense", "sparsity"),
            "cubic": ("sparsity",),
            "hard": ("q", "dense", "sparsity", "deviations"),
            "iterative": ("sparsity", "deviations"),
            "lottery": ("sparsity",),
        }[self.schedule.method]
        for kind, goal in goals.items():
            if goal.means not in allowed:
                raise InputError(
                    f"pruning: {kind} has {goal.means} as its goal, but {self.schedule.method} pruning takes "
                    f"{' or '.join(allowed)}"
                )
            if goal.sparsity is not None:
                self.pattern.share(goal.sparsity)

    @property
    def goals(self) -> dict[str, Goal]:
        """Goal by layer type, those that have one."""
        return {kind: getattr(self, kind) for kind in KINDS if getattr(self, kind) is not None}

    @property
    def returning(self) -> bool:
        """Whether pruned weights are updated and may return."""
        return self.schedule.method == "narang" if self.masked_updates is None else self.masked_updates

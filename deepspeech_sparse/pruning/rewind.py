"""Going back in time: a training's weights, optimizer and learning rate as they were at an early step."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)

from ..errors import InputError

# Schedulers whose rates are proportional to the first, or to the last; others have rates of their own to come.
SCALABLE = (
    LambdaLR,
    MultiplicativeLR,
    StepLR,
    MultiStepLR,
    ConstantLR,
    LinearLR,
    ExponentialLR,
    PolynomialLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
)


class Rewind:
    """A snapshot of a training, taken once and restored at the end of every lottery round.

    Frankle, Dziugaite, Roy, Carbin 2020 (Linear Mode Connectivity): tickets of larger networks win only when rewound
    to an early step, not to the initial weights. The learning rate goes back too, so every round runs the same
    schedule; batches and augmentation go on, they are new data to every round.
    """

    def __init__(self) -> None:
        self.snapshot: dict[str, Any] | None = None

    def take(self, module: nn.Module, optimizers: Sequence[Optimizer], schedulers: Sequence[Any]) -> None:
        """Remember this moment."""
        self.snapshot = copy.deepcopy(
            {
                "module": module.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "schedulers": [scheduler.state_dict() for scheduler in schedulers],
            }
        )

    def restore(self, module: nn.Module, optimizers: Sequence[Optimizer], schedulers: Sequence[Any]) -> None:
        """Go back to the moment of `take`."""
        past = copy.deepcopy(self.snapshot)  # optimizers keep what they are given and change it
        with torch.no_grad():
            module.load_state_dict(past["module"])
        for optimizer, state in zip(optimizers, past["optimizers"]):
            optimizer.load_state_dict(state)
        for scheduler, state in zip(schedulers, past["schedulers"]):
            scheduler.load_state_dict(state)


def refuse_unscalable(schedulers: Sequence[Any]) -> None:
    """InputError for schedulers that would soon forget what `scale_learning_rate` did."""
    for scheduler in schedulers:
        if not isinstance(scheduler, SCALABLE) or getattr(scheduler, "eta_min", 0):
            raise InputError(
                f"pruning: retrain_rate scales the learning rate, and {type(scheduler).__name__} would not keep to "
                "that; take LambdaLR, a cosine with eta_min 0, or retrain_rate: 1"
            )


def scale_learning_rate(factor: float, optimizers: Sequence[Optimizer], schedulers: Sequence[Any]) -> None:
    """Multiply every learning rate, now and for the rest of the schedule; optimizers and schedulers remember it."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] *= factor
            if "initial_lr" in group:
                group["initial_lr"] *= factor
    for scheduler in schedulers:
        scheduler.base_lrs = [rate * factor for rate in scheduler.base_lrs]

"""Where weights start, and where a dense training takes them: from a trained model, some dense steps, or unknown."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..models import any_model
from ..training.config import RunConfig
from ..training.runs import fit_front_end, fresh, quiet_lightning, speech_recognition, trainer_of


@dataclass(frozen=True)
class Journey:
    """The way of the prunable weights in a dense training, by parameter name."""

    source: str  # in words
    start: Mapping[str, Tensor]
    end: Mapping[str, Tensor]


def journey_of(config: RunConfig, dense: Path | None, warm_up: int, module: nn.Module) -> Journey:
    """Where the weights start, and where a dense training takes them, as far as anybody knows.

    Raises:
        InputError: the dense model has another shape, or the warm-up is longer than the training
    """
    if dense is not None:
        model = any_model(dense)
        seed = model.provenance.get("seed")
        torch.manual_seed(seed if type(seed) is int else config.seed)  # as in `fresh`: the weights it started from
        start = matrices(speech_recognition(config))
        end = {f"network.{name}": weight for name, weight in matrices(model.network).items()}
        for name, tensor in start.items():
            if name not in end or end[name].shape != tensor.shape:
                other = tuple(end[name].shape) if name in end else "missing"
                raise InputError(
                    f"{dense}: {name} is {other}, but {tuple(tensor.shape)} in the recipe; give a dense model of the "
                    "same network, or dense steps (--warm-up) instead"
                )
        return Journey(f"those of {dense} and those it started from", start, end)
    if warm_up:
        start, total = matrices(module), module.total_steps
        if not 0 < warm_up < total:
            raise InputError(f"forecast: a warm-up of {warm_up} steps does not fit into a training of {total} steps")
        trained, way = matrices(warmed_up(config, warm_up)), math.sqrt(spent(config, total)(warm_up))
        end = {name: tensor + (trained[name] - tensor) / way for name, tensor in start.items()}
        return Journey(f"extrapolated from the first {warm_up} steps of a dense training", start, end)
    start = matrices(module)
    said = "the initial ones, which training makes larger: a fixed threshold will take fewer than told here"
    return Journey(said, start, start)


def matrices(module: nn.Module) -> dict[str, Tensor]:
    """Copies of all weights that pruning could touch, by parameter name."""
    return {name: weight.detach().clone() for name, weight in module.named_parameters() if weight.dim() > 1}


def warmed_up(config: RunConfig, steps: int) -> nn.Module:
    """The module of a recipe after some steps of its training, without pruning."""
    data, module = fresh(config)
    fit_front_end(config, data, module)
    quiet_lightning()
    trainer_of(config, max_steps=steps, logger=False, limit_val_batches=0).fit(module, data)
    return module.cpu()


def spent(config: RunConfig, steps: int) -> Callable[[int], float]:
    """Share of the sum of squared learning rates that a training has spent by a step: the time of a random walk."""
    sums = [0.0, *itertools.accumulate(config.optimizer.rate(step, steps) ** 2 for step in range(steps))]
    return lambda step: sums[min(step, steps)] / sums[-1]

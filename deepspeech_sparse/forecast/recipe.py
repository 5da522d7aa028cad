"""What a recipe's pruning will do, before any training: sparsity over time, size and work per layer, perhaps the WER.

`journey.py` says where the weights go, `pruning/forecast.py` prunes them on the way; here stands what follows from it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from ..errors import InputError
from ..export import Layer, layers_of, macs_per_second, megabytes, parts_of
from ..files import refuse_unwritable, write_json, write_whole
from ..model_file import Model, model_bytes
from ..models import model_name
from ..pruning import Goal, Pruner, PruningConfig, sparsity
from ..pruning.config import KINDS
from ..pruning.forecast import Update, schedule_words, thinned, updates_of
from ..pruning.inverse import solved
from ..report.course import course_picture
from ..results import read_results
from ..settings import config_to_dict
from ..training.config import RunConfig
from ..training.runs import dense_module, fresh, gradual_pruning
from .journey import journey_of, matrices, spent
from .wer_curve import Wanted, WerForecast, predicted_wer


@dataclass(frozen=True)
class Forecast:
    """What pruning will have done by the end of a training, and on the way."""

    source: str  # what the weights were taken from, in words
    steps: int  # of the training
    epochs: int
    pruning: dict[str, Any]  # plain values of the PruningConfig
    schedules: tuple[str, ...]  # in words, with the hyper-parameters that follow from the config
    updates: tuple[Update, ...]
    weights: dict[str, int]  # how many pruning may touch, by parameter name
    layers: tuple[Layer, ...]
    macs: dict[str, float]  # multiply-accumulates with a non-zero weight per second of audio, by layer
    parameters: int
    nonzeros: int
    bytes_dense: int  # of all numbers of the model in float32
    bytes_sparse: int  # of the model file that `export` writes, float32 too
    wer: WerForecast | str | None  # or why there is none
    reached: dict[str, float]  # sparsity that finished runs have reached, by name

    @property
    def sparsity(self) -> float:
        """Share of zeros among the weights that pruning may touch, once masks are frozen."""
        return self.sparsity_after(self.updates[-1])

    def sparsity_after(self, update: Update) -> float:
        """Share of zeros among the weights that pruning may touch."""
        return 1 - sum(update.nonzeros.values()) / sum(self.weights.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        updates = [
            {"step": update.step, "thresholds": update.thresholds, "sparsity": self.sparsity_after(update)}
            for update in self.updates
        ]
        layers = [
            asdict(layer) | {"sparsity": layer.sparsity, "macs_per_second": self.macs[layer.name]}
            for layer in self.layers
        ]
        return asdict(self) | {"sparsity": self.sparsity, "updates": updates, "layers": layers}

    def print(self, console: Console) -> None:
        """In words, then sparsity over time and layer by layer."""

        def say(text: str) -> None:
            console.print(text, highlight=False, markup=False, soft_wrap=True)

        say(f"{self.steps} steps in {self.epochs} epochs; weights are {self.source}")
        plain = self.pruning
        for name in (*(kind for kind in KINDS if plain[kind]), "schedule"):
            said = {key: value for key, value in plain[name].items() if value is not None}
            if not said.get("dense"):
                said.pop("percentile", None)  # has a meaning there only
            line = yaml.safe_dump(said, default_flow_style=True, width=10**9, sort_keys=False).rstrip()
            say(f"pruning.{name}: {line}")
        for line in self.schedules:
            say(line)
        groups = list(self.updates[-1].thresholds)
        table = Table("step", "epoch", "zeros", *(f"threshold {name}" for name in groups), box=None)
        for update in thinned(self.updates, 10):
            thresholds = (f"{update.thresholds[name]:.4g}" if name in update.thresholds else "" for name in groups)
            epoch, zeros = update.step / self.steps * self.epochs, self.sparsity_after(update)
            table.add_row(f"{update.step}", f"{epoch:.1f}", f"{zeros:.1%}", *thresholds)
        console.print(table)
        say("")
        table = Table("layer", "weights", "not zero", "zeros", "M multiply-accumulates/s", box=None)
        for layer in self.layers:
            macs = f"{self.macs[layer.name] / 1e6:.1f}"
            table.add_row(layer.name, f"{layer.weights:,}", f"{layer.nonzeros:,}", f"{layer.sparsity:.1%}", macs)
        total, left = (sum(getattr(layer, field) for layer in self.layers) for field in ("weights", "nonzeros"))
        macs = f"{sum(self.macs.values()) / 1e6:.1f}"
        table.add_row("total", f"{total:,}", f"{left:,}", f"{1 - left / total:.1%}", macs)
        for column in table.columns[1:]:
            column.justify = "right"
        console.print(table)
        say(
            f"\n{self.parameters:,} parameters, {self.nonzeros:,} of them not zero. As a model file: "
            f"{megabytes(self.bytes_sparse)}, zeros left out; with zeros {megabytes(self.bytes_dense)}"
        )
        for name, zeros in self.reached.items():
            points = 100 * (self.sparsity - zeros)
            say(f"{name} has reached {zeros:.2%} zeros; the forecast, {self.sparsity:.2%}, is {points:+.2f} points off")
        if self.wer is not None:
            say(str(self.wer))


def forecast(
    config: RunConfig,
    *,
    dense: Path | None = None,
    warm_up: int = 0,
    target_sparsity: float | None = None,
    results: Path | None = None,
    reached: tuple[Path, ...] = (),
    json: Path | None = None,
    plot: Path | None = None,
) -> Forecast:
    """Say what the pruning of a recipe will do.

    Args:
        config: the recipe; its manifest decides how many steps the training has
        dense: trained dense run folder, checkpoint or model file of the same network; by default the one that a goal
            of the recipe names
        warm_up: dense training steps to take the weights from, where there is no dense model
        target_sparsity: find the hyper-parameters that reach it, instead of taking the recipe's
        results: a study's results.csv, to predict the WER from
        reached: finished runs of this recipe, to hold the forecast against
        json: also write the forecast here
        plot: also draw zeros and thresholds over the training, as .svg or .png

    Raises:
        InputError: nothing to forecast, models that do not fit, whatever the pruning asks for in vain
    """
    if dense is not None and warm_up:
        raise InputError("forecast: give a dense model or dense steps (--warm-up), not both")
    for path in filter(None, (json, plot)):
        refuse_unwritable(path)
    if plot is not None and plot.suffix not in (".svg", ".png"):
        raise InputError(f"{plot}: a plot is written as .svg or .png")
    pruning = config.pruning
    if target_sparsity is not None:
        pruning = pruning or PruningConfig(recurrent=Goal(sparsity=target_sparsity))
    if pruning is None:
        raise InputError("forecast: the recipe has no `pruning`; add it, or say what to reach: --target-sparsity 0.9")
    if dense is None and not warm_up:
        dense = next((goal.dense for goal in pruning.goals.values() if goal.dense is not None), None)
    rows = read_results(results) if results is not None else []
    data, module = fresh(config)
    journey = journey_of(config, dense, warm_up, module)

    def follow(pruning: PruningConfig) -> tuple[Pruner, list[Update]]:
        callback = gradual_pruning(pruning, data)
        callback.prepare(module)
        pruner, time = callback.pruner, spent(config, callback.learning_rate_steps)
        try:
            return pruner, updates_of(pruner, data.total_steps, start=journey.start, end=journey.end, spent=time)
        except InputError as error:
            raise InputError(f"{error}. The weights of this forecast are {journey.source}") from error

    if target_sparsity is not None:
        pruning = solved(pruning, target_sparsity, follow)
    pruner, updates = follow(pruning)
    network = module.network  # pruned, as the last update has left it
    parts = parts_of(network)
    weights = {weight.name: weight.parameter.numel() for weight in pruner.weights}
    parameters = sum(parameter.numel() for parameter in network.parameters())
    nonzeros = parameters - sum(weights.values()) + sum(updates[-1].nonzeros.values())
    told = config_to_dict(dataclasses.replace(config, pruning=pruning))
    found = Forecast(
        source=journey.source,
        steps=data.total_steps,
        epochs=config.epochs,
        pruning=told["pruning"],
        schedules=tuple(schedule_words(pruner, updates[-1])),
        updates=tuple(updates),
        weights=weights,
        layers=tuple(layers_of(parts)),
        macs=macs_per_second(network, parts, config.features),
        parameters=parameters,
        nonzeros=nonzeros,
        bytes_dense=sum(tensor.nbytes for tensor in (*network.state_dict().values(), *module.front_end.buffers())),
        bytes_sparse=len(model_bytes(Model(module.front_end, network, config.model, {}), config.model, {})),
        wer=predicted_wer(rows, Wanted.of(told), pruner.sparsity()) if results is not None else None,
        reached={model_name(path): reached_sparsity(path, pruner) for path in reached},
    )
    if json is not None:
        write_json(json, found.to_dict())
    if plot is not None:
        picture = course_picture(found.updates, found.weights, found.steps)
        write_whole(plot, picture.svg if plot.suffix == ".svg" else picture.png)
    return found


def reached_sparsity(run: Path, pruner: Pruner) -> float:
    """Share of zeros that a finished run has among the weights of a pruner.

    Raises:
        InputError: it has another shape
    """
    there = matrices(dense_module(run))
    weights = [there.get(weight.name) for weight in pruner.weights]
    if any(mine is None or mine.shape != weight.parameter.shape for mine, weight in zip(weights, pruner.weights)):
        raise InputError(f"{run}: its weights have other shapes than the recipe's; give a run of this recipe")
    return sparsity(weights)

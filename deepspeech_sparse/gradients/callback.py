"""Sparse gradients inside a Lightning training: what each step rounds, and what that did."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import nn

from ..errors import InputError
from ..files import write_epoch
from .config import GradientsConfig
from .direction import GATES
from .native_direction import usable
from .probe import correlations
from .rounded import RoundedGradients
from .seen import Seen
from .thresholds import Threshold

log = logging.getLogger(__name__)

GATE_NAMES = {len(names): names for names in GATES.values()}  # by their number
METRICS = ("gradient_sparsity", "redundant_macs", "gradient_correlation")  # of all layers, as logged
COLUMNS = ("epoch", "step", "layer", "gate", "threshold", "dropped", "sparsity", "redundant", "correlation")


class SparseGradients(L.Callback):
    """Rounds gate gradients of all recurrent layers of `gradients` in any LightningModule.

    Args:
        config: what becomes zero, when
        total_steps: optimizer steps of the training; by default what the trainer says
        csv_path: table of one row per epoch and gate; rows of epochs that a resumed run repeats are replaced

    Logs at every look `gradient_sparsity` (share of zeros among all gate gradients), `redundant_macs` (share of the
    multiply-accumulates of recurrent layers, forwards and backwards, that have a zero for a factor) and, by layer,
    `gradient_sparsity/<layer>/<gate>`; also `gradient_threshold` and, with a probe, `gradient_correlation` and
    `gradient_correlation/<module>`, for which the module must have `loss(batch)`.

    A threshold that follows the gradients is in the checkpoint: a resumed run goes on bit-exactly.

    Example, in a training of your own, with layers from `deepspeech_sparse.gradients`:
        trainer = L.Trainer(max_epochs=20, callbacks=[SparseGradients(GradientsConfig(Absolute("absolute", 1e-6)))])
    """

    def __init__(
        self, config: GradientsConfig, *, total_steps: int | None = None, csv_path: Path | None = None
    ) -> None:
        self.config = config
        self.total_steps = total_steps
        self.csv_path = csv_path
        self.layers: dict[str, RoundedGradients] = {}
        self.threshold = Threshold(config.rule)
        self.rows: list[dict[str, Any]] = []  # of the last look
        self.correlation: dict[str, float] = {}

    def prepare(self, module: nn.Module) -> None:
        """Find the layers of `module`; done by the training itself where nobody did it before.

        Raises:
            InputError: it has none
        """
        self.layers = rounded_layers(module)
        if not self.layers:
            raise InputError(
                "gradients: the network has no recurrent layer whose gradients could be sparse; leave `gradients` out"
            )
        if self.config.probe and not hasattr(module, "loss"):
            raise InputError(f"gradients: a probe needs {type(module).__name__}.loss(batch); set probe: false")

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.prepare(pl_module)
        if self.total_steps is None:
            self.total_steps = trainer.estimated_stepping_batches
        if not all(usable(*layer.parameters()) for layer in self.layers.values()):
            log.warning(
                "gradients: zeros are not skipped here, native kernels need a CPU and float32. Rounding goes through "
                "torch, time by time, and takes longer than exact gradients"
            )

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch, batch_idx: int) -> None:
        strength = self.config.strength(trainer.global_step, self.total_steps)
        # Gradients shrink to a twentieth within the first steps: thresholds that follow them look at every batch.
        every = 16 if self.threshold.follows else 0
        count = batch_idx == 0 or trainer.global_step % self.config.every == 0
        for layer in self.layers.values():
            layer.rounding = self.threshold.rounding(strength)
            layer.seen = [Seen(every, count) for _ in range(layer.directions)] if every or count else None
        if self.config.probe and batch_idx == 0:
            with trainer.precision_plugin.train_step_context():
                self.correlation = correlations(pl_module, self.layers, lambda: pl_module.loss(batch))
            for name, value in self.correlation.items():
                pl_module.log(f"gradient_correlation/{name}", value, on_step=True, on_epoch=False)
            mean = sum(self.correlation.values()) / len(self.correlation)
            pl_module.log("gradient_correlation", mean, on_step=True, on_epoch=False)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs, batch, batch_idx) -> None:
        looks = [
            (label, rounding, seen)
            for name, layer in self.layers.items()
            if layer.seen is not None
            for label, rounding, seen in zip(labels(name, layer), layer.roundings, layer.seen)
            if seen.frames
        ]
        # Before the start a threshold learns what it will need there.
        strength = self.config.strength(trainer.global_step, self.total_steps) or (0.0 if self.config.ramp else 1.0)
        samples = [seen.sample.flatten() for _, _, seen in looks if seen.sample is not None]
        if samples:
            self.threshold.look(torch.cat(samples), strength)
        if not looks or not looks[0][-1].count:
            return
        self.rows = []
        for label, rounding, seen in looks:
            for gate, zeros in zip(GATE_NAMES[len(seen.zeros)], seen.zeros):
                pl_module.log(f"gradient_sparsity/{label}/{gate}", zeros, on_step=True, on_epoch=False)
                self.rows.append(
                    {
                        "epoch": trainer.current_epoch + 1,
                        "step": trainer.global_step,
                        "layer": label,
                        "gate": gate,
                        "threshold": rounding.threshold,
                        "dropped": rounding.dropped,
                        "sparsity": zeros,
                        "redundant": seen.redundant / seen.macs,
                    }
                )
        notes = [seen for _, _, seen in looks]
        gates = sum(seen.recurrent_macs for seen in notes)
        sparsity = sum(seen.recurrent_zeros * seen.recurrent_macs for seen in notes) / gates
        redundant = sum(seen.redundant for seen in notes) / sum(seen.macs for seen in notes)
        pl_module.log("gradient_threshold", looks[0][1].threshold, on_step=True, on_epoch=False)
        pl_module.log("gradient_sparsity", sparsity, on_step=True, on_epoch=False)
        pl_module.log("redundant_macs", redundant, on_step=True, on_epoch=False)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.csv_path is not None and self.rows:
            epoch = trainer.current_epoch + 1
            correlation = {
                label: self.correlation.get(name, "")
                for name, layer in self.layers.items()
                for label in labels(name, layer)
            }
            rows = [{**row, "epoch": epoch, "correlation": correlation[row["layer"]]} for row in self.rows]
            write_epoch(
                self.csv_path, COLUMNS, epoch, [{key: shown(value) for key, value in row.items()} for row in rows]
            )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.leave()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.leave()

    def leave(self) -> None:
        """The layers as they were: a module outlives its training."""
        for layer in self.layers.values():
            vars(layer).pop("rounding", None)
            vars(layer).pop("seen", None)

    def state_dict(self) -> dict[str, Any]:
        return {"known": self.threshold.known, "rows": self.rows, "correlation": self.correlation}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.threshold.known, self.rows, self.correlation = state["known"], state["rows"], state["correlation"]


def rounded_layers(module: nn.Module) -> dict[str, RoundedGradients]:
    """Layers whose gradients can be rounded, by name."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, RoundedGradients)}


def labels(name: str, layer: RoundedGradients) -> Iterator[str]:
    """A name for each direction, as torch names the weights: cell_l0, cell_l0_reverse, ..."""
    both = 2 if getattr(layer, "bidirectional", layer.directions == 2) else 1
    for index in range(layer.directions):
        yield f"{name}_l{index // both}{'_reverse' if index % both else ''}"


def shown(value: Any) -> Any:
    """A value as a cell of the table."""
    return f"{value:.6g}" if isinstance(value, float) else value

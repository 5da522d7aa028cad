"""Gradual pruning inside a Lightning training: after every optimizer step, in every checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

import lightning as L

from .pruner import Pruner, ThresholdRule, prunable_parameters


class GradualPruning(L.Callback):
    """Prunes a module while it learns.

    Args:
        rules: threshold rule by layer type ("recurrent", "linear"), see `Pruner`
        exclude: submodules to leave dense

    Logs `sparsity` and `threshold/<layer type>`. Masks and thresholds live in the checkpoint; a resumed run goes on
    bit-exactly, in the middle of the ramp too.
    """

    def __init__(self, rules: Mapping[str, ThresholdRule], *, exclude: tuple[str, ...] = ("head",)) -> None:
        self.rules = rules
        self.exclude = exclude
        self.pruner: Pruner | None = None
        self.restored: dict | None = None
        self.last_step = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit":  # before any training: a rule without layers is refused here
            self.pruner = Pruner(prunable_parameters(pl_module, exclude=self.exclude), self.rules)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.restored is not None:  # now the weights are on their device
            self.pruner.load_state_dict(self.restored)
            self.restored = None
        self.last_step = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs, batch, batch_idx) -> None:
        if trainer.global_step == self.last_step:  # gradients still accumulate, no weight has moved
            return
        self.last_step = trainer.global_step
        if self.pruner.step(trainer.global_step):
            for kind, threshold in self.pruner.thresholds.items():
                pl_module.log(f"threshold/{kind}", threshold, on_step=True, on_epoch=False)
            pl_module.log("sparsity", self.pruner.sparsity(), on_step=True, on_epoch=False)

    def state_dict(self) -> dict:
        return self.pruner.state_dict() if self.pruner else {}

    def load_state_dict(self, state: dict) -> None:
        self.restored = state or None

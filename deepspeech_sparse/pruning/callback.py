"""Pruning inside a Lightning training: around every optimizer step, in every checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import lightning as L
from torch import nn

from ..errors import InputError
from .config import Iterative, Lottery, PruningConfig
from .plan import Length, iterative_steps, lottery_rounds, rewind_step, round_length
from .pruner import Pruner
from .rewind import Rewind, refuse_unscalable, scale_learning_rate


class GradualPruning(L.Callback):
    """Prunes any LightningModule while it learns.

    Args:
        config: what to prune, how far, when
        total_steps: optimizer steps of the whole training; by default what the trainer says
        steps_per_epoch: optimizer steps of an epoch; by default what the trainer says
        load_dense: reads the dense module that a goal's `dense` names
        measured_before: group -> q that a resumed training had measured on it, `measured_q` in the callback's state

    Logs `sparsity` and `threshold/<group>` at every mask update. Masks, thresholds, measured q and the snapshot that
    lottery tickets rewind to live in the checkpoint; a resumed run goes on bit-exactly, in the middle of any schedule.
    Learning-rate schedulers are the training's own; with `iterative`, one that `retrain_rate` cannot scale is refused.

    Example, in a training of your own:
        pruning = GradualPruning(PruningConfig(recurrent=Goal(sparsity=0.9)))
        trainer = L.Trainer(max_epochs=20, callbacks=[pruning])
        trainer.fit(module)
    """

    def __init__(
        self,
        config: PruningConfig,
        *,
        total_steps: int | None = None,
        steps_per_epoch: float | None = None,
        load_dense: Callable[[Path], nn.Module] | None = None,
        measured_before: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.config = config
        self.total_steps = total_steps
        self.steps_per_epoch = steps_per_epoch
        self.length = None if None in (total_steps, steps_per_epoch) else Length(total_steps, steps_per_epoch)
        self.load_dense = load_dense
        self.measured_before = measured_before
        self.pruner: Pruner | None = None
        self.rewind = Rewind()
        self.restored: dict | None = None
        self.last_step = 0

    def prepare(self, module: nn.Module) -> None:
        """Make the pruner of `module`; done by the training itself where nobody did it before.

        Raises:
            InputError: whatever the config asks for in vain, with the numbers; before a fit also where `total_steps`
                or `steps_per_epoch` was not given
        """
        if self.length is None:
            raise InputError("pruning: no trainer has told the length yet; give total_steps and steps_per_epoch")
        self.pruner = Pruner.of(
            module,
            self.config,
            total_steps=self.length.total,
            steps_per_epoch=self.length.per_epoch,
            load_dense=self.load_dense,
            measured_before=self.measured_before,
        )

    @property
    def last_update(self) -> int:
        """The step after which no mask changes any more."""
        return self.pruner.last_update

    @property
    def learning_rate_steps(self) -> int:
        """Steps that a learning-rate schedule should span: one round of a lottery, else the whole training."""
        if isinstance(self.config.schedule, Lottery):
            return round_length(self.config.schedule, lottery_rounds(self.config), self.length)
        return self.length.total

    @property
    def retrain_rate(self) -> float:
        """Factor on the learning rate from the first round of `iterative` on."""
        schedule = self.config.schedule
        return schedule.retrain_rate if isinstance(schedule, Iterative) else 1.0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.length is None:
            total = trainer.estimated_stepping_batches if self.total_steps is None else self.total_steps
            self.length = Length(total, self.steps_per_epoch or epoch_length(trainer, total))
        if self.pruner is None:
            self.prepare(pl_module)
        if self.restored is not None:  # now the weights are on their device
            self.pruner.load_state_dict(self.restored)
            self.restored = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.last_step = trainer.global_step
        if self.retrain_rate != 1:
            refuse_unscalable(schedulers(trainer))
        self.remember(trainer, pl_module)

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer) -> None:
        self.pruner.before_step(trainer.global_step + 1)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs, batch, batch_idx) -> None:
        if trainer.global_step == self.last_step:  # gradients still accumulate, no weight has moved
            return
        self.last_step = trainer.global_step
        self.remember(trainer, pl_module)
        if self.pruner.step(trainer.global_step):
            self.after_update(trainer, pl_module)
            for group, threshold in self.pruner.thresholds.items():
                pl_module.log(f"threshold/{group}", threshold, on_step=True, on_epoch=False)
            pl_module.log("sparsity", self.pruner.sparsity(), on_step=True, on_epoch=False)

    def remember(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the snapshot that a lottery rewinds to, at its step."""
        schedule = self.config.schedule
        if isinstance(schedule, Lottery) and trainer.global_step == rewind_step(schedule, self.length):
            self.rewind.take(pl_module, trainer.optimizers, schedulers(trainer))

    def after_update(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """What some methods do besides pruning: rewind, or retrain at a lower rate."""
        schedule = self.config.schedule
        if isinstance(schedule, Lottery):
            self.rewind.restore(pl_module, trainer.optimizers, schedulers(trainer))
            self.pruner.apply()
        if self.retrain_rate != 1 and trainer.global_step == iterative_steps(schedule, self.length)[0]:
            scale_learning_rate(self.retrain_rate, trainer.optimizers, schedulers(trainer))

    def state_dict(self) -> dict:
        if self.pruner is None:
            return {}
        return {**self.pruner.state_dict(), "snapshot": self.rewind.snapshot, "measured_q": self.pruner.measured_q}

    def load_state_dict(self, state: dict) -> None:
        self.restored = state or None
        self.rewind.snapshot = state.get("snapshot")


def epoch_length(trainer: L.Trainer, total: float) -> float:
    """Optimizer steps of an epoch; data without end are one epoch of `total` steps."""
    trainer.fit_loop.setup_data()  # as Lightning itself does to estimate a length, if it has not yet
    batches = trainer.num_training_batches
    return total if batches == math.inf else math.ceil(batches / trainer.accumulate_grad_batches)


def schedulers(trainer: L.Trainer) -> list[Any]:
    """The learning-rate schedulers of a trainer."""
    return [config.scheduler for config in trainer.lr_scheduler_configs]

"""What happens beside the training: checkpoints, the progress bar, the table of metrics, a clean stop."""

import errno
import math
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..errors import InputError
from ..files import write_epoch
from ..machine.versions import versions

CHECKPOINT_FORMAT = 1


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are whole or absent: written under another name, flushed to disk, then renamed."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        try:
            with open(partial, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            partial.unlink(missing_ok=True)
            kept = "the earlier checkpoint is kept" if path.exists() else "no earlier checkpoint exists"
            full = getattr(error, "errno", None) == errno.ENOSPC
            reason = "no space left on the disk" if full else first_line(error)
            raise InputError(
                f"{path}: the checkpoint could not be written ({reason}); {kept}. "
                "Free some space, then continue with --resume auto"
            ) from error

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> dict:
        return load_checkpoint(path)


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """A training checkpoint on the CPU; arbitrary pickles are refused, tensors and plain values only.

    Raises:
        InputError: missing, truncated, foreign or of another format version
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such checkpoint") from error
    except Exception as error:  # torch raises many kinds for a file that is not its own
        reason = first_line(error).partition(". ")[0]  # what follows is advice to load pickles from strangers
        raise InputError(
            f"{path}: not a readable checkpoint ({reason}); it may be truncated or foreign. Give a run folder, a .ckpt "
            "file of one, or a .safetensors model file"
        ) from error
    version = checkpoint.get("format") if isinstance(checkpoint, dict) else None
    if version != CHECKPOINT_FORMAT:
        raise InputError(
            f"{path}: checkpoint format {version!r}, this version of deepspeech_sparse reads {CHECKPOINT_FORMAT}. "
            "Use the version that wrote it, or export it there to a model file"
        )
    return checkpoint


def first_line(error: Exception) -> str:
    """What an error says, without all that torch adds; its type where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]


class TrainingStopped(Exception):
    """Ctrl-C or SIGTERM came, and the state is saved."""


class Checkpoints(L.Callback):
    """`last.ckpt` every so many steps and after each epoch, `best.ckpt` at the lowest dev WER; signals save and stop.

    Args:
        folder: where they go
        config: the run's config as plain values, stored inside
        every: optimizer steps between two `last.ckpt`
        corpus: digest of the utterances, stored inside
        best_from: step before which no checkpoint counts as best: while pruning is under way the network is denser
            than what was asked for, and its lower error rate is not the sparse network's
    """

    def __init__(self, folder: Path, config: dict, every: int, *, corpus: str = "", best_from: int = 0) -> None:
        self.folder = folder
        self.config = config
        self.every = every
        self.corpus = corpus
        self.best_from = best_from
        self.versions = versions()  # now: the checkout may have moved on when the training ends
        self.best_wer = math.inf
        self.stop_signal: int | None = None
        self.handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Not earlier: Lightning sets a SIGTERM handler of its own after on_fit_start.
        if threading.current_thread() is threading.main_thread():
            for name in (signal.SIGINT, signal.SIGTERM):
                self.handlers[name] = signal.signal(name, self.note_signal)

    def note_signal(self, number: int, frame: Any) -> None:
        if self.stop_signal is not None:  # a second one means now
            raise SystemExit(130)  # of a KeyboardInterrupt Lightning makes exit code 1
        self.stop_signal = number

    # Not in teardown: by then Lightning has taken its own handlers back, which these would bring in again.
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.restore_handlers()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.restore_handlers()

    def restore_handlers(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers = {}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs, batch, batch_idx) -> None:
        if trainer.is_last_batch:  # resumed from here the epoch would count as over, its validation left out
            return
        if self.stop_signal is not None or trainer.global_step % self.every == 0:
            trainer.save_checkpoint(self.folder / "last.ckpt")
        self.stop_if_asked(trainer)

    def stop_if_asked(self, trainer: L.Trainer) -> None:
        if self.stop_signal is not None:
            raise TrainingStopped(f"stopped by {signal.Signals(self.stop_signal).name} at step {trainer.global_step}")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        wer = float(trainer.callback_metrics["dev_wer"])
        if trainer.global_step >= self.best_from and wer < self.best_wer:
            self.best_wer = wer
            trainer.save_checkpoint(self.folder / "best.ckpt")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.save_checkpoint(self.folder / "last.ckpt")
        self.stop_if_asked(trainer)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict) -> None:
        checkpoint["format"] = CHECKPOINT_FORMAT
        checkpoint["config"] = self.config
        checkpoint["versions"] = self.versions
        checkpoint["corpus"] = self.corpus

    def state_dict(self) -> dict:
        return {"best_wer": self.best_wer}

    def load_state_dict(self, state: dict) -> None:
        # Resumed into another folder the run has no best checkpoint yet, whatever the old one had.
        self.best_wer = state["best_wer"] if (self.folder / "best.ckpt").exists() else math.inf


class Monitor(L.Callback):
    """One progress bar for the whole training, one line and a few dev hypotheses per epoch, one row of metrics.csv.

    Args:
        csv_path: table of one row per epoch; rows of epochs that a resumed run repeats are replaced
        total_steps: length of the training
        more: metrics that get a column, too
        examples: dev utterances printed after each epoch
    """

    COLUMNS = (
        "epoch",
        "step",
        "loss",
        "dev_loss",
        "dev_wer",
        "dev_cer",
        "threshold",
        "sparsity",
        "learning_rate",
        "seconds",
    )

    def __init__(self, csv_path: Path, total_steps: int, more: tuple[str, ...] = (), examples: int = 3) -> None:
        self.csv_path = csv_path
        self.total_steps = total_steps
        self.more = more
        self.examples = examples
        self.console = Console()
        self.losses: list[float] = []
        self.known: dict[str, float] = {}  # metrics when they were last measured: masks rest, and a resume forgets
        self.started = self.epoch_started = 0.0
        self.seconds_before = 0.0  # of the epoch under way, spent before a resume
        self.progress: Progress | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Narrow enough for 80 columns, or the time left would be cut off.
        columns = [TextColumn("{task.description}"), BarColumn(bar_width=10), TimeRemainingColumn(), TextColumn("left")]
        # In a log file a redrawn bar is noise; the line per epoch stays.
        self.progress = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self.progress.start()
        self.task = self.progress.add_task("training", total=self.total_steps)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = self.epoch_started = time.monotonic()
        self.first_step = trainer.global_step  # of a resumed run known only now
        self.progress.update(self.task, completed=trainer.global_step)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.take(trainer)

    def take(self, trainer: L.Trainer) -> dict[str, float]:
        """All metrics, as they were measured last."""
        self.known |= {name: float(value) for name, value in trainer.callback_metrics.items()}
        return self.known

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs, batch, batch_idx) -> None:
        metrics = self.take(trainer)
        self.losses.append(metrics["loss"])
        parts = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", f"loss {self.losses[-1]:.3f}"]
        if "dev_wer" in metrics:
            parts.append(f"dev WER {metrics['dev_wer']:.1%}")
        if "sparsity" in metrics:
            parts.append(f"sparsity {metrics['sparsity']:.1%}")
        self.progress.update(self.task, completed=trainer.global_step, description="  ".join(parts))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        metrics = self.take(trainer)
        now = time.monotonic()
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "loss": sum(self.losses) / len(self.losses) if self.losses else math.nan,
            "dev_loss": metrics["dev_loss"],
            "dev_wer": metrics["dev_wer"],
            "dev_cer": metrics["dev_cer"],
            "threshold": next((value for name, value in metrics.items() if name.startswith("threshold/")), 0.0),
            "sparsity": metrics.get("sparsity", 0.0),
            **{name: metrics.get(name, math.nan) for name in self.more},
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": now - self.epoch_started + self.seconds_before,
        }
        self.write_row(row)
        self.losses, self.epoch_started, self.seconds_before = [], now, 0.0
        left = (now - self.started) / max(1, trainer.global_step - self.first_step)
        left *= self.total_steps - trainer.global_step
        self.console.print(
            f"epoch {row['epoch']}/{trainer.max_epochs}  loss {row['loss']:.3f}  dev loss {row['dev_loss']:.3f}  "
            f"WER {row['dev_wer']:.2%}  CER {row['dev_cer']:.2%}  sparsity {row['sparsity']:.1%}  "
            f"{row['seconds']:.0f} s, {left / 60:.0f} min left",
            highlight=False,
            soft_wrap=True,
        )
        every = max(1, len(pl_module.dev_pairs) // self.examples)
        for reference, hypothesis in pl_module.dev_pairs[::every][: self.examples]:
            text = f"    said  {reference}\n    heard {hypothesis}"
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def write_row(self, row: dict[str, float]) -> None:
        cells = {name: f"{value:.6g}" for name, value in row.items()}
        write_epoch(self.csv_path, (*self.COLUMNS, *self.more), row["epoch"], [cells])

    def state_dict(self) -> dict:
        """Of the epoch under way, so that its row survives a resume."""
        seconds = self.seconds_before + time.monotonic() - self.epoch_started
        return {"losses": list(self.losses), "known": dict(self.known), "seconds": seconds}

    def load_state_dict(self, state: dict) -> None:
        self.losses = list(state["losses"])
        self.known = dict(state.get("known", {}))
        self.seconds_before = state.get("seconds", 0.0)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")  # which Lightning leaves out; the cursor would stay hidden

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

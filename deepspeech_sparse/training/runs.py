"""A run folder: trained into, resumed from. It holds config.yaml, checkpoints/, metrics.csv and TensorBoard events."""

import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from ..augment import Augment
from ..corpora.manifest import Utterance
from ..errors import InputError
from ..gradients.callback import METRICS, SparseGradients
from ..model_file import Model, is_run, load_model, portable
from ..pruning import GradualPruning, PruningConfig
from ..settings import config_to_dict
from ..text import Alphabet, frames_needed
from .batches import SpeechData, Utterances
from .callbacks import AtomicCheckpointIO, Checkpoints, Monitor, load_checkpoint
from .config import RunConfig, changed_settings, config_of, refuse_scaled_gradients, save_config
from .lock import alone_in
from .module import SpeechRecognition
from .warm_start import KeepZeros, start_from

log = logging.getLogger(__name__)


def train(config: RunConfig, out: Path, *, resume: bool | Literal["auto"] | Path = False) -> Path:
    """Train a recognizer, dense or gradually pruned.

    Args:
        config: everything that decides the result
        out: run folder
        resume: auto continues the run in `out` where it stopped, bit-exactly, or starts it; true requires something
            to continue; a path continues from that checkpoint; false refuses a folder that already holds a run

    Returns:
        the run folder

    Raises:
        InputError: bad config or data, a run that cannot be resumed, or one that another process is training
        TrainingStopped: Ctrl-C or SIGTERM came; the state is saved
    """
    checkpoint = checkpoint_to_resume(out, resume)
    if checkpoint is None:
        refuse_scaled_gradients(config)
    before: dict[str, Any] = {}
    if checkpoint is not None:
        before = {**load_checkpoint(checkpoint), "state_dict": None, "optimizer_states": None}  # Lightning reads those
        refuse_other_config(checkpoint, before, config)
    # A checkpoint brings weights and statistics along: what the training once started from may be gone.
    data, module = fresh(config if checkpoint is None else replace(config, init_from=None))
    if checkpoint is None:
        fit_front_end(config, data, module)
    else:
        refuse_other_corpus(checkpoint, before, data)
    plain = config_to_dict(config)
    monitor = Monitor(out / "metrics.csv", data.total_steps, METRICS if config.gradients is not None else ())
    checkpoints = Checkpoints(out / "checkpoints", plain, config.checkpoint_every, corpus=data.digest)
    callbacks: list[L.Callback] = [monitor, checkpoints]
    if config.pruning is not None:
        state = before.get("callbacks", {}).get("GradualPruning", {})
        pruning = gradual_pruning(config.pruning, data, state.get("measured_q", {}))
        pruning.prepare(module)  # an impossible schedule is refused before the folder is made
        module.total_steps = pruning.learning_rate_steps
        checkpoints.best_from = pruning.last_update
        callbacks.insert(0, pruning)  # first: what is measured and saved must be pruned already
    elif config.init_from is not None:
        callbacks.insert(0, KeepZeros())
    if config.gradients is not None:
        gradients = SparseGradients(config.gradients, total_steps=data.total_steps, csv_path=out / "gradients.csv")
        gradients.prepare(module)
        callbacks.insert(0, gradients)
    with alone_in(out):
        save_config(config, out / "config.yaml")
        quiet_lightning()
        trainer = trainer_of(
            config,
            default_root_dir=out,
            max_epochs=config.epochs,
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO()],
            logger=TensorBoardLogger(out, name=None, version="tensorboard"),
            log_every_n_steps=10,
        )
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    return out


def trainer_of(config: RunConfig, **more: Any) -> L.Trainer:
    """Lightning's trainer as every training of ours wants it, with what `more` says."""
    return L.Trainer(
        accelerator="auto",
        devices=1,
        precision=config.precision,
        gradient_clip_val=config.optimizer.clip,
        # cuDNN's CTC and atomics are the only non-deterministic parts; on CPU nothing is.
        deterministic="warn",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        **more,
    )


def fresh(config: RunConfig) -> tuple[SpeechData, SpeechRecognition]:
    """What a run starts with: data without untrainable utterances, a module with weights of the seed or `init_from`."""
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    data = speech_data(config)
    module = speech_recognition(config, total_steps=data.total_steps)
    drop_untrainable(data, module, fastest=max(config.augment.speed) if config.augment else 1.0)
    module.total_steps = data.total_steps
    if config.init_from is not None:
        start_from(module, trained_model(config.init_from), config.model, config.init_from)
    return data, module


def gradual_pruning(
    config: PruningConfig, data: SpeechData, measured_before: Mapping[str, float] = MappingProxyType({})
) -> GradualPruning:
    """The pruning callback of a run; nothing has been looked at yet."""
    return GradualPruning(
        config,
        total_steps=data.total_steps,
        steps_per_epoch=data.steps_of_epoch[0],
        load_dense=dense_module,
        measured_before=measured_before,
    )


def fit_front_end(config: RunConfig, data: SpeechData, module: SpeechRecognition) -> None:
    """Measure what `normalise: global` needs, unless the model that the run starts from has brought it."""
    if config.features.normalise == "global" and config.init_from is None:
        module.front_end.fit(training_sample(data))


def training_sample(data: SpeechData, count: int = 1000) -> Iterator[torch.Tensor]:
    """Samples (N,) of up to `count` training utterances, spread over the manifest, as recorded."""
    recorded = Utterances(data.train_utterances, data.alphabet, data.sample_rate)
    for index in range(0, len(recorded), max(1, math.ceil(len(recorded) / count))):
        yield torch.from_numpy(recorded[index][0])


def speech_data(config: RunConfig) -> SpeechData:
    """The data of a run."""
    rate = config.features.sample_rate
    augment = Augment(config.augment, rate, config.seed) if config.augment else None
    return SpeechData(
        config.data, Alphabet(config.alphabet), rate, augment=augment, epochs=config.epochs, seed=config.seed
    )


def speech_recognition(config: RunConfig, *, total_steps: int = 1) -> SpeechRecognition:
    """The LightningModule of a run, with fresh weights."""
    return SpeechRecognition(
        config.features,
        config.network,
        Alphabet(config.alphabet),
        spec_augment=config.spec_augment,
        optimizer=config.optimizer,
        seed=config.seed,
        total_steps=total_steps,
    )


def drop_untrainable(data: SpeechData, module: SpeechRecognition, *, fastest: float) -> None:
    """Leave out utterances too short for their text, by name: CTC's loss would be infinite, silently zeroed."""

    def trainable(utterance: Utterance) -> bool:
        frames = module.output_frames(utterance.duration / fastest)
        return frames >= frames_needed(module.alphabet.encode(utterance.text))

    dropped, manifests = data.keep_trainable(trainable), ", ".join(map(str, data.config.train_manifests))
    if not data.train_utterances:
        raise InputError(
            f"{manifests}: no utterance has enough output frames for its text; lower the frame strides of the "
            "network or check the manifest's durations"
        )
    if dropped:
        log.warning(
            "%s: %d utterances have fewer output frames than CTC needs for their text and are left out: %s",
            manifests,
            len(dropped),
            ", ".join(utterance.id for utterance in dropped),
        )


def checkpoint_to_resume(out: Path, resume: bool | str | Path) -> Path | None:
    """The checkpoint a run goes on from, None for a new run.

    Raises:
        InputError: when `out` holds a run that is not the one to go on with
    """
    last = out / "checkpoints" / "last.ckpt"
    if resume is False:
        if last.exists():
            raise InputError(f"{out}: already holds a run; continue it with --resume auto, or choose another --out")
        return None
    if resume == "auto" and not last.exists():
        return None
    checkpoint = last if resume in (True, "auto") else Path(resume)
    if last.exists() and checkpoint.resolve().parent != last.parent.resolve():
        raise InputError(
            f"{out}: already holds a run, which going on from {checkpoint} would overwrite; choose another --out, or "
            "continue the run that is there with --resume auto"
        )
    return checkpoint


def refuse_other_config(checkpoint: Path, before: dict, config: RunConfig) -> None:
    """InputError where settings have changed since."""
    changed = changed_settings(before["config"], config, checkpoint)
    if changed:
        raise InputError(
            f"{checkpoint}: was made with another config, a resumed run would not equal an unbroken one: "
            f"{'; '.join(changed)}. Restore these values, or start anew in another --out"
        )


def trained_model(source: Path) -> Model:
    """What a training may start from or measure its thresholds on: a run folder, a checkpoint or a model file."""
    return run_model(source) if is_run(source) else load_model(source)


def refuse_other_corpus(checkpoint: Path, before: dict, data: SpeechData) -> None:
    """InputError where manifests have changed since: batches would be others, and some epochs cut short."""
    corpus = before.get("corpus")  # checkpoints did not always tell
    if corpus and corpus != data.digest:
        manifests = ", ".join(map(str, (*data.config.train_manifests, data.config.dev)))
        raise InputError(
            f"{checkpoint}: was trained on other utterances than {manifests} hold now; restore them, or start anew in "
            f"another --out, perhaps with --init_from {checkpoint}"
        )


def dense_module(source: Path) -> torch.nn.Module:
    """The network of a trained model, its parameters named as in a module under training."""
    return torch.nn.ModuleDict({"network": trained_model(source).network})


def run_checkpoint(source: Path) -> Path:
    """The checkpoint that stands for a run: the best of a run folder, or the file itself."""
    if not source.is_dir():
        return source
    for name in ("best.ckpt", "last.ckpt"):
        if (source / "checkpoints" / name).exists():
            return source / "checkpoints" / name
    raise InputError(
        f"{source}: no checkpoint in this folder; give a run folder that has been trained, or a .ckpt file"
    )


def run_model(source: str | Path) -> Model:
    """The model in a run folder (its best checkpoint) or a checkpoint, with where it stands as provenance.

    Raises:
        InputError: missing, unreadable or of another format
    """
    path = run_checkpoint(Path(source))
    checkpoint = load_checkpoint(path)
    module, config = trained_module(checkpoint, path)
    best_wer = checkpoint.get("callbacks", {}).get("Checkpoints", {}).get("best_wer", math.inf)
    provenance = {
        **checkpoint.get("versions", {}),  # those of the training; checkpoints did not always tell
        "epoch": checkpoint["epoch"] + 1,
        "step": checkpoint["global_step"],
        "best_dev_wer": best_wer if math.isfinite(best_wer) else None,
        "seed": config.seed,
        "training": portable(config),
    }
    return Model(module.front_end, module.network, config.model, provenance)


def trained_module(checkpoint: dict, path: Path) -> tuple[SpeechRecognition, RunConfig]:
    """The module in a checkpoint that was read from `path`, in eval mode, and the config of its run.

    Raises:
        InputError: weights that do not fit its config
    """
    config = config_of(checkpoint["config"], path)
    module = speech_recognition(config)
    try:
        module.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise InputError(f"{path}: weights do not fit the config stored beside them: {error}") from error
    return module.eval(), config


def quiet_lightning() -> None:
    """Silence Lightning's tips that do not apply here; its warnings about real trouble stay."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # "not resumable": ours is, see `EpochPlan`; a resumed run equals an unbroken one to the bit.
    for tip in ("does not have many workers", "srun", "not.*stateful", "not resumable", "LeafSpec", "litlogger"):
        warnings.filterwarnings("ignore", f".*{tip}.*")

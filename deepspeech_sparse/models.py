"""A trained model, wherever it lies: run folder, checkpoint or model file."""

from __future__ import annotations

import math
from pathlib import Path

from .model_file import Model, StoredModel, load_model, open_model, portable


def any_model(source: str | Path) -> Model:
    """The model in a run folder (its best checkpoint), a checkpoint (.ckpt) or a model file.

    Raises:
        InputError: whatever is wrong with it
    """
    return run_model(source) if is_run(source) else load_model(source)


def opened_model(source: str | Path) -> Model | StoredModel:
    """As `any_model`, but the weights of a model file stay in it until they are asked for."""
    return run_model(source) if is_run(source) else open_model(source)


def is_run(source: str | Path) -> bool:
    """Whether `source` is a run folder or a checkpoint, not a model file."""
    return Path(source).is_dir() or Path(source).suffix == ".ckpt"


def model_name(source: str | Path) -> str:
    """How tables call a model: the name of its folder or file."""
    path = Path(source)
    return path.resolve().name if path.is_dir() else path.stem


def run_model(source: str | Path) -> Model:
    """The model in a run folder or checkpoint, with where it stands in its training as provenance."""
    # Here and not above: they bring Lightning, which a model file needs not wait for.
    from .training.callbacks import load_checkpoint
    from .training.runs import run_checkpoint, trained_module

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

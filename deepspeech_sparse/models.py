"""A trained model, wherever it lies: run folder, checkpoint or model file."""

from __future__ import annotations

from pathlib import Path

from .model_file import Model, StoredModel, is_run, load_model, open_model


def any_model(source: str | Path) -> Model:
    """The model in a run folder (its best checkpoint), a checkpoint (.ckpt) or a model file.

    Raises:
        InputError: whatever is wrong with it
    """
    return run_model(source) if is_run(source) else load_model(source)


def opened_model(source: str | Path) -> Model | StoredModel:
    """As `any_model`, but the weights of a model file stay in it until they are asked for."""
    return run_model(source) if is_run(source) else open_model(source)


def model_name(source: str | Path) -> str:
    """How tables call a model: the name of its folder or file."""
    path = Path(source)
    return path.resolve().name if path.is_dir() else path.stem


def run_model(source: str | Path) -> Model:
    """The model in a run folder or checkpoint."""
    # Here and not above: it brings Lightning, which a model file needs not wait for.
    from .training import runs

    return runs.run_model(source)

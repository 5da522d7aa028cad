"""Sparse models beside a dense one: errors, whether the difference is luck, and what sparsity bought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from .errors import InputError
from .evaluation import Evaluation, evaluate
from .export import ModelInfo, info, megabytes, model_name
from .files import refuse_unwritable, write_json


@dataclass(frozen=True)
class ComparedModel:
    """One column of a comparison."""

    name: str  # unlike any other here
    evaluation: Evaluation
    info: ModelInfo
    p_value: float | None  # of the word errors being those of the first model; None for the first

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; the utterances are left to `evaluate`."""
        return {
            **self.info.to_dict(),
            **self.evaluation.summary(),
            "name": self.name,
            "p_value": self.p_value,
        }


@dataclass(frozen=True)
class Comparison:
    """Models on the same utterances, the first of them the one that the others are held against."""

    manifest: str
    models: tuple[ComparedModel, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "manifest": self.manifest,
            "test": "paired sign-flip permutation test over utterances, exact, two-sided, on word errors",
            "models": [model.to_dict() for model in self.models],
        }

    def print(self, console: Console) -> None:
        """One table with a column for each model: errors, size, and zeros layer by layer."""
        table = Table(title=f"on {self.manifest}", title_justify="left")
        table.add_column("")
        for model in self.models:
            table.add_column(model.name, justify="right")

        def row(title: str, cell) -> None:
            table.add_row(title, *[cell(model) for model in self.models])

        row("WER", lambda model: f"{model.evaluation.wer:.2%}")
        row("  95 % interval", lambda model: "{:.2%} - {:.2%}".format(*model.evaluation.wer_interval))
        row("  p-value", lambda model: "" if model.p_value is None else readable_p_value(model.p_value))
        row("CER", lambda model: f"{model.evaluation.cer:.2%}")
        table.add_section()
        row("parameters", lambda model: f"{model.info.parameters:,}")
        row("  not zero", lambda model: f"{model.info.nonzeros:,}")
        row("bytes on disk", lambda model: megabytes(model.info.bytes))
        table.add_section()
        row("zeros", lambda model: f"{model.info.sparsity:.1%}")
        row("  all recurrent", lambda model: f"{model.info.recurrent.sparsity:.1%}")
        names = dict.fromkeys(layer.name for model in self.models for layer in model.info.layers)
        for name in names:
            row(f"  {name}", lambda model, name=name: layer_sparsity(model.info, name))
        console.print(table)
        console.print(
            f"p-value: chance of a difference to {self.models[0].name} this large if it were luck "
            "(paired sign-flip test over utterances, exact). Bytes of a run: those of its exported model file.",
            highlight=False,
            markup=False,
        )


def compare(
    dense: Path, sparse: Sequence[Path], manifest: Path, *, json: Path | None = None, batch_seconds: float = 120.0
) -> Comparison:
    """Evaluate models on one manifest and hold them against the first.

    Args:
        dense: the model that the others are held against: run folder, checkpoint or model file
        sparse: one or more other models
        manifest: JSON lines with `audio_filepath`, `duration`, `text`
        json: also write the result here
        batch_seconds: seconds of audio recognised at once

    Raises:
        InputError: as `evaluate`, or nothing to compare with
    """
    if not sparse:
        raise InputError("compare: give at least one other model")
    if json is not None:
        refuse_unwritable(json)
    paths = [dense, *sparse]
    infos = [info(path) for path in paths]  # first: a broken model is found before hours of recognition
    evaluations = [evaluate(path, manifest, batch_seconds=batch_seconds) for path in paths]
    errors = [np.array([utterance.errors for utterance in evaluation.utterances]) for evaluation in evaluations]
    p_values = [None, *(sign_flip_p_value(other - errors[0]) for other in errors[1:])]
    comparison = Comparison(
        str(manifest),
        tuple(ComparedModel(*columns) for columns in zip(distinct_names(paths), evaluations, infos, p_values)),
    )
    if json is not None:
        write_json(json, comparison.to_dict())
    return comparison


def sign_flip_p_value(differences: np.ndarray) -> float:
    """How often random signs give paired whole-number differences a sum at least as far from zero: a two-sided p-value.

    Fisher's permutation test for pairs: if two models were alike, an utterance's difference in errors could as well
    have the other sign. The differences are whole numbers, so the distribution of their sum is a short table, and
    adding one utterance after the other to it gives the p-value exactly, without random draws.

    Example:
        >>> sign_flip_p_value(np.array([1, 1, 1, 0]))   # all to one side: 2 of 8 sign patterns
        0.25
    """
    sizes = np.abs(differences[differences != 0]).astype(np.int64)
    reach = int(sizes.sum())
    chance = np.zeros(2 * reach + 1)  # of each sum from -reach to reach
    chance[reach] = 1.0
    so_far = 0  # sums beyond it have no chance yet
    for size in sizes.tolist():
        inner = chance[reach - so_far : reach + so_far + 1] / 2
        chance[reach - so_far : reach + so_far + 1] = 0.0
        chance[reach - so_far - size : reach + so_far - size + 1] += inner
        chance[reach - so_far + size : reach + so_far + size + 1] += inner
        so_far += size
    distance = np.abs(np.arange(-reach, reach + 1))
    return min(1.0, float(chance[distance >= abs(int(differences.sum()))].sum()))


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """A name for each model, with as much of its path as tells it from the others; the same path twice is numbered."""
    full = [Path(path).resolve() for path in paths]
    names = []
    for index, path in enumerate(full):
        others = {other for other in full if other != path}
        name = model_name(path)
        if any(model_name(other) == name for other in others):
            depths = range(1, len(path.parts) + 1)
            tails = ("/".join(path.parts[-depth:]) for depth in depths)
            name = next(
                tail
                for tail, depth in zip(tails, depths)
                if all(path.parts[-depth:] != other.parts[-depth:] for other in others)
            )
        earlier = full[:index].count(path)
        names.append(f"{name} ({earlier + 1})" if earlier else name)
    return names


def layer_sparsity(model: ModelInfo, name: str) -> str:
    return next((f"{layer.sparsity:.1%}" for layer in model.layers if layer.name == name), "")


def readable_p_value(p_value: float) -> str:
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.4f}"

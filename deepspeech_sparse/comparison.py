"""Sparse models beside a dense one: errors, whether the difference is luck, and what sparsity bought."""

from __future__ import annotations

import csv
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
from .report import write_report
from .results import Result
from .significance import readable_p_value, sign_flip_p_value


@dataclass(frozen=True)
class ComparedModel:
    """One column of a comparison."""

    name: str  # unlike any other here
    evaluation: Evaluation
    info: ModelInfo
    p_value: float | None  # of the word errors being those of the first model; None for the first
    path: Path  # run folder, checkpoint or model file

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
    dense: Path,
    sparse: Sequence[Path],
    manifest: Path,
    *,
    json: Path | None = None,
    report: Path | None = None,
    batch_seconds: float = 120.0,
) -> Comparison:
    """Evaluate models on one manifest and hold them against the first.

    Args:
        dense: the model that the others are held against: run folder, checkpoint or model file
        sparse: one or more other models
        manifest: JSON lines with `audio_filepath`, `duration`, `text`
        json: also write the result here
        report: also write a page with figures and tests of all pairs, report.html, into this folder
        batch_seconds: seconds of audio recognised at once

    Raises:
        InputError: as `evaluate`, or nothing to compare with
    """
    if not sparse:
        raise InputError("compare: give at least one other model")
    if json is not None:
        refuse_unwritable(json)
    if report is not None:
        refuse_unwritable(Path(report) / "report.html")
    paths = [dense, *sparse]
    infos = [info(path) for path in paths]  # first: a broken model is found before hours of recognition
    evaluations = [evaluate(path, manifest, batch_seconds=batch_seconds) for path in paths]
    errors = [np.array([utterance.errors for utterance in evaluation.utterances]) for evaluation in evaluations]
    p_values = [None, *(sign_flip_p_value(other - errors[0]) for other in errors[1:])]
    comparison = Comparison(
        str(manifest),
        tuple(ComparedModel(*columns) for columns in zip(distinct_names(paths), evaluations, infos, p_values, paths)),
    )
    if json is not None:
        write_json(json, comparison.to_dict())
    if report is not None:
        write_report(results_of(comparison), report, title=f"Comparison on {Path(manifest).name}")
    return comparison


def results_of(comparison: Comparison) -> list[Result]:
    """The models as rows of a results table, as far as they tell how they came about."""
    told = [plain_settings(model.info.provenance.get("training")) for model in comparison.models]
    varied = [name for name in dict.fromkeys(name for settings in told for name in settings) if varies(name, told)]
    return [
        result_of(model, Path(comparison.manifest).name, settings, varied)
        for model, settings in zip(comparison.models, told)
    ]


def result_of(model: ComparedModel, manifest: str, told: dict[str, Any], varied: Sequence[str]) -> Result:
    """One model as a row. Whatever a stranger's model file claims of another type than expected is left out."""
    evaluation, weighed, provenance = model.evaluation, model.info, model.info.provenance
    prunable = [layer for layer in weighed.layers if layer.kind]
    weights, nonzeros = sum(layer.weights for layer in prunable), sum(layer.nonzeros for layer in prunable)
    pruned = nonzeros < weights

    def text(name: str) -> str:
        return str(told.get(name) or "")

    def whole(name: str) -> int | None:
        return told[name] if type(told.get(name)) is int else None

    # Before there was a choice of schedules, all pruning was Narang's.
    known = text("pruning.schedule.method") or ("narang" if any(name.startswith("pruning.") for name in told) else "")
    target = told.get("pruning.recurrent.sparsity")
    return Result(
        run=model.name,
        method=known or ("pruned" if pruned else "dense"),
        target_sparsity=target if isinstance(target, float) else None,
        pattern=pattern_name(told),
        scope=text("pruning.scope"),
        cell=text("network.cell") or text("network.encoder"),
        hidden=whole("network.hidden"),
        layers=whole("network.layers"),
        epochs=whole("epochs"),
        seed=whole("seed"),
        settings={name: str(told[name]) for name in varied if name in told},
        manifest=manifest,
        utterances=len(evaluation.utterances),
        words=evaluation.total("words"),
        wer=evaluation.wer,
        wer_low=evaluation.wer_interval[0],
        wer_high=evaluation.wer_interval[1],
        cer=evaluation.cer,
        substitutions=evaluation.total("substitutions"),
        deletions=evaluation.total("deletions"),
        insertions=evaluation.total("insertions"),
        word_errors=tuple(utterance.word_errors for utterance in evaluation.utterances),
        parameters=weighed.parameters,
        nonzeros=weighed.nonzeros,
        sparsity=weighed.sparsity,
        pruned_sparsity=1 - nonzeros / weights if weights else None,
        bytes=weighed.bytes,
        parts=tuple(
            {"name": layer.name, "layer": layer.name, "gate": "", "weights": layer.weights, "nonzeros": layer.nonzeros}
            for layer in weighed.layers
        ),
        history=history_of(model.path),
        **{name: str(provenance.get(name) or "") for name in ("deepspeech_sparse", "torch", "git_commit")},
    )


def plain_settings(values: Any, place: str = "") -> dict[str, Any]:
    """Settings of a training by dotted name.

    Example:
        >>> plain_settings({"seed": 1, "network": {"cell": "gru", "layers": 3}})
        {'seed': 1, 'network.cell': 'gru', 'network.layers': 3}
    """
    if not isinstance(values, dict):
        return {place: values} if place else {}
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= plain_settings(value, f"{place}.{name}" if place else str(name))
    return found


def varies(name: str, told: Sequence[dict[str, Any]]) -> bool:
    """Whether models have a setting unlike each other; seed and epochs, not of a part, have columns of their own."""
    return "." in name and len({str(settings[name]) for settings in told if name in settings}) > 1


def pattern_name(told: dict[str, Any]) -> str:
    """A pruning pattern as a results table writes it: single, blocks 8x1, balanced, 2:4."""
    kind = str(told.get("pruning.pattern.kind") or "")
    return (
        f"{kind} {told.get('pruning.pattern.rows')}x{told.get('pruning.pattern.columns')}" if kind == "blocks" else kind
    )


def history_of(source: Path) -> dict[str, list[float]]:
    """The columns of a run folder's metrics.csv; nothing for other models."""
    path = Path(source) / "metrics.csv"
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return {name: [float(row[name] or "nan") for row in rows] for name in (rows[0] if rows else ())}
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: not a table of numbers ({error}); was it edited?") from error


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

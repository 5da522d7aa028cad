"""A model as a row of a results table: what it was told, how often it errs, what it weighs, how it came about."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from ..corpora.manifest import read_manifest
from ..errors import InputError
from ..export import ModelInfo
from ..model_config import ModelConfig
from ..model_file import empty_network
from ..pruning import prunable_weights
from ..pruning.config import KINDS
from ..results import Result
from ..settings import config_from_dict
from .wer import Evaluation

USUAL_KINDS = {"recurrent", "linear"}  # of weights that are pruned
ZEROS_BY_CHANCE = 0.01  # share of zeros that makes no model a pruned one


def result_of(
    name: str,
    info: ModelInfo,
    evaluation: Evaluation,
    *,
    settings: dict[str, str] | None = None,
    history: dict[str, list[float]] | None = None,
    **measured: Any,
) -> Result:
    """One model as a row. Whatever a stranger's model file claims of another type than expected is left out.

    Args:
        name: of the row
        settings: varied settings that have no column of their own
        history: columns of the run's metrics.csv, see `history_of`
        measured: further fields of `Result`, e.g. train_seconds
    """
    told = training_settings(info)
    names = pruned_weights(info, told)
    prunable = [part for part in info.parts if part.name in names]
    weights, nonzeros = (sum(getattr(part, field) for part in prunable) for field in ("weights", "nonzeros"))
    said = told_of(told)
    if said["method"] == "dense" and not trained_dense(told) and nonzeros < (1 - ZEROS_BY_CHANCE) * weights:
        said["method"] = "pruned"  # by whom, the file does not say
    return Result(
        run=name,
        **said,
        settings=settings or {},
        **errors_of(evaluation),
        parameters=info.parameters,
        nonzeros=info.nonzeros,
        sparsity=info.sparsity,
        pruned_sparsity=1 - nonzeros / weights if weights else None,
        bytes=info.bytes,
        macs_per_second=info.macs_per_second,
        parts=tuple(asdict(part) for part in info.parts),
        history=history or {},
        **{key: str(info.provenance.get(key) or "") for key in ("deepspeech_sparse", "torch", "git_commit")},
        **measured,
    )


def trained_dense(told: dict[str, Any]) -> bool:
    """Whether the settings say so: its zeros are then of training by chance or of rounding in its file."""
    return "pruning" in told and told["pruning"] is None and told.get("init_from") is None


def told_of(told: dict[str, Any]) -> dict[str, Any]:
    """Fields of a row that say what its training was told; of `plain_settings`."""

    def text(key: str) -> str:
        return str(told.get(key) or "")

    def whole(key: str) -> int | None:
        return told[key] if type(told.get(key)) is int else None

    # Before there was a choice of schedules, all pruning was Narang's.
    known = text("pruning.schedule.method") or ("narang" if any(key.startswith("pruning.") for key in told) else "")
    targets = [told.get(f"pruning.{kind}.sparsity") for kind in KINDS]
    return {
        "method": known or "dense",
        "target_sparsity": next((target for target in targets if isinstance(target, float)), None),
        "pattern": pattern_name(told),
        "scope": text("pruning.scope"),
        "gradients": gradients_name(told),
        "cell": text("network.cell") or text("network.encoder"),
        "hidden": whole("network.hidden"),
        "layers": whole("network.layers"),
        "epochs": whole("epochs"),
        "seed": whole("seed"),
    }


def errors_of(evaluation: Evaluation) -> dict[str, Any]:
    """Fields of a row that say how often a model errs."""
    low, high = evaluation.wer_interval
    return {
        "manifest": Path(evaluation.manifest).name,
        "utterances": len(evaluation.utterances),
        "wer": evaluation.wer,
        "wer_low": low,
        "wer_high": high,
        "cer": evaluation.cer,
        **{kind: evaluation.total(kind) for kind in ("words", "substitutions", "deletions", "insertions")},
        "word_errors": tuple(utterance.word_errors for utterance in evaluation.utterances),
    }


def corpus_of(manifest: Path) -> dict[str, Any]:
    """Fields of a row that say what a model was evaluated on: a file of the same name may hold another corpus.

    Raises:
        InputError: no such manifest, or a broken one
    """
    utterances = read_manifest(manifest, audio_must_exist=False)
    words = sum(len(utterance.text.split()) for utterance in utterances)
    return {"manifest": Path(manifest).name, "utterances": len(utterances), "words": words}


def differing(row: Result, corpus: dict[str, Any]) -> str | None:
    """The first field of `corpus_of` that is another in a row; None if it was evaluated there.

    Counts that a row does not have say nothing.
    """
    return next((name for name, value in corpus.items() if getattr(row, name) not in (value, None)), None)


def pruned_weights(info: ModelInfo, told: dict[str, Any]) -> set[str]:
    """Names of the weights that pruning was let at; of a dense model those that it usually is."""
    kinds = {kind for kind in KINDS if any(key.startswith(f"pruning.{kind}.") for key in told)}
    patterns = {name: told[key] for name in ("include", "exclude") if is_texts(told.get(key := f"pruning.{name}"))}
    network = empty_network(config_from_dict(info.config, info.name, ModelConfig))
    module = nn.ModuleDict({"network": network})  # patterns are of the names in a training
    try:
        weights = prunable_weights(module, **patterns)
    except InputError:  # of a stranger: such a training was never begun
        weights = prunable_weights(module)
    return {weight.name.removeprefix("network.") for weight in weights if weight.kind in (kinds or USUAL_KINDS)}


def is_texts(value: Any) -> bool:
    """Whether it is a list of strings."""
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def training_settings(info: ModelInfo) -> dict[str, Any]:
    """What a model's training was told, by dotted name; nothing when its file does not say."""
    return plain_settings(info.provenance.get("training"))


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


def pattern_name(told: dict[str, Any]) -> str:
    """A pruning pattern as a results table writes it: single, blocks 8x1, balanced, 2:4."""
    kind = str(told.get("pruning.pattern.kind") or "")
    return (
        f"{kind} {told.get('pruning.pattern.rows')}x{told.get('pruning.pattern.columns')}" if kind == "blocks" else kind
    )


def gradients_name(told: dict[str, Any]) -> str:
    """Sparse gradients as a results table writes them, e.g. sparsity 0.8; empty where they are exact.

    Example:
        >>> gradients_name({"gradients.rule.kind": "units", "gradients.rule.dropped": 0.5, "gradients.end": 0.6})
        'units 0.5 until 60 %'
    """
    values = [told.get(f"gradients.rule.{name}") for name in ("kind", "threshold", "factor", "sparsity", "dropped")]
    words = [f"{value:g}" if isinstance(value, float) else str(value) for value in values if value is not None]
    if isinstance(told.get("gradients.rule.quantile"), float):
        words.append(f"of {told['gradients.rule.quantile']:g}")
    for name, word, usual in (("start", "from", 0.0), ("ramp", "rising for", 0.0), ("end", "until", 1.0)):
        value = told.get(f"gradients.{name}")
        if words and isinstance(value, float) and value != usual:
            words.append(f"{word} {100 * value:g} %")
    return " ".join(words)


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


def gates_of(source: Path) -> tuple[dict[str, Any], ...]:
    """What gradients.csv of a run folder tells of each gate, means over the epochs; nothing for other models."""
    path = Path(source) / "gradients.csv"
    if not path.is_file():
        return ()
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    epochs: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        epochs.setdefault((row["layer"], row["gate"]), []).append(row)
    names = ("sparsity", "redundant", "correlation")
    return tuple(
        {"layer": layer, "gate": gate, **{name: mean([row[name] for row in of]) for name in names}}
        for (layer, gate), of in epochs.items()
    )


def mean(texts: list[str]) -> float | None:
    """Of the numbers among cells; none of none."""
    numbers = [float(text) for text in texts if text]
    return sum(numbers) / len(numbers) if numbers else None

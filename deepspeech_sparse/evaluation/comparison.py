"""Sparse models beside a dense one: errors, whether the difference is luck, and what sparsity bought: size, speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ..corpora.manifest import read_manifest
from ..decoder_config import DecoderConfig
from ..errors import InputError
from ..export import ModelInfo, info, megabytes
from ..files import refuse_unwritable, write_json
from ..models import model_name
from ..recognition.inference import Engine
from ..report import write_report
from ..report.tables import Column, whole
from ..report.tables import Table as ReportTable
from ..results import Result
from ..significance import readable_p_value, sign_flip_p_value
from .rows import history_of, result_of, training_settings
from .speed import Speed, measure_speed
from .wer import Evaluation, evaluate

SPEEDS = (
    ("real-time factor", lambda speed: f"{speed.real_time_factor:.4f}"),
    ("latency of 5 s", lambda speed: f"{1000 * speed.latency:.1f} ms"),
    ("peak memory", lambda speed: megabytes(speed.peak_memory)),
)


@dataclass(frozen=True)
class ComparedModel:
    """One column of a comparison."""

    name: str  # unlike any other here
    evaluation: Evaluation
    info: ModelInfo
    p_value: float | None  # of the word errors being those of the first model; None for the first
    path: Path  # run folder, checkpoint or model file
    speeds: tuple[Speed, ...] = ()  # in the engine asked for, then in torch if that is another; none if not measured

    def speed(self, engine: Engine) -> Speed | None:
        """How fast it was in an engine; torch's where the engine does not know the network, None if not measured."""
        return next((speed for speed in self.speeds if speed.engine in (engine, "torch")), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; the utterances are left to `evaluate`."""
        return {
            **self.info.to_dict(),
            **self.evaluation.summary(),
            "name": self.name,
            "p_value": self.p_value,
            "speeds": [speed.to_dict() for speed in self.speeds],
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
        for engine in self.engines:
            table.add_section()
            for title, show in SPEEDS:
                row(f"{title}, {engine}", lambda model, e=engine, show=show: show(model.speed(e)))
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
        if self.engines:
            console.print(self.speed_note(), highlight=False, markup=False)

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Those that models were measured in, torch last."""
        engines = {speed.engine for model in self.models for speed in model.speeds}
        return tuple(sorted(engines))

    def speed_note(self) -> str:
        """How speed and memory were measured, empty if they were not."""
        speeds = [speed for model in self.models for speed in model.speeds]
        if not speeds:
            return ""
        return (
            f"Speed: medians of {speeds[0].rounds} rounds in which all models take turns, threads {speeds[0].threads}. "
            "Real-time factor: samples to text, utterance by utterance. Latency: features to text of a 5-second "
            "utterance. Peak memory: to load the model and recognise that utterance in a process of its own, above "
            "the interpreter and its imports."
        )


def compare(
    dense: Path,
    sparse: Sequence[Path],
    manifest: Path,
    *,
    json: Path | None = None,
    report: Path | None = None,
    engine: Engine = "native",
    threads: int | None = None,
    decoder: DecoderConfig = DecoderConfig(),
    rounds: int = 5,
    batch_seconds: float = 120.0,
) -> Comparison:
    """Evaluate models on one manifest and hold them against the first.

    Args:
        dense: the model that the others are held against: run folder, checkpoint or model file
        sparse: one or more other models
        manifest: JSON lines with `audio_filepath`, `duration`, `text`
        json: also write the result here
        report: also write a page with figures and tests of all pairs, report.html, into this folder
        engine, threads, decoder: see `Recognizer`; speed is measured in torch, too, and with greedy decoding
        rounds: in which the models take turns to show their speed (`measure_speed`), 0 to measure neither speed nor
            memory
        batch_seconds: seconds of audio recognised at once

    Raises:
        InputError: as `evaluate`, or nothing to compare with
    """
    if not sparse:
        raise InputError("compare: give at least one other model")
    if rounds < 0:
        raise InputError(f"compare: rounds = {rounds}: 0 or more are possible")
    if json is not None:
        refuse_unwritable(json)
    if report is not None:
        refuse_unwritable(Path(report) / "report.html")
    paths = [dense, *sparse]
    infos = [info(path) for path in paths]  # first: a broken model is found before hours of recognition
    evaluations = [
        evaluate(
            path,
            manifest,
            engine=engine,
            threads=threads,
            decoder=decoder,
            batch_seconds=batch_seconds,
            keep=False,  # what `evaluate` found, maybe on test, stays
        )
        for path in paths
    ]
    errors = [np.array([utterance.errors for utterance in evaluation.utterances]) for evaluation in evaluations]
    p_values = [None, *(sign_flip_p_value(other - errors[0]) for other in errors[1:])]
    speeds = [()] * len(paths)
    if rounds:
        speeds = measure_speed(paths, read_manifest(manifest), engine=engine, threads=threads, rounds=rounds)
    columns = zip(distinct_names(paths), evaluations, infos, p_values, paths, speeds)
    comparison = Comparison(str(manifest), tuple(ComparedModel(*column) for column in columns))
    if json is not None:
        write_json(json, comparison.to_dict())
    if report is not None:
        tables = [speed_table(comparison)] if rounds else []
        write_report(results_of(comparison), report, title=f"Comparison on {Path(manifest).name}", tables=tables)
    return comparison


def speed_table(comparison: Comparison) -> ReportTable:
    """A row for each model and engine."""
    rows = tuple(
        (model.name, speed.engine, speed.threads, speed.real_time_factor, 1000 * speed.latency, speed.peak_memory)
        for model in comparison.models
        for speed in model.speeds
    )
    columns = (
        Column("model"),
        Column("engine"),
        Column("threads", str),
        Column("real-time factor", lambda value: f"{value:.4f}"),
        Column("latency of 5 s, ms", lambda value: f"{value:.1f}"),
        Column("peak memory, bytes", whole),
    )
    return ReportTable("speed", "Speed and memory", columns, rows, comparison.speed_note())


def results_of(comparison: Comparison) -> list[Result]:
    """The models as rows of a results table, as far as they tell how they came about."""
    told = [training_settings(model.info) for model in comparison.models]
    varied = [name for name in dict.fromkeys(name for settings in told for name in settings) if varies(name, told)]
    return [
        result_of(
            model.name,
            model.info,
            model.evaluation,
            settings={name: str(settings[name]) for name in varied if name in settings},
            history=history_of(model.path),
        )
        for model, settings in zip(comparison.models, told)
    ]


def varies(name: str, told: Sequence[dict[str, Any]]) -> bool:
    """Whether models have a setting unlike each other; seed and epochs, not of a part, have columns of their own."""
    return "." in name and len({str(settings[name]) for settings in told if name in settings}) > 1


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

"""What sparse gradients did: beside the same training with exact ones, and by layer and gate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..significance import readable_p_value
from .pairs import contrast
from .points import Point, configuration
from .tables import Column, Table, hundredths, signed

FIGURES = ("sparsity", "redundant", "correlation")


def gradient_tables(points: Sequence[Point]) -> list[Table]:
    """A table of trainings and one of gates; none where no gradient was sparse."""
    sparse = [point for point in points if point.first.gradients]
    return [trainings(sparse, points), gates(sparse)] if sparse else []


def point_gates(point: Point) -> list[tuple[dict, ...]]:
    """Of each run that has any; the table may come from a stranger."""
    found = [tuple(gate for gate in result.gates if isinstance(gate, dict)) for result in point.results]
    return [gates for gates in found if gates]


def trainings(sparse: Sequence[Point], points: Sequence[Point]) -> Table:
    """Each point against its twin with exact gradients."""
    rows = []
    for point in sparse:
        twin = exact_twin(point, points)
        held = None if twin is None else contrast(twin, point)
        difference = held.difference if held else None
        limits = (None, None) if difference is None else (100 * difference.low, 100 * difference.high)
        means = [run_mean(point, name) for name in FIGURES]
        rows.append(
            (
                point.name,
                len(point.results),
                100 * point.wer,
                None if twin is None else 100 * twin.wer,
                None if held is None else 100 * held.value,
                *limits,
                None if held is None else held.p_value,
                *(None if value is None else 100 * value for value in means[:2]),
                means[2],
            )
        )
    columns = (
        Column("model"),
        Column("seeds", str),
        Column("WER %", hundredths),
        Column("WER % with exact gradients", hundredths),
        Column("difference, points", signed),
        Column("from", signed),
        Column("to", signed),
        Column("sign-flip p", readable_p_value),
        Column("gate gradients that are zero %", hundredths),
        Column("redundant MACs %", hundredths),
        Column("correlation", "{:.4f}".format),
    )
    note = (
        "Difference: to the same training with exact gradients, mean over the seeds; from, to: its 95 % interval, "
        "paired bootstrap over utterances; p of a single test, uncorrected. Zeros, redundant multiply-accumulates of "
        "recurrent layers (of six products of a training step four read gate gradients) and the correlation of weight "
        "gradients with exact ones: means over gates, layers, epochs and seeds."
    )
    return Table("gradients", "Sparse gradients", columns, tuple(rows), note)


def gates(sparse: Sequence[Point]) -> Table:
    """Zeros by layer and gate."""
    names = list(
        dict.fromkeys(str(gate.get("gate")) for point in sparse for runs in point_gates(point) for gate in runs)
    )
    rows = []
    for point in sparse:
        layers = dict.fromkeys(str(gate.get("layer")) for runs in point_gates(point) for gate in runs)
        for layer in layers:
            shares = [gate_mean(point, layer, name) for name in names]
            rows.append((point.name, layer, *(None if share is None else 100 * share for share in shares)))
    columns = (Column("model"), Column("layer"), *(Column(f"{name} %", hundredths) for name in names))
    note = "Gate gradients that are zero, means over epochs and seeds."
    return Table("gates", "Sparse gradients by layer and gate", columns, tuple(rows), note)


def exact_twin(point: Point, points: Sequence[Point]) -> Point | None:
    """The point that was told the same in all but its gradients."""
    exact = configuration(replace(point.first, gradients=""))
    return next((other for other in points if configuration(other.first) == exact), None)


def run_mean(point: Point, figure: str) -> float | None:
    """Mean over gates, layers and runs."""
    return mean_of([gate.get(figure) for runs in point_gates(point) for gate in runs])


def gate_mean(point: Point, layer: str, name: str) -> float | None:
    """Mean share of zeros of one gate over the runs."""
    return mean_of(
        [
            gate.get("sparsity")
            for runs in point_gates(point)
            for gate in runs
            if (str(gate.get("layer")), str(gate.get("gate"))) == (layer, name)
        ]
    )


def mean_of(values: Sequence[object]) -> float | None:
    """Of the numbers among them."""
    numbers = [value for value in values if isinstance(value, (int, float)) and math.isfinite(value)]
    return sum(numbers) / len(numbers) if numbers else None

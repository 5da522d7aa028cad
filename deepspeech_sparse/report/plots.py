"""Word error rate against what sparsity saves: weights, bytes, multiplications."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import ScaledTranslation

from .drawing import Look, Picture, legend, legend_height, looks, picture
from .points import Point, number, series_of
from .ticks import logarithmic, short

WIDE = 10  # times the lowest rate: from there on rates are drawn on a logarithmic axis


@dataclass(frozen=True)
class Axis:
    """What is drawn to the right."""

    field: str  # of Result
    file: str
    title: str
    label: str
    log: bool
    note: str = ""
    joins_dense: bool = False  # whether dense models of all sizes are one line


AXES = (
    Axis("pruned_sparsity", "wer-sparsity", "WER against sparsity", "zeros among the prunable weights", False),
    Axis(
        "nonzeros",
        "wer-nonzeros",
        "WER against non-zeros: large and sparse, or small and dense?",
        "parameters that are not zero (log scale)",
        True,
        "Sparsity pays where sparse models lie below the dense line at the same number of non-zeros. Black joins dense "
        "models by size, grey those pruned in one way to one share of zeros.",
        joins_dense=True,
    ),
    Axis(
        "bytes",
        "wer-bytes",
        "WER against size on disk",
        "bytes of the model file (log scale)",
        True,
        "Zeros that are stored like other numbers save nothing here.",
        joins_dense=True,
    ),
    Axis(
        "macs_per_second",
        "wer-macs",
        "WER against multiplications",
        "multiply-accumulates per s of audio (log scale)",
        True,
        "Multiply-accumulates with a non-zero weight, counted, not timed: a measured time depends on the machine and "
        "on how well it skips zeros.",
        joins_dense=True,
    ),
)
GRADIENTS = Axis(
    "gradient_sparsity",
    "wer-gradients",
    "WER against zeros in gradients",
    "zeros among the gate gradients",
    False,
    "Backward passes skip these zeros; at 0 % gradients are exact.",
)


def wer_pictures(points: Sequence[Point]) -> tuple[list[Picture], list[str]]:
    """A figure for each axis that has values, and a sentence for each that has none."""
    pictures, missing = [], []
    sparse_gradients = any(point.first.gradients for point in points)
    for axis in (*AXES, GRADIENTS) if sparse_gradients else AXES:
        shown = [point for point in points if position(point, axis) is not None]
        if shown:
            pictures.append(wer_picture(shown, axis, series_looks(points), left_out=len(points) - len(shown)))
        else:
            missing.append(f"No figure of {axis.title}: the table has no {axis.field}.")
    return pictures, missing


def series_looks(points: Sequence[Point]) -> dict[str, Look]:
    """The look of every series, and of all dense ones with exact gradients together."""
    series = series_of(points)
    dense = [name for name, members in series.items() if members[0].dense and not members[0].first.gradients]
    return looks(dense, [name for name in series if name not in dense])


def position(point: Point, axis: Axis) -> float | None:
    """Where a point lies on an axis; a dense model has no zeros even if the table does not say so."""
    value = point.mean(axis.field)
    if value is None and axis.field == "pruned_sparsity" and point.dense:
        return 0.0
    return None if value is None or (axis.log and not 1 <= value < 1e18) else value


def wer_picture(points: Sequence[Point], axis: Axis, styles: dict[str, Look], left_out: int) -> Picture:
    """Word error rate of `points` along `axis`."""
    series = series_of(points)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        handles: dict[str, Any] = {}
        if axis.joins_dense:
            join_dense(axes, points, axis)
            join_sparse(axes, points, axis)
        shifts = sideways(series, axis)
        for name, members in series.items():
            handles[name] = draw_series(axes, members, axis, styles[name], shifts[name], figure)
        values = [position(point, axis) for point in points]
        if axis.log:
            logarithmic(axes, "x", values)
        else:
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
            axes.set_xlim(-0.05, max(1.0, *values) + 0.05)  # both ends have room for marks moved sideways
        axes.set_xlabel(axis.label)
        axes.set_ylabel("word error rate")
        wide = wide_rates(points)
        if wide:
            logarithmic(axes, "y", wide)
            axes.set_ylabel("word error rate (log)")
        else:
            axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
            axes.set_ylim(*rate_limits(points))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
        legend(figure, handles)

    notes = [axis.note]
    if any(point.interval for point in points if not point.varied):
        notes.append("Whiskers: 95 % interval, bootstrap over utterances.")
    if any(point.varied for point in points):
        notes.append("Small marks: other settings, each the mean of its seeds, without whiskers.")
    if any(len(point.results) > 1 and not point.varied for point in points):
        notes.append("Large marks: mean over seeds; faint dots: the seeds.")
    if any(sideways(series, axis).values()):
        notes.append("Marks are moved sideways by a hair so that none hides another.")
    if left_out:
        notes.append(f"Models without such a value, which are not shown: {left_out}.")
    caption = " ".join(note for note in notes if note)
    return picture(axis.file, axis.title, caption, in_words(series, axis), draw, 3.6 + legend_height(list(series)))


def draw_series(axes: Axes, members: Sequence[Point], axis: Axis, look: Look, shift: float, figure: Figure) -> Any:
    """Means joined in order of their position, whiskers, and the seeds as faint dots; `shift` in points, 1/72 inch."""
    members = sorted(members, key=lambda point: position(point, axis))
    moved = {"transform": axes.transData + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans)}
    where, rates = [position(point, axis) for point in members], [100 * point.wer for point in members]
    if members[0].varied:
        [line] = axes.plot(where, rates, linestyle="none", markersize=4.5, **look.marks, **moved)
        return line
    for point, x in zip(members, where):
        if point.interval is not None:
            low, high = (100 * limit for limit in point.interval)
            ends = {"marker": "_", "markersize": 7, "markeredgewidth": 1.2}
            axes.plot([x, x], [low, high], color=look.colour, linewidth=1.2, **ends, **moved)
        if len(point.results) > 1:
            seeds = [100 * result.wer for result in point.results]
            places = [x if (own := number(result, axis.field)) is None else own for result in point.results]
            axes.plot(places, seeds, "o", color=look.colour, markersize=4, alpha=0.35, markeredgewidth=0, **moved)
    alone = len(members) == 1 or (members[0].dense and axis.joins_dense)
    joined = "none" if alone else look.line
    [line] = axes.plot(where, rates, linestyle=joined, zorder=3, **look.marks, **moved)
    return line


def sideways(series: dict[str, list[Point]], axis: Axis) -> dict[str, float]:
    """How far each series is moved, in points, so that neighbours do not hide each other; at most 7 to each side."""
    shifts = dict.fromkeys(series, 0.0)
    for dense in (True, False):
        names = [name for name, members in series.items() if members[0].dense == dense]
        if not (dense and axis.joins_dense):  # dense models lie on a line that is not moved
            step = min(3.0, 14 / max(1, len(names) - 1))
            shifts |= {name: step * (index - (len(names) - 1) / 2) for index, name in enumerate(names)}
    return shifts


def drawn_rates(points: Sequence[Point]) -> list[float]:
    """Everything that the y axis must show, in per cent: rates, seeds and whiskers."""
    drawn = [point for point in points if not point.varied]
    rates = [point.wer for point in points]
    rates += [result.wer for point in drawn for result in point.results]
    rates += [limit for point in drawn for limit in point.interval or ()]
    return [100 * rate for rate in rates]


def rate_limits(points: Sequence[Point]) -> tuple[float, float]:
    """The y axis in per cent, with a margin."""
    rates = drawn_rates(points)
    margin = max(0.06 * (max(rates) - min(rates)), 0.1)
    return max(-margin, min(rates) - margin), max(rates) + margin


def wide_rates(points: Sequence[Point]) -> list[float]:
    """Lowest and highest rate in per cent where a failed training would squeeze all others together, else nothing."""
    means = [100 * point.wer for point in points]
    if not 0 < WIDE * min(means) < max(means):
        return []
    rates = drawn_rates(points)
    return [max(min(rates), min(means) / 4), max(rates)]


def join_dense(axes: Axes, points: Sequence[Point], axis: Axis) -> None:
    """One black line through the dense models of each cell, small to large."""
    for cell in dict.fromkeys(point.first.cell for point in points if point.dense):
        dense = [point for point in points if point.dense and not point.varied and point.first.cell == cell]
        if dense:
            line = sorted((position(point, axis), 100 * point.wer) for point in dense)
            axes.plot(*zip(*line), color="black", linewidth=1.2, zorder=2)


def join_sparse(axes: Axes, points: Sequence[Point], axis: Axis) -> None:
    """A grey line through networks of several sizes that were pruned in the same way, as far as each."""
    ways: dict[tuple, list[Point]] = {}
    for point in points:
        if not point.dense and not point.varied and not point.told and point.first.target_sparsity is not None:
            first = point.first
            way = (first.method, first.pattern, first.scope, first.cell, first.target_sparsity, first.gradients)
            ways.setdefault(way, []).append(point)
    for members in ways.values():
        if len({point.first.hidden for point in members}) == len(members) > 1:
            line = sorted((position(point, axis), 100 * point.wer) for point in members)
            axes.plot(*zip(*line), color="0.45", linewidth=1.2, linestyle="--", zorder=1)


def in_words(series: dict[str, list[Point]], axis: Axis) -> str:
    """The figure for those who do not see it."""

    def place(point: Point) -> str:
        value = position(point, axis)
        return short(value) if axis.log else f"{100 * value:.1f} %"

    lines = [
        f"{name}: " + ", ".join(f"{100 * point.wer:.2f} % at {place(point)}" for point in members)
        for name, members in series.items()
    ]
    return f"{axis.title}. Word error rate by {axis.label}. " + "; ".join(lines) + "."

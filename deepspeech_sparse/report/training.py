"""How the runs got there: threshold, sparsity and dev WER over the steps of the training, below each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..results import Result
from .drawing import Look, Picture, legend, legend_height, picture
from .points import Point
from .ticks import logarithmic, short

Curve = tuple[list[float], list[float]]

PANELS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("threshold", "threshold", lambda value: f"{value:.3g}"),
    ("sparsity", "sparsity", lambda value: f"{100 * value:.3g} %"),
    ("gradient_sparsity", "zeros in gradients", lambda value: f"{100 * value:.3g} %"),
    ("dev_wer", "dev WER (log)", lambda value: f"{100 * value:.3g} %"),
)
OFTEN_ABSENT = ("gradient_sparsity",)  # only where gradients are sparse: no gap worth a word


def training_picture(points: Sequence[Point], styles: dict[str, Look]) -> Picture | None:
    """Small multiples that share the steps; None when no run kept its history."""
    runs = [(point, result) for point in points for result in point.results]
    runs.sort(key=lambda pair: not pair[0].varied)  # the many go below the few
    curves = {key: [(*pair, line) for pair in runs if (line := curve(pair[1], key))] for key, _, _ in PANELS}
    panels = [panel for panel in PANELS if any(any(values) for *_, (_, values) in curves[panel[0]])]  # not all zero
    if not panels:
        return None
    shown = {point.series for key, *_ in panels for point, *_ in curves[key]}
    names = [name for name in styles if name in shown]

    def draw(figure: Figure) -> None:
        handles: dict[str, Any] = {}
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (key, label, show) in zip(rows, panels):
            for point, _, line in curves[key]:
                look = styles[point.series]
                marker = look.marker if len(line[0]) == 1 else ""
                width, alpha = (0.8, 0.6) if point.varied else (1.4, 0.85)
                [handle] = axes.plot(
                    *line, color=look.colour, linestyle=look.line, marker=marker, linewidth=width, alpha=alpha
                )
                handles.setdefault(point.series, handle)
            axes.set_ylabel(label)
            axes.yaxis.set_major_locator(MaxNLocator(4))
            if key == "dev_wer":
                logarithmic(axes, "y", [value for *_, (_, values) in curves[key] for value in values])
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _, show=show: show(value)))
        rows[-1].set_xlabel("optimizer step")
        rows[-1].xaxis.set_major_locator(MaxNLocator(5))
        rows[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        figure.align_ylabels()
        legend(figure, {name: handles[name] for name in names})

    absent = [label for key, label, _ in PANELS if not curves[key] and key not in OFTEN_ABSENT]
    caption = "One line per run." + (f" Not in the table: {', '.join(absent)}." if absent else "")
    alt = "Over the steps of the training: " + "; ".join(
        f"{label} ends at " + ", ".join(f"{show(line[1][-1])} ({run.run})" for _, run, line in curves[key])
        for key, label, show in panels
    )
    title = "The trainings"
    return picture("training", title, caption, f"{alt}.", draw, 1.75 * len(panels) + 0.5 + legend_height(names))


def curve(result: Result, key: str) -> Curve | None:
    """Steps and values of one column of a run's history, without the gaps."""
    steps, values = (result.history.get(name) for name in ("step", key))
    if not isinstance(steps, list) or not isinstance(values, list):
        return None
    known = [pair for pair in zip(steps, values) if all(is_number(value) for value in pair)]
    if key == "dev_wer":  # on a log axis
        known = [pair for pair in known if 1e-6 < pair[1] < 1e6]
    return ([step for step, _ in known], [value for _, value in known]) if known else None


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)

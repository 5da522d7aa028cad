"""The runs of a sensitivity study in one figure: does a setting move the error rate, or slide along the curve?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .drawing import DENSE, Look, Picture, brief, legend, legend_height, looks, picture
from .points import number
from .sensitivity import HEURISTIC, Star, Variation

MOST = 8  # settings with a look of their own
REST = Look("#bbbbbb", "o", ":")  # of all others together


def star_picture(star: Star) -> Picture:
    """All runs, each setting with a mark of its own; seeds of a variation joined, bands as wide as the heuristic's."""
    settings = list(star.labels)
    few = settings if len(settings) <= MOST else settings[: MOST - 1]
    styles = looks([], few) | dict.fromkeys(settings[len(few) :], REST)
    names = {setting: brief(star.labels[setting]) for setting in few}
    rest = f"{len(settings) - len(few)} other settings"
    middle = runs(star.heuristic) if means(star.heuristic) else None
    legends = [*([HEURISTIC] if middle else []), *names.values(), *([rest] if len(few) < len(settings) else [])]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        handles: dict[str, Any] = {}
        if middle:
            for span, values in zip((axes.axvspan, axes.axhspan), middle):
                band(span, values)
        for setting in settings:
            look = styles[setting]
            own = [variation for variation in star.variations if variation.setting == setting]
            for variation, size in zip(own, np.linspace(4.5, 8, len(own)) if len(own) > 1 else [6.5]):
                axes.plot(*runs(variation), linewidth=1, markersize=size, zorder=3, **look.marks)
            handles[names.get(setting, rest)] = Line2D([], [], linestyle="none", **look.marks)
        if middle:
            # Below all others and larger, so that what equals it has a black rim.
            [dots] = axes.plot(*middle, "o", color=DENSE, markersize=10, zorder=2.5)
            handles = {HEURISTIC: dots} | handles
        style_axes(axes, star)
        legend(figure, handles)

    unknown = sum(number(run, "pruned_sparsity") is None for each in star.everything for run in each.results)
    notes = [
        "One mark per run; marks of a setting grow from its first value in the table below to its last, and thin lines "
        "join the seeds of one value.",
        "Grey bands: lowest to highest of the heuristic's seeds." if middle else "",
        "What only trades errors for zeros lies on one curve with the others; what lies below that curve is better.",
        f"{unknown} runs do not say how sparse they are and are not shown." if unknown else "",
    ]
    title = "WER against sparsity, one setting at a time"
    caption = " ".join(note for note in notes if note)
    return picture(star.file, title, caption, spoken(star, star.titled(title)), draw, 4.2 + legend_height(legends))


def band(span: Callable[..., Any], values: Sequence[float]) -> None:
    """From the lowest to the highest, with edges that show even where both are the same."""
    span(min(values), max(values), facecolor="#e9e9e9", edgecolor="#999999", linewidth=0.6, zorder=0.5)


def means(variation: Variation) -> tuple[float, float] | None:
    """Where the mean of the runs that are drawn lies; None when none is."""
    sparsities, rates = runs(variation)
    return (float(np.mean(sparsities)), float(np.mean(rates))) if sparsities else None


def runs(variation: Variation) -> tuple[list[float], list[float]]:
    """Sparsity and word error rate, in per cent, of the runs that have both."""
    both = [(number(run, "pruned_sparsity"), number(run, "wer")) for run in variation.results]
    known = sorted((100 * zeros, 100 * rate) for zeros, rate in both if zeros is not None and rate is not None)
    return [zeros for zeros, _ in known], [rate for _, rate in known]


def style_axes(axes: Axes, star: Star) -> None:
    """Per cent on both, with limits that leave room for the marks."""
    for axis, index, label in ((axes.xaxis, 0, "zeros among the prunable weights"), (axes.yaxis, 1, "word error rate")):
        values = [value for variation in star.everything for value in runs(variation)[index]]
        margin = max(0.06 * (max(values) - min(values)), 0.1)
        set_limits = axes.set_ylim if index else axes.set_xlim
        set_limits(min(values) - margin, max(values) + margin)
        axis.set_major_locator(MaxNLocator(6 if index else 5, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
        axis.set_label_text(label)


def spoken(star: Star, title: str) -> str:
    """The figure for those who do not see it."""
    ends = ((variation, means(variation)) for variation in star.everything)
    lines = [
        f"{variation.value if variation is star.heuristic else star.told(variation)}: {end[1]:.2f} % at {end[0]:.2f} %"
        for variation, end in ends
        if end
    ]
    return f"{title}. Mean word error rate by zeros among the prunable weights. {'; '.join(lines)}."

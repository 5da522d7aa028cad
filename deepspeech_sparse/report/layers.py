"""Where the zeros are: share of zeros in each matrix and gate of the sparse models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..results import Result
from .drawing import Picture, brief, picture
from .points import Point

ROW = 0.27  # inches
TALLEST = 7.5  # inches; a figure must fit on a printed page
PANEL = 0.75  # inches for the title and the gates' names of a panel

Part = dict[str, Any]


def layer_pictures(points: Sequence[Point]) -> list[Picture]:
    """Heat maps of all sparse points that know their parts, as many to a figure as a page can hold.

    Settings that were tried out around others are left out: many panels that hardly differ.
    """
    sparse = [point for point in points if not point.dense]
    shown = [point for point in sparse if not point.varied] or sparse
    panels = [(point, shares(point.first)) for point in shown]
    pages = list(fill([(point, table) for point, table in panels if table]))
    return [heat_maps(page, f"layers-{index}") for index, page in enumerate(pages, start=1)]


def shares(result: Result) -> dict[str, dict[str, float]]:
    """Share of zeros by matrix, then gate; what is no weight matrix with a gate or a name is left out."""
    counts: dict[tuple[str, str], tuple[float, float]] = {}
    for part in filter(is_part, result.parts):
        key = (short_name(part), str(part.get("gate") or "all"))
        weights, nonzeros = counts.get(key, (0, 0))
        counts[key] = (weights + part["weights"], nonzeros + part["nonzeros"])
    table: dict[str, dict[str, float]] = {}
    for (name, gate), (weights, nonzeros) in counts.items():
        table.setdefault(name, {})[gate] = 1 - nonzeros / weights
    return table


def is_part(part: Part) -> bool:
    """Whether a stranger's cell holds what we need."""
    numbers = isinstance(part, dict) and [part.get("weights"), part.get("nonzeros")]
    return bool(numbers) and all(type(value) is int for value in numbers) and 0 <= numbers[1] <= numbers[0] > 0


def short_name(part: Part) -> str:
    """A matrix's name without what every name has.

    Example:
        >>> short_name({"name": "network.recurrent.0.cell.weight_ih_l0_reverse"})
        'recurrent.0 input reverse'
    """
    name = str(part.get("name") or part.get("layer") or "?")
    name = re.sub(r"\b(network|cell|weight)\.|\.(weight|cell)$", "", name)
    name = re.sub(r"_l\d+(?=_|$)", "", re.sub(r"\.?weight_", " ", name))  # torch counts layers itself
    name = re.sub(r"\bih\b", "input", re.sub(r"\bhh\b", "hidden", name.replace("_", " ")))
    return brief(name, 28)


def fill(panels: Sequence[tuple[Point, dict]]) -> Iterator[list[tuple[Point, dict]]]:
    """Panels in groups that are not taller than a page."""
    page: list[tuple[Point, dict]] = []
    for panel in panels:
        if page and height([*page, panel]) > TALLEST:
            yield page
            page = []
        page.append(panel)
    if page:
        yield page


def height(panels: Sequence[tuple[Point, dict]]) -> float:
    return sum(PANEL + ROW * len(table) for _, table in panels)


def heat_maps(panels: Sequence[tuple[Point, dict]], name: str) -> Picture:
    """One panel per model: a row for each matrix, a column for each gate, in each cell the share of zeros."""

    def draw(figure: Figure) -> None:
        figure.get_layout_engine().set(h_pad=0.08)
        rows = figure.subplots(len(panels), 1, squeeze=False, height_ratios=[len(table) for _, table in panels])[:, 0]
        for axes, (point, table) in zip(rows, panels):
            heat_map(axes, table)
            axes.set_title(brief(point.name, 44), fontsize=12, loc="right")

    spoken = "; ".join(
        f"{point.name}: "
        + ", ".join(f"{row} {gate} {share:.0%}" for row in table for gate, share in table[row].items())
        for point, table in panels
    )
    caption = "Share of zeros in per cent. Where a model was trained with several seeds, the first of them."
    title = "Sparsity by layer and gate"
    return picture(name, title, caption, f"{title}. {spoken}.", draw, height(panels))


def heat_map(axes: Axes, table: dict[str, dict[str, float]]) -> None:
    """Numbers on colour; white where a matrix has no such gate."""
    gates = list(dict.fromkeys(gate for row in table.values() for gate in row))
    values = np.array([[row.get(gate, np.nan) for gate in gates] for row in table.values()])
    colours = matplotlib.colormaps["cividis"]
    axes.set(xlim=(-0.5, len(gates) - 0.5), ylim=(len(table) - 0.5, -0.5))
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colours(value), edgecolor="white"))
            ink = "black" if value > 0.48 else "white"
            axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=ink, fontsize=11)
    axes.set_xticks(range(len(gates)), [brief(gate, 12) for gate in gates])
    axes.set_yticks(range(len(table)), list(table))
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)

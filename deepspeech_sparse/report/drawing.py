"""How figures look and how they are saved: same rows, same bytes; legible on a phone, in print and in grey.

Text stays text in the SVGs, so that it can be searched and any script be shown; nothing in it is read as mathematics.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import matplotlib.style
from matplotlib.figure import Figure

WIDTH = 5.2  # inches; 358 pixels, a phone's, then leave 11 pixels for 12 points
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")  # Okabe and Ito 2008, without yellow
DENSE = "#000000"
MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "deepspeech_sparse",
    "text.parse_math": False,
    "font.size": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "lines.linewidth": 1.6,
    "lines.markersize": 7,
    "savefig.dpi": 200,
}
SVG = "http://www.w3.org/2000/svg"
LINK = "{http://www.w3.org/1999/xlink}href"


@dataclass(frozen=True)
class Picture:
    """A finished figure: its files and what is said beside it."""

    name: str  # of its files, without .svg and .png
    title: str
    caption: str
    alt: str  # what it shows, for those who do not see it
    svg: bytes
    png: bytes

    @property
    def inline(self) -> str:
        """The SVG as an element of a page that holds others: no prologue, no metadata, ids of its own."""
        root = ElementTree.fromstring(self.svg)
        ids = {element.get("id") for element in root.iter()}
        for element in root.iter():
            for key, value in element.attrib.items():
                if key == "id":
                    element.set(key, f"{self.name}-{value}")
                elif key == LINK and value[1:] in ids:
                    element.set(key, f"#{self.name}-{value[1:]}")
                else:
                    element.set(key, re.sub(r"url\(#", f"url(#{self.name}-", value))
        for key in ("width", "height"):
            root.attrib.pop(key, None)
        root.attrib |= {"role": "img", "aria-label": printable(self.alt)}
        ElementTree.register_namespace("", SVG)
        ElementTree.register_namespace("xlink", LINK[1:-5])
        return ElementTree.tostring(root, encoding="unicode")


@contextmanager
def style() -> Iterator[None]:
    """Our look, whatever the user's matplotlibrc says."""
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # PNG only; browsers find another font
        yield


def picture(name: str, title: str, caption: str, alt: str, draw: Callable[[Figure], Any], height: float) -> Picture:
    """Let `draw` fill a figure of `height` inches, and save it."""
    with style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure)
        svg, png = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        figure.savefig(png, format="png", metadata={"Software": None})
    return Picture(name, title, caption, alt, svg.getvalue(), png.getvalue())


@dataclass(frozen=True)
class Look:
    """How a series is drawn, in every figure the same."""

    colour: str
    marker: str
    line: Any

    @property
    def marks(self) -> dict[str, Any]:
        return {"color": self.colour, "marker": self.marker, "markeredgecolor": "black", "markeredgewidth": 0.6}


def looks(dense: Sequence[str], sparse: Sequence[str]) -> dict[str, Look]:
    """Black for dense series, colours for sparse ones; markers and lines differ too, for print in grey."""
    black = {
        name: Look(DENSE, ("o", "d", "P", "X", "*")[index % 5], LINES[index % len(LINES)])
        for index, name in enumerate(dense)
    }
    return black | {
        name: Look(COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], LINES[index % len(LINES)])
        for index, name in enumerate(sparse)
    }


def legend(figure: Figure, labels: dict[str, Any]) -> None:
    """Below the axes, where it hides nothing."""
    columns = legend_columns(list(labels))
    figure.legend(
        labels.values(), [brief(name) for name in labels], loc="outside lower center", ncols=columns, handlelength=2.4
    )


def legend_height(names: Sequence[str]) -> float:
    """Inches that a legend needs."""
    return 0.25 * -(-len(names) // legend_columns(names)) + 0.15


def legend_columns(names: Sequence[str]) -> int:
    return 2 if max(map(len, names), default=0) <= 22 else 1


def brief(text: str, length: int = 40) -> str:
    """A stranger's text, short enough to leave room for the figure."""
    text = printable(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def printable(text: str) -> str:
    """Text without letters that XML cannot hold, or that turn the direction of the words and numbers behind them."""
    return " ".join("".join(letter for letter in text if letter.isprintable() or letter.isspace()).split())

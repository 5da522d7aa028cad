"""Numbers on axes: round ones, few, with k, M or G."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator


def logarithmic(axes: Axes, direction: Literal["x", "y"], values: Sequence[float]) -> None:
    """A log axis whose ticks can be read: 4 to 6 round numbers, with k, M or G."""
    low, high = min(values), max(values)
    margin = max((high / low) ** 0.08, 1.1)
    low, high = low / margin, high * margin
    axes.set(**{f"{direction}scale": "log", f"{direction}lim": (low, high)})
    axis = axes.xaxis if direction == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(log_ticks(low, high)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two positive ones.

    Example:
        >>> log_ticks(200_000, 2_500_000)
        [200000.0, 500000.0, 1000000.0, 2000000.0]
    """
    for steps in ([1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 5, 7]):
        decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        ticks = sorted({float(f"{step * decade:.12g}") for decade in decades for step in steps})
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 4:
            return ticks[:: -(-len(ticks) // 6)]
    return [tick for tick in MaxNLocator(4).tick_values(low, high).tolist() if low <= tick <= high]


def short(value: float) -> str:
    """A size for an axis.

    Example:
        >>> short(1_500_000), short(264_000), short(12)
        ('1.5 M', '264 k', '12')
    """
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.4g} {letter}"
    return f"{value:.4g}"

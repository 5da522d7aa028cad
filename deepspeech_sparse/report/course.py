"""The course of a pruning: sparsity and thresholds over the steps of a training."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..pruning.forecast import Update
from .drawing import Picture, legend, legend_height, looks, picture
from .ticks import short


def course_picture(updates: Sequence[Update], weights: dict[str, int], steps: int) -> Picture:
    """Zeros of each layer and of all together, and below them the thresholds.

    Args:
        updates: as of a forecast
        weights: number of weights by parameter, for those that updates tell the non-zeros of
        steps: of the whole training
    """
    layers = {name: name.removeprefix("network.").rsplit(".", 1)[0] for name in weights}
    names = list(dict.fromkeys(layers.values()))
    styles = looks(["all"], names)

    def zeros(update: Update, layer: str) -> float:
        chosen = [name for name in weights if layer in ("all", layers[name])]
        return 1 - sum(update.nonzeros[name] for name in chosen) / sum(weights[name] for name in chosen)

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True)
        times = [0, *(update.step for update in updates), steps]
        handles = {}
        for name in (*names, "all"):
            values = [zeros(update, name) for update in updates]
            [handles[name]] = above.step(
                times, [0.0, *values, values[-1]], where="post", color=styles[name].colour, linestyle=styles[name].line
            )
        above.set(ylabel="zeros", ylim=(0, 1))
        above.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
        for group, line in zip(updates[-1].thresholds, ("-", "--", ":", "-.") * 99):
            due = [update for update in updates if group in update.thresholds]
            below.step(
                [update.step for update in due] + [steps],
                [update.thresholds[group] for update in due] + [due[-1].thresholds[group]],
                where="post",
                color="black",
                linestyle=line,
            )
        below.set(ylabel="threshold", xlabel="optimizer step", ylim=(0, None))
        below.xaxis.set_major_locator(MaxNLocator(5))
        below.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        figure.align_ylabels()
        legend(figure, handles)

    final = zeros(updates[-1], "all")
    alt = f"Zeros rise to {final:.1%} at step {updates[-1].step} of {steps}."
    height = 4.6 + legend_height([*names, "all"])
    return picture("forecast", "Zeros over the training", "As forecast, before any training.", alt, draw, height)

"""The surface of a search: word error rate over alpha and beta."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..report.drawing import COLOURS, Picture, picture
from .trials import Trial


def surface_picture(trials: Sequence[Trial], best: Trial) -> Picture:
    """A cell for each pair that was tried, its rate written into it, darker where worse; the winner is framed."""
    alphas = sorted({trial.alpha for trial in trials})
    betas = sorted({trial.beta for trial in trials})
    rates = np.full((len(betas), len(alphas)), np.nan)
    for trial in trials:
        rates[betas.index(trial.beta), alphas.index(trial.alpha)] = 100 * trial.wer
    least = np.nanmin(rates)
    most = min(np.nanmax(rates), 2 * least + 5)  # hopeless pairs would make all others look alike

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.grid(False)
        axes.imshow(rates, origin="lower", aspect="auto", cmap="Greys", vmin=least, vmax=most + 1e-9)
        for row, column in zip(*np.nonzero(~np.isnan(rates))):
            dark = rates[row, column] > (least + most) / 2
            axes.text(
                column,
                row,
                f"{rates[row, column]:.1f}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if dark else "black",
            )
        place = alphas.index(best.alpha) - 0.5, betas.index(best.beta) - 0.5
        axes.add_patch(Rectangle(place, 1, 1, fill=False, edgecolor=COLOURS[1], linewidth=2.5))
        axes.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas], rotation=45)
        axes.set_yticks(range(len(betas)), [f"{beta:g}" for beta in betas])
        axes.set_xlabel("alpha, weight of the language model")
        axes.set_ylabel("beta, bonus per word")

    caption = "Word error rate in percent for pairs of alpha and beta; the framed pair was chosen."
    alt = f"Best at alpha {best.alpha:g} and beta {best.beta:g}: {best.wer:.2%}."
    return picture("tuning", "WER over alpha and beta", caption, alt, draw, 1.2 + 0.28 * len(betas))

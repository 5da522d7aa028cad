"""From the runs of a study to the word error rate of one that was never trained: a fitted line, with its interval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import t as student

from ..evaluation.rows import plain_settings, told_of
from ..results import Result, is_goal
from ..settings import short

ROWS, LEVELS = 5, 3  # runs, and sparsities among them, below which there is no line to speak of
COLUMNS = ("method", "pattern", "cell", "hidden", "layers", "epochs", "scope", "gradients")  # that runs of a kind share


@dataclass(frozen=True)
class Wanted:
    """The kind of run that is asked about; rows of another kind say nothing about it."""

    method: str
    pattern: str
    cell: str | None
    hidden: int | None
    layers: int | None
    epochs: int
    scope: str = "kind"
    gradients: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)  # all settings by dotted name; rows tell of some

    @classmethod
    def of(cls, config: dict[str, Any]) -> Wanted:
        """The kind of a recipe, given as plain values."""
        told = plain_settings(config)
        return cls(**{name: value for name, value in told_of(told).items() if name in COLUMNS}, told=told)

    def __str__(self) -> str:
        size = f" {self.layers} x {self.hidden}" if self.hidden else ""
        more = f", scope {self.scope}" * (self.scope != "kind") + f", gradients {self.gradients}" * bool(self.gradients)
        return f"{self.method}, {self.pattern}, {self.cell}{size}, {self.epochs} epochs{more}"

    def fits(self, row: Result) -> bool:
        """Whether a row is a run of this kind that was pruned and evaluated."""
        pruned = row.done and row.wer is not None and row.words and row.pruned_sparsity and row.pruned_sparsity < 1
        return bool(pruned) and all(getattr(row, name) == getattr(self, name) for name in COLUMNS) and self.agrees(row)

    def agrees(self, row: Result) -> bool:
        """Whether what varied in the row's study, but how far it is pruned, is as it is here.

        What is not known here does not count; a mapping that varied as a whole cannot be compared and agrees never.
        """
        for name, text in row.settings.items():
            if is_goal(name):
                continue
            if name in self.told and not is_told(self.told[name], text):
                return False
            if any(known.startswith(f"{name}.") for known in self.told):
                return False
        return True


def is_told(value: Any, text: str) -> bool:
    """Whether a row's text of a setting means this value: a study may say 4 where the recipe has 4.0."""
    if short(value) == text:
        return True
    if isinstance(value, list):
        parts = text.split("x")
        return len(parts) == len(value) and all(map(is_told, value, parts))
    try:
        return isinstance(value, float) and float(text) == value
    except ValueError:
        return False


@dataclass(frozen=True)
class WerForecast:
    """A word error rate that a run of the same kind, with a seed of its own, should have."""

    wer: float
    low: float  # 95 % prediction interval
    high: float
    manifest: str
    rows: int  # that it is fitted on
    kind: str
    sparsest: float  # of the rows
    densest: float
    sparsity: float  # for which it is said

    def __str__(self) -> str:
        text = (
            f"WER on {self.manifest}: {self.wer:.1%}, 95 % interval of a single run {self.low:.1%} to {self.high:.1%}; "
            f"log WER as a line over log density, fitted on {self.rows} runs ({self.kind}) of "
            f"{self.densest:.1%} to {self.sparsest:.1%} zeros"
        )
        if not self.densest - 0.01 <= self.sparsity <= self.sparsest + 0.01:
            text += f". {self.sparsity:.1%} lies outside of them: this is an extrapolation"
        return text


def predicted_wer(rows: Sequence[Result], wanted: Wanted, sparsity: float) -> WerForecast | str:
    """The WER at a sparsity, or why none can be told.

    log WER is fitted as a straight line over the log of the density, by least squares; the interval is that of a
    single new run, Student's t with n - 2 degrees of freedom.

    Args:
        rows: of a study
        wanted: the kind of run
        sparsity: share of zeros among the weights that pruning may touch
    """
    kind = [row for row in rows if wanted.fits(row)]
    manifest = Counter(row.manifest for row in kind).most_common(1)
    chosen = [row for row in kind if row.manifest == manifest[0][0]]
    levels = {round(row.pruned_sparsity, 2) for row in chosen}
    if len(chosen) < ROWS or len(levels) < LEVELS:
        return (
            f"No WER is told: the table has {len(chosen)} runs of this kind ({wanted}) at {len(levels)} sparsities; "
            f"{ROWS} at {LEVELS} are needed"
        )
    # Half a word more keeps a run without any error on a log scale.
    y = np.log([row.wer + 0.5 / row.words for row in chosen])
    x = np.log([1 - row.pruned_sparsity for row in chosen])
    at = math.log(1 - sparsity)
    slope, _ = np.polyfit(x, y, 1)
    spread = math.sqrt(np.sum((y - y.mean() - slope * (x - x.mean())) ** 2) / (len(x) - 2))
    expected = y.mean() + slope * (at - x.mean())
    margin = student.ppf(0.975, len(x) - 2) * spread
    margin *= math.sqrt(1 + 1 / len(x) + (at - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2))
    half_word = 0.5 / chosen[0].words
    wer, low, high = (
        max(0.0, math.exp(value) - half_word) for value in (expected, expected - margin, expected + margin)
    )
    zeros = [row.pruned_sparsity for row in chosen]
    return WerForecast(wer, low, high, manifest[0][0], len(chosen), str(wanted), max(zeros), min(zeros), sparsity)

"""How far single settings move sparsity and word error rate, where a study varies one at a time around a heuristic.

    end 0.8       phi_ratio 1       Every spoke is one setting with another value, in the middle are the runs that
          \       /                 leave all of them alone. What value the heuristic has is not in the table: the
        heuristic                   cells of its settings are empty.
          /       \
    every 5       every 40
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..results import Result
from .drawing import brief
from .points import endings, number, own_settings, series_name, shape
from .tables import Column, Table, hundredths, signed

HEURISTIC = "heuristic"
MEASURES = {"pruned_sparsity": "sparsity", "wer": "WER"}  # fields of Result


@dataclass(frozen=True)
class Variation:
    """Runs with one setting changed, or with none: the heuristic. They differ in their seed only."""

    setting: str  # dotted name
    value: str
    results: tuple[Result, ...]

    def values(self, field: str) -> list[float]:
        """A number of all runs that have it, in per cent."""
        return [100 * value for value in (number(result, field) for result in self.results) if value is not None]

    def mean(self, field: str) -> float | None:
        values = self.values(field)
        return sum(values) / len(values) if values else None

    def spread(self, field: str) -> float | None:
        """Between its seeds, in points; None when there is only one."""
        values = self.values(field)
        return max(values) - min(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Star:
    """A heuristic and its variations, all siblings."""

    number: int  # which of the page's, from 1
    name: str  # of the kind of model; empty when there is only one star
    heuristic: Variation
    variations: tuple[Variation, ...]  # setting by setting
    left_out: int  # runs in which several settings differ

    @cached_property
    def labels(self) -> dict[str, str]:
        """Settings by short names."""
        return endings(dict.fromkeys(variation.setting for variation in self.variations))

    @property
    def everything(self) -> list[Variation]:
        return [self.heuristic, *self.variations]

    @property
    def measures(self) -> dict[str, str]:
        """Words for the fields that any variation has."""
        return {field: word for field, word in MEASURES.items() if any(v.values(field) for v in self.variations)}

    def told(self, variation: Variation) -> str:
        return f"{brief(self.labels[variation.setting])} {brief(variation.value, 24)}"

    def change(self, variation: Variation, field: str) -> float | None:
        """Mean of a variation minus that of the heuristic, in points."""
        own, other = variation.mean(field), self.heuristic.mean(field)
        return None if own is None or other is None else own - other

    @property
    def title(self) -> str:
        return self.titled("Sensitivity")

    def titled(self, text: str) -> str:
        return f"{text}: {self.name}" if self.name else text

    @property
    def file(self) -> str:
        return "sensitivity" if self.number == 1 else f"sensitivity-{self.number}"


def stars_of(results: Sequence[Result]) -> list[Star]:
    """Every kind of sparse model with a heuristic, of which some setting has two other values or more."""
    families: dict[tuple, list[tuple[Result, dict[str, str]]]] = {}
    for result, settings in zip(results, own_settings(results)):
        if result.method != "dense":
            families.setdefault(shape(result), []).append((result, settings))
    found = [
        (members, variations)
        for members in families.values()
        if has_choice(variations := spokes(members)) and not all(settings for _, settings in members)
    ]
    stars = []
    for index, (members, variations) in enumerate(found, start=1):
        first = members[0][0]
        target = number(first, "target_sparsity")
        name = series_name(first) + (f" for {target:.0%} zeros" if target is not None else "")
        middle = tuple(result for result, settings in members if not settings)
        stars.append(
            Star(
                index,
                name if len(found) > 1 else "",
                Variation("", HEURISTIC, middle),
                variations,
                sum(len(settings) > 1 for _, settings in members),
            )
        )
    return stars


def spokes(members: Sequence[tuple[Result, dict[str, str]]]) -> tuple[Variation, ...]:
    """The rows with one setting of their own, by setting in the order of the table, then by value."""
    groups: dict[str, dict[str, list[Result]]] = {}
    for result, settings in members:
        if len(settings) == 1:
            [(name, value)] = settings.items()
            groups.setdefault(name, {}).setdefault(value, []).append(result)
    return tuple(
        Variation(name, value, tuple(values[value]))
        for name, values in groups.items()
        for value in in_order(list(values))
    )


def in_order(values: list[str]) -> list[str]:
    """Numbers by size, anything else as it comes."""
    try:
        return sorted(values, key=float)
    except ValueError:
        return values


def has_choice(variations: Sequence[Variation]) -> bool:
    """Whether any setting has several values."""
    return len({variation.setting for variation in variations}) < len(variations)


def star_table(star: Star) -> Table:
    """A row for the heuristic, then for each variation; numbers in per cent and points."""

    def row(setting: str, variation: Variation) -> tuple[Any, ...]:
        cells: list[Any] = [setting, variation.value, len(variation.results)]
        for field in MEASURES:
            cells += [variation.mean(field), star.change(variation, field)]
        for field in MEASURES:
            values = variation.values(field)
            cells += [min(values, default=None), max(values, default=None)]
        return tuple(cells)

    columns = [
        Column("setting", lambda name: brief(star.labels.get(name, name)), number=False),
        Column("value", lambda value: brief(value, 60), number=False),
        Column("runs", str),
    ]
    for word in MEASURES.values():
        columns += [Column(f"{word} %", hundredths), Column(f"{word} change, points", signed)]
    for word in MEASURES.values():
        columns += [Column(f"{word} {what}", hundredths) for what in ("lowest", "highest")]
    rows = [
        row("all" if variation is star.heuristic else variation.setting, variation) for variation in star.everything
    ]
    note = (
        "Mean, lowest and highest of the seeds. Sparsity: share of zeros among the prunable weights. Change: mean "
        "minus that of the heuristic, whose own values of these settings the table does not say."
    )
    return Table(star.file, "Setting by setting", tuple(columns), tuple(rows), note)

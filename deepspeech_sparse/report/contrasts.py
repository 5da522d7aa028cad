"""Every model against every other, means over their seeds, on the dev and on the test set."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ..significance import readable_p_value
from .pairs import MANY, contrast
from .points import Point
from .tables import Column, Table, hundredths, signed, times_hundred
from .tested import Tested


def contrasts_table(points: Sequence[Point], tested: Sequence[Tested]) -> Table | None:
    """A row for every two points of up to 15; None of more, and where each has one seed."""
    points = [point for point in points if not point.varied]
    if not 2 <= len(points) <= MANY or all(len(point.results) == 1 for point in points):
        return None
    twins = [(dev, test) for dev, test in tested if not dev.varied]

    def held(first: Point | None, second: Point | None) -> tuple:
        if first is None or second is None:
            return (None,) * 6
        found = contrast(first, second)
        ends = (None, None) if found.difference is None else (found.difference.low, found.difference.high)
        shares = (second.wer, first.wer, found.relative, *ends)
        return (*map(times_hundred, shares), found.p_value)

    def twin(point: Point) -> Point | None:
        return next((test for dev, test in twins if dev is point), None)

    def row(first: Point, second: Point) -> tuple:
        on_test = held(twin(first), twin(second)) if twins else ()
        return (second.name, first.name, *held(first, second), *on_test)

    def columns(of: str) -> tuple[Column, ...]:
        shown = (("WER %", hundredths), ("against, WER %", hundredths), ("relative %", signed))
        shown += (("difference from", signed), ("to", signed), ("sign-flip p", readable_p_value))
        return tuple(Column(f"{of}{title}", show) for title, show in shown)

    heads = (
        Column("model"),
        Column("against"),
        *columns("dev: " if twins else ""),
        *(columns("test: ") if twins else ()),
    )
    note = (
        "Means over seeds; relative change with the paper's sign, negative is worse; difference in points, its 95 % "
        "interval. Not corrected for the number of pairs: some of many differences look significant by luck."
    )
    rows = tuple(row(*pair) for pair in itertools.combinations(points, 2))
    return Table("contrasts", "Means against each other", heads, rows, note)

"""The test set: what the models that the dev set chose do on utterances that nothing was chosen by."""

from __future__ import annotations

from collections.abc import Sequence

from ..results import Result
from ..significance import readable_p_value
from .pairs import contrast
from .points import Point, baseline_of
from .tables import Column, Table, hundredths, signed, times_hundred
from .words import held_in_words, percent

Tested = tuple[Point, Point]  # the same trainings, on the dev and on the test set


def tested_points(points: Sequence[Point], tests: Sequence[Result]) -> list[Tested]:
    """Points whose trainings were all evaluated on the test set, too, and their twins there."""
    rows = {row.run: row for row in tests}
    return [
        (point, Point(tuple(rows[result.run] for result in point.results), point.told, point.scattered))
        for point in points
        if all(result.run in rows for result in point.results)
    ]


def tested_table(tested: Sequence[Tested]) -> Table:
    """Both rates of each point, and how it stands on the test set against its baseline."""
    dense = [test for _, test in tested if test.dense]

    def row(dev: Point, test: Point) -> tuple:
        low, high = test.interval or (None, None)
        base = baseline_of(test, dense)
        held = None if base is None or base is test else contrast(base, test)
        against = (None, None, None) if held is None else (base.name, times_hundred(held.relative), held.p_value)
        rates = [None if rate is None else 100 * rate for rate in (dev.wer, test.wer, low, high)]
        return (test.name, *rates, *against)

    columns = (
        Column("model"),
        Column("dev WER %", hundredths),
        Column("test WER %", hundredths),
        Column("from", hundredths),
        Column("to", hundredths),
        Column("against"),
        Column("relative %", signed),
        Column("sign-flip p", readable_p_value),
    )
    note = (
        "Means over seeds. Choose a row by its dev rate, then read its test rate. Relative change with the sign of the "
        "paper, negative is worse; from, to and p over the utterances of the test set. Trainings that were not "
        "evaluated on it are not shown."
    )
    return Table("tested", "On the test set", columns, tuple(row(*pair) for pair in tested), note)


def tested_words(tested: Sequence[Tested]) -> str:
    """The sparse point that is best on dev, on the test set."""
    sparse = [pair for pair in tested if not pair[1].dense]
    if not sparse:
        return ""
    dev, test = min(sparse, key=lambda pair: pair[0].wer)
    base = baseline_of(test, [other for _, other in tested if other.dense])
    name = test.first.manifest or "the test set"
    text = (
        f"On {name}, by which nothing is chosen here, of the sparse models tested the one best on the dev set "
        f"({percent(dev.wer)})"
    )
    text += f", {test.name}, errs in {percent(test.wer)} of the words"
    if base is None:
        return f"{text}."
    return f"{text}; {base.name} in {percent(base.wer)}: {held_in_words(contrast(base, test))}"

"""The numbers, as tables: each is shown on the page and written as CSV, unrounded there."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..results import Result
from ..significance import readable_p_value
from .pairs import MANY, Pair, relative_change
from .points import number


@dataclass(frozen=True)
class Column:
    """A column: what is above it and how a value that is not None is shown."""

    title: str
    show: Callable[[Any], str] | None = None  # None for text as it stands
    number: bool = True  # whether what is shown is one

    def text(self, value: Any) -> str:
        if value is None:
            return ""
        return str(value) if self.show is None else self.show(value)


@dataclass(frozen=True)
class Table:
    """Rows of plain values under columns."""

    name: str  # of its file, without .csv
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""

    def csv(self) -> bytes:
        """For spreadsheets: full precision, cells without a value empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(column.title for column in self.columns)
        writer.writerows(["" if value is None else value for value in row] for row in self.rows)
        return text.getvalue().encode()


def hundredths(value: float) -> str:
    return f"{value:.2f}"


def signed(value: float) -> str:
    return f"{value:+.2f}"


def whole(value: float) -> str:
    return f"{value:,.0f}"


def times_hundred(value: float | None) -> float | None:
    return None if value is None else 100 * value


def models_table(results: Sequence[Result], baseline: Result | None) -> Table:
    """One row per run, laid out like Table 3 of Narang et al. 2017."""

    def row(result: Result) -> tuple[Any, ...]:
        change = None if baseline is None else relative_change(baseline.wer, result.wer)
        rates = [times_hundred(number(result, name)) for name in ("wer", "wer_low", "wer_high", "cer")]
        sizes = [number(result, name) for name in ("nonzeros", "bytes", "macs_per_second")]
        zeros = times_hundred(number(result, "pruned_sparsity"))
        units = f"{result.cell} {result.hidden or ''}".strip()
        return (
            result.run,
            units,
            *rates,
            times_hundred(change),
            sizes[0],
            zeros,
            *sizes[1:],
            result.method,
            result.pattern,
            result.seed,
        )

    note = (
        "No dense run, so no relative change."
        if baseline is None
        else f"Relative change of the WER with the paper's sign, (dense - model) / dense: negative is worse. "
        f"Dense is {baseline.run}, the first dense row of the table."
    )
    columns = (
        Column("model"),
        Column("units"),
        Column("WER %", hundredths),
        Column("from", hundredths),
        Column("to", hundredths),
        Column("CER %", hundredths),
        Column("relative %", signed),
        Column("not zero", whole),
        Column("zeros % of prunable", lambda value: f"{value:.1f}"),
        Column("bytes", whole),
        Column("MACs per s of audio", whole),
        Column("method"),
        Column("pattern"),
        Column("seed", str),
    )
    note += " From, to: 95 % interval of the WER, bootstrap over utterances."
    return Table("models", "Models", columns, tuple(map(row, results)), note)


def pairs_table(pairs: Sequence[Pair], measured: Sequence[Result]) -> Table:
    """Which differences are more than luck."""
    columns = (
        Column("first"),
        Column("second"),
        Column("WER difference, points", signed),
        Column("from", signed),
        Column("to", signed),
        Column("P(second better)", hundredths),
        Column("sign-flip p", readable_p_value),
        Column("matched-pair p", readable_p_value),
        Column("sign-flip p, Holm", readable_p_value),
        Column("significant"),
    )
    rows = tuple(
        (
            pair.first.run,
            pair.second.run,
            100 * pair.difference.value,
            100 * pair.difference.low,
            100 * pair.difference.high,
            pair.difference.improvement,
            pair.sign_flip,
            pair.matched_pair,
            pair.adjusted,
            "yes" if pair.survives else "no",
        )
        for pair in pairs
    )
    note = (
        "Difference: second minus first, negative where the second errs less; its 95 % interval and P from a paired "
        "bootstrap over utterances (Bisani and Ney 2004). Sign-flip: exact permutation test over utterances. "
        "Matched-pair: sentence-segment word error test of NIST's sclite, empty where it says nothing. "
        f"Of {len(pairs)} pairs some would look different by luck: significant are those whose sign-flip p is at most "
        "0.05 after Holm's correction for all of them."
    )
    if len(measured) > MANY:
        note += (
            f" Of {len(measured)} runs only pairs with the baseline and pairs with about equal non-zeros "
            "(up to a factor of 1.25) are tested; where settings were varied, of the latter those that differ in one "
            "setting or in the seed."
        )
    return Table("pairs", "Significance of the differences", columns, rows, note)


def provenance_table(results: Sequence[Result]) -> Table:
    """How each finished run came about."""

    def row(result: Result) -> tuple[Any, ...]:
        seconds, memory = number(result, "train_seconds"), number(result, "peak_memory")
        minutes, megabytes = seconds and seconds / 60, memory and memory / 1e6
        versions = (result.deepspeech_sparse, result.torch, result.python, result.git_commit, result.machine)
        return (result.run, result.seed, result.epochs, minutes, megabytes, result.manifest, *versions)

    columns = (
        Column("model"),
        Column("seed", str),
        Column("epochs", str),
        Column("training, min", lambda value: f"{value:.1f}"),
        Column("peak memory, MB", whole),
        Column("manifest"),
        Column("deepspeech_sparse"),
        Column("torch"),
        Column("python"),
        Column("commit", lambda value: value[:10], number=False),
        Column("machine"),
    )
    return Table("provenance", "How the runs came about", columns, tuple(map(row, results)))


def failures_table(results: Sequence[Result]) -> Table:
    """Runs without a word error rate, and why."""
    rows = tuple((result.run, result.method, result.seed, reason_of_failure(result)) for result in results)
    columns = (Column("model"), Column("method"), Column("seed", str), Column("error"))
    return Table("failures", "Failed runs", columns, rows, "They are in no figure and in no other table.")


def waiting_table(results: Sequence[Result]) -> Table:
    """Runs of the study that have not begun."""

    def row(result: Result) -> tuple[Any, ...]:
        units = f"{result.cell} {result.hidden or ''}".strip()
        told = ", ".join(f"{name.rsplit('.', 1)[-1]} {value}" for name, value in result.settings.items())
        zeros = times_hundred(number(result, "target_sparsity"))
        return (result.run, units, result.method, zeros, result.pattern, told, result.seed)

    columns = (
        Column("model"),
        Column("units"),
        Column("method"),
        Column("zeros %, goal", lambda value: f"{value:g}"),
        Column("pattern"),
        Column("settings"),
        Column("seed", str),
    )
    return Table(
        "waiting", "Not yet run", columns, tuple(map(row, results)), "Planned by the study; nothing is known of them."
    )


def reason_of_failure(result: Result) -> str:
    return result.error or ("no reason given" if not result.done else "done, but without a word error rate")

"""One row per trained model: what it was told, how often it errs, what it weighs. A report needs nothing else.

The table is a CSV that spreadsheets open. Cells that hold more than a number are JSON (layers, history), or one short
word per utterance (`word_errors`), so that every figure and every significance test can be made again from the file
alone, long after the run folders are gone.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from .errors import InputError
from .files import write_whole

TABLE, TEST_TABLE = "results.csv", "test.csv"  # of a study: on the set that chooses, and on the test set


@dataclass(frozen=True)
class Result:
    """A row of results.csv. Fields without a value are empty cells; a failed run has none of the figures."""

    run: str  # name of the run folder, unlike any other in the table
    status: str = "done"  # done, failed, or waiting: planned and not yet run
    error: str = ""  # why a run failed

    # What it was told.
    method: str = "dense"  # dense, narang, cubic, hard, iterative, lottery
    target_sparsity: float | None = None  # share of weights asked to be zero
    pattern: str = ""  # single, blocks 8x1, balanced, 2:4; empty when dense
    scope: str = ""  # kind, layer or global
    gradients: str = (
        ""  # absolute 1e-06, relative 0.01 of 0.99, sparsity 0.8, units 0.5; until 60 %: exact from there on
    )
    cell: str = ""
    hidden: int | None = None
    layers: int | None = None
    epochs: int | None = None
    seed: int | None = None
    settings: dict[str, str] = field(default_factory=dict)  # other varied values by dotted name, a column each

    # How often it errs.
    manifest: str = ""  # file name of the evaluated manifest
    utterances: int | None = None
    words: int | None = None
    wer: float | None = None
    wer_low: float | None = None  # 95 % interval, bootstrap over utterances
    wer_high: float | None = None
    cer: float | None = None
    substitutions: int | None = None
    deletions: int | None = None
    insertions: int | None = None
    # Per utterance, in the manifest's order: one digit per reference word and one for the end, 0 right, 1 wrong or
    # missing, plus the words inserted before it (9 stands for 9 or more).
    word_errors: tuple[str, ...] = ()

    # What it weighs.
    parameters: int | None = None
    nonzeros: int | None = None
    sparsity: float | None = None  # share of zeros among all parameters
    pruned_sparsity: float | None = None  # share of zeros among the weights that pruning may touch
    bytes: int | None = None  # of the exported model file
    macs_per_second: float | None = None  # multiply-accumulates with a non-zero weight per second of audio
    # Matrix by matrix and gate by gate: {"name", "layer", "gate", "weights", "nonzeros"}.
    parts: tuple[dict[str, Any], ...] = ()

    # How it came about.
    history: dict[str, list[float]] = field(default_factory=dict)  # columns of metrics.csv
    # Sparse gradients, means over the epochs: {"layer", "gate", "sparsity", "redundant", "correlation"}.
    gates: tuple[dict[str, Any], ...] = ()
    train_seconds: float | None = None
    peak_memory: int | None = None  # bytes, of the training process
    deepspeech_sparse: str = ""
    torch: str = ""
    python: str = ""
    git_commit: str = ""
    machine: str = ""

    @property
    def done(self) -> bool:
        """Whether there are figures to report."""
        return self.status == "done"

    @property
    def waiting(self) -> bool:
        """Whether the training is planned and not yet run."""
        return self.status == "waiting"

    @property
    def gradient_sparsity(self) -> float | None:
        """Share of zeros among the gate gradients, mean over layers, gates and epochs; 0 where they are exact."""
        if not self.gradients:
            return 0.0
        shares = [gate.get("sparsity") for gate in self.gates if isinstance(gate, dict)]
        shares = [share for share in shares if isinstance(share, (int, float))]
        return sum(shares) / len(shares) if shares else None

    @property
    def utterance_errors(self) -> tuple[int, ...]:
        """Word errors of each utterance."""
        return tuple(sum(map(int, digits)) for digits in self.word_errors)


COLUMNS = tuple(item.name for item in fields(Result) if item.name != "settings")
KINDS = get_type_hints(Result)


def write_results(path: Path, results: Sequence[Result]) -> None:
    """The table, whole or not at all."""
    settings = list(dict.fromkeys(name for result in results for name in result.settings))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *settings], lineterminator="\n")
    writer.writeheader()
    for result in results:
        writer.writerow({name: cell(getattr(result, name)) for name in COLUMNS} | result.settings)
    write_whole(path, text.getvalue().encode())


def read_results(path: str | Path) -> list[Result]:
    """The rows of a table.

    Args:
        path: a results.csv, or the folder of a study that holds one

    Raises:
        InputError: missing, no such table, or a value of another type
    """
    path = Path(path)
    if path.is_dir():
        path /= TABLE
    usual = csv.field_size_limit(1 << 30)  # the errors of a long test set are one cell
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the results.csv of a study") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV table: {error}") from error
    finally:
        csv.field_size_limit(usual)  # it is the whole process's
    if not rows:
        raise InputError(f"{path}: no row in this table; give the results.csv of a study")
    if "run" not in rows[0] or "wer" not in rows[0]:
        raise InputError(f"{path}: no columns `run` and `wer`; this is not the results.csv of a study")
    return [result_of(row, f"{path}: row {number}") for number, row in enumerate(rows, start=1)]


def result_of(row: dict[str, str], place: str) -> Result:
    """A row's cells as values. Columns of older and newer versions are left empty or kept as settings."""
    if None in row or None in row.values():
        raise InputError(f"{place}: more or fewer cells than the header has; was the file cut off?")
    values: dict[str, Any] = {name: value_of(text, name, place) for name, text in row.items() if name in COLUMNS}
    known = {name: value for name, value in values.items() if value is not None}
    return Result(**known, settings={name: text for name, text in row.items() if name not in COLUMNS and text})


def cell(value: Any) -> str:
    """A value as a cell that `value_of` reads back exactly."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict) or (isinstance(value, tuple) and value and isinstance(value[0], dict)):
        return json.dumps(value, separators=(",", ":")) if value else ""
    return " ".join(value) if isinstance(value, tuple) else str(value)


def value_of(text: str, column: str, place: str) -> Any:
    """A cell as the type of its column; None when empty."""
    if not text:
        return None
    kind = str(KINDS[column])
    try:
        if "dict" in kind:
            plain = json.loads(text)
            if not isinstance(plain, list if kind.startswith("tuple") else dict):
                raise ValueError("JSON of another kind")
            return tuple(plain) if kind.startswith("tuple") else plain
        if kind.startswith("tuple"):
            digits = tuple(text.split())
            if not all(word.isascii() and word.isdigit() for word in digits):
                raise ValueError("expected digits")
            return digits
        if "float" in kind:
            return float(text)
        return int(text) if "int" in kind else text
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: {column} = {text[:40]!r} is not what this column holds ({error})") from error


def is_goal(setting: str) -> bool:
    """Whether a varied setting, by its dotted name, says how far to prune: rows that differ in it are of one kind."""
    return setting.startswith("pruning.") and setting.endswith(
        (".q", ".dense", ".percentile", ".sparsity", ".deviations")
    )


def failures(results: Iterable[Result]) -> list[Result]:
    """The rows of runs that failed."""
    return [result for result in results if not result.done and not result.waiting]

"""A grid of trainings, run unattended: what is done is skipped, a failure is a row, a kill costs minutes.

    STUDY.yaml -> cells -> runs/STUDY/CELL/ (a run folder and its row.json) -> results.csv

Every cell is trained and evaluated by a process of its own (`cell.py`), so its memory can be measured and its failure
is its own. This file plans and watches.
"""

from __future__ import annotations

import copy
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from .cell import CONFIG, ROW, read_row
from .config import RunConfig, config_of, save_config
from .errors import InputError
from .results import Result, write_results
from .runs import differences
from .settings import config_to_dict, overlaid, read_yaml

COLUMNS = (
    "schedule.method",
    "recurrent.sparsity",
    "network.hidden",
    "network.cell",
    "network.layers",
    "epochs",
    "seed",
)


@dataclass(frozen=True)
class Grid:
    """Some settings, and some that vary: one training for each combination.

    Args:
        name: start of the names of these runs
        set: settings by dotted name, e.g. {pruning.recurrent.sparsity: 0.9}; a value may be a mapping
        vary: values by dotted name, e.g. {seed: [0, 1, 2]}
    """

    name: str
    set: dict[str, Any] = field(default_factory=dict)
    vary: dict[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One training of a study."""

    name: str
    config: RunConfig
    settings: dict[str, str]  # varied values that have no column of their own in results.csv
    needs: str | None  # the cell whose run gives this one its threshold


@dataclass(frozen=True)
class Study:
    """All that a study file says.

    Args:
        manifest: what every run is evaluated on
        cells: in the order they are trained and reported
    """

    manifest: Path
    cells: tuple[Cell, ...]


def load_study(path: Path, out: Path) -> Study:
    """Read a study file, with every one of its configs checked.

        base: recipes/an4/gru.yaml        what all runs share
        evaluate: data/an4/dev.jsonl
        grids:
          - name: dense
            vary: {network.hidden: [224, 96], seed: [0, 1]}     the first is the baseline of a report
          - name: narang
            set: {pruning.schedule: {every: 20}}
            vary: {pruning.recurrent.sparsity: [0.8, 0.9], seed: [0, 1]}

    `dense: dense-seed-0` in a goal names another cell of the study, which is then trained first.

    Raises:
        InputError: whatever is wrong, named by its cell
    """
    values = read_yaml(path)
    keys = ("base", "evaluate", "grids")
    if set(values) - set(keys) or not all(map(values.get, keys)) or not isinstance(values["grids"], list):
        raise InputError(
            f"{path}: a study has base, evaluate and grids, and nothing else; see recipes/spoken/study.yaml"
        )
    base = read_yaml(values["base"])
    cells: dict[str, Cell] = {}
    for number, plain in enumerate(values["grids"]):
        grid = grid_of(plain, f"{path}: grids[{number}]")
        for name, changes in combinations(grid):
            if name in cells:
                raise InputError(f"{path}: two cells are called {name}; give their grids different names")
            cells[name] = cell_of(name, overlaid(base, changes), grid, changes, out, path)
    for cell in cells.values():
        if cell.needs is not None and cell.needs not in cells:
            raise InputError(
                f"{path}: {cell.name} takes its threshold from {cell.needs}, which is no cell of this study"
            )
    return Study(Path(values["evaluate"]), tuple(cells.values()))


def grid_of(values: Any, place: str) -> Grid:
    kinds = {"name": str, "set": dict, "vary": dict}
    fits = isinstance(values, dict) and all(isinstance(value, kinds.get(key, ())) for key, value in values.items())
    if not fits or not re.match(r"\w", values.get("name", "")):
        raise InputError(f"{place}: a grid has a name, and maybe `set` and `vary`, two mappings; got {values!r}")
    grid = Grid(**values)
    for key, choices in grid.vary.items():
        if not isinstance(choices, list) or not choices:
            raise InputError(f"{place}: vary.{key} is {choices!r}; give a list of values")
    return grid


def combinations(grid: Grid) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and changed settings of each cell, its own copy; settings first: what varies may lie inside them."""
    for choice in itertools.product(*grid.vary.values()):
        varied = dict(zip(grid.vary, choice))
        words = [grid.name, *(f"{key.rsplit('.', 1)[-1]}-{short(value)}" for key, value in varied.items())]
        yield re.sub(r"[^A-Za-z0-9_.-]+", "-", "_".join(words)), copy.deepcopy({**grid.set, **varied})


def short(value: Any) -> str:
    """A value as part of a folder's name."""
    if isinstance(value, dict):
        return "-".join(short(part) for part in value.values())
    return "x".join(map(short, value)) if isinstance(value, list) else str(value)


def cell_of(name: str, values: dict, grid: Grid, changes: dict[str, Any], out: Path, path: Path) -> Cell:
    settings = {
        key: short(changes[key]) for key in grid.vary if not key.endswith(COLUMNS) and not key.startswith("gradients.")
    }
    needs = None
    pruning = values.get("pruning")
    for goal in pruning.values() if isinstance(pruning, dict) else ():
        dense = goal.get("dense") if isinstance(goal, dict) else None
        if dense and not Path(dense).exists():
            needs, goal["dense"] = str(dense), str(out / str(dense))
    try:
        config = config_of(values, name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Cell(name, config, settings, needs)


def run_study(path: Path, out: Path, *, jobs: int = 1) -> list[Result]:
    """Train and evaluate all cells of a study that are not done yet; write results.csv after each.

    Args:
        path: the study file
        out: folder of the study; a run folder for each cell
        jobs: trainings at the same time; each gets its share of the CPU's cores

    Returns:
        a row per cell, failed ones included

    Raises:
        InputError: wrong study file, or `out` holds cells with another config
        KeyboardInterrupt: Ctrl-C or SIGTERM; trainings under way have saved their state
    """
    if jobs < 1:
        raise InputError(f"study: jobs = {jobs} must be at least 1")
    study = load_study(path, out)
    if not study.manifest.exists():
        raise InputError(f"{path}: evaluate: {study.manifest} does not exist; prepare the corpus first")
    for cell in study.cells:
        refuse_other_config(cell, out)
    console = Console()
    rows = {cell.name: row for cell in study.cells if (row := read_row(out / cell.name)) is not None and row.done}
    if rows:
        console.print(f"{len(rows)} of {len(study.cells)} cells are done already", highlight=False)
    waiting = [cell for cell in study.cells if cell.name not in rows]
    Watch(study, out, jobs, rows, console).run(waiting)
    return write_table(study, out, rows)


def write_table(study: Study, out: Path, rows: dict[str, Result]) -> list[Result]:
    results = [rows[cell.name] for cell in study.cells if cell.name in rows]
    if results:
        write_results(out / "results.csv", results)
    return results


def refuse_other_config(cell: Cell, out: Path) -> None:
    """A folder of the same name that was trained with other settings is not taken for this cell."""
    path = out / cell.name / CONFIG
    if path.exists():
        changed = differences(read_yaml(path), config_to_dict(cell.config))
        if changed:
            raise InputError(
                f"{path.parent}: was trained with other settings: {'; '.join(changed)}. Restore them in the study, "
                "remove the folder, or choose another --out"
            )


class Watch:
    """Starts processes while there is room, and looks after them until all are done."""

    def __init__(self, study: Study, out: Path, jobs: int, rows: dict[str, Result], console: Console) -> None:
        self.study, self.out, self.jobs, self.rows, self.console = study, out, jobs, rows, console
        self.running: dict[str, tuple[subprocess.Popen, float]] = {}
        self.seconds: list[float] = []  # taken by the cells of this session

    def run(self, waiting: Sequence[Cell]) -> None:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        left = list(waiting)
        try:
            while left or self.running:
                self.start_next(left)
                time.sleep(0.1)
                for name in [name for name, (process, _) in self.running.items() if process.poll() is not None]:
                    self.finish(name, len(left))
        except KeyboardInterrupt:
            self.stop()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)

    def start_next(self, left: list[Cell]) -> None:
        """Start the first cells that need not wait for another, as many as there is room for."""
        for cell in list(left):
            if len(self.running) >= self.jobs:
                return
            if cell.needs is None or cell.needs in self.rows:
                left.remove(cell)
                needed = self.rows.get(cell.needs) if cell.needs else None
                if needed is not None and not needed.done:
                    self.fail(cell.name, f"{cell.needs}, which gives its threshold, failed")
                else:
                    self.running[cell.name] = (self.start(cell), time.monotonic())

    def start(self, cell: Cell) -> subprocess.Popen:
        folder = self.out / cell.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ROW).unlink(missing_ok=True)  # of an earlier failure
        save_config(cell.config, folder / CONFIG)
        threads = cell.config.threads or max(1, (os.cpu_count() or 1) // self.jobs)
        command = [sys.executable, "-m", "deepspeech_sparse.cell", str(folder), str(self.study.manifest)]
        command += [yaml.safe_dump(cell.settings, default_flow_style=True, width=10**9).strip()]
        with open(folder / "log.txt", "ab") as log:
            # A session of its own: Ctrl-C reaches us alone, and we pass it on once.
            return subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                start_new_session=True,
            )

    def finish(self, name: str, waiting: int) -> None:
        """A process has ended: take its row, or write one that says how it ended."""
        process, started = self.running.pop(name)
        row = read_row(self.out / name)
        if row is None:
            self.fail(name, f"the process ended with {process.returncode}; see {name}/log.txt")
        else:
            self.rows[name] = row
        self.seconds.append(time.monotonic() - started)
        write_table(self.study, self.out, self.rows)
        row = self.rows[name]
        said = f"WER {row.wer:.2%}, {row.nonzeros:,} non-zeros" if row.done else f"failed: {row.error}"
        each = sum(self.seconds) / len(self.seconds)
        left = each * (waiting + len(self.running)) / self.jobs / 60
        done = f"[{len(self.rows)}/{len(self.study.cells)}]"
        self.console.print(
            f"{done} {name}: {said} ({self.seconds[-1] / 60:.1f} min; about {left:.0f} min left)",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    def fail(self, name: str, error: str) -> None:
        self.rows[name] = Result(run=name, status="failed", error=error)

    def stop(self) -> None:
        """Pass the signal on and wait: each training saves its state."""
        for process, _ in self.running.values():
            process.terminate()
        for process, _ in self.running.values():
            process.wait()
        self.console.print("stopped; the same command continues", highlight=False)

"""A grid of trainings, run unattended: what is done is skipped, a failure is a row, a kill costs minutes.

    STUDY.yaml -> cells -> runs/STUDY/CELL/ (a run folder, its row.json and test.json) -> results.csv, test.csv

Every cell is trained and evaluated by a process of its own (`cell.py`), so its memory can be measured and its failure
is its own. This file watches.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml
from rich.console import Console

from ..errors import InputError
from ..evaluation.rows import corpus_of, differing
from ..results import TABLE, TEST_TABLE, Result, write_results
from ..settings import read_yaml
from ..training.config import changed_settings, save_config
from ..training.lock import alone_in
from .cell import CONFIG, ROW, TEST_ROW, read_row
from .earlier import take_earlier
from .plan import Cell, Study, load_study


def run_study(path: Path, out: Path, *, jobs: int = 1, earlier: Path | None = None) -> list[Result]:
    """Train and evaluate all cells of a study that are not done yet; write its tables after each.

    Args:
        path: the study file
        out: folder of the study; a run folder for each cell
        jobs: trainings at the same time; each gets its share of the CPU's cores
        earlier: folder with the tables of this study as run elsewhere; its trainings are not repeated

    Returns:
        a row per cell, failed ones included

    Raises:
        InputError: wrong study file, `out` holds cells with another config, or another process runs them
        KeyboardInterrupt: Ctrl-C or SIGTERM; trainings under way have saved their state
    """
    if jobs < 1:
        raise InputError(f"study: jobs = {jobs} must be at least 1")
    study = load_study(path, out)
    for name, manifest in (("evaluate", study.manifest), ("test", study.test)):
        if manifest is not None and not manifest.exists():
            raise InputError(f"{path}: {name}: {manifest} does not exist; prepare the corpus first")
    for cell in study.cells:
        refuse_other_training(cell, out)
    for name, manifest in ((ROW, study.manifest), (TEST_ROW, study.test)):
        if manifest is not None:
            refuse_other_corpus([out / cell.name / name for cell in study.cells], manifest)
    console = Console()
    with alone_in(out):
        if earlier is not None:
            taken = take_earlier(study, out, earlier)
            console.print(
                f"{taken} of {len(study.cells)} cells are in {earlier}", highlight=False, markup=False, soft_wrap=True
            )
        rows = {cell.name: row for cell in study.cells if (row := finished_row(study, out / cell.name)) is not None}
        if rows:
            console.print(f"{len(rows)} of {len(study.cells)} cells are done already", highlight=False)
            write_tables(study, out, rows)  # before the hours of the next one
        waiting = [cell for cell in study.cells if cell.name not in rows]
        Watch(study, out, jobs, rows, console).run(waiting)
        return write_tables(study, out, rows)


def finished_row(study: Study, folder: Path) -> Result | None:
    """The row of a cell that has nothing left to do."""
    row = read_row(folder)
    if row is None or not row.done or (study.test is not None and read_row(folder, TEST_ROW) is None):
        return None
    return row


def write_tables(study: Study, out: Path, rows: dict[str, Result]) -> list[Result]:
    """results.csv, all cells in the order of the study; test.csv, those that were tested, if there is a test set."""
    results = [rows.get(cell.name) or known_row(cell, study, out) for cell in study.cells]
    if rows:
        write_results(out / TABLE, results)
    if study.test is not None:
        tests = [test for row in results if row.done and (test := read_row(out / row.run, TEST_ROW)) is not None]
        if tests:
            write_results(out / TEST_TABLE, tests)
    return results


def known_row(cell: Cell, study: Study, out: Path) -> Result:
    """The row of a cell that has something left to do: it may be that it has only to be tested."""
    row = read_row(out / cell.name)
    return row if row is not None and row.done else waiting_row(cell, study)


def waiting_row(cell: Cell, study: Study) -> Result:
    """The row of a cell that is planned and not yet run."""
    return Result(run=cell.name, status="waiting", manifest=study.manifest.name, **cell.told)


def refuse_other_training(cell: Cell, out: Path) -> None:
    """A folder of the same name that was trained with other settings is not taken for this cell."""
    path = out / cell.name / CONFIG
    if path.exists():
        changed = changed_settings(read_yaml(path), cell.config, path)
        if changed:
            raise InputError(
                f"{path.parent}: was trained with other settings: {'; '.join(changed)}. Restore them in the study, "
                "remove the folder, or choose another --out"
            )


def refuse_other_corpus(rows: Sequence[Path], manifest: Path) -> None:
    """What was evaluated on another corpus is not taken for the one that the study names now."""
    corpus = corpus_of(manifest)
    for path in rows:
        row = read_row(path.parent, path.name)
        name = differing(row, corpus) if row is not None and row.done else None
        if name is not None:
            raise InputError(
                f"{path}: was evaluated on {row.manifest}, the study now says {manifest} ({name} {getattr(row, name)} "
                f"-> {corpus[name]}); restore that, or remove the file, and the same command evaluates again without "
                "training"
            )


class Watch:
    """Starts processes while there is room, and looks after them until all are done."""

    def __init__(self, study: Study, out: Path, jobs: int, rows: dict[str, Result], console: Console) -> None:
        self.study, self.out, self.jobs, self.rows, self.console = study, out, jobs, rows, console
        self.running: dict[str, tuple[subprocess.Popen, float]] = {}
        self.seconds: list[float] = []  # taken by the cells of this session

    def run(self, waiting: Sequence[Cell]) -> None:
        ends = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]  # the latter: ssh is gone
        before = {number: signal.signal(number, signal.default_int_handler) for number in ends}
        left = list(waiting)
        try:
            while left or self.running:
                self.start_next(left)
                time.sleep(0.1)
                for name in [name for name, (process, _) in self.running.items() if process.poll() is not None]:
                    self.finish(name, len(left))
        except BaseException:  # a full disk, too: no training goes on that nobody watches
            self.stop()
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def start_next(self, left: list[Cell]) -> None:
        """Start the first cells that need not wait for another, as many as there is room for."""
        for cell in list(left):
            if len(self.running) >= self.jobs:
                return
            if cell.needs is None or cell.needs in self.rows:
                left.remove(cell)
                if cell.needs is not None and not self.is_trained(cell.needs):
                    self.fail(cell.name, f"{cell.needs}, which gives its threshold, failed")
                else:
                    self.running[cell.name] = (self.start(cell), time.monotonic())

    def is_trained(self, name: str) -> bool:
        """Whether a cell has weights, even if its test set could not be read."""
        row = read_row(self.out / name)
        return self.rows[name].done or (row is not None and row.done)

    def start(self, cell: Cell) -> subprocess.Popen:
        folder = self.out / cell.name
        folder.mkdir(parents=True, exist_ok=True)
        row = read_row(folder)
        if row is not None and not row.done:
            (folder / ROW).unlink()  # of an earlier failure
        save_config(cell.config, folder / CONFIG)
        threads = cell.config.threads or max(1, (os.cpu_count() or 1) // self.jobs)
        settings = yaml.safe_dump(cell.settings, default_flow_style=True, width=10**9).strip()
        command = [sys.executable, "-m", "deepspeech_sparse.study.cell", str(folder), settings]
        command += map(str, filter(None, (self.study.manifest, self.study.test)))
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
        if row is None or (row.done and process.returncode):  # the dev row is there, the test row is not
            what = "the process" if row is None else "its evaluation on the test set"
            self.fail(name, f"{what} ended with {process.returncode}; see {name}/log.txt")
        else:
            self.rows[name] = row
        self.seconds.append(time.monotonic() - started)
        write_tables(self.study, self.out, self.rows)
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
        [cell] = [cell for cell in self.study.cells if cell.name == name]
        known = known_row(cell, self.study, self.out)  # its figures on dev, if it has come so far
        self.rows[name] = replace(known, status="failed", error=error)

    def stop(self) -> None:
        """Pass the signal on and wait: each training saves its state."""
        for process, _ in self.running.values():
            process.terminate()
        for process, _ in self.running.values():
            process.wait()
        self.console.print("stopped; the same command continues", highlight=False)

"""One training of a study, in a process of its own: train or go on, evaluate, write the row.

python -m deepspeech_sparse.study.cell FOLDER SETTINGS MANIFEST [TEST]
"""

from __future__ import annotations

import json
import os
import platform
import sys
import traceback
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from ..errors import InputError
from ..evaluation.rows import errors_of, gates_of, history_of, plain_settings, result_of, told_of
from ..evaluation.wer import evaluate
from ..export import info
from ..files import write_whole
from ..machine.description import processor
from ..machine.memory import peak_memory
from ..results import Result
from ..settings import read_yaml
from ..training.callbacks import TrainingStopped
from ..training.config import load_config
from ..training.lock import wait_for_others
from ..training.runs import train

CONFIG = "cell.yaml"  # what the study asked for; train writes config.yaml once it has found nothing impossible
ROW = "row.json"
TEST_ROW = "test.json"


def run_cell(folder: Path, settings: dict[str, str], manifest: Path) -> Result:
    """Train the run in `folder`, or continue it, and evaluate its best checkpoint."""
    train(load_config(folder / CONFIG), folder, resume="auto")
    history = history_of(folder)
    return result_of(
        folder.name,
        info(folder),
        evaluate(folder, manifest),
        settings=settings,
        history=history,
        gates=gates_of(folder),
        train_seconds=sum(history["seconds"]),
        peak_memory=peak_memory(),
        python=platform.python_version(),
        machine=f"{processor()}, {os.cpu_count()} cores",
    )


def test_row(folder: Path, row: Result, test: Path) -> Result:
    """The same training, what it errs on the test set; its course is in `row`."""
    return replace(row, **errors_of(evaluate(folder, test)), history={}, gates=())


def write_row(folder: Path, row: Result, name: str = ROW) -> None:
    """What `read_row` reads."""
    # An epoch without batches has NaN for its loss; Python's JSON keeps it, and only Python reads this file.
    write_whole(folder / name, json.dumps(asdict(row)).encode())


def read_row(folder: Path, name: str = ROW) -> Result | None:
    """The row that a finished cell has left, None while there is none.

    Raises:
        InputError: the file is broken
    """
    path = folder / name
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        lists = {name: tuple(values.get(name, ())) for name in ("word_errors", "parts", "gates")}
        return Result(**{**values, **lists})
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not the row of a cell ({error}); remove it and start the study again") from error


def main(arguments: list[str]) -> int:
    folder, settings, manifests = Path(arguments[0]), yaml.safe_load(arguments[1]), [*map(Path, arguments[2:])]
    wait_for_others(folder)  # a study that was killed has left its trainings at work
    row = read_row(folder)
    if row is None:
        try:
            row = run_cell(folder, settings, manifests[0])
        except TrainingStopped as stop:
            print(stop)
            return 130
        except Exception as error:
            traceback.print_exc()
            text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            told = told_of(plain_settings(read_yaml(folder / CONFIG)))
            row = Result(run=folder.name, status="failed", error=text, settings=settings, **told)
        write_row(folder, row)
    if not row.done:
        return 1
    try:  # in vain, perhaps: the row stands already
        for test in manifests[1:]:
            write_row(folder, test_row(folder, row, test), TEST_ROW)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Cells that were trained elsewhere: on another machine, or in a session whose disk is gone.

Their rows become rows of this folder, as if it had trained them. The run folders with the weights stay where they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import InputError
from ..evaluation.rows import corpus_of, differing
from ..results import TABLE, TEST_TABLE, Result, read_results
from ..training.config import save_config
from .cell import CONFIG, TEST_ROW, read_row, write_row
from .plan import Cell, Study


def take_earlier(study: Study, out: Path, earlier: Path) -> int:
    """Write what `earlier` knows of this study into `out`, where no training has begun.

    Args:
        earlier: a folder with results.csv, and test.csv if the study has a test set

    Returns:
        cells taken; those whose weights give another cell its threshold are not, and have to be trained

    Raises:
        InputError: no such tables, or a row that was told something else than its cell
    """
    if not earlier.is_dir():
        raise InputError(f"{earlier}: is no folder; give one with the {TABLE} of an earlier run of this study")
    known = rows_by_name(earlier / TABLE)
    tests = rows_by_name(earlier / TEST_TABLE) if study.test is not None else {}
    whole = set(known) & set(tests) if study.test is not None else set(known)
    corpus, test_corpus = (corpus_of(path) if path is not None else {} for path in (study.manifest, study.test))
    taken = cells_to_take(study, out, whole)
    for cell in taken:
        folder = out / cell.name
        refuse_other_row(known[cell.name], cell, corpus, earlier / TABLE)
        if study.test is not None:
            refuse_other_row(tests[cell.name], cell, test_corpus, earlier / TEST_TABLE)
        folder.mkdir(parents=True)
        save_config(cell.config, folder / CONFIG)
        if study.test is not None:
            write_row(folder, tests[cell.name], TEST_ROW)
        write_row(folder, known[cell.name])
    return len(taken)


def cells_to_take(study: Study, out: Path, known: set[str]) -> list[Cell]:
    """Those of `known` names that no training can need the weights of, and that have no folder in `out`."""
    taken = [cell for cell in study.cells if cell.name in known and not (out / cell.name).exists()]
    done = {cell.name for cell in study.cells if (row := read_row(out / cell.name)) is not None and row.done}
    while True:  # a cell left here has to be trained, for which it may need another
        settled = done | {cell.name for cell in taken}
        needed = {cell.needs for cell in study.cells if cell.name not in settled}
        kept = [cell for cell in taken if cell.name not in needed]
        if len(kept) == len(taken):
            return taken
        taken = kept


def rows_by_name(table: Path) -> dict[str, Result]:
    return {row.run: row for row in read_results(table) if row.done}


def refuse_other_row(row: Result, cell: Cell, corpus: dict[str, Any], table: Path) -> None:
    """A row of the same name that was trained with other settings, or evaluated elsewhere, is not this cell's."""
    name = next((name for name, value in cell.told.items() if getattr(row, name) != value), differing(row, corpus))
    if name is not None:
        raise InputError(
            f"{table}: {row.run} has {name} {getattr(row, name)!r}, in this study it would have "
            f"{(cell.told | corpus)[name]!r}; restore it in the study, or remove the row"
        )

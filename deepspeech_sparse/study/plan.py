"""What a study file says: a grid of configs, each a training of its own."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..evaluation.rows import plain_settings, told_of
from ..settings import config_to_dict, overlaid, read_yaml, short
from ..training.config import RunConfig, config_of

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

    @property
    def told(self) -> dict[str, Any]:
        """Fields of its row that are known before it is trained."""
        return {**told_of(plain_settings(config_to_dict(self.config))), "settings": self.settings}


@dataclass(frozen=True)
class Study:
    """All that a study file says.

    Args:
        manifest: what every run is evaluated on, and chosen by
        test: what every run is evaluated on, too, for the report alone
        cells: in the order they are trained and reported
    """

    manifest: Path
    test: Path | None
    cells: tuple[Cell, ...]


def load_study(path: Path, out: Path) -> Study:
    """Read a study file, with every one of its configs checked.

        base: recipes/an4/gru.yaml        what all runs share
        evaluate: data/an4/dev.jsonl
        test: data/an4/test.jsonl         may be left out; never printed while the study runs
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
    if set(values) - {*keys, "test"} or not all(map(values.get, keys)) or not isinstance(values["grids"], list):
        raise InputError(
            f"{path}: a study has base, evaluate and grids, maybe test, and nothing else; see recipes/an4/study.yaml"
        )
    for key in ("base", "evaluate", "test"):
        if not isinstance(values.get(key), (str, type(None))):
            raise InputError(f"{path}: {key} is {values[key]!r}; give the path of one file")
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
        refuse_circle(cell, cells, path)
    test = values.get("test")
    return Study(Path(values["evaluate"]), Path(test) if test else None, tuple(cells.values()))


def refuse_circle(cell: Cell, cells: dict[str, Cell], path: Path) -> None:
    """InputError for cells that wait for each other for ever."""
    chain = [cell.name]
    while (needs := cells[chain[-1]].needs if chain[-1] in cells else None) is not None:
        if needs in chain:
            raise InputError(f"{path}: {' <- '.join([*chain, needs])}: thresholds are taken in a circle; break it")
        chain.append(needs)


def grid_of(values: Any, place: str) -> Grid:
    kinds = {"name": str, "set": dict, "vary": dict}
    fits = isinstance(values, dict) and all(isinstance(value, kinds.get(key, ())) for key, value in values.items())
    if not fits or not re.match(r"\w", values.get("name", "")):
        raise InputError(f"{place}: a grid has a name, and maybe `set` and `vary`, two mappings; got {values!r}")
    grid = Grid(**values)
    for key in (*grid.set, *grid.vary):
        if not isinstance(key, str):
            raise InputError(f"{place}: {key!r} is not the dotted name of a setting, as pruning.recurrent.sparsity is")
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


def cell_of(name: str, values: dict, grid: Grid, changes: dict[str, Any], out: Path, path: Path) -> Cell:
    settings = {
        key: short(changes[key]) for key in grid.vary if not key.endswith(COLUMNS) and key.split(".")[0] != "gradients"
    }
    needs = None
    pruning = values.get("pruning")
    for goal in pruning.values() if isinstance(pruning, dict) else ():
        dense = goal.get("dense") if isinstance(goal, dict) else None
        if isinstance(dense, str) and dense and not Path(dense).exists():  # of other types `config_of` tells
            needs, goal["dense"] = dense, str(out / dense)
    try:
        config = config_of(values, name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Cell(name, config, settings, needs)

"""The verb `bench`: one part after the other, each a table, and all figures as JSON."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from ..engine.products import threads_of_torch
from ..errors import InputError
from ..files import refuse_unwritable, write_json
from ..machine.description import machine
from ..recognition.inference import checked_threads
from ..report.tables import Table
from .gradients import gradients
from .layers import layers
from .products import products
from .recognition import recognition

PARTS: dict[str, Callable[..., Table]] = {
    "products": products,
    "layers": layers,
    "recognition": recognition,
    "gradients": gradients,
}


def bench(
    parts: Sequence[str] = tuple(PARTS),
    *,
    full: bool = False,
    threads: int = 1,
    seed: int = 0,
    json: Path | None = None,
    show: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure this machine and show it as Markdown.

    Args:
        parts: products, layers, recognition, gradients
        full: the figures to publish; otherwise fewer rounds, steps and seconds, as the tables say
        threads: of everything that is measured
        seed: of weights and inputs
        json: also write the figures here, with machine, date, versions and seed
        show: takes every piece of text as soon as it is there

    Returns:
        what `json` holds

    Raises:
        InputError: threads out of range, no place to write
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise InputError(f"bench: parts {unknown or 'none'}; choose from {', '.join(PARTS)}")
    checked_threads(threads)
    if json is not None:
        refuse_unwritable(json)
    here = machine()
    told = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": here.to_dict(),
        "threads": threads,
        "seed": seed,
        "full": full,
        "load_average": load_average(),
        "tables": {},
    }
    show(f"{here}\n\nmeasured with threads {threads}, seed {seed}; load average {told['load_average']}\n")
    for part in parts:
        torch.manual_seed(seed)
        started = time.monotonic()
        with threads_of_torch(threads):
            table = PARTS[part](threads=threads, full=full)
        show(f"{markdown(table)}\n\n({time.monotonic() - started:.0f} s)\n")
        told["tables"][table.name] = {"title": table.title, "note": table.note, "rows": plain_rows(table)}
    if json is not None:
        write_json(json, told)
    return told


def markdown(table: Table) -> str:
    """A table with its title and note, ready for a README."""
    lines = [[column.title for column in table.columns], ["---"] * len(table.columns)]
    lines += [[column.text(value) for column, value in zip(table.columns, row)] for row in table.rows]
    rows = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"## {table.title}\n\n{table.note}\n\n{rows}"


def plain_rows(table: Table) -> list[dict[str, Any]]:
    """The figures as measured, unrounded, by the titles of their columns."""
    return [dict(zip((column.title for column in table.columns), row)) for row in table.rows]


def load_average() -> float | None:
    """Jobs that wanted a core in the last minute, the machine's own measure of how busy it is."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None

"""How long work takes beside other work: contestants in turn, A B C A B C, so that a busy moment hits them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Name = TypeVar("Name")


def in_turn(contestants: Mapping[Name, Callable[[], object]], rounds: int) -> dict[Name, list[float]]:
    """Seconds of each call of each, `rounds` of them after one that does not count."""
    for work in contestants.values():
        work()
    times: dict[Name, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, work in contestants.items():
            times[name].append(seconds_of(work))
    return times


def in_bursts(
    contestants: Mapping[Name, Callable[[], object]], seconds: float, burst: int = 5
) -> dict[Name, list[float]]:
    """Seconds of single calls, bursts in turn until everyone had its `seconds`.

    A burst calls one of them several times running, after a call that does not count: what it reads then lies in the
    nearest cache that holds it.
    """
    times: dict[Name, list[float]] = {name: [] for name in contestants}
    while min(map(sum, times.values())) < seconds:
        for name, work in contestants.items():
            if sum(times[name]) > 3 * seconds:
                continue
            work()
            times[name] += [seconds_of(work) for _ in range(burst)]
    return times


def seconds_of(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start

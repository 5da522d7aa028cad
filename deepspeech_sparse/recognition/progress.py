"""How far a transcription is: audio heard, real-time factor, time left."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class AudioProgress:
    """A bar on a terminal while it is entered; what is printed meanwhile appears above it.

    Args:
        total: seconds of audio, None where nobody knows
    """

    def __init__(self, console: Console, total: float | None) -> None:
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[factor]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # what goes into a file must not end on the terminal
        )
        self.total = total
        self.done = 0.0
        self.started = time.monotonic()

    def __enter__(self) -> AudioProgress:
        self.task = self.bar.add_task(self.words(), total=self.total, factor="")
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def advance(self, seconds: float) -> None:
        """So many more seconds of audio have been heard."""
        self.done += seconds
        factor = (time.monotonic() - self.started) / max(self.done, 1e-9)
        self.bar.update(
            self.task, completed=self.done, description=self.words(), factor=f"real-time factor {factor:.3f}"
        )

    def words(self) -> str:
        of = "" if self.total is None else f" of {clock(self.total)}"
        return f"heard {clock(self.done)}{of}"


def clock(seconds: float) -> str:
    """E.g. 1:02:03."""
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"

"""How much memory work takes, measured by the system and not by adding up tensors.

A process remembers the most that it ever held. `peak_in_child` therefore runs the work in a fresh interpreter, and
counts from when its imports are done.

    python -m deepspeech_sparse.machine.memory MODULE:FUNCTION ARGUMENT...
"""

from __future__ import annotations

import importlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory() -> int:
    """Bytes this process has held at most: resident memory.

    Linux hands getrusage's figure down from the parent through fork and exec, so /proc is asked there.
    """
    try:
        return status("VmHWM")
    except OSError:  # no Linux; macOS counts in bytes, others in KiB
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def peak_above(work: Callable[[], object]) -> int:
    """Bytes held at most during `work` above those held before it.

    Where the system does not let the peak be reset (outside Linux, or /proc read-only), above the earlier peak.
    """
    before = peak_memory()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is held
        before = status("VmRSS")
    except OSError:
        pass
    work()
    return max(0, peak_memory() - before)


def peak_in_child(target: str, *arguments: object) -> int:
    """`peak_above` of a function called in a fresh interpreter, its module's imports left out.

    Args:
        target: module:function, e.g. deepspeech_sparse.evaluation.speed:load_and_recognize
        arguments: handed to it as texts

    Raises:
        RuntimeError: it failed; with the end of what it said
    """
    command = [sys.executable, "-m", __name__, target, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{target} failed in a process of its own: {done.stderr.strip()[-2000:]}")
    return int(done.stdout.split()[-1])


def peaks_in_children(calls: Iterable[Sequence[object]]) -> list[int]:
    """`peak_in_child` of each (target, *arguments), two at a time: unlike speed, memory does not mind company.

    Raises:
        RuntimeError: one of them failed
    """
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda call: peak_in_child(*call), calls))


def status(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    line = next((line for line in STATUS.read_text().splitlines() if line.startswith(f"{field}:")), None)
    if line is None:
        raise OSError(f"no {field} in {STATUS}")  # a sandbox's kernel
    return 1024 * int(line.split()[1])


def main(arguments: list[str]) -> None:
    module, _, function = arguments[0].partition(":")
    work = getattr(importlib.import_module(module), function)
    peak = peak_above(lambda: work(*arguments[1:]))
    print(peak, flush=True)
    os._exit(0)  # nothing of the interpreter's own tidying up is of interest


if __name__ == "__main__":
    main(sys.argv[1:])

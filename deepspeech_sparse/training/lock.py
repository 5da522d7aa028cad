"""One process at a time in a folder: two trainings would overwrite each other's checkpoints."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import InputError

LOCK = ".lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes out of `folder`, which is made, as long as the context is open.

    The lock is the system's, on a file in the folder: however this process ends, it ends, too.

    Raises:
        InputError: another process has the folder
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"{folder}: another process is at work in this folder; wait until it ends, or choose another --out"
        ) from None
    try:
        yield
    finally:
        lock.release()


def wait_for_others(folder: Path) -> None:
    """Return once no other process is at work in `folder`; says so if there is one."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{folder}: another process is at work in this folder; waiting until it ends", flush=True)
        lock.acquire(poll_interval=0.2)
    lock.release()

"""Which code multiplies: the native kernels of one instruction set, or torch where they are not there.

The fastest that the machine has is taken. The environment variable DEEPSPEECH_SPARSE_KERNELS forces another one, for
tests and comparisons: `baseline`, `avx2`, `avx2-gather`, `avx512`, `avx512-gather` or `neon`, as far as the machine has
them, or `torch`. The ones with `-gather` read x by the processor's gather instruction where weights are single: whether
that is fast, no flag of a processor tells, so a small product is measured, once.
"""

import logging
import os
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from types import ModuleType

import torch

from ..errors import InputError

VARIABLE = "DEEPSPEECH_SPARSE_KERNELS"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runtime:
    """What multiplies sparse matrices in this process."""

    path: str  # avx512-gather, avx512, avx2-gather, avx2, baseline, neon, or torch
    paths: tuple[str, ...]  # all that could be forced here
    threads: int  # used where a call names none
    reason: str  # why this path, for people


def runtime() -> Runtime:
    """The live path.

    Raises:
        InputError: DEEPSPEECH_SPARSE_KERNELS names kernels that are not there
    """
    kernels, compiled = choice(), extension()
    paths = ("torch", *(compiled.paths() if compiled else ()))
    if wanted():
        reason = f"forced by {VARIABLE}"
    else:
        reason = "the fastest that this machine has" if compiled else absence()
    return Runtime(kernels.path() if kernels else "torch", paths, torch.get_num_threads(), reason)


@cache
def native() -> ModuleType | None:
    """The native kernels, or None where torch multiplies; if for want of them, the log says so, once.

    Raises:
        InputError: as `runtime`
    """
    kernels = choice()
    if extension() is None:
        logger.warning(
            "No native kernels: sparse products run through torch, slower: %s. Install the package again where "
            "g++ or clang++ is at hand",
            absence(),
        )
    return kernels


@cache
def choice() -> ModuleType | None:
    """The native kernels with their path chosen, or None. Made once per process."""
    compiled, path = extension(), wanted()
    if path == "torch" or (compiled is None and not path):
        return None
    if compiled is None:
        raise InputError(
            f"{VARIABLE}={path}: this installation has no native kernels: {absence()}. Install the package again "
            "where g++ or clang++ is at hand, or unset the variable"
        )
    if path:
        if path not in compiled.paths():
            raise InputError(f"{VARIABLE}={path}: this machine has {', '.join(('torch', *compiled.paths()))}")
        compiled.select(path)
    return compiled


def extension() -> ModuleType | None:
    """The compiled module, whether used or not."""
    try:
        from .. import _kernels
    except ImportError:
        return None
    return _kernels


def absence() -> str:
    """Why there is no compiled module, for people."""
    try:
        from .. import _kernels  # noqa: F401
    except ImportError as error:
        found = find_spec(f"{__name__.partition('.')[0]}._kernels")
        if found is not None and found.origin:
            return f"{found.origin} cannot be loaded ({error})"
    return "the package was installed without a C++ compiler"


def wanted() -> str:
    return os.environ.get(VARIABLE, "").strip().lower()

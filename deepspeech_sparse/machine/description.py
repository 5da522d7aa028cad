"""What runs here: processor, caches, versions, and the kernels that multiply sparse matrices."""

from __future__ import annotations

import os
import platform
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from .runtime import VARIABLE, Runtime, extension, runtime

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
COMPILERS = ("c++", "g++", "clang++")


@dataclass(frozen=True)
class Machine:
    """What figures depend on."""

    processor: str
    cores: int
    caches: tuple[str, ...]  # of one core, e.g. "L1d 32K"; empty where the system does not tell
    system: str
    versions: dict[str, str]  # deepspeech_sparse, python, torch and, where it has them, mkl and onednn
    runtime: Runtime
    compiled: bool  # whether the native kernels are installed
    compiler: str | None  # a C++ compiler on this machine

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(f"{title:<12}{text}" for title, text in self.lines())

    def lines(self) -> list[tuple[str, str]]:
        """What there is to say, each under its title."""
        return [
            ("processor", f"{self.processor}, {self.cores} cores"),
            ("caches", ", ".join(self.caches) or "unknown"),
            ("system", self.system),
            ("versions", ", ".join(f"{name} {version}" for name, version in self.versions.items())),
            ("kernels", f"{self.runtime.path}: {self.runtime.reason}"),
            ("possible", f"{', '.join(self.runtime.paths)}; {VARIABLE}=NAME forces one"),
            ("threads", f"{self.runtime.threads}, unless --threads says otherwise"),
            ("compiler", self.compiler_line()),
        ]

    def compiler_line(self) -> str:
        """Whether there is one, and whether that matters."""
        found = self.compiler or "no C++ compiler found"
        if self.compiled:
            return f"{found}; the kernels are compiled, none is needed"
        if self.compiler:
            return f"{found}; the kernels are not compiled: install the package again"
        return f"{found}, the kernels are not compiled: install g++ or clang++, then the package again"


def machine() -> Machine:
    """This one.

    Raises:
        InputError: DEEPSPEECH_SPARSE_KERNELS names kernels that are not there
    """
    found = (shutil.which(name) for name in COMPILERS)
    return Machine(
        processor=processor(),
        cores=os.cpu_count() or 1,
        caches=caches(),
        system=f"{platform.system()} {platform.machine()}",
        versions=versions(),
        runtime=runtime(),
        compiled=extension() is not None,
        compiler=next((Path(path).name for path in found if path), None),
    )


def processor() -> str:
    """Its name, as far as the system tells."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # no Linux
        return name
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)


def caches() -> tuple[str, ...]:
    """Of one core, nearest first, as Linux tells them."""
    found = []
    for folder in sorted(CACHES.glob("index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found.append(f"L{level}{'d' if kind == 'Data' else ''} {size}")
    return tuple(found)


def versions() -> dict[str, str]:
    """Of what computes."""
    told = {
        "deepspeech_sparse": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # its own class is no plain value
    }
    libraries = torch.__config__.show()
    for name, pattern in (("mkl", r"Math Kernel Library Version (\S+?)(?:-Product)? "), ("onednn", r"MKL-DNN v(\S+)")):
        match = re.search(pattern, libraries)
        if match:
            told[name] = match[1]
    return told

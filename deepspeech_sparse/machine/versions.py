"""What code this is: versions, and the commit of the project's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import torch

from .. import __version__


def versions() -> dict[str, str | None]:
    """What a training leaves in its checkpoints, so that a model tells which code trained it."""
    return {
        "deepspeech_sparse": __version__,
        "torch": str(torch.__version__),  # its own class is no plain value
        "git_commit": git_commit(),
    }


def git_commit() -> str | None:
    """The commit of this code, "-dirty" when it was changed since; None outside a checkout of the project.

    An installed copy may lie inside somebody else's repository: only a file that git tracks counts.
    """
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], capture_output=True, check=True)
        command = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None

"""Free Spoken Digit Dataset: six men say the ten digits fifty times each, at 8 kHz. `7_jackson_32.wav` is a seven.

Two speakers are held out whole. Each has a compatriot among the four that stay: theo and jackson are from the USA,
yweweler and lucas from Germany.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ..audio import probe_audio
from ..errors import InputError
from .archive import download, unpack
from .manifest import Utterance, write_manifests

ADDRESS = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz"

# SHA-256 of the names and bytes of the 3000 files: the same however an archive is packed, unlike the archive's own.
CONTENT = "a2e8a660492f28d9eed6270b290d26cbc5c81d6077ce87d3c0ad5adf4d4ee696"

SPLIT_OF_SPEAKER = {"yweweler": "dev", "theo": "test"}  # the others train
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<index>\d+)\.wav")


def prepare_fsdd(archive: Path | None, out: Path) -> dict[str, Path]:
    """Manifests of the Free Spoken Digit Dataset in `out`, a digit word per utterance.

    Args:
        archive: tar, zip or folder; None downloads version 1.0.10
        out: folder for train.jsonl, dev.jsonl, test.jsonl, and for the recordings where `archive` is no folder

    Returns:
        split -> manifest

    Raises:
        InputError: no recordings inside, or a damaged archive.
    """
    return write_manifests(out, single_digits(archive, out))


def single_digits(archive: Path | None, out: Path) -> dict[str, list[Utterance]]:
    """The recordings by split, as `prepare_fsdd` puts them into manifests; unpacked into `out`/audio."""
    source = download(ADDRESS, out / "download" / "fsdd-1.0.10.tar.gz") if archive is None else archive
    files = unpack(source, out / "audio", lambda path: NAME.fullmatch(path.name) is not None)
    if not files:
        raise InputError(f"{source}: no recordings named like 7_jackson_32.wav inside, so this is not FSDD")
    if archive is None and _content(files) != CONTENT:
        raise InputError(f"{source}: not FSDD 1.0.10. Delete it and try again, or pass a copy with --archive")

    splits: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for file in sorted(files, key=lambda file: file.name):
        name = NAME.fullmatch(file.name)
        assert name is not None
        utterance = Utterance(
            id=file.stem,
            audio=file.resolve(),
            duration=probe_audio(file).duration,
            text=WORDS[int(name["digit"])],
            speaker=name["speaker"],
        )
        splits[SPLIT_OF_SPEAKER.get(name["speaker"], "train")].append(utterance)
    return splits


def _content(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()

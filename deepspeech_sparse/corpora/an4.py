"""AN4 (Carnegie Mellon University, 1991): people spell names and addresses and say commands; 948 + 130 utterances.

Distributed as headerless PCM in either byte order and as NIST SPHERE. The README inside the big-endian archive says
little-endian, so the byte order is read off the signal. AN4 has no dev set: all that `DEV_SPEAKERS` say leaves the
training set for it.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile

from ..audio import write_flac
from ..errors import InputError
from ..text import normalise
from .archive import download, read_files
from .manifest import Utterance, write_manifests

log = logging.getLogger(__name__)

ADDRESS = "http://www.speech.cs.cmu.edu/databases/an4/an4_raw.bigendian.tar.gz"
SAMPLE_RATE = 16_000

# SHA-256 of ids, texts and samples of the whole corpus: the same however it is packed, unlike that of an archive.
CONTENT = "e524f1010ec9d24f5a007e4d21eb67405914e9bc95681c686434094a1b3020ac"

# 3 women and 5 men of 74 speakers, 104 of 948 utterances. About a quarter of their texts also occur in training, as of
# the test set's.
DEV_SPEAKERS = frozenset({"fbbh", "fkai", "fsrb", "mblw", "mdmc", "mgah", "mmap", "mtos"})

TRANSCRIPT = re.compile(r"^(?:<s>)?(?P<text>.*?)(?:</s>)?\s*\((?P<id>[^()\s]+)\)\s*$")
AUDIO_SUFFIXES = {".raw", ".sph", ".wav"}


def prepare_an4(archive: Path | None, out: Path) -> dict[str, Path]:
    """Manifests and FLAC files of AN4 in `out`.

    Args:
        archive: any of the three official variants, as tar, zip or folder; None downloads the big-endian one
        out: folder for train.jsonl, dev.jsonl, test.jsonl and audio/

    Returns:
        split -> manifest

    Raises:
        InputError: not AN4, incomplete, damaged, or audio in no byte order that makes speech.
    """
    downloaded = archive is None
    source = download(ADDRESS, out / "download" / ADDRESS.rsplit("/", 1)[-1]) if archive is None else archive
    transcripts, recordings = _collect(source)
    order = _byte_order(recordings, source)

    digest = hashlib.sha256()
    splits: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for official, texts in transcripts.items():
        for id, text in texts.items():
            samples = _decode(recordings[id], order, f"{source}: {id}")
            digest.update(f"{id}\t{text}\n".encode() + samples.astype("<i2").tobytes())
            speaker = id.split("-")[1]
            audio = out.resolve() / "audio" / speaker / f"{id}.flac"
            write_flac(audio, samples, SAMPLE_RATE)
            split = "dev" if official == "train" and speaker in DEV_SPEAKERS else official
            splits[split].append(Utterance(id, audio, len(samples) / SAMPLE_RATE, text, speaker))

    if digest.hexdigest() != CONTENT:
        if downloaded:
            raise InputError(f"{source}: not AN4 as published. Delete it and try again, or pass a copy with --archive")
        log.warning("%s is not the whole of AN4 as published; results will not compare with those of others", source)
    return write_manifests(out, splits)


def _collect(source: Path) -> tuple[dict[str, dict[str, str]], dict[str, bytes]]:
    """Texts by official split and id, and the audio files' bytes by id; every text has its audio."""
    transcripts: dict[str, dict[str, str]] = {}
    recordings: dict[str, bytes] = {}
    for path, content in read_files(source, _wanted):
        if path.suffix == ".transcription":
            transcripts[path.stem.removeprefix("an4_")] = _read_transcripts(content, f"{source}: {path}")
        else:
            recordings[path.stem] = content
    for split in ("train", "test"):
        if split not in transcripts:
            raise InputError(f"{source}: no etc/an4_{split}.transcription inside, so this is not AN4 or not all of it")
        silent = [id for id in transcripts[split] if id not in recordings]
        if silent:
            raise InputError(
                f"{source}: no audio for {len(silent)} utterances of an4_{split}.transcription, e.g. {silent[0]}. "
                f"The archive is incomplete; fetch it again"
            )
    return {split: transcripts[split] for split in ("train", "test")}, recordings


def _wanted(path: PurePosixPath) -> bool:
    return path.name in ("an4_train.transcription", "an4_test.transcription") or path.suffix in AUDIO_SUFFIXES


def _read_transcripts(content: bytes, name: str) -> dict[str, str]:
    """Lines like `<s> U M N Y H SIX </s> (an255-fash-b)` as id -> text."""
    texts = {}
    for number, line in enumerate(content.decode("utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        match = TRANSCRIPT.match(line)
        if match is None or match["id"].count("-") != 2 or not re.fullmatch(r"[\w-]+", match["id"]):
            raise InputError(f"{name}, line {number}: {line!r} is not like `<s> TEXT </s> (utterance-speaker-b)`")
        texts[match["id"]] = normalise(match["text"])
    return texts


def _has_header(content: bytes) -> bool:
    return content.startswith((b"NIST_1A", b"RIFF"))


def _byte_order(recordings: dict[str, bytes], source: Path) -> str:
    """numpy type of the headerless files: the byte order in which the signal is smooth.

    With swapped bytes the fast-changing low byte becomes the high one and speech turns into near-white noise, whose
    differences between neighbours have twice the power of the signal. Over AN4 that ratio has a median of 0.15 in the
    right order and 1.71 in the wrong one. Twenty files decide together.
    """
    headerless = (content for content in recordings.values() if not _has_header(content))
    sample = list(islice(headerless, 20))
    if not sample:
        return "<i2"
    roughness = {order: np.mean([_roughness(content, order) for content in sample]) for order in ("<i2", ">i2")}
    best = min(roughness, key=roughness.__getitem__)
    if roughness[best] > 1.0 or np.ptp(list(roughness.values())) < 0.2:
        raise InputError(f"{source}: the audio is 16-bit speech in neither byte order, so this is not AN4")
    log.info("%s: headerless audio, %s-endian", source, "little" if best == "<i2" else "big")
    return best


def _roughness(content: bytes, order: str) -> float:
    """Power of the differences between neighbours over the power of the signal: 0 for a drift, 2 for noise."""
    samples = _pcm(content, order).astype(np.float64)
    if len(samples) < 2 or not samples.var():
        return 2.0
    return float(np.mean(np.diff(samples) ** 2) / samples.var())


def _pcm(content: bytes, order: str) -> np.ndarray:
    return np.frombuffer(content[: len(content) // 2 * 2], dtype=order)


def _decode(content: bytes, order: str, name: str) -> np.ndarray:
    """(N,) int16 samples of one file, whichever the variant."""
    if _has_header(content):
        try:
            samples, rate = soundfile.read(io.BytesIO(content), dtype="int16")
        except soundfile.LibsndfileError as error:
            raise InputError(f"{name}: damaged audio ({error}). Fetch the archive again") from None
        if rate != SAMPLE_RATE or samples.ndim != 1:
            raise InputError(f"{name}: {rate} Hz with shape {samples.shape}, but AN4 is 16 kHz mono")
    else:
        samples = _pcm(content, order)
    if not len(samples):
        raise InputError(f"{name}: the audio file is empty. Fetch the archive again")
    return samples.astype(np.int16)

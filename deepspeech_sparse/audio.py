"""Any audio file, bytes or stream -> mono float32 at the model's rate.

libsndfile reads what it can (WAV, FLAC, OGG, MP3, AIFF, ...); the program ffmpeg, where installed, reads the rest.
What is converted is said in the log; what cannot be used is an InputError that names the file and the remedy.
"""

from __future__ import annotations

import io
import logging
import math
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from .errors import InputError

log = logging.getLogger(__name__)

Source = str | Path | bytes | BinaryIO
BLOCK_SECONDS = 10  # read at once
BLOCK_SAMPLES = 1 << 22  # at most, all channels together
LOWEST_RATE, HIGHEST_RATE = 1000, 800_000  # Hz
MOST_CHANNELS = 64


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself."""

    sample_rate: int  # Hz
    channels: int
    duration: float  # s
    format: str  # e.g. "WAV PCM_16"


def load_audio(
    source: Source, *, sample_rate: int = 16_000, offset: float = 0.0, duration: float | None = None
) -> np.ndarray:
    """Mono samples (N,) float32 in [-1, 1] at `sample_rate` Hz.

    Args:
        source: path, encoded bytes or binary stream
        offset: seconds to skip
        duration: seconds to read, all when None

    Raises:
        InputError: missing, empty, corrupt, without samples, NaN inside, or a format nobody here reads
    """
    blocks = list(read_blocks(source, sample_rate=sample_rate, offset=offset, duration=duration))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def read_blocks(
    source: Source, *, sample_rate: int = 16_000, offset: float = 0.0, duration: float | None = None
) -> Iterator[np.ndarray]:
    """The same in blocks of some seconds (N_i,), so that memory depends on none of what a header says.

    Raises:
        InputError: as `load_audio`; what is wrong further on is found when it is reached
    """
    name = name_of(source)
    if offset < 0 or (duration is not None and not duration > 0):
        raise InputError(f"{name}: offset {offset} s must be 0 or more, duration {duration} s positive")
    source = openable(source, name)
    try:
        file = soundfile.SoundFile(source)
    except soundfile.LibsndfileError as error:
        samples, rate = read_with_ffmpeg(source, name, offset, duration, str(error))
        yield from converted(iter([samples]), name, rate, sample_rate)
        return
    with file:
        refuse_odd_format(name, file.samplerate, file.channels)
        yield from converted(read_file(file, name, offset, duration), name, file.samplerate, sample_rate)


def read_file(file: soundfile.SoundFile, name: str, offset: float, duration: float | None) -> Iterator[np.ndarray]:
    """Blocks (N_i, channels) at the file's own rate, at least one."""
    rate = file.samplerate
    start = round(offset * rate)
    if start >= file.frames:
        problem = "holds no samples (0 seconds)" if not file.frames else f"ends before offset {offset} s"
        raise InputError(f"{name}: {problem}; remove it or record it again")
    left = math.inf if duration is None else round(duration * rate)
    size = max(1, min(BLOCK_SECONDS * rate, BLOCK_SAMPLES // file.channels))
    read = 0
    try:
        if start:
            file.seek(start)
        while left:
            block = file.read(int(min(size, left)), "float32", always_2d=True)
            if not len(block):
                break
            left -= len(block)
            read += len(block)
            yield block
    except soundfile.LibsndfileError as error:
        place = f"after {offset + read / rate:.1f} s"
        raise InputError(f"{name}: damaged {place} ({str(error).strip()}); mend it or cut it there") from error
    if not read:
        raise InputError(f"{name}: holds no samples, whatever its header says; remove it or record it again")


def converted(blocks: Iterator[np.ndarray], name: str, rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    """Blocks (N_i, channels) at `rate` -> (N_j,) mono at `sample_rate`, as if they were one."""
    resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32") if rate != sample_rate else None
    said = False
    for block in blocks:
        if not said and (block.shape[1] > 1 or resampler):
            channels = f"{block.shape[1]} channel{'s' * (block.shape[1] > 1)}"
            log.info("%s: %d Hz, %s -> %d Hz mono", name, rate, channels, sample_rate)
            said = True
        mono = check_samples(block, name)
        yield resampler.resample_chunk(mono) if resampler else mono
    if resampler:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def refuse_odd_format(name: str, rate: int, channels: int) -> None:
    """InputError for what no recording has and a damaged header may say."""
    if not LOWEST_RATE <= rate <= HIGHEST_RATE or channels > MOST_CHANNELS:
        raise InputError(
            f"{name}: {rate} Hz and {channels} channels are not those of a recording; its header may be damaged"
        )


def name_of(source: Source) -> str:
    """How errors call a source."""
    if isinstance(source, (str, Path)):
        return str(source)
    return f"{len(source)} bytes of audio" if isinstance(source, bytes) else str(getattr(source, "name", "stream"))


def openable(source: Source, name: str) -> str | BinaryIO:
    """A path that exists and is a file with content, or a seekable stream."""
    if isinstance(source, bytes):
        source = io.BytesIO(source)
    if not isinstance(source, (str, Path)):
        return source if source.seekable() else io.BytesIO(source.read())
    path = Path(source)
    if path.is_dir():
        raise InputError(f"{name}: is a folder; give an audio file")
    if not path.exists():
        raise InputError(f"{name}: no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{name}: the file is empty (0 bytes)")
    return str(path)


def read_with_ffmpeg(
    source: str | BinaryIO, name: str, offset: float, duration: float | None, reason: str
) -> tuple[np.ndarray, int]:
    """What libsndfile refused, decoded by ffmpeg to WAV on a pipe."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise InputError(
            f"{name}: not audio that libsndfile reads ({reason.strip()}). If it plays elsewhere, install ffmpeg, "
            "which is then used by itself, or convert it to WAV or FLAC"
        )
    stream = None if isinstance(source, str) else source
    if stream is not None:
        stream.seek(0)
    limit = [] if duration is None else ["-t", str(duration)]
    command = [program, "-v", "error", "-nostdin", "-ss", str(offset)] if stream is None else [program, "-v", "error"]
    command += ["-i", source if stream is None else "pipe:0", *limit, "-f", "wav", "-c:a", "pcm_f32le", "pipe:1"]
    done = subprocess.run(command, input=stream and stream.read(), capture_output=True, check=False)
    if done.returncode or not done.stdout:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise InputError(
            f"{name}: neither libsndfile nor ffmpeg can read it ({words[-1] if words else reason}); it may be corrupt"
        )
    # A WAV on a pipe has no true length in its header; soundfile reads to the end.
    return soundfile.read(io.BytesIO(done.stdout), dtype="float32", always_2d=True)


def check_samples(samples: np.ndarray, name: str = "array") -> np.ndarray:
    """Samples of a user or a file -> mono (N,) float32: integers scaled to [-1, 1], channels (N, C) averaged.

    Raises:
        InputError: no samples, NaN or infinity inside, or not an array of numbers
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "iuf":
        raise InputError(
            f"{name}: expected samples of shape (N,) or (N, channels), got {samples.shape} {samples.dtype}"
        )
    if samples.size == 0:
        raise InputError(f"{name}: holds no samples (0 seconds); remove it or record it again")
    if samples.dtype.kind == "i":
        samples = samples / np.float32(np.iinfo(samples.dtype).max + 1)
    elif samples.dtype.kind == "u":
        middle = (int(np.iinfo(samples.dtype).max) + 1) // 2
        samples = (samples.astype(np.float64) - middle) / middle
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    bad = np.count_nonzero(~np.isfinite(samples))
    if bad:
        raise InputError(f"{name}: {bad} of {samples.size} samples are NaN or infinite; export the audio again")
    return np.ascontiguousarray(samples, dtype=np.float32)


def resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """(N,) float32 at `from_rate` Hz -> (N * to_rate / from_rate,) float32, band-limited by soxr."""
    if from_rate == to_rate:
        return samples
    return soxr.resample(samples, from_rate, to_rate).astype(np.float32)


def probe_audio(path: str | Path) -> AudioInfo:
    """Rate, channels, duration and format of a file, from its header where libsndfile reads it.

    Raises:
        InputError: as `load_audio`
    """
    source = openable(path, str(path))
    try:
        info = soundfile.info(source)
    except soundfile.LibsndfileError as error:
        samples, rate = read_with_ffmpeg(source, str(path), 0.0, None, str(error))
        return AudioInfo(rate, samples.shape[1], len(samples) / rate, "decoded by ffmpeg")
    if not info.frames:
        raise InputError(f"{path}: holds no samples (0 seconds); remove it or record it again")
    return AudioInfo(info.samplerate, info.channels, info.frames / info.samplerate, f"{info.format} {info.subtype}")

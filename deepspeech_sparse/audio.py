"""Any audio file, bytes or stream -> mono float32 at the model's rate.

libsndfile reads what it can (WAV, FLAC, OGG, MP3, AIFF, ...); the program ffmpeg, where installed, reads the rest.
What is converted is said in the log; what cannot be used is an InputError that names the file and the remedy.
"""

from __future__ import annotations

import io
import logging
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from .errors import InputError
from .files import refuse_unwritable
from .lengths import Partial, new_head
from .text import counted

log = logging.getLogger(__name__)

Source = str | Path | bytes | BinaryIO

# What libsndfile reads, and what ffmpeg usually does
EXTENSIONS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".w64")
EXTENSIONS += (".rf64", ".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka")
BLOCK = 1 << 17  # samples of all channels together that are decoded at once
LOWEST_RATE, HIGHEST_RATE = 1000, 1_000_000  # Hz
MOST_CHANNELS = 64
LENGTH_UNSURE = ("MP3", "OGG")  # formats of which libsndfile may see only a part
UNKNOWN = 1 << 62  # frames, or more, of a file that does not tell its length: a FLAC written to a pipe


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself."""

    sample_rate: int  # Hz
    channels: int
    duration: float  # s
    format: str  # e.g. "WAV PCM_16"


def audio_files(folder: Path) -> list[Path]:
    """Every recording in a folder and below, by extension, hidden ones left out, sorted."""

    def hidden(file: Path) -> bool:
        return any(part.startswith(".") for part in file.relative_to(folder).parts)

    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in EXTENSIONS)
    return [file for file in found if not hidden(file) and file.is_file()]


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


def write_flac(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    """A recording in 16 bits without loss: samples (N,), int16 or float32 from -1 to 1, what lies beyond is cut.

    Raises:
        InputError: when it cannot be written; nothing is left of it
    """
    refuse_unwritable(path)
    try:
        soundfile.write(path, samples, sample_rate, format="FLAC", subtype="PCM_16")
    except (OSError, soundfile.LibsndfileError) as error:
        path.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written ({error}); make room or choose another place") from error


def read_blocks(
    source: Source,
    *,
    sample_rate: int = 16_000,
    offset: float = 0.0,
    duration: float | None = None,
    name: str | None = None,
) -> Iterator[np.ndarray]:
    """The samples of `load_audio` in blocks (N_i,) of some seconds, in memory that no header can ask for.

    One file may break in its middle: then the blocks before have been given, and the error comes in the place of the
    next.

    Args:
        name: how errors call the source

    Raises:
        InputError: as `load_audio`
    """
    name = name or name_of(source)
    if offset < 0 or (duration is not None and not duration > 0):
        raise InputError(f"{name}: offset {offset} s must be 0 or more, duration {duration} s positive")
    with openable(source, name) as place, decoded(place, name, offset, duration) as sound:
        if sound.channels > 1 or sound.sample_rate != sample_rate:
            tell_conversion(name, sound.sample_rate, sound.channels, sample_rate)
        yield from resampled(mono(sound, name, offset), sound.sample_rate, sample_rate)


def tell_conversion(name: str, sample_rate: int, channels: int, wanted: int) -> None:
    """Say what becomes of a recording; once for all that are alike, a corpus has thousands."""
    if (sample_rate, channels, wanted) not in told:
        told.add((sample_rate, channels, wanted))
        log.info("%s: %d Hz, %s -> %d Hz mono (said once)", name, sample_rate, counted(channels, "channel"), wanted)


told: set[tuple[int, int, int]] = set()  # by `tell_conversion` in this process


def name_of(source: Source) -> str:
    """How errors call a source."""
    if isinstance(source, (str, Path)):
        return str(source)
    return f"{len(source)} bytes of audio" if isinstance(source, bytes) else str(getattr(source, "name", "stream"))


@dataclass(frozen=True)
class Sound:
    """A recording while it is decoded."""

    sample_rate: int  # Hz
    channels: int
    blocks: Iterator[np.ndarray]  # (N_i, channels) float32, none empty
    frames: int | None = None  # samples of each channel in the whole file, None where only reading it tells
    format: str = "decoded by ffmpeg"  # or e.g. "WAV PCM_16"


def mono(sound: Sound, name: str, offset: float = 0.0) -> Iterator[np.ndarray]:
    """Channels averaged; InputError with the time of the first sample that is no number, and where there is none."""
    done = 0
    for block in sound.blocks:
        bad = ~np.isfinite(block).all(axis=1)
        if bad.any():
            time = offset + (done + int(bad.argmax())) / sound.sample_rate
            raise InputError(f"{name}: samples from {time:.3f} s on are NaN or infinite; export the audio again")
        done += len(block)
        yield np.ascontiguousarray(block.mean(axis=1), dtype=np.float32)
    if not done:
        raise InputError(f"{name}: holds no samples (0 seconds); remove it or record it again")


def resampled(blocks: Iterable[np.ndarray], from_rate: int, to_rate: int) -> Iterator[np.ndarray]:
    """Blocks at another rate; bit for bit what `resample` makes of them in one piece."""
    if from_rate == to_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32")
    for block in blocks:
        if len(converted := stream.resample_chunk(block)):
            yield converted
    if len(converted := stream.resample_chunk(np.zeros(0, np.float32), last=True)):
        yield converted


@contextmanager
def openable(source: Source, name: str) -> Iterator[str | bytes | BinaryIO]:
    """A path that exists and is a file with content, or a seekable stream; one that is not waits on disk."""
    if isinstance(source, bytes):
        source = io.BytesIO(source)
    if not isinstance(source, (str, Path)):
        if hasattr(source, "seekable") and source.seekable():
            yield source
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(source, copy)
            copy.seek(0)
            yield copy
        return
    try:
        path = Path(source)
        if path.is_dir():
            raise InputError(f"{name}: is a folder; give an audio file")
        if not path.exists():
            raise InputError(f"{name}: no such file")
        if not path.is_file():
            raise InputError(f"{name}: is no regular file; give `-` and pipe it in")
        if path.stat().st_size == 0:
            raise InputError(f"{name}: the file is empty (0 bytes)")
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name!r}: cannot be opened ({error})") from error
    yield os.fsencode(path) if os.name == "posix" else str(path)  # names of old archives are no UTF-8


@contextmanager
def decoded(place: str | bytes | BinaryIO, name: str, offset: float, duration: float | None) -> Iterator[Sound]:
    """What libsndfile reads, or else ffmpeg."""
    with ExitStack() as stack:
        try:
            file = whole(place, name, stack)
        except (soundfile.LibsndfileError, TypeError, ValueError, OSError, Partial) as error:  # .raw wants a rate
            yield stack.enter_context(decoded_by_ffmpeg(place, name, offset, duration, str(error)))
            return
        refuse_absurd(file.samplerate, file.channels, name)
        skip_to(file, offset, name)
        frames = None if duration is None else round(duration * file.samplerate)
        told = None if file.frames >= UNKNOWN else file.frames
        blocks = blocks_of(file, frames, name)
        yield Sound(file.samplerate, file.channels, blocks, told, f"{file.format} {file.subtype}")


class Forward(soundfile.SoundFile):
    """A file that is read from its start to its end: without length, or in a code that cannot be entered midway."""

    def seekable(self) -> bool:
        """soundfile then neither asks how much is left nor seeks after each block."""
        return super().seekable() and self.frames < UNKNOWN


def whole(place: str | bytes | BinaryIO, name: str, stack: ExitStack) -> Forward:
    """A file opened by libsndfile; where that would take it for shorter than it is, a copy that tells its length.

    Raises:
        Partial: libsndfile reads only a part of it
        soundfile.LibsndfileError, TypeError, ValueError, OSError: or none
    """
    file = stack.enter_context(Forward(place))
    if file.format not in LENGTH_UNSURE and file.frames:
        return file
    with stream_of(place) as stream:
        amended = new_head(stream, file.format, file.frames, file.samplerate)
        if amended is None:
            return file
        if not file.frames:
            log.warning("%s: its header tells no length, as when a recorder is stopped hard; read to its end", name)
        copy = stack.enter_context(with_head(stream, *amended))
    return stack.enter_context(Forward(copy))


@contextmanager
def stream_of(place: str | bytes | BinaryIO) -> Iterator[BinaryIO]:
    """A file to look into; a stream stays where it was, for libsndfile reads on from there."""
    if isinstance(place, (str, bytes)):
        with open(place, "rb") as file:
            yield file
    else:
        position = place.tell()
        yield place
        place.seek(position)


@contextmanager
def with_head(stream: BinaryIO, head: bytes, skip: int) -> Iterator[BinaryIO]:
    """A copy on disk in which `head` stands in place of the first `skip` bytes."""
    with tempfile.TemporaryFile() as copy:
        copy.write(head)
        stream.seek(skip)
        shutil.copyfileobj(stream, copy)
        copy.seek(0)
        yield copy


def skip_to(file: Forward, offset: float, name: str) -> None:
    """Leave out `offset` seconds; what cannot be sought is read and thrown away."""
    start = round(offset * file.samplerate)
    try:
        if not file.seekable():
            reached = sum(map(len, blocks_of(file, start, name)))
        else:
            reached = file.seek(start) if 0 < start < file.frames else 0
    except (soundfile.LibsndfileError, OverflowError) as error:
        raise InputError(f"{name}: offset {offset} s cannot be reached ({error}); it may be cut off") from error
    if reached < start:
        raise InputError(f"{name}: ends before offset {offset} s; remove it or record it again")


def refuse_absurd(sample_rate: int, channels: int, name: str) -> None:
    """InputError for what no recording has: a damaged header must not cost hours and gigabytes."""
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise InputError(
            f"{name}: says it has {sample_rate} Hz, outside {LOWEST_RATE} to {HIGHEST_RATE}; its header is damaged"
        )
    if channels > MOST_CHANNELS:
        raise InputError(f"{name}: says it has {channels} channels, more than {MOST_CHANNELS}; mix it down")


def blocks_of(file: soundfile.SoundFile, frames: int | None, name: str) -> Iterator[np.ndarray]:
    """(N, channels) float32 up to `frames` or where the file really ends, whatever its header says."""
    size, done = max(1, BLOCK // file.channels), 0
    while frames is None or done < frames:
        try:
            block = file.read(size if frames is None else min(size, frames - done), "float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError) as error:
            time = done / file.samplerate
            raise InputError(f"{name}: breaks off after {time:.3f} s ({str(error).strip()}); it is damaged") from error
        if not len(block):
            return
        done += len(block)
        yield block


@contextmanager
def decoded_by_ffmpeg(
    place: str | bytes | BinaryIO, name: str, offset: float, duration: float | None, reason: str
) -> Iterator[Sound]:
    """What libsndfile refused, decoded by ffmpeg to AU on a pipe: a header of six numbers, then the samples."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise InputError(
            f"{name}: not audio that libsndfile reads ({reason.strip()}). If it plays elsewhere, install ffmpeg, "
            "which is then used by itself, or convert it to WAV or FLAC"
        )
    with ExitStack() as stack:
        if not isinstance(place, (str, bytes)):  # ffmpeg seeks in files, not in pipes
            place.seek(0)
            copy = stack.enter_context(tempfile.NamedTemporaryFile())
            shutil.copyfileobj(place, copy)
            copy.flush()
            place = copy.name
        complaints = stack.enter_context(tempfile.TemporaryFile())
        # A playlist must not make it fetch other files from the net.
        command = [program, "-v", "error", "-nostdin", "-protocol_whitelist", "file,pipe", "-ss", str(offset)]
        command += ["-i", f"file:{os.fsdecode(place)}", *([] if duration is None else ["-t", str(duration)])]
        command += ["-map", "a:0", "-f", "au", "-c:a", "pcm_f32be", "pipe:1"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints)
        try:
            header = process.stdout.read(24)
            magic, begin, _, _, rate, channels = struct.unpack(">4s5I", header) if len(header) == 24 else (b"",) * 6
            if magic != b".snd":
                process.wait()
                raise InputError(
                    f"{name}: neither libsndfile nor ffmpeg can read it ({last_line(complaints) or reason}); "
                    "it may be corrupt"
                )
            refuse_absurd(rate, channels, name)
            process.stdout.read(begin - 24)

            def blocks() -> Iterator[np.ndarray]:
                done = 0
                for block in blocks_of_pipe(process.stdout, channels):
                    done += len(block)
                    yield block
                failed, complaint = process.wait(), last_line(complaints)
                if failed:
                    raise InputError(f"{name}: breaks off after {done / rate:.3f} s ({complaint}); it is damaged")
                if complaint:
                    log.warning("%s: ffmpeg complains: %s", name, complaint)

            yield Sound(rate, channels, blocks())
        finally:
            process.stdout.close()
            process.kill()
            process.wait()


def last_line(file: BinaryIO) -> str:
    """What a program said last; nothing is an empty text."""
    file.seek(0)
    lines = file.read(1 << 16).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def blocks_of_pipe(pipe: BinaryIO, channels: int) -> Iterator[np.ndarray]:
    """(N, channels) float32 of big-endian floats; an incomplete last frame is dropped."""
    width = 4 * channels
    while content := pipe.read(width * max(1, BLOCK // channels)):
        frames = len(content) // width
        if frames:
            yield np.frombuffer(content, ">f4", frames * channels).reshape(frames, channels).astype(np.float32)


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
    """Rate, channels, duration and format of a file, from its header where that tells.

    Raises:
        InputError: as `load_audio`
    """
    name = str(path)
    with openable(path, name) as place, decoded(place, name, 0.0, None) as sound:
        frames = sum(map(len, sound.blocks)) if sound.frames is None else sound.frames
        if not frames:
            raise InputError(f"{name}: holds no samples (0 seconds); remove it or record it again")
        return AudioInfo(sound.sample_rate, sound.channels, frames / sound.sample_rate, sound.format)

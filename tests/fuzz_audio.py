"""Hostile audio files: each gives samples or one clear line, in little memory and time.

    python tests/fuzz_audio.py [--files 1000] [--seed 0]

Files are read in child processes, so that a crash or a hang of a decoder is seen and counted. pytest runs
`test_fuzz_audio.py`, which calls `fuzz` with few files.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

FORMATS = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]
FORMATS += [("AIFF", "PCM_16"), ("AU", "FLOAT"), ("CAF", "PCM_24"), ("W64", "PCM_16"), ("WAV", "PCM_U8")]
RATES = {"MP3": (8000, 16_000, 44_100, 48_000), "OGG": (8000, 16_000, 48_000)}
EXTENSIONS = ["wav", "wav", "wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "w64", "bin", "raw"]
SLOWEST = 5.0  # s for one file
MOST_MEMORY = 200e6  # bytes above what the child holds before
FILES_OF_A_CHILD = 50


def samples_of(draw: random.Random) -> tuple[np.ndarray, str]:
    """(N, channels) of up to 2 s, and what is odd about them."""
    kind = draw.choice(["sound", "nan", "inf", "dc", "clipped", "tiny", "none"])
    frames = {"tiny": draw.randint(1, 5), "none": 0}.get(kind, draw.randint(100, 8000))
    samples = 0.1 * np.random.default_rng(draw.randrange(1 << 30)).standard_normal((frames, draw.choice([1, 2, 8])))
    if kind in ("nan", "inf"):
        samples[draw.randrange(frames)] = np.nan if kind == "nan" else -np.inf
    return np.clip(100 * samples, -1, 1) if kind == "clipped" else samples + (kind == "dc"), kind


def hostile_file(draw: random.Random) -> bytes:
    """A whole file of some format, then damaged or not."""
    samples, _ = samples_of(draw)
    format, subtype = draw.choice(FORMATS)
    rate = draw.choice(RATES.get(format, (4000, 8000, 11_025, 16_000, 44_100, 96_000, 192_000)))
    if format == "MP3":
        samples = samples[:, :2]
    stream = io.BytesIO()
    if subtype != "FLOAT":  # encoders abort at numbers that are none
        samples = np.nan_to_num(samples).clip(-1, 1)
    soundfile.write(stream, samples, rate, subtype, format=format)
    content = bytearray(stream.getvalue())
    damage = draw.choice(["none", "cut", "header", "header", "number", "number", "bytes", "foreign", "random", "empty"])
    if len(content) < 16:  # MP3 without samples
        return bytes(content)
    if damage == "cut":
        content = content[: draw.randrange(len(content) + 1)]
    elif damage == "header":
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(min(len(content), 100))] = draw.randrange(256)
    elif damage == "number":  # a field: huge, zero or negative
        place = draw.randrange(0, min(len(content), 100) - 8) & ~1
        value = draw.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 0x00FFFFFF])
        content[place : place + 4] = value.to_bytes(4, draw.choice(["little", "big"]))
        if draw.random() < 0.3:
            content[place : place + 8] = draw.choice([b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\xff" * 7 + b"\x7f"])
    elif damage == "bytes":
        for _ in range(draw.randint(1, 50)):
            content[draw.randrange(len(content))] = draw.randrange(256)
    elif damage == "foreign":
        content[: draw.randint(4, 60)] = draw.randbytes(draw.randint(0, 60))
    elif damage == "random":
        content = bytearray(draw.randbytes(draw.randint(1, 5000)))
    return b"" if damage == "empty" else bytes(content)


def child(paths: list[str]) -> None:
    """Read files; a line of JSON for each: [path, seconds, complaint or number of samples, peak]."""
    from deepspeech_sparse.audio import read_blocks
    from deepspeech_sparse.errors import InputError
    from deepspeech_sparse.machine.memory import peak_above

    def read(path: str) -> int | str:
        try:
            return sum(map(len, read_blocks(path)))
        except InputError as error:
            return str(error)

    for path in paths:
        answers: list[int | str] = []
        started = time.monotonic()
        print(json.dumps([path]), flush=True)
        peak = peak_above(lambda path=path, answers=answers: answers.append(read(path)))
        print(json.dumps([path, time.monotonic() - started, answers[0], peak]), flush=True)


def fuzz(files: int, seed: int, folder: Path) -> tuple[list[str], int]:
    """What went wrong, a line for each; and how many files were refused."""
    draw, paths, problems, refused = random.Random(seed), [], [], 0
    for index in range(files):
        paths.append(folder / f"{index}.{draw.choice(EXTENSIONS)}")
        paths[-1].write_bytes(hostile_file(draw))
    while paths:
        batch, paths = paths[:FILES_OF_A_CHILD], paths[FILES_OF_A_CHILD:]
        command = [sys.executable, __file__, "--child", *map(str, batch)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30 + SLOWEST * len(batch))
            output, end = done.stdout, f"crashed ({done.returncode}): {done.stderr.strip()[-300:]}"
        except subprocess.TimeoutExpired as hang:
            output, end = (hang.stdout or b"").decode(), "hangs"
        answers = [json.loads(line) for line in output.splitlines()]
        whole = [answer for answer in answers if len(answer) == 4]
        for path, seconds, answer, peak in whole:
            refused += isinstance(answer, str)
            if seconds > SLOWEST or peak > MOST_MEMORY:
                problems.append(f"{path}: took {seconds:.1f} s and {peak / 1e6:.0f} MB")
            if isinstance(answer, str) and (path not in answer or "\n" in answer):
                problems.append(f"{path}: said {answer!r}")
        if len(whole) < len(batch):
            problems.append(f"{batch[len(whole)]}: {end}")
            paths = batch[len(whole) + 1 :] + paths
    return problems, refused


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        problems, refused = fuzz(options.files, options.seed, Path(folder))
        print(*problems, f"{options.files} files, {refused} refused, {len(problems)} problems", sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
    else:
        sys.exit(main())

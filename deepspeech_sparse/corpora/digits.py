"""`digits`, strings of one to seven digits: recordings of the Free Spoken Digit Dataset, put together by speaker.

Every recording is used equally often, beside recordings of its own speaker only, with a pause of random length between
two. The same archive and seed give the same strings.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from ..audio import load_audio, write_flac
from ..augment import add_noise, coloured_noise, rms
from .fsdd import single_digits
from .manifest import Utterance, write_manifests

SAMPLE_RATE = 8000  # Hz
MOST = 7  # digits of a string
TIMES = {"train": 3, "dev": 1, "test": 1}  # how often each recording is used
PAUSES = 0.02, 0.4  # s, between two digits and at both ends
NOISE = 30.0, 60.0  # dB below the speech; without any, a pause would be digital silence, which no microphone gives


def prepare_digits(archive: Path | None, out: Path, *, seed: int = 0) -> dict[str, Path]:
    """Strings of digits as FLAC files and manifests; the speakers of dev and test are held out whole, as in `fsdd`.

    Args:
        archive: tar, zip or folder of the Free Spoken Digit Dataset; None downloads version 1.0.10
        out: folder for train.jsonl, dev.jsonl, test.jsonl, strings/, and audio/ where `archive` is no folder
        seed: of order, lengths, pauses and noise

    Returns:
        split -> manifest

    Raises:
        InputError: no recordings inside, or a damaged archive
    """
    recordings_of = single_digits(archive, out)
    splits: dict[str, list[Utterance]] = {split: [] for split in recordings_of}
    for split, recordings in recordings_of.items():
        draw, rng = random.Random(f"digits {split} {seed}"), np.random.default_rng([seed, len(split)])
        for speaker in sorted({recording.speaker for recording in recordings}):
            own = [recording for recording in recordings if recording.speaker == speaker]
            for digits in strings_of(own, TIMES[split], draw):
                name = f"{split}-{speaker}-{len(splits[split]):04d}"
                samples = put_together([load_audio(digit.audio, sample_rate=SAMPLE_RATE) for digit in digits], rng)
                path = out / "strings" / f"{name}.flac"
                write_flac(path, samples, SAMPLE_RATE)
                text = " ".join(digit.text for digit in digits)
                splits[split].append(Utterance(name, path.resolve(), len(samples) / SAMPLE_RATE, text, speaker))
    return write_manifests(out, splits)


def strings_of(recordings: list[Utterance], times: int, draw: random.Random) -> list[list[Utterance]]:
    """All recordings `times` times, in random order, cut into strings of random lengths."""
    queue = [recording for _ in range(times) for recording in draw.sample(recordings, len(recordings))]
    strings = []
    while queue:
        length = draw.randint(1, MOST)
        strings.append(queue[:length])
        queue = queue[length:]
    return strings


def put_together(digits: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """One recording (N,) of several, pauses between them, equally loud, with noise all through."""
    parts = [pause(rng)]
    for digit in digits:
        parts += [digit / max(rms(digit), 1e-6), pause(rng)]
    samples = np.concatenate(parts).astype(np.float32)
    samples = add_noise(samples, coloured_noise(len(samples), rng.uniform(0, 1), rng), rng.uniform(*NOISE))
    return samples * np.float32(rng.uniform(0.3, 0.9) / max(float(np.abs(samples).max()), 1e-6))


def pause(rng: np.random.Generator) -> np.ndarray:
    return np.zeros(int(rng.uniform(*PAUSES) * SAMPLE_RATE), np.float32)

"""`spoken`, the embedded corpus: sentences of a small grammar said by espeak-ng with many voices. Deterministic.

Nothing is downloaded or shipped: every copy is spoken anew, the same for the same seed. Voices of train, dev and test
are all different, so a model is measured on voices that it has never heard.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from rich.progress import track

from ..audio import resample, write_flac
from ..augment import add_noise, coloured_noise
from ..errors import InputError
from .espeak import Voice, speak
from .manifest import Utterance, write_manifests
from .spoken_grammar import sentence

SAMPLE_RATE = 16_000  # Hz
DIALECTS = ("en-us", "en-us-nyc", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")
# Breathy variants (f2, f3, f5, Alicia) are left out: their noise differs from one synthesis to the next.
VARIANTS = ("m1", "m2", "m4", "m5", "m6", "m8", "Andy", "f1", "Annie", "belinda", "linda", "steph", "paul", "david")
HELD_OUT = {"dev": ("m3", "f4"), "test": ("m7", "anika")}  # variants that training never hears
LEAST_UTTERANCES = 10


def prepare_spoken(out: Path, *, utterances: int = 1200, seed: int = 0) -> dict[str, Path]:
    """Speak the corpus into FLAC files and manifests: 10 % dev, 10 % test, the rest train.

    Args:
        out: folder for train.jsonl, dev.jsonl, test.jsonl and audio/
        utterances: in all; 1200 are about 36 minutes of speech
        seed: of sentences, voices and noise

    Returns:
        manifest by split

    Raises:
        InputError: espeak-ng is not installed
    """
    if utterances < LEAST_UTTERANCES:
        raise InputError(f"spoken: {utterances} utterances; give at least {LEAST_UTTERANCES}")
    draw = random.Random(f"spoken {seed}")
    splits = [split for split in ("dev", "test") for _ in range(utterances // 10)]
    splits += ["train"] * (utterances - len(splits))
    lines = [(sentence(draw), draw_voice(split, draw)) for split in splits]
    utterances_of: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    spoken = track(speak(lines), "speaking", total=len(lines), transient=True)
    for index, ((samples, rate), (text, voice), split) in enumerate(zip(spoken, lines, splits)):
        name = f"{split}-{index:05d}"
        path = out / "audio" / f"{name}.flac"
        samples = record(samples, rate, np.random.default_rng([seed, index]))
        write_flac(path, samples, SAMPLE_RATE)
        utterances_of[split].append(Utterance(name, path.resolve(), len(samples) / SAMPLE_RATE, text, voice.name))
    return write_manifests(out, utterances_of)


def draw_voice(split: str, draw: random.Random) -> Voice:
    """A voice of this split: dialect, variant, rate and pitch."""
    variant = draw.choice(HELD_OUT.get(split, VARIANTS))
    return Voice(f"{draw.choice(DIALECTS)}+{variant}", draw.randint(150, 210), draw.randint(30, 70))


def record(samples: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """As a microphone would: 16 kHz, a little silence around, background noise at 15 to 40 dB, another loudness."""
    samples = resample(samples, rate, SAMPLE_RATE)
    before, after = rng.integers(800, 3200, size=2)
    samples = np.pad(samples, (before, after))
    samples = add_noise(samples, coloured_noise(len(samples), rng.uniform(0, 2), rng), rng.uniform(15, 40))
    return samples * np.float32(rng.uniform(0.3, 0.9) / np.abs(samples).max())

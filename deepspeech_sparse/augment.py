"""Augmentation of training audio: speed, gain, noise. Applied to samples, before the front end; never outside training.

What happens to an utterance is a pure function of (seed, epoch, utterance id): any epoch can be repeated alone.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .audio import EXTENSIONS, audio_files, load_audio, probe_audio
from .errors import InputError


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges drawn from uniformly, anew for every utterance and epoch.

    Args:
        speed: factor on tempo and pitch, like sox `speed`; 1.1 is faster, shorter and higher
        gain: change of loudness in dB
        noise: signal-to-noise ratio in dB
        noise_probability: share of utterances that get noise
        noise_folder: folder of audio files to take noise from; without it noise is generated, white to brown
    """

    speed: tuple[float, float] = (0.9, 1.1)
    gain: tuple[float, float] = (-6.0, 6.0)
    noise: tuple[float, float] = (10.0, 40.0)
    noise_probability: float = 0.5
    noise_folder: Path | None = None

    def __post_init__(self) -> None:
        for name in ("speed", "gain", "noise"):
            low, high = getattr(self, name)
            if not low <= high:
                raise InputError(f"augment: {name} = [{low}, {high}]: the first value must not exceed the second")
        if not self.speed[0] > 0:
            raise InputError(f"augment: speed = {list(self.speed)} must be positive")
        if not 0 <= self.noise_probability <= 1:
            raise InputError(f"augment: noise_probability = {self.noise_probability} must lie between 0 and 1")


class Augment:
    """Augments training utterances.

    Args:
        config: what may happen
        sample_rate: of the utterances, Hz
        seed: with epoch and utterance id, the only source of randomness

    Raises:
        InputError: a noise folder without audio, or with a file that cannot be read
    """

    def __init__(self, config: AugmentConfig, sample_rate: int, seed: int) -> None:
        self.config = config
        self.sample_rate = sample_rate
        self.seed = seed
        self.noises: list[Path] = []
        if config.noise_folder is not None:
            self.noises = noises_in(Path(config.noise_folder))

    def __call__(self, samples: np.ndarray, *, epoch: int, utterance: str) -> np.ndarray:
        """samples (N,) float32 -> (N',) float32, N' = N / speed."""
        rng = np.random.default_rng(int.from_bytes(self.digest(epoch, utterance)[:8], "little"))
        samples = change_speed(samples, self.speed(epoch, utterance))
        if rng.random() < self.config.noise_probability:
            samples = add_noise(samples, self.draw_noise(len(samples), rng), rng.uniform(*self.config.noise))
        gain = 10 ** (rng.uniform(*self.config.gain) / 20)
        return np.clip(samples * np.float32(gain), -1, 1)

    def speed(self, epoch: int, utterance: str) -> float:
        """The factor on an utterance's speed in an epoch: known without its audio, so that batches can be planned."""
        low, high = self.config.speed
        return low + (high - low) * int.from_bytes(self.digest(epoch, utterance)[8:16], "little") / 2**64

    def digest(self, epoch: int, utterance: str) -> bytes:
        """32 random bytes, all that decides what happens to an utterance in an epoch."""
        return hashlib.sha256(f"{self.seed} {epoch} {utterance}".encode()).digest()

    def draw_noise(self, length: int, rng: np.random.Generator) -> np.ndarray:
        """Noise of `length` samples: a random stretch of a random file, or generated."""
        if not self.noises:
            return coloured_noise(length, rng.uniform(0, 2), rng)
        noise = load_audio(self.noises[rng.integers(len(self.noises))], sample_rate=self.sample_rate)
        start = int(rng.integers(len(noise)))
        return np.resize(np.roll(noise, -start), length)  # repeated when too short


def noises_in(folder: Path) -> list[Path]:
    """The audio files of a folder, each opened once: a broken one would end a training at whatever step draws it.

    Raises:
        InputError: none there, one that cannot be read
    """
    noises = audio_files(folder)
    if not noises:
        raise InputError(f"augment: noise_folder {folder} holds no audio file; known by {', '.join(EXTENSIONS)}")
    for noise in noises:
        try:
            probe_audio(noise)
        except InputError as error:
            raise InputError(f"augment: noise_folder: {error}; or take it out of the folder") from error
    return noises


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Play faster (factor > 1) or slower, as sox `speed`: tempo and pitch change together. (N,) -> (N / factor,).

    Linear interpolation, ten times quicker than a resampler; what it costs above 6 kHz the features hardly show.
    """
    length = max(1, round(len(samples) / factor))
    positions = np.linspace(0, len(samples) - 1, length, dtype=np.float32)
    return np.interp(positions, np.arange(len(samples), dtype=np.float32), samples).astype(np.float32)


def coloured_noise(length: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Noise whose power falls as frequency ** -exponent: 0 white, 1 pink, 2 brown.

    Synthesised corpora are made with it: if it drew other numbers, or more of them, they would be other corpora.
    """
    points = 1 << (length - 1).bit_length()  # transforms of prime lengths would take most of the loading time
    spectrum = np.fft.rfft(rng.standard_normal(points, dtype=np.float32))
    frequencies = np.maximum(np.arange(len(spectrum), dtype=np.float32), 1)
    return np.fft.irfft(spectrum * frequencies ** (-exponent / 2), n=points)[:length].astype(np.float32)


def rms(samples: np.ndarray) -> float:
    """Root of the mean square of (N,) samples."""
    return float(np.sqrt(np.mean(np.square(samples))))


def add_noise(samples: np.ndarray, noise: np.ndarray, decibels: float) -> np.ndarray:
    """`samples` with `noise` scaled to a signal-to-noise ratio, mean power against mean power, of `decibels`."""
    signal, disturbance = np.mean(np.square(samples)), np.mean(np.square(noise))
    if signal == 0 or disturbance == 0:
        return samples
    scale = np.sqrt(signal / disturbance / 10 ** (decibels / 10))
    return (samples + np.float32(scale) * noise).astype(np.float32)

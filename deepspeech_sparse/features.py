"""The spectrogram front end, and SpecAugment. Torch modules, so both run where the network runs and travel with it.

Everything is float32, under autocast too: a power spectrum does not fit half precision.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torchaudio
from torch import Tensor, nn

from .errors import InputError

FLOOR = 1e-6  # added to power before the logarithm; samples lie in [-1, 1], digital silence becomes log(1e-6)
TINY_DEVIATION = 1e-3  # smallest standard deviation divided by: a silent bin stays silent instead of exploding


@dataclass(frozen=True)
class FeaturesConfig:
    """What the network hears.

    Args:
        kind: spectrogram (window / 2 + 1 bins, 161 at 16 kHz) or log_mel
        sample_rate: Hz; audio of any other rate is converted
        window: length of the Hamming window in seconds
        hop: seconds from one frame to the next
        mels: bands of log_mel
        normalise: utterance (each bin to mean 0 and deviation 1 over the utterance) or global (stored statistics
            of the training data)
    """

    kind: Literal["spectrogram", "log_mel"] = "spectrogram"
    sample_rate: int = 16_000
    window: float = 0.02
    hop: float = 0.01
    mels: int = 64
    normalise: Literal["utterance", "global"] = "utterance"

    def __post_init__(self) -> None:
        if self.sample_rate < 1000 or not 0 < self.hop <= self.window:
            raise InputError(
                f"features: sample_rate {self.sample_rate} Hz must be at least 1000, and 0 < hop {self.hop} s <= "
                f"window {self.window} s"
            )
        if self.hop_samples < 1:
            raise InputError(
                f"features: hop {self.hop} s is less than one sample at {self.sample_rate} Hz; 0.01 s is usual"
            )
        if self.mels < 1 or self.mels > self.window_samples:
            raise InputError(f"features: mels = {self.mels} must lie between 1 and {self.window_samples}")

    @property
    def window_samples(self) -> int:
        return round(self.window * self.sample_rate)

    @property
    def hop_samples(self) -> int:
        return round(self.hop * self.sample_rate)

    @property
    def hop_seconds(self) -> float:
        """Of a hop as it is taken, in whole samples."""
        return self.hop_samples / self.sample_rate

    @property
    def transform_size(self) -> int:
        """Points of the Fourier transform: the window for a spectrogram, the next power of two for mel bands.

        Mel bands are narrow at the bottom; the finer grid keeps every one of them from being empty.
        """
        return self.window_samples if self.kind == "spectrogram" else 1 << (self.window_samples - 1).bit_length()

    @property
    def bins(self) -> int:
        """Features per frame (F)."""
        return self.transform_size // 2 + 1 if self.kind == "spectrogram" else self.mels


class FrontEnd(nn.Module):
    """Audio to log spectrogram or log-mel frames.

    Frames are centred on multiples of the hop, zeros before the start and after the end, so N samples give
    1 + N // hop frames, and padding with zeros is what an utterance alone would see.

    Shapes:
        samples (B, N), lengths (B,) -> features (B, T, F), frames (B,); zeros after each length
    """

    def __init__(self, config: FeaturesConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.hamming_window(config.window_samples), persistent=False)
        if config.kind == "log_mel":
            mels = torchaudio.functional.melscale_fbanks(
                config.transform_size // 2 + 1,
                0.0,
                config.sample_rate / 2,
                config.mels,
                config.sample_rate,
                norm="slaney",
                mel_scale="slaney",
            )
            self.register_buffer("mels", mels, persistent=False)
        if config.normalise == "global":
            self.register_buffer("mean", torch.zeros(config.bins))
            self.register_buffer("deviation", torch.ones(config.bins))

    def frames(self, samples):
        """Frames of a number of samples, int or tensor of ints; no samples, no frame."""
        if isinstance(samples, Tensor):
            return torch.where(samples > 0, 1 + samples // self.config.hop_samples, 0)
        return 1 + samples // self.config.hop_samples if samples > 0 else 0

    @torch.no_grad()
    def forward(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(samples.device.type, enabled=False):
            features, frames = self.log_features(samples.float(), lengths)
            real = (torch.arange(features.shape[1], device=features.device) < frames[:, None])[..., None]
            if self.config.normalise == "global":
                features = (features - self.mean) / self.deviation
            else:
                features = normalise_utterances(features, real)
            return features * real, frames

    def log_features(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithm of power, before normalisation: (B, T, F) and frames (B,); frames beyond a length are rubbish."""
        inside = torch.arange(samples.shape[1], device=samples.device) < lengths[:, None]
        spectrum = torch.stft(
            # Half of an odd transform is rounded down at both ends: one zero more gives the frames of `frames`.
            torch.nn.functional.pad(samples * inside, (0, self.config.transform_size % 2)),
            self.config.transform_size,
            hop_length=self.config.hop_samples,
            win_length=self.config.window_samples,
            window=self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        return self.log_power(spectrum), self.frames(lengths)

    def log_power(self, spectrum: Tensor) -> Tensor:
        """Complex spectrum (B, bins of the transform, T) -> (B, T, F)."""
        # Not abs().square(): its square root, undone at once, is 5 % of the time to recognize an utterance or to train.
        power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag).transpose(1, 2)
        if self.config.kind == "log_mel":
            power = power @ self.mels
        return torch.log(power + FLOOR)

    @torch.no_grad()
    def fit(self, utterances: Iterable[Tensor]) -> None:
        """Measure mean and deviation per bin on training utterances (N,), for `normalise: global`."""
        measured = Statistics()
        for samples in utterances:
            features, _ = self.log_features(samples[None], torch.tensor([len(samples)]))
            measured += Statistics.of(features[0])
        if not measured.count:
            raise InputError("features: no utterance to measure the mean of the features on")
        self.mean.copy_(measured.mean)
        self.deviation.copy_(measured.deviation)

    @torch.no_grad()
    def normalised(self, logarithms: Tensor, statistics: Statistics | None) -> Tensor:
        """What the network hears, from `log_features` of one recording: (T, F) -> (T, F).

        Args:
            statistics: in place of those of the recording; `normalise: global` has its own
        """
        if self.config.normalise == "global":
            return (logarithms - self.mean) / self.deviation
        statistics = statistics or Statistics.of(logarithms)
        return ((logarithms - statistics.mean) / statistics.deviation).float()


@dataclass(frozen=True)
class Statistics:
    """Of frames (T, F), bin by bin; those of two recordings add up to those of both."""

    count: int = 0
    total: Tensor | float = 0.0  # (F,)
    squares: Tensor | float = 0.0  # (F,)

    @classmethod
    def of(cls, frames: Tensor) -> Statistics:
        return cls(len(frames), frames.double().sum(0), frames.double().square().sum(0))

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> Tensor:
        return self.total / self.count

    @property
    def deviation(self) -> Tensor:
        """At least TINY_DEVIATION."""
        return (self.squares / self.count - self.mean.square()).clamp_min(0).sqrt().clamp_min(TINY_DEVIATION)


def pad(arrays: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Arrays of N_i samples -> (B, N) float32 with zeros at the ends, (B,) lengths."""
    lengths = torch.tensor([len(array) for array in arrays])
    samples = torch.zeros(len(arrays), int(lengths.max()))
    for row, array in zip(samples, arrays):
        row[: len(array)] = torch.from_numpy(array)
    return samples, lengths


def normalise_utterances(features: Tensor, real: Tensor) -> Tensor:
    """Each bin of each utterance to mean 0 and deviation 1 over its real frames.

    Shapes: features (B, T, F), real (B, T, 1) bool -> (B, T, F)
    """
    count = real.sum(1, keepdim=True).clamp_min(1)
    mean = (features * real).sum(1, keepdim=True) / count
    deviation = (((features - mean) * real).square().sum(1, keepdim=True) / count).sqrt()
    return (features - mean) / deviation.clamp_min(TINY_DEVIATION)


@dataclass(frozen=True)
class SpecAugmentConfig:
    """Masks on training features (Park et al. 2019, arXiv 1904.08779).

    Args:
        time_masks: stretches of frames hidden in each utterance
        time_width: longest stretch, as share of the utterance
        frequency_masks: bands hidden in each utterance
        frequency_width: widest band, as share of all bins
    """

    time_masks: int = 2
    time_width: float = 0.1
    frequency_masks: int = 2
    frequency_width: float = 0.2

    def __post_init__(self) -> None:
        if self.time_masks < 0 or self.frequency_masks < 0:
            raise InputError("spec_augment: the numbers of masks must be 0 or more")
        if not 0 <= self.time_width <= 1 or not 0 <= self.frequency_width <= 1:
            raise InputError(
                f"spec_augment: time_width {self.time_width} and frequency_width {self.frequency_width} are shares "
                "between 0 and 1"
            )


class SpecAugment(nn.Module):
    """Hides random stretches of frames and bands of bins while training; leaves features alone in eval mode.

    A hidden value is zero, the mean of normalised features. Draws from torch's CPU generator, so a seed repeats it on
    any device. Shapes: (B, T, F), frames (B,) -> (B, T, F).
    """

    def __init__(self, config: SpecAugmentConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        if not self.training:
            return features
        config = self.config
        batch, total, bins = features.shape
        hidden = torch.zeros(batch, total, 1, dtype=torch.bool)
        for _ in range(config.time_masks):
            hidden |= random_stretch(frames.cpu(), config.time_width, total)[..., None]
        for _ in range(config.frequency_masks):
            hidden = hidden | random_stretch(torch.full((batch,), bins), config.frequency_width, bins)[:, None]
        return features.masked_fill(hidden.to(features.device), 0.0)


def random_stretch(lengths: Tensor, share: float, total: int) -> Tensor:
    """One random stretch per row, at most `share` of its length and inside it: lengths (B,) -> mask (B, total)."""
    width = (torch.rand(len(lengths)) * (share * lengths + 1)).floor().clamp_max(lengths * share)
    start = (torch.rand(len(lengths)) * (lengths - width)).floor()
    positions = torch.arange(total)
    return (positions >= start[:, None]) & (positions < (start + width)[:, None])

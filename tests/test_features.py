"""The front end equals librosa's, ignores padding, and masks only while training."""

import librosa
import numpy as np
import pytest
import torch

from deepspeech_sparse.errors import InputError
from deepspeech_sparse.features import FLOOR, FeaturesConfig, FrontEnd, SpecAugment, SpecAugmentConfig

LOG_MEL = FeaturesConfig(kind="log_mel", mels=40)


def speech(samples: int, seed: int = 0) -> torch.Tensor:
    """Noise with a moving envelope, (N,)."""
    rng = np.random.default_rng(seed)
    envelope = 0.2 + 0.2 * np.sin(np.arange(samples) / 900)
    return torch.from_numpy((envelope * rng.standard_normal(samples)).astype(np.float32))


def librosa_log_features(samples: np.ndarray, config: FeaturesConfig) -> np.ndarray:
    """(T, F) by librosa: Hamming window of 20 ms, hop of 10 ms, frames centred, zeros outside."""
    settings = {
        "n_fft": 320 if config.kind == "spectrogram" else 512,
        "hop_length": 160,
        "win_length": 320,
        "window": np.hamming(321)[:-1],  # periodic, as torch's
        "center": True,
        "pad_mode": "constant",
    }
    power = np.abs(librosa.stft(samples, **settings)) ** 2
    if config.kind == "log_mel":
        power = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=config.mels) @ power
    return np.log(power.T + FLOOR)


@pytest.mark.parametrize("config", [FeaturesConfig(), LOG_MEL], ids=["spectrogram", "log_mel"])
@pytest.mark.parametrize("samples", [16_000, 12_345, 200, 1])
def test_log_features_equal_librosas(config, samples):
    audio = speech(samples)
    features, frames = FrontEnd(config).log_features(audio[None], torch.tensor([samples]))
    expected = librosa_log_features(audio.numpy(), config)
    assert features.shape[1:] == expected.shape == (frames.item(), config.bins)
    np.testing.assert_allclose(features[0].numpy(), expected, atol=2e-3)


def test_a_spectrogram_at_16_khz_has_161_bins():
    assert FeaturesConfig().bins == 161 and LOG_MEL.bins == 40


@pytest.mark.parametrize("config", [FeaturesConfig(), LOG_MEL], ids=["spectrogram", "log_mel"])
def test_each_bin_has_mean_0_and_deviation_1_over_the_utterance(config):
    features, _ = FrontEnd(config)(speech(20_000)[None], torch.tensor([20_000]))
    torch.testing.assert_close(features[0].mean(0), torch.zeros(config.bins), atol=1e-4, rtol=0)
    torch.testing.assert_close(features[0].std(0, correction=0), torch.ones(config.bins), atol=1e-3, rtol=0)


def test_silence_stays_finite():
    features, _ = FrontEnd(LOG_MEL)(torch.zeros(1, 8000), torch.tensor([8000]))
    assert torch.isfinite(features).all() and features.abs().max() < 1e-2


@pytest.mark.parametrize("normalise", ["utterance", "global"])
def test_an_utterance_gives_the_same_features_alone_and_among_longer_ones(normalise):
    front_end = FrontEnd(FeaturesConfig(kind="log_mel", mels=40, normalise=normalise))
    lengths = torch.tensor([9000, 4001, 159, 1])
    batch = torch.full((4, 9000), 0.7)  # rubbish in the padding
    for row, length in enumerate(lengths):
        batch[row, :length] = speech(int(length), seed=row)
    together, frames = front_end(batch, lengths)
    for row, length in enumerate(lengths):
        alone, alone_frames = front_end(batch[row : row + 1, :length], lengths[row : row + 1])
        assert alone_frames == frames[row] == front_end.frames(int(length)) == alone.shape[1]
        torch.testing.assert_close(together[row, : frames[row]], alone[0], atol=1e-5, rtol=1e-5)
        assert not together[row, frames[row] :].any()


def test_frames_of_ints_and_tensors_agree():
    front_end = FrontEnd(LOG_MEL)
    counts = [0, 1, 159, 160, 161, 16_000]
    assert [front_end.frames(count) for count in counts] == [0, 1, 1, 2, 2, 101]
    assert front_end.frames(torch.tensor(counts)).tolist() == [0, 1, 1, 2, 2, 101]


def test_features_are_float32_under_autocast():
    audio, lengths = speech(8000)[None], torch.tensor([8000])
    plain, _ = FrontEnd(LOG_MEL)(audio, lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, _ = FrontEnd(LOG_MEL)(audio, lengths)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, plain)


def test_global_statistics_are_those_of_all_frames_and_are_stored():
    front_end = FrontEnd(FeaturesConfig(kind="log_mel", mels=40, normalise="global"))
    utterances = [speech(5000, 1), speech(9000, 2)]
    front_end.fit(utterances)
    frames = np.concatenate([librosa_log_features(samples.numpy(), LOG_MEL) for samples in utterances])
    np.testing.assert_allclose(front_end.mean, frames.mean(0), atol=1e-3)
    np.testing.assert_allclose(front_end.deviation, frames.std(0), atol=1e-3)
    assert set(front_end.state_dict()) == {"mean", "deviation"}
    with pytest.raises(InputError, match="no utterance"):
        front_end.fit([])


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"sample_rate": 10}, "10 Hz"),
        ({"hop": 0.03}, "hop 0.03"),
        ({"hop": 1e-6}, "hop 1e-06"),
        ({"mels": 0}, "mels = 0"),
    ],
)
def test_impossible_features_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        FeaturesConfig(**settings)


def test_nothing_is_masked_outside_training():
    features = torch.randn(2, 50, 20)
    assert SpecAugment(SpecAugmentConfig()).eval()(features, torch.tensor([50, 30])) is features


def test_masks_follow_the_seed_and_stay_within_their_shares():
    augment = SpecAugment(SpecAugmentConfig(1, 0.2, 1, 0.25)).train()
    features, frames = torch.ones(64, 100, 40), torch.tensor([100, 50] * 32)
    torch.manual_seed(1)
    one = augment(features, frames)
    torch.manual_seed(1)
    assert torch.equal(augment(features, frames), one)
    assert not torch.equal(augment(features, frames), one)
    widths = set()
    for row, length in zip(one, frames):
        hidden_frames = (row == 0).all(1).nonzero().flatten()
        hidden_bins = (row == 0).all(0).nonzero().flatten()
        assert len(hidden_frames) <= 0.2 * length and len(hidden_bins) <= 10
        if len(hidden_frames):
            assert hidden_frames.max() < length and hidden_frames.max() - hidden_frames.min() + 1 == len(hidden_frames)
        widths.add(len(hidden_bins))
    assert min(widths) == 0 and max(widths) == 10


@pytest.mark.parametrize("settings", [{"time_masks": -1}, {"time_width": 1.5}, {"frequency_width": -0.1}])
def test_impossible_masks_are_refused(settings):
    with pytest.raises(InputError, match="spec_augment"):
        SpecAugmentConfig(**settings)


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("kind", ["spectrogram", "log_mel"])
def test_there_are_as_many_frames_as_are_told_at_any_rate(rate, kind):
    front_end = FrontEnd(FeaturesConfig(kind, rate))
    for count in (front_end.config.hop_samples * 100 + more for more in (-1, 0, 1)):
        features, frames = front_end(torch.randn(1, count), torch.tensor([count]))
        assert features.shape[1] == int(frames) == front_end.frames(count)

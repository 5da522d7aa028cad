"""Augmentation: a pure function of seed, epoch and utterance, with the speed, noise and gain that it says."""

import numpy as np
import pytest
import soundfile

from deepspeech_sparse.augment import Augment, AugmentConfig, add_noise, change_speed, coloured_noise
from deepspeech_sparse.errors import InputError

RNG = np.random.default_rng(0)
SPEECH = (0.1 * RNG.standard_normal(16_000)).astype(np.float32)
QUIET = {"speed": (1.0, 1.0), "gain": (0.0, 0.0), "noise_probability": 0.0}


def augment(**settings) -> Augment:
    return Augment(AugmentConfig(**{**QUIET, **settings}), 16_000, seed=1)


def test_an_utterance_depends_on_seed_epoch_and_name_and_on_nothing_else():
    config = AugmentConfig()
    one = Augment(config, 16_000, seed=1)
    first = one(SPEECH, epoch=2, utterance="a")
    one(SPEECH, epoch=9, utterance="z")
    np.testing.assert_array_equal(one(SPEECH, epoch=2, utterance="a"), first)
    others = [
        one(SPEECH, epoch=3, utterance="a"),
        one(SPEECH, epoch=2, utterance="b"),
        Augment(config, 16_000, seed=2)(SPEECH, epoch=2, utterance="a"),
    ]
    assert not any(np.array_equal(first, other) for other in others)


def test_without_ranges_nothing_changes():
    np.testing.assert_allclose(augment()(SPEECH, epoch=0, utterance="a"), SPEECH, atol=1e-6)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_speed_changes_tempo_and_pitch_together(factor):
    tone = np.sin(2 * np.pi * 500 * np.arange(16_000) / 16_000).astype(np.float32)
    changed = change_speed(tone, factor)
    assert len(changed) == round(16_000 / factor) and changed.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(changed))
    assert np.argmax(spectrum) * 16_000 / len(changed) == pytest.approx(500 * factor, abs=1.5)


def test_speeds_are_drawn_from_the_range():
    fast = augment(speed=(0.5, 2.0))
    lengths = [len(fast(SPEECH, epoch=epoch, utterance="a")) for epoch in range(100)]
    assert 8000 <= min(lengths) < 9500 and 24_000 < max(lengths) <= 32_000
    assert lengths == [round(16_000 / fast.speed(epoch, "a")) for epoch in range(100)], "known before it is heard"


def test_noise_draws_what_it_always_drew():
    """Or `data prepare digits` would make other strings than those that figures are published of."""
    rng = np.random.default_rng(0)
    noise = coloured_noise(1000, 1.0, rng)
    assert noise[:3] == pytest.approx([0.07956766, -0.07527363, -0.04888225], abs=1e-6)
    assert rng.random() == pytest.approx(0.32414637580737604, abs=1e-12)


@pytest.mark.parametrize("decibels", [0.0, 10.0, 30.0])
def test_noise_has_the_ratio_it_says(decibels):
    noisy = add_noise(SPEECH, coloured_noise(16_000, 1.0, np.random.default_rng(3)), decibels)
    ratio = 10 * np.log10(np.mean(SPEECH**2) / np.mean((noisy - SPEECH) ** 2))
    assert ratio == pytest.approx(decibels, abs=0.05)


def test_noise_reaches_its_share_of_utterances():
    half = augment(noise=(10, 10), noise_probability=0.5)
    touched = [not np.allclose(half(SPEECH, epoch=e, utterance="a"), SPEECH, atol=1e-6) for e in range(300)]
    assert 0.4 < np.mean(touched) < 0.6


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_the_colour_of_noise_is_the_slope_of_its_spectrum(exponent):
    power = np.abs(np.fft.rfft(coloured_noise(1 << 17, exponent, np.random.default_rng(0)))) ** 2
    low, high = power[100:200].mean(), power[10_000:20_000].mean()
    assert np.log10(low / high) == pytest.approx(2 * exponent, abs=0.15)


def test_gain_is_in_decibels_and_never_exceeds_full_scale():
    louder = augment(gain=(6.0, 6.0))(SPEECH / 4, epoch=0, utterance="a")
    np.testing.assert_allclose(louder, SPEECH / 4 * 10**0.3, rtol=1e-4, atol=1e-7)
    assert np.abs(augment(gain=(40.0, 40.0))(SPEECH, epoch=0, utterance="a")).max() == 1


def test_silence_stays_silent():
    silence = np.zeros(100, np.float32)
    assert not add_noise(silence, SPEECH[:100], 10).any()


def test_noise_from_a_folder_is_used_and_repeated_when_short(tmp_path):
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(1600) / 16_000)).astype(np.float32)
    soundfile.write(tmp_path / "hum.wav", tone, 16_000, subtype="FLOAT")
    (tmp_path / "notes.txt").write_text("not audio")
    noisy = augment(noise=(0, 0), noise_probability=1.0, noise_folder=tmp_path)(SPEECH, epoch=0, utterance="a")
    spectrum = np.abs(np.fft.rfft(noisy - SPEECH))
    assert np.argmax(spectrum) == 1000
    assert len(noisy) == len(SPEECH)


def test_a_folder_without_audio_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no audio file; known by \.wav"):
        augment(noise_folder=tmp_path)


def test_noise_files_are_those_that_transcribe_takes_from_a_folder(tmp_path):
    for name in ("a.wav", "b.OGA", "deep/c.caf", ".hidden/d.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, SPEECH, 16_000, format="OGG" if name.endswith("OGA") else None)
    (tmp_path / "._a.wav").write_bytes(b"Mac OS X")
    (tmp_path / "folder.wav").mkdir()
    noises = augment(noise_folder=tmp_path).noises
    assert [str(path.relative_to(tmp_path)) for path in noises] == ["a.wav", "b.OGA", "deep/c.caf"]


def test_a_broken_noise_file_is_named_before_the_training(tmp_path):
    soundfile.write(tmp_path / "good.wav", SPEECH, 16_000)
    (tmp_path / "worse.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"augment: noise_folder: .*worse\.wav"):
        augment(noise_folder=tmp_path)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"speed": (0.0, 1.0)}, "speed"),
        ({"speed": (1.1, 0.9)}, r"speed = \[1.1, 0.9\]"),
        ({"gain": (3, -3)}, "gain"),
        ({"noise": (30, 10)}, "noise"),
        ({"noise_probability": 1.5}, "noise_probability = 1.5"),
    ],
)
def test_impossible_ranges_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        AugmentConfig(**settings)

"""The embedded corpus: deterministic, voices disjoint, sentences within the alphabet, a clear error without it."""

import random
import sys

import numpy as np
import pytest

from deepspeech_sparse.audio import load_audio
from deepspeech_sparse.corpora.espeak import Voice, speak
from deepspeech_sparse.corpora.manifest import read_manifest
from deepspeech_sparse.corpora.prepare import prepare
from deepspeech_sparse.corpora.spoken import prepare_spoken, record
from deepspeech_sparse.corpora.spoken_grammar import sentence
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.text import Alphabet

SENTENCES = [sentence(random.Random(seed)) for seed in range(2000)]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    pytest.importorskip("espeakng_loader")
    return prepare_spoken(tmp_path_factory.mktemp("spoken"), utterances=40, seed=5)


def test_sentences_stay_within_the_alphabet_and_a_small_vocabulary():
    assert not any(Alphabet().foreign(text) for text in SENTENCES)
    assert len({word for text in SENTENCES for word in text.split()}) < 80
    assert len(set(SENTENCES)) > 1000


def test_the_same_seed_speaks_the_same_corpus_and_another_seed_another(spoken, tmp_path):
    again = prepare_spoken(tmp_path / "again", utterances=40, seed=5)
    for split, manifest in spoken.items():
        assert manifest.read_bytes() == again[split].read_bytes()
        for one, other in zip(read_manifest(manifest), read_manifest(again[split])):
            assert np.array_equal(load_audio(one.audio), load_audio(other.audio))
    other = prepare_spoken(tmp_path / "other", utterances=40, seed=6)
    assert other["train"].read_bytes() != spoken["train"].read_bytes()


def test_voices_of_train_dev_and_test_are_disjoint(spoken):
    voices = [{utterance.speaker.split("+")[1] for utterance in read_manifest(path)} for path in spoken.values()]
    assert voices[0].isdisjoint(voices[1] | voices[2]) and voices[1].isdisjoint(voices[2])
    assert [len(read_manifest(path)) for path in spoken.values()] == [32, 4, 4]


def test_audio_is_speech_of_the_length_in_the_manifest(spoken):
    for utterance in read_manifest(spoken["dev"]):
        samples = load_audio(utterance.audio)
        assert len(samples) / 16_000 == pytest.approx(utterance.duration, abs=1e-5)
        assert 0.25 < np.abs(samples).max() <= 0.91
        middle = samples[len(samples) // 4 : -len(samples) // 4]
        assert np.square(middle).mean() > 4 * np.square(samples[:400]).mean()  # words in the middle, silence before


def test_different_words_and_voices_sound_different():
    pytest.importorskip("espeakng_loader")
    man, woman = Voice("en-us+m1", 170, 50), Voice("en-us+f1", 170, 50)
    lines = [("four", man), ("four", woman), ("nine", man)]
    (four, rate), (hers, _), (nine, _) = speak(lines)
    assert rate == 22_050
    assert len(four) != len(nine) or not np.array_equal(four, nine)
    assert len(four) != len(hers) or not np.array_equal(four, hers)


def test_recording_adds_silence_and_noise_at_16_khz():
    samples = record(np.ones(22_050, np.float32), 22_050, np.random.default_rng(0))
    assert 16_000 + 1600 <= len(samples) <= 16_000 + 6400
    assert samples[:400].std() > 0


def test_a_missing_espeak_is_named_with_its_remedy(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(InputError, match=r'pip install "deepspeech-sparse\[demo\]"'):
        prepare("spoken", out=tmp_path)


def test_a_voice_that_does_not_exist_is_named():
    pytest.importorskip("espeakng_loader")
    with pytest.raises(InputError, match="could not speak 'one'.*no voice 'nobody'"):
        list(speak([("one", Voice("nobody", 170, 50))]))


def test_too_few_utterances_are_refused(tmp_path):
    with pytest.raises(InputError, match="3 utterances"):
        prepare_spoken(tmp_path, utterances=3)

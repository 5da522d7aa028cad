"""The embedded corpus: deterministic, voices disjoint, sentences within the alphabet, a clear error without it."""

import random
import re
import subprocess
import sys

import numpy as np
import pytest

from deepspeech_sparse.audio import load_audio
from deepspeech_sparse.corpora import espeak
from deepspeech_sparse.corpora.espeak import Voice, speak
from deepspeech_sparse.corpora.manifest import read_manifest
from deepspeech_sparse.corpora.prepare import prepare
from deepspeech_sparse.corpora.spoken import HELD_OUT, VARIANTS, prepare_spoken, record
from deepspeech_sparse.corpora.spoken_grammar import sentence
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.text import Alphabet

SENTENCES = [sentence(random.Random(seed)) for seed in range(2000)]


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


@pytest.mark.parametrize("name", ["nobody", "en-us+nobody"])
def test_a_voice_or_variant_that_does_not_exist_is_named(name):
    """espeak-ng itself would speak en-us+nobody as en-us, and voices of train and dev might be one."""
    pytest.importorskip("espeakng_loader")
    with pytest.raises(InputError, match=rf"could not speak 'one'.*no voice '{re.escape(name)}'"):
        list(speak([("one", Voice(name, 170, 50))]))


def test_every_variant_of_the_corpus_has_a_sound_of_its_own():
    pytest.importorskip("espeakng_loader")
    variants = [*VARIANTS, *HELD_OUT["dev"], *HELD_OUT["test"]]
    # Each is the first sentence of its own process: what differs then is the voice, not what was said before.
    sounds = [next(speak([("call anna", Voice(f"en-us+{variant}", 170, 50))]))[0].tobytes() for variant in variants]
    assert len(set(sounds)) == len(variants)


def test_a_synthesizer_that_dies_within_a_sentence_is_an_error_and_not_a_short_utterance(monkeypatch):
    pytest.importorskip("espeakng_loader")
    dying = "import sys; sys.stdout.buffer.write(bytes([100, 0, 0, 0, 34, 86, 0, 0]) + bytes(60))"  # 30 of 100 samples
    popen = subprocess.Popen
    monkeypatch.setattr(espeak.subprocess, "Popen", lambda _, **pipes: popen([sys.executable, "-c", dying], **pipes))
    with pytest.raises(InputError, match="could not speak 'one': it stopped"):
        list(speak([("one", Voice("en-us", 170, 50))]))


def test_too_few_utterances_are_refused(tmp_path):
    with pytest.raises(InputError, match="3 utterances"):
        prepare_spoken(tmp_path, utterances=3)

"""Splicing: what a new utterance says is what it sounds like, its joints are where nobody speaks."""

import itertools
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_sparse.audio import load_audio
from deepspeech_sparse.cli import main
from deepspeech_sparse.corpora.manifest import Utterance, read_manifest, write_manifest
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.evaluation.wer import count_errors
from deepspeech_sparse.recognition.recognizer import Recognizer
from deepspeech_sparse.splicing import Piece, Splicer, Spoken, edges_between, faded, joined, splice, spoken
from deepspeech_sparse.transcripts.transcript import Word

RATE = 16_000
GOLDEN = Path(__file__).parent / "golden"
DENSE = Path(__file__).parents[1] / "checkpoints" / "an4-gru.safetensors"


def tone(seconds: float, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(np.arange(round(seconds * RATE)))).astype(np.float32)


def test_words_are_cut_apart_where_it_is_quietest():
    silence = np.zeros(RATE // 10, np.float32)
    samples = np.concatenate([tone(0.5), silence, tone(0.4), tone(0.3, level=0.01), tone(0.3)])
    words = [Word("one", 0.1, 0.45, 1), Word("two", 0.62, 0.9, 1), Word("three", 1.25, 1.5, 1)]
    start, first, second, end = edges_between(samples, words, RATE)
    assert (start, end) == (0, len(samples))
    assert 0.5 * RATE < first < 0.6 * RATE
    assert 1.0 * RATE < second < 1.3 * RATE


def test_cuts_advance_where_the_model_tells_words_in_no_time():
    words = [Word("a", 0.1, 0.1, 1)] * 5
    edges = edges_between(tone(0.4), words, RATE)
    assert len(edges) == 6 and all(left < right for left, right in itertools.pairwise(edges))


def corpus(*texts_of: tuple[str, str]) -> dict[str, list[Spoken]]:
    voices: dict[str, list[Spoken]] = {}
    for number, (speaker, text) in enumerate(texts_of):
        words = tuple(text.split())
        utterance = Utterance(str(number), Path("x"), len(words), text, speaker)
        voices.setdefault(speaker, []).append(Spoken(utterance, words, tuple(map(float, range(len(words) + 1)))))
    return voices


def test_most_words_are_the_speakers_own_and_rare_ones_are_heard_oftener():
    voices = corpus(("ann", "a a a a a a a a a a a a a a a a a a a rare"), ("bob", "b b b b other"))
    splicer = Splicer(voices, random.Random(0))
    drawn = [splicer.utterance("ann") for _ in range(400)]
    words = Counter(word for pieces in drawn for piece in pieces for word in piece.words)
    assert words["a"] + words["rare"] > 2 * (words["b"] + words["other"]) > 0
    assert words["rare"] > 0.1 * words["a"], "20 times oftener in the corpus"
    assert all(sum(len(piece.words) for piece in pieces) >= 2 for pieces in drawn)
    for piece in (piece for pieces in drawn for piece in pieces):
        assert piece.words == piece.spoken.words[piece.first : piece.end] != ()


def test_a_speaker_of_whom_nothing_was_heard_borrows_all_words():
    splicer = Splicer(corpus(("ann", "one two three")), random.Random(0))
    assert {word for piece in splicer.utterance("nobody") for word in piece.words} <= {"one", "two", "three"}


def test_pieces_are_as_loud_as_the_first_and_fade_into_each_other():
    loud, quiet = tone(0.5, level=0.3), tone(0.5, level=0.1)
    samples = joined([loud, quiet], RATE)
    assert len(samples) == len(loud) + len(quiet) - round(0.008 * RATE)
    np.testing.assert_array_equal(samples[: len(loud) - 200], loud[:-200])
    np.testing.assert_allclose(samples[-4000:], 3 * quiet[-4000:], rtol=1e-3, atol=1e-6)
    hiss = joined([loud, tone(0.5, level=1e-4)], RATE)
    assert np.abs(hiss[-4000:]).max() < 5e-4, "silence is not made speech"
    np.testing.assert_allclose(faded(np.ones(9), np.ones(9), 4), np.ones(14))


@pytest.fixture(scope="module")
def enter(tmp_path_factory) -> Path:
    """A manifest of the golden recording, said by two speakers."""
    manifest = tmp_path_factory.mktemp("enter") / "train.jsonl"
    audio = GOLDEN / "enter.flac"
    seconds = soundfile.info(audio).duration
    text = "enter six five five eight"
    write_manifest(manifest, [Utterance(name, audio, seconds, text, name) for name in ("ann", "bob")])
    return manifest


def test_new_utterances_say_their_texts(enter, tmp_path):
    """As heard by the model that cut them, which is not used to such utterances; texts of others are far off."""
    manifest = splice(DENSE, enter, tmp_path / "new", copies=6)
    assert manifest == tmp_path / "new" / "train.jsonl"
    utterances = read_manifest(manifest)
    assert len(utterances) == 12 and len({utterance.id for utterance in utterances}) == 12
    assert len({utterance.text for utterance in utterances}) > 6
    recognizer = Recognizer.load(DENSE)
    own = others = 0
    for utterance, other in zip(utterances, [*utterances[1:], utterances[0]], strict=True):
        assert utterance.speaker in ("ann", "bob")
        samples = load_audio(utterance.audio)
        assert utterance.duration == pytest.approx(len(samples) / RATE, abs=1e-4)
        heard = recognizer.recognize([samples])[0]
        own += count_errors(utterance, heard).errors
        others += count_errors(other, heard).errors
    assert own < 0.5 * others


def test_the_seed_decides_all(enter, tmp_path):
    def spliced(name: str, seed: int) -> list[bytes]:
        manifest = splice(DENSE, enter, tmp_path / name, copies=2, seed=seed)
        return [manifest.read_bytes(), *(path.read_bytes() for path in sorted((tmp_path / name).glob("audio/train/*")))]

    first = spliced("a", 0)
    assert len(first) == 5 and spliced("b", 0) == first != spliced("c", 1)


def test_manifests_spliced_into_one_folder_keep_their_recordings_apart(enter, tmp_path):
    other = enter.with_name("dev.jsonl")
    write_manifest(other, read_manifest(enter))
    out = tmp_path / "out"
    first = splice(DENSE, enter, out, copies=1, seed=0)
    before = [load_audio(utterance.audio).tobytes() for utterance in read_manifest(first)]
    second = splice(DENSE, other, out, copies=1, seed=1)
    assert [load_audio(utterance.audio).tobytes() for utterance in read_manifest(first)] == before
    again = tmp_path / second.name
    write_manifest(again, read_manifest(second))
    with pytest.raises(InputError, match=r"audio.dev: holds recordings of .*dev\.jsonl itself"):
        splice(DENSE, again, out, copies=1)


def test_pieces_begin_behind_the_offset_of_their_utterance(tmp_path):
    recording = load_audio(GOLDEN / "enter.flac")
    soundfile.write(tmp_path / "long.flac", np.concatenate([np.zeros(RATE, np.float32), recording]), RATE)
    recognizer = Recognizer.load(DENSE)
    text, seconds = "enter six five five eight", len(recording) / RATE
    alone = spoken(recognizer, Utterance("a", GOLDEN / "enter.flac", seconds, text))
    inside = spoken(recognizer, Utterance("b", tmp_path / "long.flac", seconds, text, offset=1.0))
    assert alone.edges == inside.edges and alone.words == inside.words == tuple(text.split())
    np.testing.assert_array_equal(Piece(alone, 1, 3).samples(RATE), Piece(inside, 1, 3).samples(RATE))
    whole = np.concatenate([Piece(alone, word, word + 1).samples(RATE) for word in range(5)])
    np.testing.assert_array_equal(whole, recording)


def test_what_is_not_heard_is_left_out_by_name_and_the_rest_is_spliced(enter, tmp_path, caplog):
    [ann, bob] = read_manifest(enter)
    wrong = [
        Utterance("other", ann.audio, ann.duration, "rubout g q z january", "ann"),
        Utterance("foreign", ann.audio, ann.duration, "42", "eve"),
        Utterance("long", ann.audio, ann.duration, "enter " * 100 + "six", "ann"),
    ]
    manifest = tmp_path / "train.jsonl"
    write_manifest(manifest, [ann, *wrong, bob])
    utterances = read_manifest(splice(DENSE, manifest, tmp_path / "new", copies=1))
    assert len(utterances) == 5, "of whom nothing was heard, others lend their words"
    assert {word for utterance in utterances for word in utterance.text.split()} <= set(ann.text.split())
    for utterance in wrong:
        assert f"{utterance.id}: left out" in caplog.text
    assert "3 of 5 utterances are left out" in caplog.text
    write_manifest(manifest, wrong)
    with pytest.raises(InputError, match=r"train\.jsonl: .*an4-gru\.safetensors hears none of its texts"):
        splice(DENSE, manifest, tmp_path / "none")
    assert not (tmp_path / "none" / "audio").exists()


def test_wrong_arguments_are_refused_before_anything_is_written(enter, tmp_path, capsys):
    assert main(["data", "splice", str(DENSE), str(enter), "--out", str(enter.parent)]) == 1
    assert "would overwrite the manifest" in capsys.readouterr().err
    assert main(["data", "splice", str(DENSE), str(enter), "--out", str(tmp_path / "x"), "--copies", "0"]) == 1
    assert "copies = 0 must be at least 1" in capsys.readouterr().err
    assert main(["data", "splice", str(tmp_path / "none.safetensors"), str(enter), "--out", str(tmp_path / "x")]) == 1
    assert not (tmp_path / "x" / "audio").exists()


def test_the_verb_tells_what_it_wrote(enter, tmp_path, capsys):
    assert main(["data", "splice", str(DENSE), str(enter), "--out", str(tmp_path / "new"), "--copies", "1"]) == 0
    assert "train.jsonl: 2 utterances" in capsys.readouterr().out

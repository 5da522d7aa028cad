"""Error rates against jiwer and against counting by hand; intervals against theory; nothing lost on bad input."""

import io
import json
import math
import random

import jiwer
import numpy as np
import pytest
import soundfile
from rich.console import Console
from untrained import run_of, tiny_config, tiny_module

from deepspeech_sparse.corpora.manifest import Utterance, write_manifest
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.evaluation.wer import aligned, bootstrap_interval, count_errors, evaluate
from deepspeech_sparse.recognition.recognizer import Recognizer

RATE = 16_000
WORDS = ("a", "b", "ab", "cab", "bca", "abc")


def distance(a, b) -> int:
    """Levenshtein distance, by the book."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        above, row[0] = row[:], i
        for j, y in enumerate(b, start=1):
            row[j] = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y))
    return row[-1]


def utterance(text: str, name: str = "u") -> Utterance:
    return Utterance(name, None, 1.0, text)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A manifest of noises with random texts, one of them empty, one read from the middle of its file."""
    folder = tmp_path_factory.mktemp("corpus")
    rng, draw = np.random.default_rng(0), random.Random(0)
    utterances = []
    for index in range(9):
        seconds = 0.3 + 0.15 * index
        noise = np.convolve(rng.standard_normal(int(seconds * RATE)), rng.standard_normal(9), "same")
        path = folder / f"{index}.wav"
        soundfile.write(path, 0.5 * noise / np.abs(noise).max(), RATE)
        text = "" if index == 4 else " ".join(draw.choices(WORDS, k=draw.randint(1, 5)))
        offset = 0.2 if index == 8 else 0.0
        utterances.append(Utterance(f"u{index}", path, seconds - offset, text, offset=offset))
    draw.shuffle(utterances)
    write_manifest(folder / "test.jsonl", utterances)
    return folder / "test.jsonl", utterances


@pytest.fixture(scope="module")
def evaluation(model, corpus):
    return evaluate(model, corpus[0])


def test_hypotheses_are_those_of_each_utterance_alone(evaluation, model, corpus):
    recognizer = Recognizer.load(model)
    for row, expected in zip(evaluation.utterances, corpus[1]):
        samples, _ = soundfile.read(expected.audio, start=round(expected.offset * RATE), dtype="float32")
        assert (row.id, row.reference) == (expected.id, expected.text)
        assert row.hypothesis == recognizer.transcribe(samples, sample_rate=RATE).text
    assert sum(bool(row.hypothesis) for row in evaluation.utterances) > 5


@pytest.mark.parametrize("seconds", [0.1, 1.7, 1e6])
def test_batches_of_any_size_give_the_same_result(seconds, evaluation, model, corpus):
    other = evaluate(model, corpus[0], batch_seconds=seconds)
    assert other.utterances == evaluation.utterances and other.wer_interval == evaluation.wer_interval


def test_rates_are_those_of_jiwer_over_the_whole_corpus(evaluation):
    said = [row.reference for row in evaluation.utterances]
    heard = [row.hypothesis for row in evaluation.utterances]
    spoken = [index for index, text in enumerate(said) if text]
    inserted = sum(len(heard[index].split()) for index, text in enumerate(said) if not text)
    whole = jiwer.process_words([said[i] for i in spoken], [heard[i] for i in spoken])
    assert evaluation.total("hits") == whole.hits
    assert evaluation.total("substitutions") == whole.substitutions
    assert evaluation.total("deletions") == whole.deletions
    assert evaluation.total("insertions") == whole.insertions + inserted
    errors = whole.substitutions + whole.deletions + whole.insertions + inserted
    assert evaluation.wer == pytest.approx(errors / sum(len(text.split()) for text in said))
    assert evaluation.cer == pytest.approx(sum(map(distance, said, heard)) / sum(map(len, said)))


def test_counts_are_the_edit_distance_on_random_texts():
    draw = random.Random(1)
    for _ in range(200):
        said = draw.choices(WORDS, k=draw.randint(0, 7))
        heard = draw.choices(WORDS, k=draw.randint(0, 7))
        row = count_errors(utterance(" ".join(said)), " ".join(heard))
        assert row.errors == distance(said, heard)
        assert row.character_errors == distance(row.reference, row.hypothesis)
        assert row.hits + row.substitutions + row.deletions == row.words == len(said)
        assert row.hits + row.substitutions + row.insertions == len(heard)


def test_white_space_is_not_an_error():
    row = count_errors(utterance("  go \t north\n"), " go  north ")
    assert (row.errors, row.character_errors, row.words) == (0, 0, 2)


def test_words_in_silence_are_insertions():
    row = count_errors(utterance("  "), "a cab")
    assert (row.words, row.insertions, row.errors, row.characters, row.character_errors) == (0, 2, 2, 0, 5)
    assert count_errors(utterance(""), "").errors == 0


def test_an_interval_of_equal_utterances_has_no_width():
    assert bootstrap_interval(np.full(50, 1), np.full(50, 4)) == (0.25, 0.25)
    assert bootstrap_interval(np.array([2]), np.array([3])) == pytest.approx((2 / 3, 2 / 3))


def test_an_interval_is_that_of_the_normal_approximation_for_many_utterances():
    """Delta method for a ratio of sums: variance = n var(errors - rate * words) / (sum of words)^2."""
    rng = np.random.default_rng(3)
    words = rng.integers(1, 20, 4000)
    errors = rng.binomial(words, rng.beta(2, 8, 4000))
    rate = errors.sum() / words.sum()
    deviation = math.sqrt(4000 * np.var(errors - rate * words)) / words.sum()
    low, high = bootstrap_interval(errors, words, resamples=4000)
    assert low == pytest.approx(rate - 1.96 * deviation, abs=0.1 * deviation)
    assert high == pytest.approx(rate + 1.96 * deviation, abs=0.1 * deviation)


def test_an_interval_is_a_function_of_its_seed_and_not_of_its_chunks(monkeypatch):
    rng = np.random.default_rng(4)
    words, errors = rng.integers(1, 9, 60), rng.integers(0, 3, 60)
    whole = bootstrap_interval(errors, words, seed=1)
    assert whole == bootstrap_interval(errors, words, seed=1) != bootstrap_interval(errors, words, seed=2)
    monkeypatch.setattr("deepspeech_sparse.significance.CHUNK", 7 * 60)
    assert bootstrap_interval(errors, words, seed=1) == whole


def test_draws_of_silence_alone_do_not_spoil_an_interval():
    low, high = bootstrap_interval(np.array([1, 0]), np.array([2, 0]))
    assert (low, high) == (0.5, 0.5)


@pytest.mark.parametrize(
    "said, heard", [("go to the north", "go two north"), ("", "a b"), ("a", ""), ("", ""), ("x y", "x y")]
)
def test_alignment_puts_equal_words_below_each_other(said, heard):
    first, second, marks = aligned(said, heard)
    assert first.startswith("said") and second.startswith("heard")
    words = first.split()[1:], second.split()[1:]
    assert [word for word in words[0] if "*" not in word] == said.split()
    assert [word for word in words[1] if "*" not in word] == heard.split()
    assert len(words[0]) == len(words[1])
    expected = ["D" if "*" in b else "I" if "*" in a else "S" for a, b in zip(*words) if a != b]
    assert marks.split() == expected
    assert len(expected) == distance(said.split(), heard.split())


def test_the_worst_utterances_come_first(evaluation):
    worst = evaluation.worst(4)
    assert [row.errors for row in worst] == sorted((row.errors for row in evaluation.utterances), reverse=True)[:4]


def test_the_result_is_written_as_json_and_beside_the_run(corpus, tmp_path):
    config = tiny_config()
    run = run_of(tiny_module(config), config, tmp_path / "run")
    result = evaluate(run, corpus[0], json=tmp_path / "out" / "result.json")
    values = json.loads((tmp_path / "out" / "result.json").read_text())
    assert values == json.loads((run / "result.json").read_text()) == json.loads(json.dumps(result.to_dict()))
    assert values["model"] == "run" and values["manifest"] == str(corpus[0])
    assert values["wer"] == result.wer and values["wer_interval"] == list(result.wer_interval)
    assert len(values["utterances"]) == 9 and values["words"] == sum(row["words"] for row in values["utterances"])
    assert not list((tmp_path / "out").glob(".*")), "nothing half-written is left"


def test_what_is_printed_holds_the_figures_and_the_worst_utterances(evaluation):
    console = Console(file=io.StringIO(), width=120)
    evaluation.print(console, worst=2)
    text = console.file.getvalue()
    low, high = evaluation.wer_interval
    for words in (f"{evaluation.wer:.2%}", f"{low:.2%} to {high:.2%}", f"{evaluation.cer:.2%}", "9 utterances"):
        assert words in text
    shown = [row.id for row in evaluation.utterances if f"{row.id}: " in text]
    assert sorted(shown) == sorted(row.id for row in evaluation.worst(2)) and text.count("said ") == 2


def test_texts_that_the_model_cannot_write_are_counted_and_said(model, corpus, tmp_path, caplog):
    first = corpus[1][0]
    write_manifest(
        tmp_path / "other.jsonl", [Utterance("x", first.audio, first.duration, "ZEBRA a", offset=first.offset)]
    )
    result = evaluate(model, tmp_path / "other.jsonl")
    assert result.total("words") == 2 and result.total("errors") >= 1
    assert "['A', 'B', 'E', 'R', 'Z']" in caplog.text


def test_an_utterance_that_cannot_be_read_is_named(model, corpus, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    write_manifest(tmp_path / "bad.jsonl", [*corpus[1], Utterance("culprit", broken, 1.0, "a")])
    with pytest.raises(InputError, match=r"bad\.jsonl: utterance culprit: .*broken\.wav"):
        evaluate(model, tmp_path / "bad.jsonl")


def test_manifests_without_a_word_are_refused(model, corpus, tmp_path):
    first = corpus[1][0]
    write_manifest(tmp_path / "silent.jsonl", [Utterance("x", first.audio, first.duration, " ", offset=first.offset)])
    with pytest.raises(InputError, match=r"silent\.jsonl: no word in 1 utterances"):
        evaluate(model, tmp_path / "silent.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(InputError, match=r"empty\.jsonl: no word in 0 utterances"):
        evaluate(model, tmp_path / "empty.jsonl")


def test_bad_paths_and_options_are_refused_before_the_work(model, corpus, tmp_path):
    with pytest.raises(InputError, match="is a folder; give the name of a file"):
        evaluate(model, corpus[0], json=tmp_path)
    with pytest.raises(InputError, match="batch_seconds = 0"):
        evaluate(model, corpus[0], batch_seconds=0)
    with pytest.raises(InputError, match=r"none\.jsonl"):
        evaluate(model, tmp_path / "none.jsonl")
    with pytest.raises(InputError, match=r"none\.safetensors: no such model"):
        evaluate(tmp_path / "none.safetensors", corpus[0])

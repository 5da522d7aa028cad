"""Word times: the best path is the best of all paths, and times are those at which the sounds were made."""

import itertools
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import SAMPLE_RATE, TONES, tone_word
from torch import nn
from untrained import tiny_config, tiny_module

from deepspeech_sparse import Recognizer
from deepspeech_sparse.audio import load_audio
from deepspeech_sparse.cli import main
from deepspeech_sparse.corpora.manifest import read_manifest
from deepspeech_sparse.corpora.prepare import prepare
from deepspeech_sparse.decoding import alignment
from deepspeech_sparse.decoding.alignment import align, words_of
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.features import FeaturesConfig
from deepspeech_sparse.model import ConvolutionConfig, NetworkConfig
from deepspeech_sparse.model.convolution import Convolutions
from deepspeech_sparse.model_file import Model
from deepspeech_sparse.text import Alphabet, frames_needed
from deepspeech_sparse.training.batches import DataConfig
from deepspeech_sparse.training.config import RunConfig
from deepspeech_sparse.training.module import OptimizerConfig
from deepspeech_sparse.training.runs import train

ALPHABET = Alphabet(" abl")


def spelled(path) -> list[int]:
    """Labels that a path writes: repeats merged, blanks dropped (Graves et al. 2006, the map B)."""
    return [label for label, _ in itertools.groupby(path) if label]


def path_of(spans, frames: int) -> list[int]:
    path = [0] * frames
    for span in spans:
        path[span.start : span.end] = [span.label] * (span.end - span.start)
    return path


def score_of(log_probs, path) -> float:
    return sum(float(log_probs[frame, label]) for frame, label in enumerate(path))


@pytest.mark.parametrize("labels", [[1], [1, 1], [1, 2], [2, 1, 2], [1, 1, 2], [2, 2, 2]])
@pytest.mark.parametrize("frames", [1, 2, 4, 6])
@pytest.mark.parametrize("ties", [False, True])
def test_the_path_is_the_best_of_all_that_spell_the_labels(labels, frames, ties):
    """With ties too, among which torchaudio's forced_align alone takes the worst way."""
    torch.manual_seed(frames)
    for _ in range(10):
        check_best_path(-torch.randint(4, (frames, 3)).float() if ties else torch.randn(frames, 3), labels)


def check_best_path(log_probs, labels):
    frames = len(log_probs)
    paths = [path for path in itertools.product(range(3), repeat=frames) if spelled(path) == labels]
    assert bool(paths) == (frames_needed(labels) <= frames)
    if not paths:
        with pytest.raises(InputError, match=rf"{len(labels)} labels.* recording has {frames};"):
            align(log_probs, labels)
        return
    spans = align(log_probs, labels)
    path = path_of(spans, frames)
    assert spelled(path) == labels == [span.label for span in spans]
    assert score_of(log_probs, path) == pytest.approx(max(score_of(log_probs, path) for path in paths), abs=2e-5)
    for span in spans:
        assert span.score == pytest.approx(float(log_probs[span.start : span.end, span.label].max()))


def constructed(text: str, rng: np.random.Generator) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """Noisy scores in which each label of `text` is likeliest in 1 to 3 known frames; first and end frame of each."""
    labels, frame, places = ALPHABET.encode(text), int(rng.integers(0, 4)), []
    for _ in labels:
        end = frame + int(rng.integers(1, 4))
        places.append((frame, end))
        frame = end + int(rng.integers(1, 6))
    logits = rng.standard_normal((frame, ALPHABET.size))
    known = [0] * frame
    for label, (first, end) in zip(labels, places):
        known[first:end] = [label] * (end - first)
    logits[np.arange(frame), known] += 7
    return torch.from_numpy(logits).float().log_softmax(-1), places


@pytest.mark.parametrize("text", ["all", "a", "all ball", "aaa bb a", "lab ala l"])
def test_times_of_constructed_scores_are_found_within_a_frame(text):
    for seed in range(20):
        log_probs, places = constructed(text, np.random.default_rng(seed))
        words = words_of(log_probs, text, ALPHABET, 0.04)
        assert [word.text for word in words] == text.split()
        first = 0
        for word in words:
            begin, end = places[first][0], places[first + len(word.text) - 1][1]
            assert word.start == pytest.approx(max(0, begin - 0.5) * 0.04, abs=0.04 + 1e-9)
            assert word.end == pytest.approx((end - 0.5) * 0.04, abs=0.04 + 1e-9)
            assert word.confidence > 0.5
            first += len(word.text) + 1


def test_blanks_inside_a_word_belong_to_it_and_those_around_it_to_nobody():
    path = [0, 0, 2, 0, 0, 3, 3, 0, 1, 0, 4, 0, 0]
    log_probs = torch.full((13, ALPHABET.size), -9.0)
    log_probs[range(13), path] = -0.1
    words = words_of(log_probs, "ab l", ALPHABET, 1.0)
    assert [(word.text, word.start, word.end) for word in words] == [("ab", 1.5, 6.5), ("l", 9.5, 10.5)]


def test_confidence_is_the_geometric_mean_of_each_labels_best_frame():
    probabilities = torch.full((4, ALPHABET.size), 0.01)
    for frame, (label, probability) in enumerate([(2, 0.5), (2, 0.9), (0, 0.9), (3, 0.4)]):
        probabilities[frame, label] = probability
    [word] = words_of(probabilities.log(), "ab", ALPHABET, 0.04)
    assert word.confidence == pytest.approx(math.sqrt(0.9 * 0.4))


def test_no_text_one_frame_and_no_frame():
    one = torch.full((1, ALPHABET.size), 1 / ALPHABET.size).log()
    assert words_of(one, "", ALPHABET, 0.04) == words_of(one[:0], "", ALPHABET, 0.04) == ()
    [word] = words_of(one, "a", ALPHABET, 0.04, duration=0.001)
    assert (word.text, word.start, word.end) == ("a", 0.0, 0.001)
    with pytest.raises(InputError, match="recording has 0"):
        words_of(one[:0], "a", ALPHABET, 0.04)


def test_times_are_those_of_the_recording_and_never_outside_it():
    log_probs, _ = constructed("all ball", np.random.default_rng(3))
    words = words_of(log_probs, "all ball", ALPHABET, 0.04)
    later = words_of(log_probs, "all ball", ALPHABET, 0.04, offset_seconds=30.0, duration=31.0)
    assert later[0].start == pytest.approx(30 + words[0].start)
    assert all(30 <= word.start <= word.end <= 31 for word in later)
    assert words[-1].end > 1 and later[-1].end == 31


def test_without_a_space_in_the_alphabet_the_text_is_one_word():
    log_probs = torch.randn(20, 4).log_softmax(-1)
    [word] = words_of(log_probs, "abcab", Alphabet("abc"), 0.04)
    assert word.text == "abcab"
    with pytest.raises(InputError, match=r"outside the alphabet: \[' '\]"):
        words_of(log_probs, "ab c", Alphabet("abc"), 0.04)


def test_rows_of_a_padded_batch_give_what_they_give_alone():
    log_probs, _ = constructed("all ball", np.random.default_rng(5))
    batch = torch.full((len(log_probs) + 9, 3, ALPHABET.size), 7.0)
    batch[: len(log_probs), 1] = log_probs
    expected = words_of(log_probs, "all ball", ALPHABET, 0.04)
    assert words_of(batch[: len(log_probs), 1], "all ball", ALPHABET, 0.04) == expected
    assert words_of(log_probs.double(), "all ball", ALPHABET, 0.04) == expected


@pytest.mark.parametrize("value", [math.nan, -math.inf, -1e30])
def test_scores_that_are_no_numbers_give_no_confidence_and_no_crash(value):
    words = words_of(torch.full((30, ALPHABET.size), value), "all ball", ALPHABET, 0.04)
    assert [word.confidence for word in words] == [0.0, 0.0]


def test_what_would_not_fit_into_memory_is_refused(monkeypatch):
    monkeypatch.setattr(alignment, "MOST_CELLS", 59)
    with pytest.raises(InputError, match="20 output frames times 3 labels is too much for memory; cut the recording"):
        align(torch.zeros(20, 3), [1, 2, 1])


class ToneDetector(nn.Module):
    """A network that hears tones and has nothing to learn: the labels " abc" of every second frame of the features."""

    def forward(self, features, frames):
        features, frames = features[:, ::2], (frames + 1) // 2
        bins = [round(tone / 50) for tone in TONES.values()]  # a bin is 50 Hz wide, and tones are up to 3 % off
        loud = torch.stack([features[..., bin - 1 : bin + 2].max(-1).values for bin in bins], dim=-1)
        logits = torch.zeros(*features.shape[:2], 5)
        logits[..., 2:] = 9.0 * ((loud > 1.25) & (loud == loud.max(-1, keepdim=True).values))
        logits[..., 0] = 4.0
        logits[..., 1] = 3.0  # a space may be in any silence
        return logits, frames


def spoken_tones(words: list[str], pause: float) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Tones of words with pauses before each, and onset and end of each word in s."""
    rng, pieces, places, now = np.random.default_rng(0), [], [], 0.0
    for word in words:
        pieces += [0.01 * rng.standard_normal(int(pause * SAMPLE_RATE)), tone_word(word, rng)]
        length = len(pieces[-1]) / SAMPLE_RATE
        places.append((now + pause + 0.04, now + pause + length - 0.04))  # tone_word begins and ends with 40 ms silence
        now += pause + length
    return np.concatenate(pieces).astype(np.float32), places


@pytest.fixture()
def detector(model) -> Recognizer:
    recognizer = Recognizer.load(model)
    recognizer.network = ToneDetector()
    assert recognizer.seconds_per_frame == 0.02
    return recognizer


@pytest.mark.parametrize("pause", [0.1, 0.437])
def test_words_of_a_recording_are_found_where_they_were_said(detector, pause):
    """End to end: samples, frames of the front end, output frames, seconds."""
    text = ["abc", "b", "cab", "aa"]
    samples, places = spoken_tones(text, pause)
    transcript = detector.align(samples, " ".join(text), sample_rate=SAMPLE_RATE)
    assert [word.text for word in transcript.words] == text
    for word, (onset, end) in zip(transcript.words, places):
        assert word.start == pytest.approx(onset, abs=0.02)
        assert word.end == pytest.approx(end, abs=0.02)
        assert word.confidence > 0.9


def test_strides_keep_a_frame_where_it_was():
    """An impulse at feature frame 40 is centred on output frame 40 / stride."""
    convolutions = Convolutions((ConvolutionConfig(1, (3, 11), (2, 2)), ConvolutionConfig(1, (3, 5), (2, 2))), 9).eval()
    for parameter in convolutions.parameters():
        nn.init.ones_(parameter) if parameter.dim() > 1 else None
    features = torch.zeros(1, 81, 9)
    features[:, 40] = 1e-3
    with torch.no_grad():
        found, _ = convolutions(features, torch.tensor([81]))
    weight = found[0].sum(-1)
    assert float((weight * torch.arange(len(weight))).sum() / weight.sum()) == pytest.approx(10)
    assert len(weight) == 21


def test_a_trained_network_writes_letters_where_they_sound(tones, tmp_path):
    config = RunConfig(
        data=DataConfig(tones["train"], tones["dev"], batch_seconds=5),
        features=FeaturesConfig(kind="log_mel", mels=16),
        network=NetworkConfig((ConvolutionConfig(4, (5, 5), (2, 2)),), layers=1, hidden=24),
        optimizer=OptimizerConfig(learning_rate=0.01),
        alphabet="abc",
        epochs=25,
        threads=1,
    )
    recognizer = Recognizer.load(train(config, tmp_path))
    for utterance in read_manifest(tones["dev"]):
        [log_probs] = recognizer.log_probs([load_audio(utterance.audio)])
        for index, span in enumerate(align(log_probs, recognizer.alphabet.encode(utterance.text))):
            onset = 0.04 + 0.12 * index  # s, see tone_word
            middle = ((span.start + span.end) / 2 - 0.5) * recognizer.seconds_per_frame
            assert onset - 0.02 <= middle <= onset + 0.08 + 0.02


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    rng = np.random.default_rng(0)
    pieces = [np.convolve(rng.standard_normal(SAMPLE_RATE // 4), rng.standard_normal(9), "same") for _ in range(6)]
    samples = np.concatenate(pieces)
    return (samples / np.abs(samples).max() * 0.5).astype(np.float32)


def test_transcribing_gives_each_word_its_time(model, speech):
    recognizer = Recognizer.load(model)
    transcript = recognizer.transcribe(speech, sample_rate=SAMPLE_RATE)
    assert [word.text for word in transcript.words] == transcript.text.split() and len(transcript.words) > 2
    edges = [edge for word in transcript.words for edge in (word.start, word.end)]
    assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= transcript.duration
    assert all(0 < word.confidence <= 1 for word in transcript.words)
    known = recognizer.align(speech, f"  {transcript.text.upper()}\n", sample_rate=SAMPLE_RATE)
    assert (known.text, known.segments) == (transcript.text, transcript.segments)


def test_a_text_is_given_even_if_its_times_cannot_be_found(model, speech, monkeypatch, caplog):
    recognizer = Recognizer.load(model)
    expected = recognizer.transcribe(speech, sample_rate=SAMPLE_RATE).text
    monkeypatch.setattr(alignment, "MOST_CELLS", 1)
    transcript = recognizer.transcribe(speech, sample_rate=SAMPLE_RATE)
    [segment] = transcript.segments
    assert transcript.text == segment.text == expected and segment.words == ()
    assert "no word times: align: 76 output frames times" in caplog.text


@pytest.mark.parametrize("count", [1, 100, 330, 48_000])
def test_times_never_leave_a_recording_however_short(model, count):
    transcript = Recognizer.load(model).transcribe(np.full(count, 0.1, np.float32), sample_rate=48_000)
    assert all(0 <= word.start < word.end <= count / 48_000 for word in transcript.words)


def test_a_recording_of_one_sample_is_refused_with_a_reason(detector, tmp_path):
    soundfile.write(tmp_path / "click.wav", np.full(1, 0.1, np.float32), 48_000)
    with pytest.raises(InputError, match="output frames"):
        detector.align(tmp_path / "click.wav", "ab")


def test_texts_are_written_in_the_case_of_the_alphabet():
    assert Alphabet("AB '").written("a  b") == "A B" and Alphabet("ab ").written("A\tB") == "a b"
    assert Alphabet("aB").written("aB") == "aB", "normalised it could not be written"
    assert Alphabet("ab").written("X") == "x", "as it would be named in a complaint"


def test_times_are_counted_in_the_hops_that_are_taken():
    """10 ms at 22,050 Hz are 220.5 samples, and a hop has 220: eight seconds in an hour."""
    config = tiny_config(features=FeaturesConfig(sample_rate=22_050))
    module = tiny_module(config)
    recognizer = Recognizer(Model(module.front_end, module.network, config.model, {}))
    assert recognizer.seconds_per_frame == recognizer.finder.seconds == pytest.approx(2 * 220 / 22_050)


def test_a_text_that_is_not_said_is_told(detector, caplog):
    samples, _ = spoken_tones(["abc", "b", "cab"], 0.1)
    with caplog.at_level(logging.WARNING):
        right = detector.align(samples, "abc b cab", sample_rate=SAMPLE_RATE)
        assert not caplog.messages
        wrong = detector.align(samples, "bbb a aaa", sample_rate=SAMPLE_RATE)
    assert min(word.confidence for word in right.words) > 0.9 > 0.3 > max(word.confidence for word in wrong.words)
    assert "is this what is said?" in caplog.messages[0]


def test_texts_that_cannot_be_aligned_are_refused_and_an_empty_one_is_not(detector, speech):
    with pytest.raises(InputError, match=r"outside the alphabet of tiny: \['1', 'x'\]; spell them in ' abc'"):
        detector.align(speech, "ab x1", sample_rate=SAMPLE_RATE)
    with pytest.raises(InputError, match=r"the text has 300 labels, which take 300 output frames, and .* has 76;"):
        detector.align(speech, "abc" * 100, sample_rate=SAMPLE_RATE)
    with pytest.raises(InputError, match="say at how many Hz"):
        detector.align(speech, "a")
    transcript = detector.align(speech, " ", sample_rate=SAMPLE_RATE)
    assert (transcript.text, transcript.segments, transcript.duration) == ("", (), 1.5)


def test_the_verb_align_takes_a_text_or_a_file_of_it(model, speech, tmp_path, capsys):
    audio, text = tmp_path / "speech.wav", tmp_path / "text.txt"
    soundfile.write(audio, speech, SAMPLE_RATE)
    text.write_text("Ab a\n cab", "utf-8-sig")
    shown = []
    for given in ("ab a cab", str(text)):
        assert main(["align", str(model), str(audio), given]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    rows = [line.split() for line in shown[0].splitlines()]
    assert rows[0] == ["start", "end", "confidence", "word"] and [row[3] for row in rows[1:]] == ["ab", "a", "cab"]
    assert all(float(start) < float(end) <= 1.5 for start, end, *_ in rows[1:])
    assert main(["align", str(model), str(audio), "ab a cab", "--format", "txt"]) == 0
    assert capsys.readouterr().out == "ab a cab\n"


def test_what_align_cannot_use_gets_one_clear_line(model, speech, tmp_path, capsys):
    audio, text = tmp_path / "speech.wav", tmp_path / "text.txt"
    soundfile.write(audio, speech, SAMPLE_RATE)
    text.write_bytes(b"\xff\xfe\x00")
    for given, complaint in [
        (str(text), "text.txt: cannot be read as UTF-8 text"),
        ("missing.txt", "missing.txt: cannot be read as UTF-8 text (No such file"),
    ]:
        assert main(["align", str(model), str(audio), given]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and complaint in error


def test_a_second_of_silence_before_moves_the_words_of_an4_by_a_second(corpora, tmp_path):
    """Within a frame; of 100 words that the model is sure of one may move by two, for its features are normalised."""
    manifests = prepare("an4", out=tmp_path, archive=corpora / "an4_raw.bigendian.tar.gz")
    recognizer = Recognizer.load(Path(__file__).parent.parent / "checkpoints" / "an4-gru.safetensors")
    moves = []
    for utterance in read_manifest(manifests["dev"])[:40]:
        samples = load_audio(utterance.audio)
        later = np.concatenate([np.zeros(16_000, np.float32), samples])
        before, after = (
            recognizer.align(audio, utterance.text, sample_rate=16_000).words for audio in (samples, later)
        )
        moves += [
            max(abs(moved.start - word.start - 1), abs(moved.end - word.end - 1))
            for word, moved in zip(before, after)
            if min(word.confidence, moved.confidence) > 0.5
        ]
    assert len(moves) > 150
    assert sum(move < recognizer.seconds_per_frame + 1e-6 for move in moves) >= 0.99 * len(moves)

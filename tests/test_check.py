"""`data check` finds each kind of problem, names the utterance, and knows which of them would stop a training."""

import io
import json
import logging
import math

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console

from deepspeech_sparse.corpora import check
from deepspeech_sparse.corpora.check import KINDS, SHOWN, check_manifest
from deepspeech_sparse.corpora.manifest import Utterance, write_manifest
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.text import Alphabet, frames_needed

RATE = 16_000


@pytest.fixture
def make(tmp_path):
    """Writes a manifest of a good utterance of 1 s and, after it, one with the given changes; returns their report."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype(np.float32)
    for name in ("good", "other"):
        soundfile.write(tmp_path / f"{name}.flac", samples, RATE)
    entry = {"id": "good", "audio_filepath": "good.flac", "duration": 1.0, "text": "hello world", "speaker": "ann"}
    other = {"id": "other", "audio_filepath": "other.flac"}

    def report(frames=None, **changes):
        lines = [entry] + ([entry | other | changes] if changes else [])
        (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
        return check_manifest(tmp_path / "m.jsonl", alphabet=Alphabet(), frames=frames)

    report.folder, report.samples = tmp_path, samples
    return report


def found(report):
    return [(problem.kind, problem.utterance) for problem in report.problems]


def test_a_good_manifest_is_counted_and_has_no_problems(make):
    report = make(id="other", duration=1.02, text="yes", speaker="bob")
    assert not report.problems and not report.fatal
    assert (report.utterances, report.speakers) == (2, 2)
    assert report.hours == pytest.approx(2.02 / 3600)
    assert (report.shortest, report.median, report.longest) == pytest.approx((1.0, 1.01, 1.02))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"audio_filepath": "nowhere.flac"}, "missing audio"),
        ({"text": "naïve 5"}, "foreign characters"),
        ({"text": "привет"}, "foreign characters"),
        ({"text": " "}, "empty text"),
        ({"duration": 2.0}, "wrong duration"),
        ({"duration": 0.5}, "wrong duration"),
        ({"offset": 0.5}, "wrong duration"),
        ({"offset": 1.5}, "unreadable audio"),
        ({"id": "good"}, "duplicate id"),
        ({"audio_filepath": "good.flac"}, "duplicate audio"),
        ({"text": "hello " * 20}, "too few frames"),
    ],
)
def test_each_problem_is_found_by_name(make, changes, kind):
    report = make(frames=lambda seconds: int(seconds * 50), **changes)
    assert found(report) == [(kind, changes.get("id", "other"))]
    assert report.fatal is KINDS[kind]


def test_a_segment_of_a_longer_file_is_no_problem(make):
    assert not make(offset=0.25, duration=0.5).problems


@pytest.mark.parametrize("breakage", ["corrupt", "empty", "truncated", "nan", "no samples", "short"])
def test_audio_that_cannot_be_used_is_named(make, breakage, monkeypatch):
    path = make.folder / "other.wav"
    if breakage == "corrupt":
        path.write_bytes(b"RIFF" + bytes(100))
    elif breakage == "empty":
        path.touch()
    elif breakage == "truncated":
        whole = (make.folder / "good.flac").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif breakage == "nan":
        soundfile.write(path, np.where(np.arange(RATE) == 7, math.nan, make.samples), RATE, subtype="FLOAT")
    elif breakage == "no samples":
        soundfile.write(path, make.samples[:0], RATE)
    else:  # a decoder that gives up early without an error
        soundfile.write(path, make.samples, RATE)
        whole = check.samples_of
        monkeypatch.setattr(check, "samples_of", lambda which, rate: whole(which, rate)[:: 1 + (which.audio == path)])
    report = make(audio_filepath="other.wav")
    assert found(report) == [("unreadable audio", "other")] and report.fatal


def test_foreign_characters_are_spelled_out(make):
    [problem] = make(text="naïve 5").problems
    assert problem.detail == "'5' 'ï'"


def test_the_frames_ctc_needs_are_those_below_which_its_loss_is_infinite():
    """Against torch's CTC loss, for every number of frames around the border."""
    for labels in ([1], [1, 2, 3], [1, 1], [2, 2, 2, 1, 1], [1, 2, 1, 2]):
        for frames in range(1, 12):
            log_probs = torch.zeros(frames, 1, 4).log_softmax(-1)
            loss = torch.nn.functional.ctc_loss(
                log_probs, torch.tensor([labels]), torch.tensor([frames]), torch.tensor([len(labels)])
            )
            assert bool(loss.isinf()) is (frames < frames_needed(labels))


def test_utterances_of_exactly_enough_frames_pass(make):
    need = frames_needed(Alphabet().encode("hello world"))
    assert need == 12, "eleven letters and a blank between the two l"
    assert not make(frames=lambda seconds: need).problems
    assert found(make(frames=lambda seconds: need - 1)) == [("too few frames", "good")]


def test_audio_is_decoded_at_the_rate_of_the_training(make, caplog, monkeypatch):
    monkeypatch.setattr("deepspeech_sparse.audio.told", set())
    with caplog.at_level(logging.INFO, logger="deepspeech_sparse.audio"):
        make()
        assert not caplog.text
        assert not check_manifest(make.folder / "m.jsonl", alphabet=Alphabet(), sample_rate=8000).problems
    assert "16000 Hz, 1 channel -> 8000 Hz mono" in caplog.text


def test_an_empty_manifest_would_fail(tmp_path):
    write_manifest(tmp_path / "m.jsonl", [])
    report = check_manifest(tmp_path / "m.jsonl", alphabet=Alphabet())
    assert report.fatal and report.utterances == 0 and report.hours == 0
    assert "nothing to train on" in printed(report)


def test_a_malformed_manifest_is_an_error_not_a_report(tmp_path):
    (tmp_path / "m.jsonl").write_text("{}")
    with pytest.raises(InputError, match="line 1: lacks"):
        check_manifest(tmp_path / "m.jsonl", alphabet=Alphabet())


def printed(report) -> str:
    console = Console(file=io.StringIO(), width=200)
    report.print(console)
    return console.file.getvalue()


def test_the_report_prints_names_and_how_many_more(make):
    assert "1 utterance of 1 speaker," in printed(make()) and "no problems" in printed(make())
    utterances = [Utterance(f"[u{n}]", make.folder / "good.flac", 1.0, "ö") for n in range(SHOWN + 3)]
    write_manifest(make.folder / "m.jsonl", utterances)
    text = printed(check_manifest(make.folder / "m.jsonl", alphabet=Alphabet()))
    assert "foreign characters (training fails)" in text and f"[u{SHOWN - 1}]: 'ö'" in text
    assert f"[u{SHOWN}]: 'ö'" not in text and "... and 3 more" in text
    assert "duplicate audio (training" not in text


def test_the_report_becomes_json(make):
    plain = json.loads(json.dumps(make(text="ö").to_dict()))
    assert plain["fatal"] is True and plain["utterances"] == 2
    assert plain["problems"] == [{"kind": "foreign characters", "utterance": "other", "detail": "'ö'"}]

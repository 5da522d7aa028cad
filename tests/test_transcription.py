"""Recognising audio: the same text however it is given, and files that cannot be read stop nothing."""

import io
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from untrained import run_of, tiny_config, tiny_module

import deepspeech_sparse
from deepspeech_sparse import Recognizer
from deepspeech_sparse.decoding import greedy
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.recognition.transcription import transcribe_files
from deepspeech_sparse.transcripts.transcript import Failure

RATE = 16_000


@pytest.fixture(scope="module")
def recognizer(model):
    return Recognizer.load(model)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Noise that changes its colour: enough for a network of random weights to write something."""
    rng = np.random.default_rng(0)
    pieces = [np.convolve(rng.standard_normal(RATE // 4), rng.standard_normal(9), "same") for _ in range(6)]
    samples = np.concatenate(pieces)
    return (samples / np.abs(samples).max() * 0.5).astype(np.float32)


def test_the_text_is_that_of_front_end_network_and_greedy_decoding(recognizer, speech):
    module = tiny_module(tiny_config())
    with torch.no_grad():
        logits, frames = module(torch.from_numpy(speech)[None], torch.tensor([len(speech)]))
    [expected] = greedy(logits, frames, module.alphabet)
    assert len(expected) > 3, "a test on an empty text would prove nothing"
    transcript = recognizer.transcribe(speech, sample_rate=RATE)
    assert transcript.text == expected
    assert transcript.duration == len(speech) / RATE == 1.5
    assert transcript.model == "tiny" and transcript.source == "array of shape (24000,)"


def test_path_bytes_stream_and_array_give_one_text(recognizer, speech, tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, speech, RATE, subtype="FLOAT")
    stereo = np.stack([speech, speech], axis=1)
    transcripts = [
        recognizer.transcribe(path),
        recognizer.transcribe(str(path)),
        recognizer.transcribe(path.read_bytes()),
        recognizer.transcribe(io.BytesIO(path.read_bytes())),
        recognizer.transcribe(speech, sample_rate=RATE),
        recognizer.transcribe(speech.astype(np.float64), sample_rate=RATE),
        recognizer.transcribe(stereo, sample_rate=RATE),
    ]
    assert len({transcript.text for transcript in transcripts}) == 1 and transcripts[0].text
    assert {transcript.duration for transcript in transcripts} == {1.5}
    assert transcripts[0].source == str(path)


def test_other_rates_are_converted(recognizer, speech, tmp_path):
    import soxr

    path = tmp_path / "fast.wav"
    fast = soxr.resample(speech, RATE, 44_100)
    soundfile.write(path, fast, 44_100, subtype="FLOAT")
    there_and_back = soxr.resample(fast, 44_100, RATE)
    expected = recognizer.transcribe(there_and_back, sample_rate=RATE).text
    assert recognizer.transcribe(path).text == recognizer.transcribe(fast, sample_rate=44_100).text == expected
    assert recognizer.transcribe(path).duration == pytest.approx(1.5, abs=1e-3)


def test_a_batch_gives_what_each_recording_gives_alone(recognizer, speech):
    recordings = [speech, speech[:9000], np.zeros(0, np.float32), speech[3000:3100], speech[5000:20_000]]
    alone = [recognizer.transcribe(samples, sample_rate=RATE).text if len(samples) else "" for samples in recordings]
    assert recognizer.recognize(recordings) == alone
    assert recognizer.recognize([]) == [] and recognizer.recognize([np.zeros(0, np.float32)]) == [""]


@pytest.mark.parametrize("count", [1, 2, 100, 319, 320, 321])
@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_audio_shorter_than_a_window_is_no_error(recognizer, count, rate, tmp_path):
    samples = np.full(count, 0.1, np.float32)
    transcript = recognizer.transcribe(samples, sample_rate=rate)
    assert len(transcript.text) <= 2 and transcript.duration == count / rate
    soundfile.write(tmp_path / "short.wav", samples, rate)
    transcript = recognizer.transcribe(tmp_path / "short.wav")
    assert 0 < transcript.duration < 0.03 and transcript.real_time_factor > 0


@pytest.mark.parametrize(
    "source, options, words",
    [
        (np.zeros(100), {}, r"array of shape \(100,\): sample_rate = None; say at how many Hz"),
        (np.zeros(100), {"sample_rate": 16}, "sample_rate = 16; say at how many Hz"),
        (np.zeros(100), {"sample_rate": math.inf}, "sample_rate = inf; say at how many Hz"),
        (np.zeros(100), {"sample_rate": 0}, "sample_rate = 0"),
        (
            np.zeros((2, 100)),
            {"sample_rate": RATE},
            r"array of shape \(2, 100\): more channels than samples; transpose",
        ),
        (np.zeros(0), {"sample_rate": RATE}, "holds no samples"),
        (np.array([0.1, np.nan]), {"sample_rate": RATE}, "1 of 2 samples are NaN"),
        (np.zeros((3, 3, 3)), {"sample_rate": RATE}, r"\(3, 3, 3\)"),
        (np.array(["a"]), {"sample_rate": RATE}, "expected samples"),
        (b"no audio", {}, "8 bytes of audio"),
        ("none.wav", {}, "none.wav: no such file"),
        ("none.wav", {"sample_rate": RATE}, "none.wav: sample_rate is for arrays"),
        ([0.0, 0.1], {"sample_rate": RATE}, "list: give a path, bytes, a binary stream or a numpy array"),
        (torch.zeros(9), {"sample_rate": RATE}, "Tensor: give a path"),
    ],
)
def test_what_is_no_audio_is_refused_by_name(recognizer, source, options, words):
    with pytest.raises(InputError, match=words):
        recognizer.transcribe(source, **options)


def test_model_file_run_folder_and_checkpoint_are_one_model(model, speech, tmp_path):
    config = tiny_config()
    run = run_of(tiny_module(config), config, tmp_path / "run")
    sources = [model, str(model), run, run / "checkpoints" / "best.ckpt"]
    recognizers = [Recognizer.load(source) for source in sources]
    assert len({recognizer.transcribe(speech, sample_rate=RATE).text for recognizer in recognizers}) == 1
    assert [recognizer.name for recognizer in recognizers] == ["tiny", "tiny", "run", "best"]


def test_a_transcript_becomes_plain_values(recognizer, speech):
    transcript = recognizer.transcribe(speech, sample_rate=RATE)
    values = json.loads(json.dumps(transcript.to_dict()))
    assert values["real_time_factor"] == pytest.approx(transcript.seconds / 1.5)
    assert [values[name] for name in ("text", "duration", "model")] == [transcript.text, 1.5, "tiny"]


@pytest.fixture()
def files(speech, tmp_path):
    """Two good files, and between and after them what is not."""
    good, better, broken, folder = (tmp_path / name for name in ("good.wav", "better.flac", "broken.wav", "folder"))
    soundfile.write(good, speech, RATE)
    soundfile.write(better, speech[:12_000], RATE)
    broken.write_bytes(b"RIFF0000")
    folder.mkdir()
    return [good, broken, tmp_path / "missing.wav", folder, better]


def test_broken_files_are_named_and_the_others_done(model, files, capsys):
    expected = [Recognizer.load(model).transcribe(path).text for path in (files[0], files[-1])]
    assert all(expected)
    assert transcribe_files(model, files) == 1
    output = capsys.readouterr()
    assert output.out.splitlines() == expected
    complaints = output.err.splitlines()
    assert len(complaints) == 4 and complaints.pop() == "3 of 5 recordings could not be transcribed"
    for path, complaint in zip(files[1:4], complaints):
        assert complaint.startswith(f"error: {path}: ")


def test_json_is_one_object_per_file(model, files, capsys):
    assert transcribe_files(model, [files[0], files[-1]], format="json") == 0
    output = capsys.readouterr()
    lines = [json.loads(line) for line in output.out.splitlines()]
    assert [line["source"] for line in lines] == [str(files[0]), str(files[-1])]
    assert [line["duration"] for line in lines] == [1.5, 0.75] and not output.err


def test_every_text_is_given_in_its_place_and_so_is_what_failed(model, files):
    results = [*Recognizer.load(model).transcribe_many(files)]
    assert [result.source for result in results] == [str(path) for path in files]
    assert [isinstance(result, Failure) for result in results] == [False, True, True, True, False]


def test_a_bad_model_is_an_error_at_once(files, tmp_path):
    with pytest.raises(InputError, match=r"none\.safetensors: no such model file"):
        transcribe_files(tmp_path / "none.safetensors", files)


def test_importing_the_package_loads_no_torch_and_recognising_no_lightning():
    code = (
        "import sys, deepspeech_sparse as d; d.__version__, d.InputError, dir(d); assert 'torch' not in sys.modules; "
        "d.Recognizer; assert 'torch' in sys.modules; assert 'lightning' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_offers_what_it_lists():
    for name in deepspeech_sparse.__all__:
        assert getattr(deepspeech_sparse, name) and name in dir(deepspeech_sparse)
    assert deepspeech_sparse.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'Recogniser'"):
        _ = deepspeech_sparse.Recogniser

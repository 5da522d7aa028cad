"""Live text from a pipe and from a microphone: it comes while more is said, and whatever goes wrong is one line."""

import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_streaming import noise
from untrained import tiny_config, tiny_module

from deepspeech_sparse import Recognizer
from deepspeech_sparse.cli import main
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.features import FeaturesConfig
from deepspeech_sparse.model_file import save_model
from deepspeech_sparse.recognition import live

RATE = 16_000


@pytest.fixture(scope="module")
def one_way(tmp_path_factory) -> Path:
    """A model that can stream; its head is quiet in silence, so that there are pauses."""
    config = tiny_config(features=FeaturesConfig(normalise="global"), bidirectional=False)
    path = tmp_path_factory.mktemp("model") / "one-way.safetensors"
    save_model(path, tiny_module(config, seed=3), config.model, {})
    return path


def speech() -> np.ndarray:
    return (noise(50_000, 5) * 32767).astype(np.int16)


def in_pieces(path: Path, samples: np.ndarray) -> list[str]:
    """What the stream finals say, by itself."""
    stream = Recognizer.load(path).stream()
    finals = [result for result in stream.feed(samples) if hasattr(result, "segment")]
    return [final.segment.text for final in finals + stream.finish()]


def test_text_comes_out_of_the_pipe_before_the_input_ends(one_way):
    """Bursts of odd numbers of bytes; the process must not wait for a full buffer or for the end."""
    silence = np.zeros(3 * RATE, np.int16)
    samples = np.concatenate([speech(), silence, speech()[:20_000], silence])
    expected = in_pieces(one_way, samples)
    command = [sys.executable, "-m", "deepspeech_sparse.cli", "transcribe", str(one_way), "-", "--pcm", "16000"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        content = samples.astype("<i2").tobytes()
        for start in range(0, len(content), 4999):
            process.stdin.write(content[start : start + 4999])
            process.stdin.flush()
        lines = [process.stdout.readline().decode().strip()] if len(expected) > 1 else []  # stdin is still open
        process.stdin.close()
        lines += process.stdout.read().decode().split("\n")
        assert process.wait() == 0
    assert [line for line in lines if line] == expected and len(expected) > 1


def test_other_rates_are_converted_and_an_odd_byte_is_dropped(one_way, monkeypatch, capsys):
    import soxr

    samples = speech()
    slow = soxr.resample(samples / np.float32(32768), RATE, 8000)
    content = (slow * 32767).astype("<i2").tobytes() + b"\0"
    reading, writing = os.pipe()
    os.write(writing, content[:30_001])
    monkeypatch.setattr(live.sys, "stdin", types.SimpleNamespace(fileno=lambda: reading))
    rest = [content[30_001:]]

    def read(descriptor, most, read=os.read):
        if descriptor == reading and rest:
            os.write(writing, rest.pop())
            os.close(writing)
        return read(descriptor, most)

    monkeypatch.setattr(live.os, "read", read)
    assert main(["transcribe", str(one_way), "-", "--pcm", "8000"]) == 0
    os.close(reading)
    stream = soxr.ResampleStream(8000, RATE, 1, dtype="float32")
    whole = np.frombuffer(content[:-1], "<i2") / np.float32(32768)
    expected = Recognizer.load(one_way).transcribe(stream.resample_chunk(whole, last=True), sample_rate=RATE)
    assert " ".join(capsys.readouterr().out.split()) == expected.text != ""


class FakeMicrophone(types.ModuleType):
    """sounddevice as far as we use it: plays a recording into the callback, then Ctrl-C."""

    class PortAudioError(Exception):
        pass

    def __init__(self, samples: np.ndarray) -> None:
        super().__init__("sounddevice")
        self.samples, self.opened = samples, []

    def InputStream(self, *, samplerate, channels, dtype, device, blocksize, callback):
        if device == 7:
            raise self.PortAudioError("Error querying device 7")
        self.opened.append((samplerate, channels, dtype, device, blocksize))
        module = self

        class Source:
            def __enter__(self):
                for start in range(0, len(module.samples), blocksize):
                    block = module.samples[start : start + blocksize, None]
                    callback(block, len(block), None, start == blocksize)  # the second block: overflow

            def __exit__(self, *_):
                pass

        return Source()


@pytest.fixture()
def microphone(monkeypatch) -> FakeMicrophone:
    module = FakeMicrophone(noise(50_000, 5))
    monkeypatch.setitem(sys.modules, "sounddevice", module)

    def get(self, get=live.queue.Queue.get):
        if self.empty():
            raise KeyboardInterrupt
        return get(self)

    monkeypatch.setattr(live.queue.Queue, "get", get)
    return module


def test_a_microphone_is_heard_until_ctrl_c(one_way, microphone, capsys):
    assert main(["transcribe", str(one_way), "--microphone", "--device", "2"]) == 0
    out, errors = capsys.readouterr()
    [expected] = Recognizer.load(one_way).recognize([microphone.samples])
    assert " ".join(out.split()) == expected != ""
    assert microphone.opened == [(RATE, 1, "float32", 2, 1600)]
    assert "listening; Ctrl-C ends" in errors and "some audio was lost" in errors


def test_no_microphone_and_no_package_are_said(one_way, microphone, monkeypatch, capsys):
    assert main(["transcribe", str(one_way), "--microphone", "--device", "7"]) == 1
    assert "no device 7 that records 16000 Hz (Error querying device 7)" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["transcribe", str(one_way), "--microphone"]) == 1
    assert "pip install 'deepspeech-sparse[microphone]'" in capsys.readouterr().err


def test_recognition_that_is_too_slow_loses_audio_and_says_so(microphone, monkeypatch, capsys):
    monkeypatch.setattr(live, "MOST_WAITING", 3)
    with live.microphone(RATE, None) as blocks, pytest.raises(KeyboardInterrupt):
        assert len([next(blocks) for _ in range(4)]) == 4
    assert "some audio was lost" in capsys.readouterr().err


def test_on_a_terminal_what_is_being_said_stands_in_one_line(one_way, monkeypatch, capsys):
    monkeypatch.setattr(live.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(live.sys.stderr, "fileno", lambda: 2, raising=False)
    monkeypatch.setattr(live.os, "get_terminal_size", lambda descriptor: os.terminal_size((10, 24)))
    samples = speech()
    live.show(Recognizer.load(one_way).stream(), np.array_split(samples, 40))
    out, errors = capsys.readouterr()
    shown = [part for part in errors.split("\r\033[K") if part]
    assert len(shown) > 2 and all(len(part) <= 9 for part in shown)
    assert " ".join(out.split()) == " ".join(in_pieces(one_way, samples))


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["a.wav", "--microphone"], 2, "--microphone goes without files"),
        (["--microphone", "--pcm", "16000"], 2, "--microphone goes without files and --pcm"),
        (["a.wav", "--pcm", "16000"], 2, "give - for the file"),
        (["-", "--pcm", "16000", "--format", "json"], 2, "leave --format, --out, --decoder out"),
        (["-", "--pcm", "16000", "--decoder.hot_words", "[a]"], 2, "live text is greedy"),
        (["-", "--pcm", "16000", "--skip-existing"], 2, "live text is greedy"),
        (["-", "--pcm", "16000", "--device", "3"], 2, "--device is for --microphone"),
        (["-", "--pcm", "10"], 1, "--pcm 10: Hz of the samples"),
        ([], 2, "files"),
    ],
)
def test_what_does_not_go_together_is_refused(one_way, arguments, code, words, capsys):
    assert main(["transcribe", str(one_way), *arguments]) == code
    assert words in capsys.readouterr().err


def test_a_model_that_cannot_stream_is_refused_before_anything_is_read(model, capsys):
    assert main(["transcribe", str(model), "-", "--pcm", "16000"]) == 1
    assert "bidirectional model reads from the end" in capsys.readouterr().err


def test_live_text_is_that_of_the_file(one_way, tmp_path):
    samples = speech()
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    assert " ".join(in_pieces(one_way, samples)) == Recognizer.load(one_way).transcribe(tmp_path / "a.wav").text
    with pytest.raises(InputError, match="decodes greedily; leave --decoder out"):
        recognizer = Recognizer.load(one_way)
        recognizer.decoder = None
        recognizer.stream()

"""The engine behind the verbs: texts as in torch, the threads asked for, torch where it knows no such network."""

import logging

import numpy as np
import pytest
import soundfile
import torch
from untrained import run_of, tiny_config, tiny_module

from deepspeech_sparse import Recognizer
from deepspeech_sparse.cli import main
from deepspeech_sparse.corpora.manifest import Utterance, write_manifest
from deepspeech_sparse.engine.network import SparseNetwork
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.evaluation.wer import evaluate
from deepspeech_sparse.model import ConformerConfig, ConvolutionConfig, Network
from deepspeech_sparse.model_file import save_model
from deepspeech_sparse.recognition.inference import say_that_torch_computes
from deepspeech_sparse.training.runs import speech_recognition

RATE = 16_000


@pytest.fixture(scope="module")
def recordings() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    noises = [np.convolve(rng.standard_normal(count), rng.standard_normal(9), "same") for count in (20_000, 9000, 3000)]
    return [(0.5 * noise / np.abs(noise).max()).astype(np.float32) for noise in noises]


@pytest.fixture(scope="module")
def manifest(recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    utterances = []
    for index, samples in enumerate(recordings):
        soundfile.write(folder / f"{index}.wav", samples, RATE)
        utterances.append(Utterance(f"u{index}", folder / f"{index}.wav", len(samples) / RATE, "a cab"))
    write_manifest(folder / "test.jsonl", utterances)
    return folder / "test.jsonl"


@pytest.fixture()
def conformer(tmp_path):
    """A run folder of a network that the sparse engine does not know."""
    network = ConformerConfig(convolutions=(ConvolutionConfig(2, (41, 5), (8, 2)),), layers=1, hidden=8, heads=2)
    config = tiny_config()
    config = type(config)(data=config.data, features=config.features, network=network, alphabet=config.alphabet)
    torch.manual_seed(0)
    return run_of(speech_recognition(config).eval(), config, tmp_path / "conformer")


@pytest.mark.parametrize("cell, merge", [("gru", "sum"), ("lstm", "concat"), ("rnn", "sum"), ("clipped_rnn", "sum")])
def test_both_engines_write_the_same(recordings, cell, merge, tmp_path):
    config = tiny_config(cell=cell, merge=merge, lookahead=3)
    path = run_of(tiny_module(config), config, tmp_path)
    native, dense = Recognizer.load(path), Recognizer.load(path, engine="torch")
    assert (native.engine, dense.engine) == ("native", "torch")
    assert isinstance(native.network, SparseNetwork) and isinstance(dense.network, Network)
    texts = dense.recognize(recordings)
    assert any(texts), "equal texts that are empty would prove nothing"
    assert native.recognize(recordings) == texts


def test_the_engine_keeps_no_dense_network(model):
    def modules(thing: object) -> list[object]:
        return [value for value in vars(thing).values() if isinstance(value, torch.nn.Module)]

    recognizer = Recognizer.load(model)
    assert modules(recognizer) == [recognizer.front_end] and not modules(recognizer.network)


def test_threads_are_those_asked_for_and_put_back(model, recordings, monkeypatch):
    seen = []
    for engine in ("native", "torch"):
        recognizer = Recognizer.load(model, engine=engine, threads=3)
        inside = recognizer.network

        def watched(features, frames, inside=inside):
            seen.append((torch.get_num_threads(), getattr(inside, "threads", None)))
            return inside(features, frames)

        recognizer.network = watched
        before = torch.get_num_threads()
        recognizer.recognize(recordings)
        assert recognizer.threads == 3 != before == torch.get_num_threads()
    assert seen == [(3, 3), (3, None)]
    assert Recognizer.load(model).threads == torch.get_num_threads()


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_impossible_numbers_of_threads_are_refused_before_anything_is_loaded(threads, tmp_path):
    with pytest.raises(InputError, match=f"{threads} threads: 1 to 1024"):
        Recognizer.load(tmp_path / "none.safetensors", threads=threads)


def test_other_engines_are_refused(model):
    with pytest.raises(InputError, match="engine = 'cuda': choose native or torch"):
        Recognizer.load(model, engine="cuda")


def test_what_the_engine_does_not_know_runs_in_torch_and_the_log_says_so_once(conformer, recordings, caplog):
    say_that_torch_computes.cache_clear()
    with caplog.at_level(logging.INFO, "deepspeech_sparse"):
        first, second = Recognizer.load(conformer), Recognizer.load(conformer, engine="native")
        torch_alone = Recognizer.load(conformer, engine="torch")
    assert [recognizer.engine for recognizer in (first, second, torch_alone)] == ["torch"] * 3
    [record] = caplog.records
    assert "encoder conformer: runs in torch" in record.getMessage() and "\n" not in record.getMessage()
    assert first.recognize(recordings) == torch_alone.recognize(recordings)


def test_evaluations_say_in_which_engine_and_with_how_many_threads(model, manifest):
    native, dense = (evaluate(model, manifest, engine=engine, threads=2) for engine in ("native", "torch"))
    assert (native.engine, native.threads, dense.engine) == ("native", 2, "torch")
    assert native.utterances == dense.utterances
    assert native.summary()["engine"] == "native" and native.summary()["threads"] == 2


def test_verbs_take_engine_and_threads(model, manifest, capsys):
    files = [str(manifest.with_name(f"{index}.wav")) for index in range(3)]
    outputs = []
    for engine in ("native", "torch"):
        assert main(["transcribe", str(model), *files, "--engine", engine, "--threads", "1"]) == 0
        outputs.append(capsys.readouterr().out)
        assert main(["evaluate", str(model), str(manifest), "--engine", engine, "--threads", "1"]) == 0
        assert f"engine {engine}" in " ".join(capsys.readouterr().out.split())
    assert outputs[0] == outputs[1] and outputs[0].strip()
    assert main(["transcribe", str(model), *files, "--threads", "0"]) == 1
    assert "0 threads: 1 to 1024" in capsys.readouterr().err
    assert main(["transcribe", str(model), *files, "--engine", "cuda"]) == 2


def test_weights_that_the_engine_cannot_use_are_named_with_their_file(tmp_path):
    config = tiny_config()
    module = tiny_module(config)
    module.network.recurrent[1].norm.running_var[3] = -1.0
    save_model(tmp_path / "flipped.safetensors", module, config.model, {})
    with pytest.raises(InputError, match=r"flipped\.safetensors: recurrent\.1\.norm\.running_var has a negative"):
        Recognizer.load(tmp_path / "flipped.safetensors")


@pytest.mark.parametrize("values, codec", [("float16", "none"), ("int8", "zstd"), ("codebook4", "entropy")])
def test_quantised_models_sound_the_same_in_both_engines(recordings, tmp_path, values, codec):
    config = tiny_config()
    save_model(tmp_path / "small.safetensors", tiny_module(config), config.model, {}, values=values, codec=codec)
    native, in_torch = (Recognizer.load(tmp_path / "small.safetensors", engine=name) for name in ("native", "torch"))
    forms = {matrix.values for matrix in native.network.matrices.values()}
    assert forms == {"int8" if values == "int8" else "float16"}
    features, frames = native.features_of(recordings)
    with torch.inference_mode():
        expected, _ = in_torch.network(features, frames)
    logits, counts = native.network(features, frames)
    for row, count in enumerate(counts.tolist()):
        assert torch.allclose(
            logits[row, :count].log_softmax(-1), expected[row, :count].log_softmax(-1), rtol=0, atol=1e-4
        )

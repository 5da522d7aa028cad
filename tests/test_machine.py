"""What `info` says of the machine and of a model in the sparse engine."""

import io
import re

import pytest
import torch
from rich.console import Console
from untrained import run_of, tiny_config, tiny_module

from deepspeech_sparse.cli import main
from deepspeech_sparse.engine import runtime
from deepspeech_sparse.evaluation.in_memory import packed_weights, print_packed
from deepspeech_sparse.machine import description as module
from deepspeech_sparse.machine.description import machine
from deepspeech_sparse.model import ConformerConfig, ConvolutionConfig
from deepspeech_sparse.model_file import save_model
from deepspeech_sparse.training.runs import speech_recognition


def test_runtime_is_told_with_and_without_a_model(capsys, tmp_path):
    live = runtime()
    assert main(["info", "--runtime"]) == 0
    told = capsys.readouterr().out
    assert f"{live.path}: {live.reason}" in told and ", ".join(live.paths) in told
    assert f"{torch.get_num_threads()}, unless --threads" in told and f"torch {torch.__version__}" in told
    config = tiny_config()
    save_model(tmp_path / "tiny.safetensors", tiny_module(config), config.model, {})
    assert main(["info", str(tmp_path / "tiny.safetensors"), "--runtime"]) == 0
    both = capsys.readouterr().out
    assert told in both and "parameters" in both and "in the sparse engine" in both
    assert main(["info"]) == 2
    assert "give a model, or --runtime" in capsys.readouterr().err


@pytest.mark.parametrize(
    "compiled, compiler, words",
    [
        (True, "g++", r"^g\+\+; the kernels are compiled"),
        (True, None, "^no C.. compiler found; the kernels are compiled"),
        (False, "g++", "not compiled: install the package again"),
        (False, None, r"^no C\+\+ compiler found, .* install g\+\+"),
    ],
)
def test_the_remedy_follows_from_kernels_and_compiler(compiled, compiler, words, monkeypatch):
    monkeypatch.setattr(module, "extension", lambda: object() if compiled else None)
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/bin/{name}" if name == compiler else None)
    assert re.search(words, dict(machine().lines())["compiler"])


def test_every_matrix_is_told_as_the_engine_stores_it(tmp_path):
    config = tiny_config()
    tiny = tiny_module(config)
    with torch.no_grad():
        tiny.network.recurrent[0].cell.weight_hh_l0[:, 1:] = 0
    matrices = packed_weights(run_of(tiny, config, tmp_path))
    weights = {name: value for name, value in tiny.network.named_parameters() if name in matrices}
    assert len(weights) == len(matrices) == 10  # a convolution, four for each layer, the head
    console = Console(file=io.StringIO(), width=100)
    print_packed(matrices, console)
    for name, weight in weights.items():
        [line] = [line.split() for line in console.file.getvalue().splitlines() if line.split()[:1] == [name]]
        assert line[1] == "x".join(map(str, weight.shape))
        assert int(line[4].replace(",", "")) == matrices[name].stored >= torch.count_nonzero(weight)
    assert matrices["recurrent.0.cell.weight_hh_l0"].stored < weights["recurrent.0.cell.weight_hh_l0"].numel()


def test_of_a_network_that_the_engine_does_not_know_it_says_so(tmp_path, capsys):
    config = tiny_config()
    network = ConformerConfig(convolutions=(ConvolutionConfig(2, (41, 5), (8, 2)),), layers=1, hidden=8, heads=2)
    config = type(config)(data=config.data, features=config.features, network=network, alphabet=config.alphabet)
    assert main(["info", str(run_of(speech_recognition(config), config, tmp_path))]) == 0
    assert "does not know this network" in capsys.readouterr().out

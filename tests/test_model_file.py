"""The model file: round trips to the bit, and every kind of damaged, foreign or hostile file refused by name."""

import errno
import io
import json
import math
import os
import pickle
import random
import subprocess
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import nn
from untrained import run_of, tiny_config, tiny_module

from deepspeech_sparse.errors import InputError
from deepspeech_sparse.export import export, info
from deepspeech_sparse.features import FeaturesConfig
from deepspeech_sparse.machine import versions
from deepspeech_sparse.model_file import Model, describe_model, load_model, save_model
from deepspeech_sparse.models import any_model
from deepspeech_sparse.training.callbacks import load_checkpoint

PROVENANCE = {"deepspeech_sparse": "0.1.0", "step": 12, "best_dev_wer": 0.25, "git_commit": None}


def log_probs(model, samples: torch.Tensor) -> torch.Tensor:
    lengths = torch.tensor([samples.shape[1], samples.shape[1] // 2])
    with torch.no_grad():
        return model.network(*model.front_end(samples, lengths))[0].log_softmax(-1)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "clipped_rnn"])
def test_a_loaded_model_computes_the_same_bits(cell, tmp_path):
    config = tiny_config(cell=cell, lookahead=2, fully_connected=6, batch_norm=True)
    module = tiny_module(config)
    save_model(tmp_path / "a.safetensors", module, config.model, PROVENANCE)
    state = torch.random.get_rng_state()
    model = load_model(tmp_path / "a.safetensors")
    assert torch.equal(torch.random.get_rng_state(), state), "loading must not disturb the caller's randomness"
    samples = torch.randn(2, 8000)
    assert torch.equal(log_probs(model, samples), log_probs(module, samples))
    for name, tensor in module.network.state_dict().items():
        assert torch.equal(model.network.state_dict()[name], tensor)
    assert model.provenance == PROVENANCE and model.alphabet == module.alphabet
    assert not model.network.training and not model.front_end.training


def test_the_front_end_travels_in_the_file(tmp_path):
    """Global statistics, and window and mel bands too: what torchaudio would make anew is not what is used."""
    config = tiny_config(features=FeaturesConfig("log_mel", mels=12, normalise="global"))
    module = tiny_module(config)
    module.front_end.fit([torch.randn(4000)])
    module.front_end.mels.mul_(1.01)  # as if another torchaudio had made them
    save_model(tmp_path / "a.safetensors", module, config.model, {})
    model = load_model(tmp_path / "a.safetensors")
    for name, buffer in module.front_end.named_buffers():
        assert torch.equal(dict(model.front_end.named_buffers())[name], buffer), name
    samples = torch.randn(2, 8000)
    assert torch.equal(log_probs(model, samples), log_probs(module, samples))
    module.front_end.deviation[3] = 0.0  # features of that bin would be infinite
    save_model(tmp_path / "b.safetensors", module, config.model, {})
    with pytest.raises(InputError, match=r"b\.safetensors: front_end.deviation of 0, below 0.001"):
        load_model(tmp_path / "b.safetensors")


def test_equal_models_give_equal_bytes_and_survive_a_second_round_trip(tmp_path):
    config = tiny_config()
    first, second = tmp_path / "a.safetensors", tmp_path / "deeper" / "b.safetensors"
    save_model(first, tiny_module(config), config.model, PROVENANCE)
    model = load_model(first)
    save_model(second, model, model.config, model.provenance)
    assert first.read_bytes() == second.read_bytes()


def test_no_path_of_the_training_machine_leaks(tmp_path):
    config = tiny_config(data_folder="/home/somebody/secret")
    export(run_of(tiny_module(config), config, tmp_path / "run"), out=tmp_path / "a.safetensors")
    assert b"somebody" not in (tmp_path / "a.safetensors").read_bytes()
    described = describe_model(tmp_path / "a.safetensors")
    assert described.provenance["training"]["data"]["train"] == "train.jsonl"
    assert described.config == config.model
    assert described.shapes["network.head.bias"] == (5,)


def test_a_header_of_any_length_is_told_from_a_pickle(model_file):
    """Eight bytes of length come first: 0x80, which starts a pickle too, is a length like any other."""
    starts = set()
    for length in range(0, 256, 8):
        padded = rewritten(model_file, metadata=lambda m, length=length: m["provenance"].update(note="x" * length))
        starts.add(padded.read_bytes()[0])
        load_model(padded)
    assert 0x80 in starts


def test_a_training_of_another_version_does_not_keep_a_model_from_being_read(model_file):
    """Options of training come and go; what a model needs is front end, network and alphabet."""
    later = rewritten(model_file, metadata=lambda m: m["provenance"].update(training={"an_option": "not yet known"}))
    assert torch.equal(load_model(later).network.head.weight, load_model(model_file).network.head.weight)
    assert info(later).provenance["training"] == {"an_option": "not yet known"}


def test_weights_that_do_not_fit_their_config_are_not_written(tmp_path):
    with pytest.raises(
        InputError, match=r"a\.safetensors: tensors do not fit.*weight_hh_l0 has shape \(24, 8\) instead of"
    ):
        save_model(tmp_path / "a.safetensors", tiny_module(tiny_config()), tiny_config(hidden=9).model, {})
    assert not list(tmp_path.iterdir())


@pytest.fixture()
def model_file(tmp_path) -> Path:
    config = tiny_config(features=FeaturesConfig("log_mel", mels=12))
    save_model(tmp_path / "good.safetensors", tiny_module(config), config.model, PROVENANCE)
    return tmp_path / "good.safetensors"


def rewritten(path: Path, *, tensors=None, metadata=None) -> Path:
    """A copy of a model file with other content."""
    stored = load_file(path)
    if tensors:
        tensors(stored)
    entry = read_metadata(path)
    if metadata:
        metadata(entry)
    bad = path.with_name("bad.safetensors")
    save_file(stored, bad, {"deepspeech_sparse": json.dumps(entry)})
    return bad


def read_metadata(path: Path) -> dict:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["deepspeech_sparse"])


@pytest.mark.parametrize("kept", [0, 5, 60, 3000, -1])
def test_truncated_files_are_named(kept, model_file):
    bad = model_file.with_name("bad.safetensors")
    bad.write_bytes(model_file.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"bad\.safetensors: not a readable \.safetensors file .*truncated"):
        load_model(bad)


class Trap:
    """Unpickling it leaves a mark."""

    def __reduce__(self):
        return os.mkdir, (os.environ["TRAP"],)


@pytest.mark.parametrize("protocol", [2, 5, "torch"])
def test_pickles_are_refused_unopened(protocol, tmp_path, monkeypatch):
    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    bad = tmp_path / "bad.safetensors"
    if protocol == "torch":
        torch.save(Trap(), bad)
    else:
        bad.write_bytes(pickle.dumps(Trap(), protocol=protocol))
    with pytest.raises(InputError, match=r"bad\.safetensors: is a pickle .*export"):
        load_model(bad)
    bad = bad.rename(tmp_path / "bad.ckpt")  # as a checkpoint it is opened, but what it would run is not run
    with pytest.raises(InputError, match=r"bad\.ckpt: not a readable checkpoint"):
        any_model(bad)
    assert not (tmp_path / "sprung").exists()


def test_missing_files_folders_and_other_peoples_tensors_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.safetensors: no such model file"):
        load_model(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="is a folder; `deepspeech-sparse export`"):
        load_model(tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match=r"foreign\.safetensors: holds tensors, but no model of this project"):
        load_model(tmp_path / "foreign.safetensors")
    (tmp_path / "text.safetensors").write_text("this is not a model at all")
    with pytest.raises(InputError, match=r"text\.safetensors: not a readable"):
        load_model(tmp_path / "text.safetensors")


@pytest.mark.parametrize(
    "text, words", [("{", "not valid JSON"), ("[" * 100_000, "not valid JSON"), ("3", "object but int")]
)
def test_metadata_that_is_no_json_object_is_refused(text, words, tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "bad.safetensors", {"deepspeech_sparse": text})
    with pytest.raises(InputError, match=rf"bad\.safetensors: its metadata .*{words}"):
        load_model(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda m: m.update(format=3), "model format 3, this version of deepspeech_sparse reads 1 and 2"),
        (lambda m: m.pop("format"), "model format None"),
        (lambda m: m.pop("config"), "config in its metadata is not a mapping"),
        (lambda m: m.update(provenance=[]), "provenance in its metadata is not a mapping"),
        (lambda m: m["provenance"].update(loss=math.nan), "its provenance is no text or number .*NaN|Out of range"),
        (lambda m: m["provenance"].update(note="\ud800"), "its provenance is no text or number .*surrogates"),
        (lambda m: m["storage"].update({"network.head.bias": "csr"}), "head.bias is stored as 'csr', .*does not know"),
        (lambda m: m["storage"].pop("network.head.bias"), "network.head.bias is unknown: its metadata does not tell"),
        (lambda m: m["config"].update(netwrok={}), "unknown key netwrok; did you mean network"),
        (lambda m: m["config"].update(network="evil.yaml"), "evil.yaml"),
        (lambda m: m["config"]["network"].update(cell="transformer"), "cell"),
        (lambda m: m["config"]["network"].update(cell=None), "network.cell is null"),
        (lambda m: m["config"]["network"].update(hidden=9), r"weight_hh_l0 has shape \(24, 8\) instead of \(27, 9\)"),
        (lambda m: m["config"]["network"].update(hidden=10**13), "a model that its .* tensors cannot be"),
        (lambda m: m["config"]["network"].update(hidden=10**30), "a model that its .* tensors cannot be"),
        (lambda m: m["config"]["network"].update(layers=10**9), "a model that its .* tensors cannot be"),
        (lambda m: m["config"]["network"].update(layers=3), "recurrent.2.*is missing"),
        (lambda m: m["config"]["network"].update(layers=1), "recurrent.1.*is unknown"),
        (lambda m: m["config"]["features"].update(sample_rate=10**12), "a model that its .* tensors cannot be"),
        (lambda m: m["config"]["features"].update(window=1e300), "makes no sense|cannot be"),
        (lambda m: m["config"]["features"].update(window=float("inf")), "makes no sense|cannot be"),
        (lambda m: m["config"]["features"].update(sample_rate=float("nan")), "sample_rate"),
        (lambda m: m["config"]["features"].update(mels=300), "a model that its .* tensors cannot be"),
        (lambda m: m["config"].update(epochs=3), "unknown key epochs"),
        (lambda m: m["config"].update(alphabet=""), "alphabet"),
    ],
)
def test_absurd_metadata_is_refused_before_anything_is_allocated(change, words, model_file):
    bad = rewritten(model_file, metadata=change)
    with pytest.raises(InputError, match=rf"(?s)bad\.safetensors: .*{words}"):
        load_model(bad)


@pytest.mark.parametrize("place", ["features", "network"])
def test_a_model_file_imports_no_module_and_reads_no_other_file(place, model_file, monkeypatch):
    (model_file.parent / "evil.py").write_text("raise AssertionError('run')\nclass X: pass\n")
    (model_file.parent / "other.yaml").write_text("{}\n")
    monkeypatch.syspath_prepend(model_file.parent)
    for text in ("evil.X", str(model_file.parent / "other.yaml")):
        with pytest.raises(InputError, match=f"{place} is .*; give a mapping of settings"):
            load_model(rewritten(model_file, metadata=lambda m, text=text: m["config"].update({place: text})))


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.pop("network.head.weight"), "network.head.weight is missing"),
        (lambda t: t.pop("front_end.window"), "front_end.window is missing"),
        (lambda t: t.pop("front_end.mels/values.0"), "front_end.mels/values.0 is missing"),
        (lambda t: t.update({"network.extra": torch.zeros(1)}), "network.extra is unknown"),
        (lambda t: t.update({"network.head.bias": torch.zeros(6)}), r"head.bias has shape \(6,\) instead of \(5,\)"),
        (
            lambda t: t.update({"network.head.bias": torch.zeros(5).half()}),
            "head.bias holds F16 instead of F32",
        ),
        (lambda t: t["network.head.bias"].fill_(torch.nan), "5 of 5 values of network.head.bias are NaN"),
        (
            lambda t: t["front_end.window"][0].fill_(torch.inf),
            "1 of 320 values of front_end.window are NaN or infinite",
        ),
    ],
)
def test_tensors_that_are_not_the_models_are_refused(change, words, model_file):
    with pytest.raises(InputError, match=rf"bad\.safetensors: .*{words}"):
        load_model(rewritten(model_file, tensors=change))


def test_a_full_disk_leaves_the_old_file(model_file, monkeypatch):
    before = model_file.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    config = tiny_config()
    with pytest.raises(InputError, match=r"good\.safetensors: cannot be written \(no space left on the disk\)"):
        save_model(model_file, tiny_module(config, seed=1), config.model, {})
    assert model_file.read_bytes() == before and len(list(model_file.parent.iterdir())) == 1


def test_export_writes_the_best_checkpoint_of_a_run_with_its_history(tmp_path):
    config = tiny_config()
    run = run_of(tiny_module(config), config, tmp_path / "run", best_wer=0.125)
    run_of(tiny_module(config, seed=1), config, tmp_path / "run", name="last.ckpt")
    written = export(run, out=tmp_path / "model.safetensors")
    model = load_model(tmp_path / "model.safetensors")
    best = load_checkpoint(run / "checkpoints" / "best.ckpt")["state_dict"]
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, best[f"network.{name}"]), name
    expected = {"epoch": 3, "step": 70, "best_dev_wer": 0.125, "seed": 0, "torch": torch.__version__}
    assert model.provenance.items() >= expected.items()
    assert written == info(tmp_path / "model.safetensors")
    last = export(run / "checkpoints" / "last.ckpt", out=tmp_path / "last.safetensors")
    assert last.provenance["best_dev_wer"] is None, "no validation had been run"


def test_export_never_takes_the_place_of_a_checkpoint(tmp_path):
    config = tiny_config()
    checkpoint = run_of(tiny_module(config), config, tmp_path / "run") / "checkpoints" / "best.ckpt"
    before = checkpoint.read_bytes()
    with pytest.raises(InputError, match=r"best\.ckpt: a model file is no checkpoint; .*best\.safetensors"):
        export(checkpoint, out=checkpoint)
    assert checkpoint.read_bytes() == before


def test_export_refuses_what_was_never_trained_and_where_nothing_can_be_written(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no checkpoint in this folder"):
        export(tmp_path / "empty", out=tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="empty: is a folder; give the name of a file"):
        export(tmp_path, out=tmp_path / "empty")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="its folder cannot be made"):
        export(tmp_path, out=tmp_path / "file" / "model.safetensors")


def test_info_counts_every_weight_and_every_zero(tmp_path):
    config = tiny_config(fully_connected=6)
    module = tiny_module(config)
    with torch.no_grad():
        for layer in module.network.recurrent:
            layer.cell.weight_hh_l0.view(-1)[::2] = 0  # half of one of four matrices
        module.network.head.bias.zero_()
    counted = {
        name: sum(weight.numel() for part, weight in layer.named_parameters() if weight.dim() > 1)
        for name, layer in [
            *((f"convolutions.{i}", layer) for i, layer in enumerate(module.network.convolutions)),
            *((f"recurrent.{i}", layer) for i, layer in enumerate(module.network.recurrent)),
            ("fully_connected", module.network.fully_connected),
            ("head", module.network.head),
        ]
    }
    save_model(tmp_path / "a.safetensors", module, config.model, {})
    model = info(tmp_path / "a.safetensors")
    assert {layer.name: layer.weights for layer in model.layers} == counted
    assert [layer.kind for layer in model.layers] == ["convolution", "recurrent", "recurrent", "linear", ""]
    zeros = [layer.weights - layer.nonzeros for layer in model.layers]
    half = 3 * 8 * 8 // 2  # of a GRU's recurrent matrix
    assert zeros == [0, half, half, 0, 0]
    gates = {part.gate: part for part in model.parts if part.name == "recurrent.0.cell.weight_hh_l0"}
    assert list(gates) == ["reset", "update", "new"]
    assert all((part.weights, part.nonzeros) == (64, 32) for part in gates.values())
    # Layer by layer: kernels at every place of their output, matrices at every frame.
    frames = 100 / 2  # per second, after a stride of 2
    places = dict.fromkeys(counted, frames) | {"convolutions.0": frames * -(-161 // 8)}
    expected = sum(layer.nonzeros * places[layer.name] for layer in model.layers)
    assert model.macs_per_second == pytest.approx(expected, rel=1e-6)
    vector = torch.cat([weight.flatten() for weight in module.network.parameters()])
    assert (model.parameters, model.nonzeros) == (vector.numel(), int((vector != 0).sum()))
    assert model.sparsity == pytest.approx((vector == 0).float().mean().item())
    assert model.recurrent.sparsity == pytest.approx(2 * half / (counted["recurrent.0"] + counted["recurrent.1"]))
    assert model.bytes == (tmp_path / "a.safetensors").stat().st_size


def test_info_of_a_run_tells_the_bytes_of_the_file_it_would_become(tmp_path):
    config = tiny_config()
    run = run_of(tiny_module(config), config, tmp_path / "run")
    assert info(run).bytes == export(run, out=tmp_path / "run.safetensors").bytes
    assert info(run).name == info(tmp_path / "run.safetensors").name == "run"


def test_info_prints_all_it_knows_and_no_control_sequences(tmp_path):
    config = tiny_config()
    save_model(tmp_path / "a.safetensors", tiny_module(config), config.model, {"note": "\x1b[2J[bold]hello"})
    console = Console(width=100, file=io.StringIO())
    info(tmp_path / "a.safetensors").print(console)
    info(run_of(tiny_module(config), config, tmp_path / "run")).print(console)
    text = console.file.getvalue()
    assert "\x1b" not in text and "[bold]hello" in text
    for words in (
        "recurrent.1",
        "biases and norms",
        "all recurrent",
        "cell: gru",
        "train: train.jsonl",
        "step: 70",
        "MB",
    ):
        assert words in text


def test_the_commit_is_that_of_this_project_or_nothing(tmp_path, monkeypatch):
    """A copy installed inside somebody's repository must not report that repository's commit."""
    commit = versions.git_commit()
    assert commit is None or len(commit.removesuffix("-dirty")) == 40
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "other"], check=True)
    installed = tmp_path / "versions.py"
    installed.touch()
    monkeypatch.setattr(versions, "__file__", str(installed))
    assert versions.git_commit() is None
    subprocess.run([*git, "add", "versions.py"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "ours"], check=True)
    assert len(versions.git_commit()) == 40
    installed.write_text("changed")
    assert versions.git_commit().endswith("-dirty")


def test_model_is_what_a_module_in_training_is(tmp_path):
    """`save_model` takes a LightningModule and a `Model` alike."""
    config = tiny_config()
    module = tiny_module(config)
    assert isinstance(module.network, nn.Module)
    model = Model(module.front_end, module.network, config.model, {})
    save_model(tmp_path / "a.safetensors", module, config.model, {})
    save_model(tmp_path / "b.safetensors", model, config.model, {})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_random_damage_is_an_input_error_or_harmless(model_file):
    """Bytes flipped anywhere in header and metadata: never another exception."""
    content, draw = model_file.read_bytes(), random.Random(0)
    header = 8 + int.from_bytes(content[:8], "little")
    bad = model_file.with_name("bad.safetensors")
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 3)):
            damaged[draw.randrange(header)] = draw.randrange(256)
        bad.write_bytes(damaged)
        try:
            load_model(bad)
        except InputError as error:
            assert str(bad) in str(error)
            refused += 1
    assert refused > 40

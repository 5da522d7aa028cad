"""A training that starts from a trained model: its weights, zeros and statistics; resumed; other models refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deepspeech_sparse.cli import main
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.export import export, info
from deepspeech_sparse.features import FeaturesConfig
from deepspeech_sparse.model import ConvolutionConfig, NetworkConfig
from deepspeech_sparse.pruning import Goal, Hard, Narang, PruningConfig
from deepspeech_sparse.training.batches import DataConfig
from deepspeech_sparse.training.callbacks import load_checkpoint
from deepspeech_sparse.training.config import RunConfig, save_config
from deepspeech_sparse.training.module import OptimizerConfig
from deepspeech_sparse.training.runs import fresh, train


@pytest.fixture(scope="module")
def sparse(tones) -> RunConfig:
    """Few epochs of a network whose recurrent weights are pruned."""
    return RunConfig(
        data=DataConfig(tones["train"], tones["dev"], batch_seconds=10),
        features=FeaturesConfig(kind="log_mel", mels=16, normalise="global"),
        network=NetworkConfig((ConvolutionConfig(4, (5, 5), (2, 2)),), layers=1, hidden=12, dropout=0.2),
        optimizer=OptimizerConfig(learning_rate=0.01),
        pruning=PruningConfig(Goal(sparsity=0.8), schedule=Narang(every=1, start_epoch=0.3, ramp=0.4, end=0.8)),
        alphabet="abc",
        epochs=2,
        threads=1,
    )


@pytest.fixture(scope="module")
def trained(sparse, tmp_path_factory) -> Path:
    """Its run folder."""
    return train(sparse, tmp_path_factory.mktemp("trained") / "run")


def last(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]


def best(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "checkpoints" / "best.ckpt")["state_dict"]


def matrices(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if name.startswith("network.") and tensor.dim() > 1}


@pytest.mark.parametrize("kind", ["run", "checkpoint", "model file"])
def test_it_starts_with_weights_and_statistics_of_the_model(kind, sparse, trained, tmp_path):
    source = {"run": trained, "checkpoint": trained / "checkpoints" / "best.ckpt"}.get(kind, tmp_path / "m.safetensors")
    if kind == "model file":
        export(trained, out=source)
    network = replace(sparse.network, dropout=0.5)  # no weight depends on it
    _, module = fresh(replace(sparse, network=network, seed=7, init_from=source))
    expected = best(trained)
    assert module.network.dropout.p == 0.5 and "front_end.mean" in expected
    assert all(torch.equal(tensor, expected[name]) for name, tensor in module.state_dict().items())
    _, other = fresh(replace(sparse, seed=7))
    assert not all(torch.equal(tensor, expected[name]) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_zeros_of_a_sparse_model_stay_and_all_other_weights_learn(optimizer, sparse, trained, tmp_path):
    rates = OptimizerConfig(optimizer, learning_rate=0.005, weight_decay=0.1)
    train(replace(sparse, pruning=None, init_from=trained, optimizer=rates), tmp_path)
    before, after = (matrices(state) for state in (best(trained), last(tmp_path)))
    zeros = 0
    for name, weights in before.items():
        assert torch.equal(after[name] == 0, weights == 0), name
        moved = after[name] != weights
        assert (moved | (weights == 0)).float().mean() > 0.99, name
        zeros += int((weights == 0).sum())
    assert zeros > 300
    assert torch.equal(last(tmp_path)["front_end.mean"], last(trained)["front_end.mean"]), "statistics stay"
    assert info(tmp_path).recurrent.sparsity == pytest.approx(0.8, abs=0.01)
    told = [float(line.split(",")[7]) for line in (tmp_path / "metrics.csv").read_text().splitlines()[1:]]
    assert told == pytest.approx([0.8, 0.8], abs=0.01), "as while it was pruned"


def test_with_pruning_of_its_own_a_model_is_pruned_further(sparse, trained, tmp_path):
    pruning = PruningConfig(Goal(sparsity=0.9), schedule=Hard("hard", at=0.3))
    train(replace(sparse, pruning=pruning, init_from=trained), tmp_path)
    assert info(tmp_path).recurrent.sparsity == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("step", [3, 7])
def test_stopped_it_goes_on_bit_exactly_when_the_model_is_gone(step, sparse, trained, tmp_path, train_until):
    source = shutil.copytree(trained, tmp_path / "source")
    config = replace(sparse, pruning=None, init_from=source, epochs=3, checkpoint_every=1)
    train(config, tmp_path / "whole")
    train_until(config, tmp_path / "broken", step)
    shutil.rmtree(source)
    train(config, tmp_path / "broken", resume=True)
    expected, reached = last(tmp_path / "whole"), last(tmp_path / "broken")
    assert all(torch.equal(expected[name], reached[name]) for name in expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": {"hidden": 16}}, r"network\.hidden: 12 -> 16"),
        ({"features": {"mels": 20}}, r"features\.mels: 16 -> 20"),
        ({"alphabet": "abcd"}, "alphabet: abc -> abcd"),
    ],
)
def test_another_model_is_refused_before_a_folder_is_made(change, words, sparse, trained, tmp_path):
    change = {
        name: replace(getattr(sparse, name), **value) if isinstance(value, dict) else value
        for name, value in change.items()
    }
    with pytest.raises(InputError, match=words):
        train(replace(sparse, **change, init_from=trained), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_on_the_command_line(sparse, trained, tmp_path, capsys):
    save_config(replace(sparse, pruning=None, epochs=1), tmp_path / "recipe.yaml")
    run = ["train", "--config", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run")]
    assert main([*run, "--init_from", "nowhere.safetensors"]) == 1
    assert "nowhere.safetensors" in capsys.readouterr().err and not (tmp_path / "run").exists()
    assert main([*run, "--init_from", str(trained)]) == 0
    assert info(tmp_path / "run").recurrent.sparsity == pytest.approx(0.8, abs=0.01)
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert "--init_from" in capsys.readouterr().out

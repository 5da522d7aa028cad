"""Sparse gradients in a training: what is asked for, thresholds that follow, the probe, resuming, metrics."""

import csv
import dataclasses
import importlib.util
import json
import math
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import nn

from deepspeech_sparse.augment import AugmentConfig
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.features import FeaturesConfig
from deepspeech_sparse.gradients import (
    EXACT,
    GRU,
    LSTM,
    Absolute,
    GradientsConfig,
    Relative,
    Rounding,
    Seen,
    SparseGradients,
    Target,
    Units,
    native_direction,
)
from deepspeech_sparse.gradients.probe import correlations, cosine
from deepspeech_sparse.gradients.thresholds import Threshold, quantile
from deepspeech_sparse.model import ConformerConfig, ConvolutionConfig, NetworkConfig
from deepspeech_sparse.models import any_model
from deepspeech_sparse.pruning import Goal, Narang, PruningConfig
from deepspeech_sparse.training.batches import DataConfig
from deepspeech_sparse.training.callbacks import load_checkpoint
from deepspeech_sparse.training.config import RunConfig, config_of, load_config, save_config
from deepspeech_sparse.training.module import OptimizerConfig
from deepspeech_sparse.training.runs import train


@pytest.fixture(scope="module")
def tiny(tones) -> RunConfig:
    """Weights and gradients sparse, 4 epochs of about 6 steps, every source of randomness switched on."""
    return RunConfig(
        data=DataConfig(tones["train"], tones["dev"], batch_seconds=5),
        features=FeaturesConfig(kind="log_mel", mels=16),
        augment=AugmentConfig(),
        network=NetworkConfig((ConvolutionConfig(4, (5, 5), (2, 2)),), layers=2, hidden=12, dropout=0.2),
        optimizer=OptimizerConfig(learning_rate=0.01),
        pruning=PruningConfig(Goal(sparsity=0.8), schedule=Narang(every=2, ramp=0.3, end=0.8)),
        gradients=GradientsConfig(Target("sparsity", 0.6), every=2),
        alphabet="abc",
        epochs=4,
        checkpoint_every=3,
        threads=1,
    )


@pytest.fixture(scope="module")
def unbroken(tiny, tmp_path_factory):
    return train(tiny, tmp_path_factory.mktemp("unbroken"))


def table(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("step", [1, 5, 9, 14])
def test_a_training_stopped_anywhere_ends_with_the_same_weights_and_tables(step, tiny, unbroken, tmp_path, train_until):
    """Before the first threshold is known, within an epoch, and behind checkpoints that lie between two looks."""
    train_until(tiny, tmp_path, step)
    train(tiny, tmp_path, resume="auto")
    expected, reached = (load_checkpoint(run / "checkpoints" / "last.ckpt") for run in (unbroken, tmp_path))
    assert all(torch.equal(weight, reached["state_dict"][name]) for name, weight in expected["state_dict"].items())
    assert expected["callbacks"]["SparseGradients"] == reached["callbacks"]["SparseGradients"]
    assert table(unbroken / "gradients.csv") == table(tmp_path / "gradients.csv")


def test_the_tables_tell_by_epoch_layer_and_gate_what_was_zero(tiny, unbroken):
    metrics = table(unbroken / "metrics.csv")
    assert [row["epoch"] for row in metrics] == ["1", "2", "3", "4"]
    rows = table(unbroken / "gradients.csv")
    layers = [f"network.recurrent.{i}.cell_l0{end}" for i in (0, 1) for end in ("", "_reverse")]
    assert list(dict.fromkeys(row["layer"] for row in rows)) == layers
    assert len(rows) == 4 * 4 * 3 and {row["gate"] for row in rows} == {"reset", "update", "new"}
    last = [row for row in rows if row["epoch"] == "4"]
    assert all(float(row["threshold"]) > 0 for row in last)
    sparsity = float(metrics[-1]["gradient_sparsity"])
    assert sparsity == pytest.approx(sum(float(row["sparsity"]) for row in last) / len(last), abs=1e-5)
    assert 0.3 < sparsity < 0.9
    # Products of inputs and states are not equally large: 2/3 of the zeros are redundant on the whole.
    assert float(metrics[-1]["redundant_macs"]) == pytest.approx(2 / 3 * sparsity, abs=0.05)
    assert 0.3 < float(metrics[-1]["gradient_correlation"]) <= 1 + 1e-6
    assert float(metrics[-1]["sparsity"]) > 0.7  # weights were pruned beside it
    events = (next((unbroken / "tensorboard").glob("events*"))).read_bytes()
    assert b"gradient_sparsity/network.recurrent.0.cell_l0/reset" in events
    network = any_model(unbroken).network
    assert all(layer.rounding == EXACT and layer.seen is None for layer in (r.cell for r in network.recurrent))


def test_a_dense_training_has_no_such_columns(tiny, tmp_path):
    train(dataclasses.replace(tiny, gradients=None, pruning=None, epochs=1), tmp_path)
    assert "gradient_sparsity" not in table(tmp_path / "metrics.csv")[0]
    assert not (tmp_path / "gradients.csv").exists()


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn", "clipped_rnn"])
def test_rounding_nothing_trains_the_same_network_and_the_probe_leaves_no_trace(cell, tiny, tmp_path):
    """Bit for bit: batch norm's averages, dropout and gradients are as if nobody had looked."""
    network = dataclasses.replace(tiny.network, cell=cell)
    plain = dataclasses.replace(tiny, network=network, pruning=None, gradients=None, epochs=2)
    looked = dataclasses.replace(plain, gradients=GradientsConfig(Absolute("absolute", 0.0), every=1))
    one, other = train(plain, tmp_path / "plain"), train(looked, tmp_path / "looked")
    expected, reached = (load_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"] for run in (one, other))
    assert all(torch.equal(weight, reached[name]) for name, weight in expected.items())
    assert all(float(row["correlation"]) == pytest.approx(1, abs=1e-6) for row in table(other / "gradients.csv"))


def test_a_network_without_recurrent_layers_is_refused_before_its_folder_is_made(tiny, tmp_path):
    network = ConformerConfig(layers=1, hidden=8, heads=2, feed_forward=8, kernel=3)
    with pytest.raises(InputError, match="no recurrent layer"):
        train(dataclasses.replace(tiny, network=network, pruning=None), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rule": {"kind": "absolute", "threshold": -1e-6}}, "threshold = -1e-06"),
        ({"rule": {"kind": "absolute", "threshold": math.nan}}, "threshold = nan"),
        ({"rule": {"kind": "relative", "quantile": 1.0}}, "quantile = 1.0"),
        ({"rule": {"kind": "relative", "factor": -1.0}}, "factor = -1.0"),
        ({"rule": {"kind": "sparsity", "sparsity": 1.0}}, "sparsity = 1.0"),
        ({"rule": {"kind": "units", "dropped": 1.5}}, "dropped = 1.5"),
        ({"rule": {"kind": "unit"}}, "unit"),
        ({"rule": {"kind": "sparsity", "threshold": 1.0}}, "threshold"),
        ({"start": 0.5, "end": 0.5}, "start 0.5"),
        ({"ramp": 1.5}, "ramp 1.5"),
        ({"every": 0}, "every = 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        config_of({"data": {"train": "a", "dev": "b"}, "gradients": values})


def test_every_rule_survives_its_yaml(tmp_path, tiny):
    for rule in (Absolute("absolute", 1e-6), Relative("relative"), Target("sparsity", 0.5), Units("units", 0.25)):
        config = dataclasses.replace(tiny, gradients=GradientsConfig(rule, start=0.1, ramp=0.2, end=0.9, probe=False))
        save_config(config, tmp_path / "config.yaml")
        assert load_config(tmp_path / "config.yaml") == config


def test_rounding_starts_rises_and_ends_when_it_should():
    config = GradientsConfig(start=0.25, ramp=0.5, end=0.8)
    strengths = [config.strength(step, 100) for step in (0, 24, 25, 50, 75, 79, 80, 99)]
    assert strengths == [0, 0, 0, 0.5, 1, 1, 0, 0]
    assert GradientsConfig().strength(0, 100) == GradientsConfig().strength(99, 100) == 1
    assert Threshold(Absolute("absolute", 4e-6)).rounding(0.5) == Rounding(2e-6)
    assert Threshold(Units("units", 0.8)).rounding(0.5) == Rounding(dropped=0.4)
    assert Threshold(Target(), known=3.0).rounding(0.0) == EXACT


def test_thresholds_follow_the_gradients_whatever_their_scale():
    """A thousand times the loss is a thousand times the threshold, and the same zeros."""
    torch.manual_seed(0)
    for rule in (Target("sparsity", 0.8), Relative("relative", 0.05, 0.99)):
        small, large = Threshold(rule), Threshold(rule)
        assert small.rounding(1.0) == EXACT  # before anything is known
        for _ in range(5):
            sizes = torch.randn(10_000).abs() * 1e-6
            small.look(sizes)
            large.look(sizes * 1000)
        assert large.rounding(1.0).threshold == pytest.approx(1000 * small.rounding(1.0).threshold, rel=1e-4)
        if isinstance(rule, Target):
            assert (sizes <= small.rounding(1.0).threshold).float().mean() == pytest.approx(0.8, abs=0.02)
    for length in (3, 8, 16, 40):  # short sequences, a loss at their end alone, whose gradient fades backwards
        torch.manual_seed(1)
        layer, x = LSTM(16, 32), torch.randn(length, 8, 16)
        threshold = Threshold(Target("sparsity", 0.8))
        for _ in range(40):
            layer.rounding, layer.seen = threshold.rounding(1.0), [Seen()]
            layer(x)[0][-1].sum().backward()
            threshold.look(layer.seen[0].sample)
        assert layer.seen[0].recurrent_zeros == pytest.approx(0.8, abs=0.08)
    halfway = Threshold(Target("sparsity", 0.8))
    halfway.look(torch.arange(1.0, 101.0), strength=0.5)
    assert halfway.rounding(0.5).threshold == 40.0


def test_a_quantile_ignores_what_is_no_number_and_samples_what_is_large():
    assert quantile(torch.tensor([3.0, 1.0, 2.0, 4.0]), 0.5) == 2.0
    assert quantile(torch.tensor([1.0, math.nan, math.inf]), 0.9) == 1.0
    assert quantile(torch.tensor([]), 0.5) == quantile(torch.zeros(5), 0.5) == 0.0
    assert quantile(torch.rand(1_000_000), 0.25) == pytest.approx(0.25, abs=0.01)
    steady = Threshold(Target("sparsity", 0.5), known=2.0)
    steady.look(torch.zeros(10))  # a batch without a gradient teaches nothing
    assert steady.known == 2.0


def test_the_correlation_is_the_cosine_of_all_matrices_of_a_layer():
    torch.manual_seed(1)
    layer, x = LSTM(5, 16), torch.randn(9, 3, 5)
    layer.rounding = Rounding(0.05)
    ours = torch.autograd.grad(layer(x)[0].sum(), [layer.weight_ih_l0, layer.weight_hh_l0])
    layer.rounding = EXACT
    exact = torch.autograd.grad(layer(x)[0].sum(), [layer.weight_ih_l0, layer.weight_hh_l0])
    layer.rounding = Rounding(0.05)
    [value] = correlations(layer, {"layer": layer}, lambda: layer(x)[0].sum()).values()
    flat, flat_exact = (torch.cat([part.flatten() for part in parts]) for parts in (ours, exact))
    assert value == pytest.approx(float(nn.functional.cosine_similarity(flat, flat_exact, 0)), abs=1e-5)
    assert value < 0.9999 and layer.rounding == Rounding(0.05) and layer.weight_ih_l0.grad is None
    assert math.isnan(cosine([torch.zeros(3)], [torch.ones(3)]))


class Foreign(L.LightningModule):
    """Somebody else's training, with a layer of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = GRU(4, 6, 2, batch_first=True, bidirectional=True)

    def training_step(self, batch, index):
        return self.layer(batch)[0].square().sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.randn(12, 7, 4), batch_size=3)


def foreign_trainer(callback: SparseGradients, folder) -> L.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return L.Trainer(
        max_epochs=2, accelerator="cpu", callbacks=[callback], logger=False, default_root_dir=folder, **quiet
    )


@pytest.mark.filterwarnings("ignore")
def test_the_callback_serves_any_lightning_module(tmp_path):
    module = Foreign()
    callback = SparseGradients(GradientsConfig(Units("units", 0.5), every=1))
    with pytest.raises(InputError, match=r"Foreign\.loss\(batch\); set probe: false"):
        foreign_trainer(callback, tmp_path).fit(module)
    callback = SparseGradients(GradientsConfig(Units("units", 0.5), every=1, end=0.6, probe=False))
    trainer = foreign_trainer(callback, tmp_path)
    trainer.fit(module)
    assert callback.total_steps == 8 and trainer.global_step == 8
    assert float(trainer.callback_metrics["gradient_sparsity"]) < 0.2  # exact again at the end
    assert {row["layer"] for row in callback.rows} == {f"layer_l{i}{end}" for i in (0, 1) for end in ("", "_reverse")}
    assert module.layer.rounding == EXACT and module.layer.seen is None


class Broken(Foreign):
    def training_step(self, batch, index):
        if index == 2:
            raise ArithmeticError
        return super().training_step(batch, index)


@pytest.mark.filterwarnings("ignore")
def test_a_broken_training_leaves_the_layers_as_they_were_and_the_next_fit_remembers(tmp_path):
    callback, module = SparseGradients(GradientsConfig(probe=False)), Broken()
    with pytest.raises(ArithmeticError):
        foreign_trainer(callback, tmp_path).fit(module)
    assert module.layer.rounding == EXACT and module.layer.seen is None
    known = callback.threshold.known
    callback.prepare(module)
    assert known > 0 and callback.threshold.known == known


@pytest.mark.filterwarnings("ignore")
def test_a_share_rises_from_zero_after_the_start(tmp_path):
    """Before the start nothing is learned for a share that is not asked for yet."""
    shares = []

    class Watch(L.Callback):
        def on_train_batch_end(self, trainer, *arguments):
            shares.append(float(trainer.callback_metrics["gradient_sparsity"]))

    config = GradientsConfig(Target("sparsity", 0.9), start=0.25, ramp=0.5, every=1, probe=False)
    trainer = foreign_trainer(SparseGradients(config), tmp_path)
    trainer.callbacks.append(Watch())
    trainer.fit(Foreign())
    assert max(shares[:3]) < 0.1 and shares[3] < 0.4 < shares[-1]


def test_frozen_layers_have_no_correlation():
    layer = GRU(3, 4).requires_grad_(False)
    assert math.isnan(correlations(layer, {"layer": layer}, lambda: None)["layer"])


@pytest.mark.filterwarnings("ignore")
def test_where_nothing_is_skipped_the_log_says_so(tmp_path, caplog, monkeypatch):
    callback = SparseGradients(GradientsConfig(probe=False))
    monkeypatch.setattr(native_direction, "native", lambda: None)
    foreign_trainer(callback, tmp_path).fit(Foreign())
    assert "takes longer than exact gradients" in caplog.text
    assert any(row["threshold"] > 0 for row in callback.rows)


def test_notes_without_a_backward_pass_are_none():
    layer = GRU(3, 4)
    layer.seen = [Seen()]
    layer(torch.randn(5, 2, 3))
    assert layer.seen[0].frames == 0


def test_the_character_model_of_the_benchmark_tells_what_rounding_did(tmp_path, monkeypatch, capsys):
    script = Path(__file__).parents[1] / "benchmarks" / "character_lm.py"
    spec = importlib.util.spec_from_file_location("character_lm", script)
    character_lm = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(character_lm)
    monkeypatch.setattr(character_lm, "VALIDATION", 2020)
    text, out = tmp_path / "text.txt", tmp_path / "figures.json"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 100)
    arguments = ["character_lm.py", "--text", str(text), "--out", str(out), "--steps", "40", "--batch", "2"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--rules", "threshold 0", "sparsity 0.8 from 10 %"])
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    character_lm.main()
    exact, rounded = json.loads(out.read_text())["runs"].values()
    assert 0 < exact["loss"] < math.log(28)
    assert exact["gradient_correlation"] == 1 > rounded["gradient_correlation"]
    assert rounded["gradient_sparsity"] > 0.6 > exact["gradient_sparsity"]
    assert "| sparsity 0.8 from 10 % | 2 | 100 | 1 |" in capsys.readouterr().out
    monkeypatch.setattr(character_lm, "trained", None)  # what is there is not trained again
    character_lm.main()

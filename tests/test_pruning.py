"""Gradual pruning: schedules equal their closed forms, masks follow Algorithm 1, zeros are zeros."""

import pytest
import torch
from torch import nn

from deepspeech_sparse.errors import InputError
from deepspeech_sparse.model import ConvolutionConfig, Network, NetworkConfig
from deepspeech_sparse.pruning import (
    NarangThreshold,
    Pruner,
    PruningConfig,
    ThresholdConfig,
    prunable_parameters,
    sparsity,
)
from deepspeech_sparse.pruning.pruner import TargetThreshold, magnitude_quantile

TARGET = ThresholdConfig(sparsity=0.9)
PAPER = {"start": 2700, "ramp": 13750, "end": 27500, "every": 100}


def algorithm_1(itr: int, theta: float, phi: float, start_itr: int, ramp_itr: int, end_itr: int, freq: int):
    """The paper's pseudo-code, transcribed."""
    if itr > start_itr and itr < end_itr and itr % freq == 0:
        if itr < ramp_itr:
            return theta * (itr - start_itr + 1) / freq
        return (theta * (ramp_itr - start_itr + 1) + phi * (itr - ramp_itr + 1)) / freq
    return None


def test_threshold_equals_algorithm_1_at_every_iteration():
    schedule = NarangThreshold(start=30, ramp=110, end=200, slope=0.003, slope_ramp=0.005, every=7)
    for step in range(260):
        assert schedule(step) == pytest.approx(algorithm_1(step, 0.003, 0.005, 30, 110, 200, 7))


def test_theta_of_the_papers_run_follows_from_q():
    schedule = NarangThreshold.from_quantile(q=1.0, **PAPER)
    assert schedule.slope == pytest.approx(0.003157, abs=5e-7)
    assert schedule.slope_ramp == pytest.approx(1.5 * schedule.slope)
    assert schedule(schedule.last_update) == pytest.approx(1.0, abs=0.01)


def test_bounds_are_strict():
    schedule = NarangThreshold(start=100, ramp=200, end=300, slope=1, slope_ramp=2, every=100)
    assert schedule(100) is None and schedule(300) is None
    assert schedule(200) is not None and schedule.last_update == 200


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"start": 200, "ramp": 100, "end": 300}, "start 200, ramp 100"),
        ({"start": 10, "ramp": 20, "end": 20}, "ramp 20, end 20"),
        ({"start": 10, "ramp": 20, "end": 90, "every": 100}, "nothing would ever be pruned"),
        ({"start": 10, "ramp": 20, "end": 90, "every": 0}, "every = 0"),
    ],
)
def test_impossible_schedules_are_refused_with_their_numbers(settings, words):
    with pytest.raises(InputError, match=words):
        NarangThreshold.from_quantile(0.1, **settings)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: ThresholdConfig(), "exactly one"),
        (lambda: ThresholdConfig(q=0.1, sparsity=0.9), "exactly one"),
        (lambda: ThresholdConfig(q=-0.1), "q = -0.1"),
        (lambda: ThresholdConfig(sparsity=1.0), "no weight would be left"),
        (lambda: ThresholdConfig(q=0.1, percentile=1.0), "percentile = 1.0"),
        (lambda: PruningConfig(), "leave `pruning` out"),
        (lambda: PruningConfig(TARGET, ramp=0.6), "ramp 0.6, end 0.5"),
        (lambda: PruningConfig(TARGET, end=1.5), "end 1.5"),
        (lambda: PruningConfig(TARGET, phi_ratio=0), "phi_ratio = 0"),
        (lambda: NarangThreshold.from_quantile(0.0, 1, 2, 3, 1), "q = 0.0"),
    ],
)
def test_impossible_configs_are_refused_with_the_value(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_heuristics_of_table_1_place_start_ramp_and_end():
    schedule = PruningConfig(TARGET).schedule(0.1, steps_per_epoch=2750, total_steps=55000)
    assert (schedule.start, schedule.ramp, schedule.end, schedule.every) == (2750, 13750, 27500, 100)


@pytest.mark.parametrize("cell, per_layer", [("gru", 4), ("lstm", 4), ("rnn", 4), ("clipped_rnn", 3)])
def test_recurrent_matrices_are_prunable_and_biases_norms_convolutions_and_head_are_not(cell, per_layer):
    config = NetworkConfig((ConvolutionConfig(4, (5, 5)),), cell=cell, layers=2, hidden=8, fully_connected=6)
    found = prunable_parameters(Network(config, bins=10, labels=5))
    assert len(found["recurrent"]) == 2 * per_layer
    assert all("weight" in name and parameter.dim() == 2 for name, parameter in found["recurrent"].items())
    assert list(found["linear"]) == ["fully_connected.linear.weight"]


def test_quantile_prunes_exactly_the_share():
    weights = [torch.randn(30, 20), torch.randn(40, 10)]
    threshold = magnitude_quantile(weights, 0.9)
    below = sum(int((weight.abs() < threshold).sum()) for weight in weights)
    assert below == 900


def tiny_pruner(rule) -> tuple[nn.Linear, Pruner]:
    layer = nn.Linear(6, 5)
    return layer, Pruner({"linear": {"weight": layer.weight}}, {"linear": rule})


def test_masks_freeze_after_the_last_update_and_zeros_stay_exact_with_adamw():
    schedule = NarangThreshold.from_quantile(0.25, start=2, ramp=10, end=20, every=3)
    layer, pruner = tiny_pruner(lambda step, _: schedule(step))
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.01)
    teacher = nn.Linear(6, 5)
    patterns = []
    for step in range(1, 41):
        optimizer.zero_grad()
        x = torch.randn(8, 6)
        (layer(x) - teacher(x)).square().sum().backward()
        optimizer.step()
        pruner.step(step)
        if pruner.pruned:
            held = layer.weight[pruner.pruned["weight"]]
            assert (held == 0).all() and not torch.signbit(held).any()
        patterns.append(pruner.pruned.get("weight", torch.zeros(5, 6, dtype=torch.bool)).clone())
    assert not patterns[1].any(), "nothing goes at or before start"
    assert patterns[19].any()
    assert all(torch.equal(pattern, patterns[19]) for pattern in patterns[20:])


def test_a_pruned_weight_returns_when_one_update_alone_exceeds_the_threshold():
    layer, pruner = tiny_pruner(lambda step, _: 0.1 if step in (1, 3) else None)
    layer.weight.data.fill_(0.5)
    layer.weight.data[0, 0] = 0.01
    layer.weight.data[0, 1] = 0.01
    pruner.step(1)
    assert layer.weight[0, 0] == 0
    layer.weight.data[0, 0] += 0.3  # an ungated gradient at work
    pruner.step(2)
    assert layer.weight[0, 0] == 0, "between two updates of the mask it is held at zero"
    layer.weight.data[0, 0] += 0.3
    layer.weight.data[0, 1] += 0.05
    pruner.step(3)
    assert layer.weight[0, 0].item() == pytest.approx(0.3)
    assert layer.weight[0, 1] == 0


def test_target_sparsity_is_met_at_the_end_while_weights_drift():
    shape = NarangThreshold.from_quantile(1.0, start=0, ramp=20, end=60, every=4)
    layer = nn.Linear(100, 100)
    pruner = Pruner({"linear": {"weight": layer.weight}}, {"linear": TargetThreshold(0.9, shape)})
    reached = []
    for step in range(1, 80):
        layer.weight.data += 0.01 * torch.randn(100, 100)
        pruner.step(step)
        reached.append(pruner.sparsity())
    assert reached[55] == pytest.approx(0.9, abs=1e-4)
    assert reached[-1] == reached[55]
    assert reached[10] < 0.5


def test_nothing_left_is_refused_with_the_numbers():
    layer, pruner = tiny_pruner(lambda step, _: 5.0)
    before = layer.weight.clone()
    with pytest.raises(InputError, match="step 1 the threshold 5 exceeds every weight of weight"):
        pruner.step(1)
    assert torch.equal(layer.weight, before)


def test_rules_for_layers_that_are_not_there_are_refused():
    with pytest.raises(InputError, match="given for linear layers"):
        Pruner(prunable_parameters(nn.GRU(3, 3)), {"linear": lambda step, _: None})


def test_pruning_keeps_names_and_flat_weights_of_a_fused_layer():
    layer = nn.LSTM(5, 4)
    names, pointers = list(layer.state_dict()), [weight.data_ptr() for weight in layer.all_weights[0]]
    pruner = Pruner(prunable_parameters(layer), {"recurrent": lambda step, _: 0.2})
    pruner.step(1)
    assert list(layer.state_dict()) == names
    assert [weight.data_ptr() for weight in layer.all_weights[0]] == pointers
    assert sparsity([layer.weight_hh_l0]) > 0


def test_state_round_trip_goes_on_with_the_same_masks():
    torch.manual_seed(3)
    _, pruner = tiny_pruner(lambda step, _: 0.2 if step == 1 else None)
    pruner.step(1)
    _, other = tiny_pruner(lambda step, _: None)
    other.load_state_dict(pruner.state_dict())
    assert torch.equal(other.pruned["weight"], pruner.pruned["weight"]) and other.thresholds == {"linear": 0.2}
    with pytest.raises(InputError, match="does not fit"):
        other.load_state_dict({"pruned": {"weight": torch.ones(2, 2, dtype=torch.bool)}, "thresholds": {}})

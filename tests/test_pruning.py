"""The pruner: the right weights are chosen, masks follow Algorithm 1, zeros are zeros; impossible plans are refused."""

import pytest
import torch
import torchaudio
from torch import nn

from deepspeech_sparse.errors import InputError
from deepspeech_sparse.model import ConvolutionConfig, Network, NetworkConfig
from deepspeech_sparse.pruning import (
    Balanced,
    Blocks,
    Cubic,
    Goal,
    Hard,
    Iterative,
    Lottery,
    Narang,
    Pruner,
    PruningConfig,
    Single,
    TwoOfFour,
    prunable_weights,
    sparsity,
)
from deepspeech_sparse.pruning.pruner import lasso_gradient, zero_

TARGET = Goal(sparsity=0.9)
EVERY_STEP = Cubic("cubic", start_epoch=0, end=1.0, every=1)


def pruner_of(module: nn.Module, config: PruningConfig, *, total: int = 100, epoch: int = 10, **options) -> Pruner:
    return Pruner.of(module, config, total_steps=total, steps_per_epoch=epoch, **options)


def once(goal: Goal, **settings) -> PruningConfig:
    """Prune linear layers at step 1 of 100."""
    return PruningConfig(linear=goal, schedule=Hard("hard", at=0.01), **settings)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Goal(), "exactly one"),
        (lambda: Goal(q=0.1, sparsity=0.9), "exactly one"),
        (lambda: Goal(q=-0.1), "q = -0.1"),
        (lambda: Goal(deviations=float("nan")), "deviations = nan"),
        (lambda: Goal(sparsity=1.0), "no weight would be left"),
        (lambda: Goal(q=0.1, percentile=1.0), "percentile = 1.0"),
        (lambda: PruningConfig(), "leave `pruning` out"),
        (lambda: Narang(ramp=0.6), "ramp 0.6, end 0.5"),
        (lambda: Narang(end=1.5), "end 1.5"),
        (lambda: Narang(phi_ratio=0), "phi_ratio = 0"),
        (lambda: Cubic("cubic", end=1.2), "end = 1.2"),
        (lambda: Hard("hard", at=0), "at = 0"),
        (lambda: Iterative("iterative", start=0.9, end=0.8), "3 rounds from 0.9 to 0.8"),
        (lambda: Iterative("iterative", retrain_rate=0), "retrain_rate = 0"),
        (lambda: Lottery("lottery", share=1.0), "share = 1.0"),
        (lambda: Lottery("lottery", rewind_epoch=-1), "rewind_epoch = -1"),
        (lambda: PruningConfig(TARGET, taper=1.0), "taper = 1.0"),
        (lambda: PruningConfig(TARGET, taper=0.1, scope="layer"), "set scope: kind"),
        (lambda: PruningConfig(TARGET, Goal(sparsity=0.5), scope="global"), "recurrent, linear need the same goal"),
        (lambda: PruningConfig(TARGET, group_lasso=0.1), "needs blocks"),
        (lambda: PruningConfig(TARGET, pattern=TwoOfFour("2:4")), "sparsity of 0.9 cannot be reached"),
        (lambda: PruningConfig(Goal(q=0.1), schedule=EVERY_STEP), "recurrent has q as its goal, but cubic"),
        (lambda: PruningConfig(Goal(deviations=1)), "narang pruning takes q or dense or sparsity"),
    ],
)
def test_impossible_configs_are_refused_with_the_value(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize(
    "config, words",
    [
        (PruningConfig(convolution=TARGET), "given for convolution layers, but the network has none"),
        (PruningConfig(TARGET, schedule=Narang(start_epoch=4)), "start 40, ramp 25"),
        (PruningConfig(TARGET, schedule=Cubic("cubic", start_epoch=9)), "starts at step 90 and ends at step 50 of 100"),
        (PruningConfig(TARGET, schedule=Narang(every=100)), "no multiple of every = 100"),
        (PruningConfig(TARGET, include=("*hh*", "*nonsense*")), r"'\*nonsense\*' matches no weight. .* weight_ih_l0"),
        (PruningConfig(TARGET, exclude=("nothing",)), "'nothing' matches no weight"),
        (PruningConfig(TARGET, exclude=("*weight*",)), "none that include and exclude leave"),
        (PruningConfig(TARGET, schedule=Narang(every=1), pattern=Blocks("blocks", 7, 1)), "7 x 1 do not tile"),
        (PruningConfig(TARGET, schedule=Narang(every=1), pattern=Balanced("balanced", 3)), "gates of 3 groups"),
        (PruningConfig(Goal(q=0.1), schedule=Narang(every=2, phi_ratio=20)), "prune everything"),
        (PruningConfig(TARGET, schedule=Lottery("lottery", share=0.01)), "230 rounds"),
        (PruningConfig(Goal(dense="runs/dense")), "cannot be read here"),
    ],
)
def test_plans_that_do_not_fit_the_network_or_its_training_are_refused_beforehand(config, words):
    with pytest.raises(InputError, match=words):
        pruner_of(nn.GRU(6, 4), config)


@pytest.mark.parametrize("cell, per_layer", [("gru", 4), ("lstm", 4), ("rnn", 4), ("clipped_rnn", 3)])
def test_matrices_of_recurrent_layers_are_prunable_and_biases_norms_and_head_are_not(cell, per_layer):
    config = NetworkConfig(
        convolutions=(ConvolutionConfig(4, (5, 5)),), cell=cell, layers=2, hidden=8, fully_connected=6
    )
    found = prunable_weights(Network(config, bins=10, labels=5))
    kinds = [weight.kind for weight in found]
    assert kinds == ["convolution"] + ["recurrent"] * 2 * per_layer + ["linear"]
    assert found[-1].name == "fully_connected.linear.weight"
    gates = {"gru": 3, "lstm": 4}.get(cell, 1)
    assert {len(weight.gates) for weight in found if weight.kind == "recurrent"} == {gates}


@pytest.mark.parametrize("cell, layer", [(nn.GRUCell, nn.GRU), (nn.LSTMCell, nn.LSTM), (nn.RNNCell, nn.RNN)])
def test_a_cell_of_torch_has_the_gates_of_its_layer(cell, layer):
    """And is pruned in balance like it."""
    both = [prunable_weights(kind(8, 8, bias=False)) for kind in (cell, layer)]
    assert [weight.gates for weight in both[0]] == [weight.gates for weight in both[1]]
    module, schedule = cell(8, 8), Hard("hard", at=0.01)
    pruner = pruner_of(module, PruningConfig(TARGET, schedule=schedule, pattern=Balanced("balanced")))
    assert pruner.step(1)
    for matrix, weight in zip((module.weight_ih, module.weight_hh), both[0]):
        shares = {sparsity([gate]) for gate in matrix.chunk(len(weight.gates))}
        assert len(shares) == 1 and shares.pop() > 0.8


def test_convolutions_and_attention_of_torchaudios_encoders_are_prunable():
    conformer = torchaudio.models.Conformer(8, 2, 16, 1, 3)
    letters = torchaudio.models.Wav2Letter(num_classes=5, input_type="mfcc", num_features=8)
    kinds = {weight.name: weight.kind for weight in prunable_weights(conformer)}
    assert kinds["conformer_layers.0.self_attn.in_proj_weight"] == "linear"
    assert kinds["conformer_layers.0.self_attn.out_proj.weight"] == "linear"
    assert sum(kind == "convolution" for kind in kinds.values()) == 3
    hard = Hard("hard", at=0.01)
    config = PruningConfig(convolution=TARGET, schedule=hard, scope="layer", exclude=("acoustic_model.0.weight",))
    pruner = pruner_of(letters, config)
    pruner.step(1)
    assert pruner.sparsity() == pytest.approx(0.9, abs=1e-4)
    first, *rest = [p for p in letters.parameters() if p.dim() == 3]
    assert sparsity([first]) == 0 and all(sparsity([p]) > 0.3 for p in rest)


def test_names_choose_weights_of_unknown_modules_too():
    module = nn.ModuleDict({"table": nn.Embedding(4, 4), "first": nn.Linear(4, 4), "second": nn.Linear(4, 4)})
    assert [weight.name for weight in prunable_weights(module)] == ["first.weight", "second.weight"]
    assert [weight.name for weight in prunable_weights(module, include=["table*"])] == ["table.weight"]
    assert [weight.name for weight in prunable_weights(module, exclude=["first*"])] == ["second.weight"]


def test_the_head_stays_dense_whatever_else_is_excluded():
    module = nn.ModuleDict({"first": nn.Linear(4, 4), "second": nn.Linear(4, 4), "head": nn.Linear(4, 3)})
    assert [weight.name for weight in prunable_weights(module, exclude=["first*"])] == ["second.weight"]
    assert prunable_weights(module, exclude=[])[-1].name == "head.weight"


def test_heuristics_of_table_1_place_start_ramp_and_end():
    pruner = pruner_of(nn.GRU(4, 4), PruningConfig(TARGET), total=55000, epoch=2750)
    schedule = pruner.groups[0].rule.schedule
    assert (schedule.start, schedule.ramp, schedule.end, schedule.every) == (2750, 13750, 27500, 100)


def test_masks_freeze_after_the_last_update_and_zeros_stay_exact_with_adamw():
    layer, teacher = nn.Linear(6, 5), nn.Linear(6, 5)
    schedule = Narang(start_epoch=0.2, ramp=0.1, end=0.2, every=3)
    pruner = pruner_of(layer, PruningConfig(linear=Goal(q=0.25), schedule=schedule))
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.01)
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


def returning_weights(config: PruningConfig) -> list[float]:
    """Two weights pruned at step 1; before the update at step 2 one is moved beyond the threshold, one is not."""
    layer = nn.Linear(6, 5)
    layer.weight.data = torch.linspace(1, 30, 30).view(5, 6)
    pruner = pruner_of(layer, config)
    pruner.step(1)
    assert layer.weight[0, 0] == 0
    layer.weight.data[0, 0] += 40
    layer.weight.data[0, 1] += 0.05
    pruner.step(2)
    return layer.weight[0, :2].tolist()


def test_a_pruned_weight_returns_when_one_update_alone_exceeds_the_threshold():
    schedule = Cubic("cubic", start_epoch=0.1, end=0.02, every=1, initial=0.3)
    assert returning_weights(PruningConfig(linear=Goal(sparsity=0.5), schedule=schedule, masked_updates=True)) == [
        40,
        0,
    ]
    assert returning_weights(PruningConfig(linear=Goal(sparsity=0.5), schedule=schedule)) == [0, 0]


def test_between_two_updates_a_pruned_weight_is_held_at_zero():
    layer = nn.Linear(6, 5)
    pruner = pruner_of(layer, once(Goal(sparsity=0.5)))
    pruner.step(1)
    held = pruner.pruned["weight"].clone()
    layer.weight.data += 0.3
    pruner.step(2)
    assert (layer.weight[held] == 0).all() and (layer.weight[~held] != 0).all()


def test_without_updates_of_masked_weights_their_gradients_are_gone_before_clipping():
    layer = nn.Linear(6, 5)
    pruner = pruner_of(layer, once(Goal(sparsity=0.5)))
    pruner.step(1)
    layer(torch.randn(3, 6)).sum().backward()
    pruner.before_step(2)
    assert (layer.weight.grad[pruner.pruned["weight"]] == 0).all()
    assert (layer.weight.grad[~pruner.pruned["weight"]] != 0).all()


@pytest.mark.parametrize(
    "schedule",
    [
        Narang(every=4),
        Cubic("cubic", every=4),
        Cubic("cubic", every=4, exponent=1),
        Hard("hard"),
        Iterative("iterative"),
        Lottery("lottery", share=0.5),
    ],
    ids=lambda schedule: schedule.method,
)
@pytest.mark.parametrize("scope", ["kind", "layer", "global"])
def test_target_sparsity_is_met_at_the_end_while_weights_drift(schedule, scope):
    module = nn.Sequential(nn.Linear(50, 100), nn.Linear(100, 50))
    module[1].weight.data *= 3
    pruner = pruner_of(module, PruningConfig(linear=TARGET, schedule=schedule, scope=scope))
    reached = []
    for step in range(1, 101):
        for layer in module:
            layer.weight.data += 0.01 * torch.randn(layer.weight.shape)
        pruner.step(step)
        reached.append(pruner.sparsity())
    assert reached[pruner.last_update - 1] == pytest.approx(0.9, abs=1e-4)
    assert reached[-1] == reached[pruner.last_update - 1]
    each = [sparsity([layer.weight]) for layer in module]
    assert each[0] - each[1] == pytest.approx(0, abs=1e-4) if scope == "layer" else each[0] > each[1] + 0.05


@pytest.mark.parametrize("pattern", [Blocks("blocks", 8, 1), Blocks("blocks", 4, 4, "mean"), Balanced("balanced", 2)])
def test_target_sparsity_is_met_in_patterns(pattern):
    layer = nn.GRU(40, 80)
    pruner = pruner_of(layer, PruningConfig(TARGET, schedule=Cubic("cubic", every=10), pattern=pattern))
    for step in range(1, 60):
        pruner.step(step)
    assert pruner.sparsity() == pytest.approx(0.9, abs=0.002)


def test_deviations_prune_below_the_factor_of_what_is_left():
    layer = nn.Linear(60, 50)
    layer.weight.data.normal_()
    pruner = pruner_of(layer, PruningConfig(linear=Goal(deviations=0.8), schedule=Iterative("iterative", rounds=2)))
    expected = layer.weight.detach().clone()
    for step in (40, 80):
        left = expected[expected != 0]
        limit = 0.8 * left.square().mean().sqrt()
        assert not pruner.step(step - 1)
        assert pruner.step(step) and pruner.thresholds["linear"] == pytest.approx(limit.item(), rel=1e-5)
        expected[expected.abs() < limit] = 0
        assert torch.equal(layer.weight, expected)


def test_a_taper_prunes_the_last_layer_less():
    module = nn.Sequential(*[nn.Linear(50, 50) for _ in range(3)])
    for layer in module:
        layer.weight.data.normal_()
    pruner = pruner_of(module, once(Goal(q=1.0), taper=0.4))
    pruner.step(1)
    for layer, limit in zip(module, (1.0, 0.8, 0.6)):
        assert layer.weight[layer.weight != 0].abs().min() >= limit
        assert sparsity([layer.weight]) == pytest.approx(torch.erf(torch.tensor(limit / 2**0.5)).item(), abs=0.03)
    met = pruner_of(module, once(TARGET, taper=0.4))
    met.step(1)
    assert met.sparsity() == pytest.approx(0.9, abs=1e-3)


def test_q_is_measured_on_a_dense_module_in_the_units_that_are_pruned():
    dense, layer = nn.Linear(40, 80), nn.Linear(40, 80)
    config = once(Goal(dense="runs/dense", percentile=0.7), pattern=Blocks("blocks", 8, 1))
    pruner = pruner_of(layer, config, load_dense=lambda path: dense)
    pruner.step(1)
    blocks = dense.weight.abs().view(10, 8, 40).amax(1).flatten()
    assert pruner.thresholds["linear"] == blocks.sort().values[280].item()
    with pytest.raises(InputError, match="has no 0 weights to measure"):
        named = nn.Sequential(layer)
        pruner_of(named, once(Goal(dense="runs/dense"), scope="layer"), load_dense=lambda path: dense)


def test_q_measured_before_needs_no_dense_module_any_more():
    layer, config = nn.Linear(40, 80), once(Goal(dense="runs/gone", percentile=0.7))
    pruner = pruner_of(layer, config, measured_before={"linear": 0.05})
    pruner.step(1)
    assert pruner.thresholds == pruner.measured_q == {"linear": 0.05}


def test_no_q_is_measured_on_weights_that_are_zero_already():
    sparse = nn.Linear(40, 80)
    sparse.weight.data[8:] = 0
    with pytest.raises(InputError, match=r"in runs/sparse more than 70% of the linear weights are zero.*dense model"):
        pruner_of(nn.Linear(40, 80), once(Goal(dense="runs/sparse", percentile=0.7)), load_dense=lambda path: sparse)


@pytest.mark.parametrize("goal", [Goal(q=0.5), Goal(sparsity=0.3)])
def test_tapered_or_not_two_of_four_stay(goal):
    module = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 64))
    for layer in module:
        layer.weight.data.normal_()
    pruner = pruner_of(module, once(goal, taper=0.5, pattern=TwoOfFour("2:4")))
    pruner.step(1)
    zeros = [(layer.weight == 0).view(64, 16, 4).sum(-1) for layer in module]
    assert all(set(each.unique().tolist()) == {0, 2} for each in zeros)
    shares = [each.float().mean().item() / 4 for each in zeros]
    assert shares == sorted(shares, reverse=True), "the last layers are pruned less"
    if goal.sparsity:
        assert pruner.sparsity() == pytest.approx(goal.sparsity, abs=1e-3)


def test_the_gradient_of_the_group_lasso_is_that_of_the_sum_of_block_norms():
    layer = nn.Linear(12, 8)
    with torch.no_grad():
        layer.weight[:4, :4] = 0  # a block of zeros has no direction to go
    blocks = Blocks("blocks", 4, 4)
    tiles = layer.weight.view(2, 4, 3, 4).square().sum((1, 3))
    tiles[tiles > 0].sqrt().sum().backward()
    pruner = pruner_of(layer, once(Goal(sparsity=0.5), pattern=blocks, group_lasso=0.1))
    torch.testing.assert_close(lasso_gradient(pruner.weights[0], blocks), layer.weight.grad)
    expected = 1.1 * layer.weight.grad
    pruner.before_step(1)
    torch.testing.assert_close(layer.weight.grad, expected)
    pruner.before_step(2)
    torch.testing.assert_close(layer.weight.grad, expected)  # masks are frozen, the penalty is over


CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))
BITS = {torch.float16: torch.int16, torch.bfloat16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("dtype", BITS, ids=str)
def test_whatever_a_pruned_weight_was_it_becomes_plus_zero_and_no_other_changes_a_bit(dtype, device):
    odd = torch.tensor([0.0, -0.0, float("nan"), -float("nan"), float("inf"), -float("inf"), 1e-45, -1e-5, -3.0, 7.0])
    values = torch.cat([odd, torch.randn(90)]).to(device, dtype)[:, None].expand(100, 4).contiguous()
    before = values.clone()
    gone = torch.rand(100, 4, device=device) < 0.5
    gone[:10, :2] = torch.tensor([True, False], device=device)  # each odd value once pruned and once kept
    zero_(values, gone)
    bits = BITS[dtype]
    assert (values[gone].view(bits) == 0).all()
    assert torch.equal(values[~gone].view(bits), before[~gone].view(bits))


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("view", [lambda flat: flat[3:23].view(4, 5), lambda flat: flat[:20].view(5, 4).t()])
def test_views_into_flat_weights_are_zeroed_where_they_are(view, device):
    """cuDNN's weights are views of one buffer, and may start anywhere in it."""
    flat = torch.ones(30, device=device)
    part, gone = view(flat), torch.rand(4, 5, device=device) < 0.5
    zero_(part, gone)
    assert torch.equal(part == 0, gone)
    assert flat.sum() == 30 - gone.sum(), "neighbours stay as they are"


def test_zeroing_after_a_forward_pass_does_not_go_unnoticed_by_its_backward_pass():
    layer = nn.Linear(3, 2)
    loss = layer(torch.randn(1, 3, requires_grad=True)).sum()
    zero_(layer.weight, torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_diverged_pruned_weight_is_still_held_at_zero():
    layer = nn.Linear(6, 5)
    pruner = pruner_of(layer, once(Goal(sparsity=0.5)))
    pruner.step(1)
    held = pruner.pruned["weight"]
    layer.weight.data[held] = float("nan")
    layer.weight.grad = torch.full((5, 6), -float("inf"))
    pruner.before_step(2)
    pruner.step(2)
    for values in (layer.weight.detach(), layer.weight.grad):
        assert (values[held].view(torch.int32) == 0).all() and (values[~held] != 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("pattern", [Single(), Blocks("blocks", 5, 1), TwoOfFour("2:4")], ids=lambda p: p.kind)
def test_other_floats_than_float32_are_pruned_alike(dtype, pattern):
    """Values that bfloat16 holds exactly give the same masks in every type."""
    values = (1.0 + torch.randperm(200)).view(10, 20) * torch.tensor([1, -1]).repeat(10)
    masks = []
    for kind in (torch.float32, dtype):
        layer = nn.Linear(20, 10, dtype=kind)
        layer.weight.data.copy_(values)
        pruner = pruner_of(layer, once(Goal(sparsity=0.25), pattern=pattern))
        pruner.step(1)
        assert (layer.weight[pruner.pruned["weight"]] == 0).all()
        assert pruner.sparsity() == 0.25
        masks.append(pruner.pruned["weight"])
    assert torch.equal(*masks)


def test_the_share_of_zeros_counts_both_zeros_and_no_nan():
    assert sparsity([torch.tensor([0.0, -0.0, float("nan"), 1e-45]), torch.zeros(4, dtype=torch.float64)]) == 0.75
    assert sparsity([]) == 0


def test_nothing_left_is_refused_with_the_numbers():
    layer = nn.Linear(6, 5)
    before = layer.weight.clone()
    with pytest.raises(InputError, match="step 1 the threshold 5 exceeds every weight of weight"):
        pruner_of(layer, once(Goal(q=5.0))).step(1)
    assert torch.equal(layer.weight, before)


def test_pruning_keeps_names_and_flat_weights_of_a_fused_layer():
    layer = nn.LSTM(5, 4)
    names, pointers = list(layer.state_dict()), [weight.data_ptr() for weight in layer.all_weights[0]]
    pruner_of(layer, PruningConfig(Goal(q=0.2), schedule=Hard("hard", at=0.01))).step(1)
    assert list(layer.state_dict()) == names
    assert [weight.data_ptr() for weight in layer.all_weights[0]] == pointers
    assert sparsity([layer.weight_hh_l0]) > 0


def test_state_round_trip_goes_on_with_the_same_masks():
    config = once(Goal(sparsity=0.4))
    pruner = pruner_of(nn.Linear(6, 5), config)
    pruner.step(1)
    other = pruner_of(nn.Linear(6, 5), config)
    other.load_state_dict(pruner.state_dict())
    assert torch.equal(other.pruned["weight"], pruner.pruned["weight"]) and other.thresholds == pruner.thresholds
    with pytest.raises(InputError, match="does not fit"):
        other.load_state_dict({"pruned": {"weight": torch.ones(2, 2, dtype=torch.bool)}, "thresholds": {}})

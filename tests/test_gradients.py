"""Recurrent layers with rounded gate gradients: torch's layers where none is rounded, autograd with hooks elsewhere."""

import copy
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import KERNELS, needs_kernels
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from deepspeech_sparse.errors import InputError
from deepspeech_sparse.gradients import EXACT, GRU, LSTM, RNN, Rounding, Seen, native_direction
from deepspeech_sparse.gradients.function import Recurrence, Way
from deepspeech_sparse.gradients.native_direction import skipping_outer, skipping_product, written

PATHS = KERNELS.paths() if KERNELS else []
LAYERS = {"lstm": (LSTM, nn.LSTM, {}), "gru": (GRU, nn.GRU, {}), "rnn": (RNN, nn.RNN, {})}
LAYERS["relu_rnn"] = (RNN, nn.RNN, {"nonlinearity": "relu"})
GATES = {"lstm": 4, "gru": 3, "rnn": 1, "relu_rnn": 1, "clipped_rnn": 1}
ALWAYS = Rounding(1e-300)  # rounds nothing, and yet our own code runs, in any precision


def first_states(cell: str, shape: tuple[int, ...], dtype: torch.dtype):
    states = [torch.randn(shape, dtype=dtype) for _ in range(2 if cell == "lstm" else 1)]
    return tuple(states) if cell == "lstm" else states[0]


def results(layer: nn.Module, x, hx=None) -> list[Tensor]:
    """Outputs, last states and the gradients of input, first states and weights, of a loss that reads all of them."""
    leaves = []

    def leaf(tensor: Tensor) -> Tensor:
        leaves.append(tensor.clone().requires_grad_())
        return leaves[-1]

    hx = tuple(map(leaf, hx)) if isinstance(hx, tuple) else None if hx is None else leaf(hx)
    y, state = layer(x._replace(data=leaf(x.data)) if isinstance(x, tuple) else leaf(x), hx)
    states = list(state) if isinstance(state, tuple) else [state]
    y = y.data if isinstance(y, tuple) else y
    torch.manual_seed(7)
    loss = sum((part * torch.randn_like(part)).sum() for part in (y, *states))
    return [y, *states, *torch.autograd.grad(loss, [*leaves, *layer.parameters()])]


def assert_close(ours: list[Tensor], theirs: list[Tensor], tolerance: float) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs):
        assert mine.shape == other.shape
        assert (mine - other).abs().max() <= tolerance * max(1.0, other.abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("form", ["packed", "padded", "batch first", "single"])
@pytest.mark.parametrize("cell", list(LAYERS))
def test_layers_are_torchs_where_nothing_is_rounded(cell, form, bidirectional, dtype):
    """Outputs, last states and every gradient: to 1e-6 in float32 with the kernels, to 1e-12 in float64 with torch."""
    torch.manual_seed(0)
    ours, theirs, more = LAYERS[cell]
    shape = {
        "num_layers": 2,
        "bidirectional": bidirectional,
        "batch_first": form == "batch first",
        "dtype": dtype,
        **more,
    }
    mine, other = ours(9, 37, **shape), theirs(9, 37, **shape)
    other.load_state_dict(mine.state_dict())
    if dtype == torch.float64:
        mine.rounding = ALWAYS
    x = torch.randn(15, 5, 9, dtype=dtype)
    hx = first_states(cell, (2 * (1 + bidirectional), 5, 37), dtype)
    if form == "batch first":
        x = x.transpose(0, 1)
    elif form == "packed":
        x = pack_padded_sequence(x, torch.tensor([3, 15, 7, 1, 9]), enforce_sorted=False)
    elif form == "single":
        x, hx = x[:, 0], tuple(h[:, 0] for h in hx) if isinstance(hx, tuple) else hx[:, 0]
    tolerance = 2e-6 if dtype == torch.float32 else 1e-12
    assert_close(results(mine, x, hx), results(other, x, hx), tolerance)
    assert_close(results(mine, x), results(other, x), tolerance)


@pytest.mark.parametrize("cell", list(LAYERS))
def test_state_dicts_load_into_each_other_and_packed_order_is_kept(cell):
    torch.manual_seed(0)
    ours, theirs, more = LAYERS[cell]
    mine, other = ours(4, 8, 2, bias=False, **more), theirs(4, 8, 2, bias=False, **more)
    assert list(mine.state_dict()) == list(other.state_dict())
    mine.load_state_dict(other.state_dict())
    other.load_state_dict(mine.state_dict())
    for lengths, is_sorted in (([5, 3, 3], True), ([3, 5, 1], False)):
        x = pack_padded_sequence(torch.randn(5, 3, 4), torch.tensor(lengths), enforce_sorted=is_sorted)
        y, expected = mine(x)[0], other(x)[0]
        torch.testing.assert_close(y.data, expected.data, atol=1e-6, rtol=1e-6)
        assert torch.equal(y.batch_sizes, expected.batch_sizes)
        assert (y.sorted_indices is None) == (expected.sorted_indices is None)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("cell", list(GATES))
def test_gradients_are_those_of_finite_differences(cell, backwards):
    """gradcheck in float64, utterances of different lengths, one of them empty."""
    torch.manual_seed(1)
    hidden, lengths = 4, torch.tensor([5, 0, 3])
    way = Way(cell, backwards, lengths)
    rows = GATES[cell] * hidden
    shapes = [(5, 3, 2), (rows, 2), (rows, hidden), (rows,), (hidden,), (3, hidden), (3, hidden)]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    if cell != "gru":
        inputs[4] = None
    if cell != "lstm":
        inputs[6] = None

    def run(*arguments):
        states, last, memory = Recurrence.apply(way, *arguments)
        real = torch.arange(5)[:, None, None] < lengths[:, None]
        return (states * real, last) if memory is None else (states * real, last, memory)

    assert torch.autograd.gradcheck(run, inputs)


def by_hooks(cell: str, layer: nn.Module, x: Tensor, round_it) -> Tensor:
    """One direction of one layer from torch's primitive operators; `round_it` is a hook on every net_t."""

    def hooked(net: Tensor) -> Tensor:
        net.register_hook(round_it)
        return net

    hidden = layer.hidden_size
    h = c = x.new_zeros(x.shape[1], hidden)
    states = []
    for frame in x:
        a = frame @ layer.weight_ih_l0.t() + layer.bias_ih_l0
        g = h @ layer.weight_hh_l0.t() + layer.bias_hh_l0
        if cell == "lstm":
            i, f, new, o = hooked(a + g).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * new.tanh()
            h = o.sigmoid() * c.tanh()
        elif cell == "gru":  # round_it sees what the recurrent product gets, and what the input product gets
            a, g = hooked(a), hooked(g)
            r, z = (a + g)[:, : 2 * hidden].sigmoid().chunk(2, 1)
            new = (a[:, 2 * hidden :] + r * g[:, 2 * hidden :]).tanh()
            h = new + z * (h - new)
        else:
            net = hooked(a + g)
            h = net.tanh() if cell == "rnn" else net.relu()
        states.append(h)
    return torch.stack(states)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cell", list(LAYERS))
def test_a_threshold_rounds_every_gate_gradient_before_its_use(cell, dtype):
    """Against autograd with a hook on each net_t: what is rounded at one time is missing at all times before."""
    torch.manual_seed(2)
    ours, _, more = LAYERS[cell]
    layer = ours(6, 20, dtype=dtype, **more)
    x, upper = torch.randn(12, 4, 6, dtype=dtype), torch.randn(12, 4, 20, dtype=dtype)
    threshold = 0.13
    expected = torch.autograd.grad(
        by_hooks(cell, layer, x, lambda net: net.masked_fill(net.abs() <= threshold, 0.0)), layer.parameters(), upper
    )
    exact = torch.autograd.grad(layer(x)[0], layer.parameters(), upper)
    layer.rounding = Rounding(threshold)
    reached = torch.autograd.grad(layer(x)[0], layer.parameters(), upper)
    assert_close(list(reached), list(expected), 1e-5 if dtype == torch.float32 else 1e-12)
    assert any((a - b).abs().max() > 1e-2 for a, b in zip(reached, exact))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cell", ["lstm", "rnn", "relu_rnn"])
def test_units_are_dropped_for_all_utterances_alike(cell, dtype):
    """At each time those stay whose gradient is largest in some utterance, as many as were asked for."""
    torch.manual_seed(3)
    ours, _, more = LAYERS[cell]
    layer = ours(6, 20, dtype=dtype, **more)
    rounding = Rounding(dropped=0.7)
    kept = 6 * GATES[cell]  # 30 % of 20 for each gate
    assert rounding.kept(GATES[cell] * 20) == kept

    def drop(net: Tensor) -> Tensor:
        score = net.abs().amax(0)
        return net * (score >= score.topk(kept).values[-1])

    x, upper = torch.randn(12, 4, 6, dtype=dtype), torch.randn(12, 4, 20, dtype=dtype)
    expected = torch.autograd.grad(by_hooks(cell, layer, x, drop), layer.parameters(), upper)
    layer.rounding, layer.seen = rounding, [Seen()]
    reached = torch.autograd.grad(layer(x)[0], layer.parameters(), upper)
    assert_close(list(reached), list(expected), 1e-5 if dtype == torch.float32 else 1e-12)
    if cell != "relu_rnn":  # whose gradients are zero anyway where the unit is off
        assert layer.seen[0].recurrent_zeros == pytest.approx(1 - kept / (GATES[cell] * 20))


@needs_kernels
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("rounding", [EXACT, Rounding(0.05), Rounding(dropped=0.6), Rounding(0.02, 0.3)])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cell", list(GATES))
def test_the_kernels_of_every_path_do_what_torch_does(cell, path, rounding, threads, monkeypatch):
    """Widths that are no multiple of any vector, several tiles, lengths that end early, both directions."""
    KERNELS.select(path)
    torch.manual_seed(4)
    hidden, rows, lengths = 203, GATES[cell] * 203, torch.tensor([7, 0, 3, 7, 6])
    for backwards in (False, True):
        way = Way(cell, backwards, lengths, rounding, Seen(2))
        inputs = [torch.randn(7, 5, 70), *(torch.randn(rows, width) / width**0.5 for width in (70, hidden))]
        inputs += [torch.randn(rows), torch.randn(hidden) if cell == "gru" else None]
        inputs += [torch.randn(5, hidden), torch.randn(5, hidden) if cell == "lstm" else None]
        inputs = [x if x is None else x.requires_grad_() for x in inputs]
        leaves = [x for x in inputs if x is not None]

        def run(way=way, inputs=inputs, leaves=leaves):
            states, *last = Recurrence.apply(way, *inputs)
            real = (torch.arange(7)[:, None] < lengths)[..., None]
            outputs = [states * real, *(part for part in last if part is not None)]
            torch.manual_seed(5)
            gradients = torch.autograd.grad(outputs, leaves, [torch.randn_like(part) for part in outputs])
            return [*outputs, *gradients], copy.copy(way.seen)

        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            native_results, noted = run()
        finally:
            torch.set_num_threads(before)
        with monkeypatch.context() as patch:
            patch.setattr(native_direction, "native", lambda: None)
            torch_results, expected = run()
        # A gradient at the very threshold may fall on either side of it; the error is then as small as the threshold.
        tolerance = 2e-5 + 2 * rounding.threshold if rounding else 2e-5
        assert_close(native_results, torch_results, tolerance if not rounding.dropped else 0.05)
        assert noted.zeros == pytest.approx(expected.zeros, abs=2e-3)
        assert noted.sample.shape == expected.sample.shape == (23, rows)  # every time, so few there are; real frames
        torch.testing.assert_close(
            noted.sample.sort(0).values[-1], expected.sample.sort(0).values[-1], atol=0.1, rtol=0.1
        )


@needs_kernels
@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 150),
    st.integers(0, 200),
    st.integers(0, 300),
    st.floats(0, 1),
    st.sampled_from(PATHS),
    st.integers(1, 3),
)
def test_products_that_skip_zeros_are_products(n, depth, columns, share, path, threads):
    KERNELS.select(path)
    torch.manual_seed(n + depth + columns)
    x = torch.randn(n, depth) * (torch.rand(n, depth) >= share)
    weight, z = torch.randn(depth, columns), torch.randn(n, columns)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        product, outer = skipping_product(x, weight), skipping_outer(x, z)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(product.double(), x.double() @ weight.double(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(outer.double(), x.double().t() @ z.double(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("rounding", [EXACT, Rounding(0.1), Rounding(dropped=0.9)])
@pytest.mark.parametrize("cell", list(LAYERS))
def test_a_nan_gradient_stays_one(cell, rounding, kernels, monkeypatch):
    """A broken training must not look like a sparse one: the weights get the NaN, in both kinds of code."""
    if not kernels:
        monkeypatch.setattr(native_direction, "native", lambda: None)
    torch.manual_seed(6)
    ours, _, more = LAYERS[cell]
    layer = ours(3, 20, **more)
    layer.rounding = rounding
    upper = torch.randn(5, 2, 20)
    upper[2, 1, 19] = math.nan
    y = layer(torch.randn(5, 2, 3).abs())[0]
    upper[y == 0] = math.nan if cell == "relu_rnn" else 0.0  # ReLU stops it where the unit is off
    gradient = torch.autograd.grad(y, layer.weight_hh_l0, upper)[0]
    assert gradient.isnan().any() or (cell == "relu_rnn" and not (y[2, 1, 19] > 0))


def test_hostile_settings_are_refused_with_their_value():
    for threshold in (-1e-6, math.nan, math.inf):
        with pytest.raises(InputError, match=str(threshold)):
            Rounding(threshold)
    for dropped in (1.0, -0.1, math.nan):
        with pytest.raises(InputError, match=str(dropped)):
            Rounding(dropped=dropped)
    layer = LSTM(3, 4, 2)
    layer.rounding = (EXACT, Rounding(0.1), EXACT)
    with pytest.raises(ValueError, match="3 roundings, one for each of 2 directions"):
        layer(torch.randn(5, 2, 3))
    projected = LSTM(3, 4, proj_size=2)
    assert projected(torch.randn(5, 2, 3))[0].shape == (5, 2, 2)
    projected.rounding = Rounding(0.1)
    with pytest.raises(ValueError, match="proj_size=0"):
        projected(torch.randn(5, 2, 3))
    layer = GRU(3, 4)
    for lengths in ([5, 6], [5, -1], [5]):
        with pytest.raises(RuntimeError, match="lengths"):
            layer.over(torch.randn(5, 2, 3), lengths=torch.tensor(lengths))
    for shape in ((5, 2, 4), (2, 2, 2, 3), (3,)):
        with pytest.raises(RuntimeError, match="2 or 3 dimensions are needed, the last of them input_size = 3"):
            layer(torch.randn(shape))
    with pytest.raises(RuntimeError, match=r"hx \[\(1, 3, 4\)\]"):
        layer(torch.randn(5, 2, 3), torch.zeros(1, 3, 4))


def test_an_empty_utterance_has_only_zeros_and_passes_its_first_state_on():
    layer = GRU(3, 4)
    layer.rounding = Rounding(0.1)
    first = torch.randn(1, 2, 4, requires_grad=True)
    y, last = layer.over(torch.randn(5, 2, 3), first, torch.tensor([5, 0]))
    assert not y[:, 1].any() and torch.equal(last[:, 1], first[:, 1])
    assert torch.equal(torch.autograd.grad(last[:, 1].sum(), first)[0][:, 1], torch.ones(1, 4))


def test_zeros_and_redundant_products_are_counted_as_the_paper_does():
    """Of six products of equal size four read the gate gradients: with a share of zeros s, 4 s / 6 are redundant."""
    torch.manual_seed(8)
    layer = LSTM(32, 32, 2, bidirectional=True)
    layer.rounding, layer.seen = Rounding(dropped=0.75), [Seen(0) for _ in range(4)]
    layer.over(torch.randn(10, 3, 32), lengths=torch.tensor([10, 4, 7]))[0].sum().backward()
    for index, seen in enumerate(layer.seen):
        assert seen.frames == 21 and seen.sample is None and len(seen.zeros) == 4
        features = 32 if index < 2 else 64
        assert seen.macs == 21 * 128 * 3 * (32 + features)
        # At the first frame the memory is zero, and so is what the forget gate gets: a few zeros more.
        assert seen.recurrent_zeros == pytest.approx(sum(seen.zeros) / 4) == pytest.approx(0.75, abs=5e-3)
        assert seen.redundant / seen.macs == pytest.approx(4 / 6 * seen.recurrent_zeros)


def test_a_copy_of_a_layer_rounds_alike():
    layer = GRU(3, 4)
    layer.rounding = Rounding(0.5)
    copied = copy.deepcopy(layer)
    assert copied.rounding == Rounding(0.5)
    x = torch.randn(9, 2, 3)
    one, other = (torch.autograd.grad(each(x)[0].sum(), each.weight_hh_l0)[0] for each in (layer, copied))
    assert torch.equal(one, other)


@pytest.mark.parametrize("cell", list(LAYERS))
def test_gradients_of_first_states_come_back_whatever_their_strides(cell):
    """A transposed last state has a gradient that lies column by column."""
    torch.manual_seed(0)
    ours, theirs, more = LAYERS[cell]
    mine, other = ours(3, 20, **more), theirs(3, 20, **more)
    other.load_state_dict(mine.state_dict())
    x, hx = torch.randn(6, 4, 3), first_states(cell, (1, 4, 20), torch.float32)
    factor, reached = torch.randn(20, 4), []
    for layer in (mine, other):
        leaves = [h.clone().requires_grad_() for h in (hx if isinstance(hx, tuple) else (hx,))]
        state = layer(x, tuple(leaves) if cell == "lstm" else leaves[0])[1]
        loss = sum((h.squeeze(0).t() * factor).sum() for h in (state if isinstance(state, tuple) else (state,)))
        reached.append(list(torch.autograd.grad(loss, leaves)))
    assert_close(*reached, 2e-6)


def test_a_second_derivative_is_refused_not_forgotten():
    layer = LSTM(3, 4)
    with pytest.raises(RuntimeError, match="create_graph=True"):
        torch.autograd.grad(layer(torch.randn(5, 2, 3))[0].sum(), layer.weight_hh_l0, create_graph=True)


def test_lengths_may_change_or_have_gaps_until_the_backward_pass():
    torch.manual_seed(0)
    layer, x = GRU(3, 4), torch.randn(5, 2, 3)
    lengths = torch.tensor([5, 9, 3, 9], dtype=torch.int32)[::2]
    expected = torch.autograd.grad(layer.over(x, lengths=torch.tensor([5, 3]))[0].sum(), layer.weight_hh_l0)[0]
    y = layer.over(x, lengths=lengths)[0]
    lengths.fill_(1)
    assert torch.equal(torch.autograd.grad(y.sum(), layer.weight_hh_l0)[0], expected)


def test_without_a_gradient_a_few_frames_are_left_to_torch_and_give_the_same():
    layer = GRU(3, 4)
    with torch.no_grad():
        assert not layer.takes(torch.randn(63, 1, 3)) and layer.takes(torch.randn(64, 1, 3)) == (KERNELS is not None)


def test_under_autocast_gradients_are_rounded_in_the_weights_precision():
    torch.manual_seed(9)
    layer = GRU(3, 4)
    layer.rounding = Rounding(1e-3)
    x = torch.randn(5, 2, 3)
    x = x.bfloat16()
    expected = torch.autograd.grad(layer(x.float())[0].sum(), layer.weight_hh_l0)[0]
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)[0]
        assert y.dtype == torch.float32
        torch.testing.assert_close(torch.autograd.grad(y.sum(), layer.weight_hh_l0)[0], expected, atol=1e-6, rtol=1e-6)
    with pytest.raises(ValueError, match=r"bfloat16: the weights are torch\.float32"):
        layer(x)


SHORT_OF_MEMORY = """
import resource
import torch
from deepspeech_sparse.gradients.direction import Direction
from deepspeech_sparse.gradients.native_direction import forward

def direction(utterances, units=64):
    gates, states, memory = (torch.zeros(n, utterances, w) for n, w in ((1, 4 * units), (2, units), (2, units)))
    return Direction(
        "lstm", False, torch.ones(utterances, dtype=torch.int64), torch.ones(4 * units, units), None, gates + 1, states,
        memory, None,
    )

torch.set_num_threads(2)
forward(direction(8))
big, used = direction(60_000), int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (20 << 20),) * 2)
for _ in range(2):
    try:
        forward(big)
    except MemoryError:
        print("short")
small = direction(8)
forward(small)
print("goes on" if small.states.any() else "computed nothing")
"""


@needs_kernels
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux how much memory it has")
def test_memory_that_is_not_there_is_an_error_and_no_crash():
    """It is asked for before threads share the work: one that failed would leave the others waiting."""
    done = subprocess.run([sys.executable, "-c", SHORT_OF_MEMORY], capture_output=True, text=True)
    assert done.stdout.split("\n")[:-1] == ["short", "short", "goes on"], done.stderr


def test_what_the_kernels_write_into_has_no_gaps():
    with pytest.raises(ValueError, match="make it contiguous"):
        written(torch.zeros(3, 4).t())


def test_some_unit_is_always_kept():
    assert Rounding(dropped=0.9999999).kept(3) == 1 and Rounding(dropped=0.5).kept(4) == 2 and Rounding().kept(4) == 0

"""Pruned convolutions: the native kernels of every path, and torch in their place, against a convolution in float64."""

import doctest
import math
import sys
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import KERNELS, needs_kernels
from torch import Tensor

import deepspeech_sparse.engine.convolution
from deepspeech_sparse.engine import SparseConvolution
from deepspeech_sparse.engine.convolution import MEASURED_FRAMES
from deepspeech_sparse.model.config import ConvolutionConfig
from deepspeech_sparse.model.convolution import MaskedConvolution

NATIVE_PATHS = KERNELS.paths() if KERNELS else []
PATHS = ("torch", *NATIVE_PATHS)
module = sys.modules["deepspeech_sparse.engine.convolution"]


def packed(weight: Tensor, stride: tuple[int, int], scale: Tensor, shift: Tensor, path: str) -> SparseConvolution:
    if path != "torch":
        KERNELS.select(path)
    return SparseConvolution.from_dense(weight, stride, scale, shift, "dense" if path == "torch" else "sparse")


def pruned(shape: tuple[int, ...], sparsity: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A random kernel of which about `sparsity` is zero, a scale and a shift."""
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(shape, generator=generator) >= sparsity
    weight = torch.randn(shape, generator=generator) * kept
    return weight, torch.randn(shape[0], generator=generator), 3 * torch.randn(shape[0], generator=generator)


def exact(x: Tensor, weight: Tensor, stride: tuple[int, int], scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """The result in float64, and how much was added up for it."""

    def convolve(x: Tensor, weight: Tensor) -> Tensor:
        padding = (weight.shape[2] // 2, weight.shape[3] // 2)
        x = x.double().transpose(1, 2)[None]
        return torch.nn.functional.conv2d(x, weight.double(), None, stride, padding)[0].transpose(1, 2)

    y = convolve(x, weight) * scale.double()[:, None, None] + shift.double()[:, None, None]
    size = convolve(x.abs(), weight.abs()) * scale.double().abs()[:, None, None] + shift.double().abs()[:, None, None]
    return y.clamp(0, 20), size


def assert_convolution(y: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int], scale: Tensor, shift: Tensor):
    expected, size = exact(x, weight, stride, scale, shift)
    assert y.dtype == torch.float32 and y.shape == expected.shape
    assert ((y.double() - expected).abs() <= 1e-5 * size + 1e-30).all()


odd = st.integers(0, 5).map(lambda half: 2 * half + 1)


@settings(max_examples=120, deadline=None)
@given(
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel=st.tuples(odd, odd),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    bins=st.integers(1, 40),
    frames=st.integers(1, 300),
    sparsity=st.one_of(st.sampled_from([0.0, 0.9, 1.0]), st.floats(0, 1)),
    threads=st.integers(1, 4),
    transposed=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_every_path_agrees_with_a_dense_convolution(
    channels, kernel, stride, bins, frames, sparsity, threads, transposed, seed
):
    parts = pruned((*channels, *kernel), sparsity, seed)
    x = torch.randn(channels[1], bins, frames, generator=torch.Generator().manual_seed(seed + 1))
    if transposed:
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    for path in PATHS:
        y = packed(parts[0], stride, *parts[1:], path)(x, threads=threads)
        assert_convolution(y, x, parts[0], stride, *parts[1:])


@pytest.mark.parametrize("path", [path for path in PATHS if "gather" not in path])  # only matrices gather
@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.99])
@pytest.mark.parametrize(("shape", "stride", "bins"), [((32, 1, 11, 41), (2, 2), 161), ((20, 16, 11, 21), (1, 2), 81)])
def test_the_convolutions_of_deep_speech_2(path, sparsity, shape, stride, bins):
    """Large enough for several tiles, several pieces of bins and groups of input channels, the last one smaller."""
    weight, scale, shift = pruned(shape, sparsity, 3)
    x = torch.randn(shape[1], bins, 140 * stride[0], generator=torch.Generator().manual_seed(4))
    scale = scale / 20  # not everything is clipped
    y = packed(weight, stride, scale, shift, path)(x)
    assert (y > 0).logical_and(y < 20).double().mean() > 0.2
    assert_convolution(y, x, weight, stride, scale, shift)


@pytest.mark.parametrize("path", NATIVE_PATHS)
@pytest.mark.parametrize("frames", [7, 300])
def test_threads_change_no_bit(path, frames):
    weight, scale, shift = pruned((6, 5, 5, 7), 0.6, 5)
    layer = packed(weight, (1, 2), scale / 8, shift, path)
    x = torch.randn(5, 33, frames)
    one = layer(x, threads=1)
    for threads in (2, 3, 4, 50):
        assert torch.equal(layer(x, threads=threads), one)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("frames", "bins"), product((1, 3), (1, 3)))
def test_kernels_without_weights_and_utterances_without_frames(path, frames, bins):
    layer = packed(torch.zeros(4, 2, frames, bins), (2, 3), torch.ones(4), torch.arange(-1.0, 3.0) * 12, path)
    expected = torch.tensor([0.0, 0.0, 12.0, 20.0])[:, None, None]
    assert torch.equal(layer(torch.randn(2, 7, 5)), expected.expand(4, 3, 3))
    assert layer(torch.randn(2, 7, 0)).shape == (4, 3, 0)
    assert layer(torch.randn(2, 0, 5)).shape == (4, 0, 3)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 1)])
def test_it_replaces_the_layer_of_the_model(path, stride):
    """MaskedConvolution in evaluation, with statistics that a training could have left."""
    torch.manual_seed(0)
    frames_stride, bins_stride = stride
    layer = MaskedConvolution(3, ConvolutionConfig(channels=6, kernel=(7, 5), stride=(bins_stride, frames_stride)))
    norm, weight = layer.norm.eval(), layer.convolution.weight.detach()
    weight *= torch.rand(weight.shape) < 0.3
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 3)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    lengths = torch.tensor([90, 40])
    batch = 5 * torch.randn(2, 90, 20, 3)
    batch[1, 40:] = 0
    with torch.no_grad():
        expected, frames_out = layer.eval()(batch, lengths)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        ours = packed(weight, stride, scale, norm.bias - norm.running_mean * scale, path)
    assert expected.gt(0).logical_and(expected.lt(20)).any()
    for x, length, y, length_out in zip(batch, lengths, expected, frames_out):
        got = ours(x[:length].permute(2, 1, 0))
        torch.testing.assert_close(got, y[:length_out].permute(2, 1, 0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("path", PATHS)
def test_what_is_not_a_number_stays_so_where_a_weight_reads_it(path):
    weight = torch.zeros(1, 1, 3, 1)
    weight[0, 0, 2] = 1
    x = torch.ones(1, 1, 9)
    x[0, 0, 4] = math.nan
    y = packed(weight, (1, 1), torch.ones(1), torch.zeros(1), path)(x)
    wrong = y.isnan().flatten().nonzero().flatten().tolist()
    assert wrong == ([3, 4, 5] if path == "torch" else [3])  # 0 * NaN is NaN in a dense product


@needs_kernels
def test_the_faster_way_is_kept_and_only_that(monkeypatch):
    parts = pruned((8, 4, 5, 9), 0.9, 1)
    stored = int((parts[0] != 0).sum())
    for times, choice in (((1.0, 2.0), "sparse"), ((2.0, 1.0), "dense")):
        monkeypatch.setattr(module, "measure", lambda *_, times=times: dict(zip(("sparse", "dense"), times)))
        layer = SparseConvolution.from_dense(parts[0], (1, 1), *parts[1:])
        assert layer.choice == choice and layer.dense == (choice == "dense")
        assert layer.seconds == {"sparse": times[0], "dense": times[1]}
        if choice == "sparse":
            starts = 8 * 4 * 9 * 4  # at most one for each output channel, input channel and kernel bin
            assert layer.stored == stored and 8 * stored <= layer.bytes <= 8 * stored + starts + 100
        else:
            assert layer.stored == parts[0].numel() and layer.bytes == 4 * (parts[0].numel() + 8)


@needs_kernels
def test_both_ways_are_measured_on_what_the_kernel_could_meet():
    class Watched:
        def __init__(self):
            self.seen = []

        def __call__(self, x, threads):
            self.seen.append((tuple(x.shape), threads))

    ways = {"sparse": Watched(), "dense": Watched()}
    seconds = module.measure(ways, module.measured_shape(torch.zeros(8, 4, 5, 9), (2, 1)))
    assert set(seconds) == {"sparse", "dense"} and all(0 <= value < math.inf for value in seconds.values())
    assert ways["sparse"].seen == ways["dense"].seen == [((4, 18, 2 * MEASURED_FRAMES), 1)] * 3
    parts = pruned((8, 4, 5, 9), 1.0, 1)
    layer = SparseConvolution.from_dense(parts[0], (2, 1), *parts[1:])
    assert layer.choice == min(layer.seconds, key=layer.seconds.get)


def test_without_kernels_it_is_dense(monkeypatch):
    monkeypatch.setattr(module, "native", lambda: None)
    weight, scale, shift = pruned((2, 3, 3, 3), 0.9, 1)
    layer = SparseConvolution.from_dense(weight, (1, 1), scale, shift)
    assert layer.choice == "dense" and layer.seconds is None
    x = torch.randn(3, 9, 9)
    assert_convolution(layer(x), x, weight, (1, 1), scale, shift)
    with pytest.raises(ValueError, match="native kernels"):
        SparseConvolution.from_dense(weight, (1, 1), scale, shift, "sparse")


@pytest.mark.parametrize("path", PATHS)
def test_the_kernel_may_change_afterwards(path):
    weight, scale, shift = pruned((2, 1, 3, 3), 0.2, 1)
    layer, x = packed(weight, (1, 1), scale, shift, path), torch.randn(1, 9, 9)
    before = layer(x)
    for tensor in (weight, scale, shift):
        tensor.fill_(7)
    assert torch.equal(layer(x), before)


ONES = torch.ones(2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(2, 3, 3), (1, 1), ONES, ONES), r"\(2, 3, 3\)"),
        ((torch.ones(2, 3, 4, 3), (1, 1), ONES, ONES), r"\(2, 3, 4, 3\).*odd"),
        ((torch.ones(2, 3, 3, 2), (1, 1), ONES, ONES), r"\(2, 3, 3, 2\).*odd"),
        ((torch.ones(2, 0, 3, 3), (1, 1), ONES, ONES), r"\(2, 0, 3, 3\)"),
        ((torch.ones(2, 3, 3, 3).half(), (1, 1), ONES, ONES), "float16"),
        (([[1.0]], (1, 1), ONES, ONES), "list"),
        ((torch.ones(2, 3, 3, 3), (0, 1), ONES, ONES), r"stride \(0, 1\)"),
        ((torch.ones(2, 3, 3, 3), (1,), ONES, ONES), r"stride \(1,\)"),
        ((torch.ones(2, 3, 3, 3), (1, 1.5), ONES, ONES), "1.5"),
        ((torch.ones(2, 3, 3, 3), (1, 1), torch.ones(3), ONES), r"scale of shape \(3,\): 2"),
        ((torch.ones(2, 3, 3, 3), (1, 1), ONES, torch.ones(2, 1)), r"shift of shape \(2, 1\)"),
        ((torch.ones(2, 3, 3, 3), (1, 1), ONES, ONES.double()), "shift is torch.float64"),
        ((torch.ones(2, 3, 3, 3), (1, 1), ONES * math.inf, ONES), "finite"),
        ((torch.ones(2, 3, 3, 3), (1, 1), ONES, ONES, "quick"), "'quick'"),
    ],
)
def test_what_cannot_be_packed_is_refused_with_the_numbers(arguments, message):
    with pytest.raises(ValueError, match=message):
        SparseConvolution.from_dense(*arguments)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("x", "threads", "message"),
    [
        (torch.ones(3, 5), 1, r"\(2, 3, 3, 3\) and x of shape \(3, 5\): \(3, bins, frames\)"),
        (torch.ones(2, 5, 5), 1, r"\(2, 5, 5\)"),
        (torch.ones(3, 5, 5).double(), 1, "float64"),
        (torch.ones(3, 5, 5, requires_grad=True), 1, "gradient.*SparseConvolution"),
        (torch.ones(3, 5, 5), 0, "0 threads"),
        (torch.ones(3, 5, 5), 1025, "1025 threads"),
        (torch.ones(3, 5, 5), True, "True threads"),
    ],
)
def test_what_cannot_be_convolved_is_refused_with_the_numbers(path, x, threads, message):
    layer = packed(torch.ones(2, 3, 3, 3), (1, 1), ONES, ONES, path)
    with pytest.raises(ValueError, match=message):
        layer(x, threads=threads)


@needs_kernels
def test_the_native_border_checks_sizes_itself():
    def make(shape, stride=(1, 1), shifts=None):
        return KERNELS.Convolution(torch.ones(shape).numpy(), *stride, torch.ones(shifts or shape[0]).numpy())

    for shape in ((1, 1, 2, 3), (1, 1, 3, 2), (0, 1, 3, 3), (1, 0, 3, 3), (1, 1, 1, 4097), (1, 65537, 1, 1)):
        with pytest.raises(ValueError, match="x".join(map(str, shape))):
            make(shape)
    for stride in ((0, 1), (1, -1), (2**40, 1)):
        with pytest.raises(ValueError, match=f"{stride[0]} bins and {stride[1]} frames"):
            make((1, 1, 3, 3), stride)
    with pytest.raises(ValueError, match="32-bit"):
        make((1, 4096, 1, 4095), (4095, 4095))
    with pytest.raises(ValueError, match="3 shifts for 2"):
        make((2, 1, 3, 3), shifts=3)
    convolution = make((2, 3, 3, 3), (2, 1))
    fitting = (3, 5, 7), (2, 3, 7), 1
    convolution.run(torch.ones(fitting[0]).numpy(), torch.empty(fitting[1]).numpy(), 1)
    for x, y, threads in [
        ((2, 5, 7), fitting[1], 1),
        ((3, 7, 7), fitting[1], 1),
        (fitting[0], (2, 3, 6), 1),
        (fitting[0], (3, 3, 7), 1),
        (*fitting[:2], 0),
    ]:
        with pytest.raises(ValueError, match="into y|threads: 0"):
            convolution.run(torch.ones(x).numpy(), torch.empty(y).numpy(), threads)
    with pytest.raises(TypeError):  # a copy would be written to and thrown away
        convolution.run(torch.ones(fitting[0]).double().numpy(), torch.empty(fitting[1]).numpy(), 1)


def test_the_example_of_the_docstring():
    assert doctest.testmod(deepspeech_sparse.engine.convolution).failed == 0


@pytest.mark.parametrize("zeros, choice", [(0.9, "sparse"), (0.1, "dense")])
@needs_kernels
def test_a_kernel_too_wide_to_measure_is_judged_by_its_zeros(zeros, choice):
    weight = torch.zeros(1, 1, 1, 4095)
    weight[..., : round(4095 * (1 - zeros))] = 1.0
    layer = SparseConvolution.from_dense(weight, (4095, 1), torch.ones(1), torch.zeros(1))
    assert (layer.choice, layer.seconds) == (choice, None)


@needs_kernels
def test_strides_too_long_for_the_kernels_are_torchs():
    weight, one = torch.ones(1, 1, 1, 1), torch.ones(1)
    layer = SparseConvolution.from_dense(weight, (5000, 1), one, torch.zeros(1))
    assert layer.dense and layer(torch.ones(1, 1, 5001)).shape == (1, 1, 2)
    with pytest.raises(ValueError, match="stride"):
        SparseConvolution.from_dense(weight, (5000, 1), one, torch.zeros(1), choice="sparse")
    unmeasured = torch.zeros(1, 1, 3, 41)
    unmeasured[..., 0] = 1.0  # its zeros say sparse
    assert SparseConvolution.from_dense(unmeasured, (5000, 1), one, torch.zeros(1)).dense

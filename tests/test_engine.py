"""Whole networks in the engine: what torch's modules say, for every cell, shape, path and number of threads."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kernels import KERNELS, needs_kernels
from torch import nn

from deepspeech_sparse.engine import SparseMatrix, SparseNetwork
from deepspeech_sparse.engine.recurrent import Direction, Recurrence, step_by_step
from deepspeech_sparse.engine.sequences import Packing
from deepspeech_sparse.model import ConvolutionConfig, NetworkConfig, network_of
from deepspeech_sparse.model.masking import frame_mask

BINS, LABELS = 9, 7


def pruned_network(config: NetworkConfig, sparsity: float, seed: int) -> nn.Module:
    """Random weights, some of them zero, and batch norms that have seen something."""
    torch.manual_seed(seed)
    network = network_of(config, BINS, LABELS).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(torch.rand_like(parameter) >= sparsity)
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    return network


def assert_same(network: nn.Module, engine: SparseNetwork, features: torch.Tensor, frames: torch.Tensor) -> None:
    with torch.inference_mode():
        expected, expected_frames = network(features, frames)
    logits, logit_frames = engine(features, frames)
    assert logits.shape == expected.shape and logit_frames.tolist() == expected_frames.tolist()
    real = frame_mask(expected_frames, expected.shape[1])[..., None]
    difference = (logits.log_softmax(-1) - expected.log_softmax(-1)) * real
    assert difference.abs().max() <= 1e-4


@st.composite
def networks(draw) -> NetworkConfig:
    cell = draw(st.sampled_from(["rnn", "gru", "lstm", "clipped_rnn"]))
    bidirectional = draw(st.booleans())
    return NetworkConfig(
        convolutions=(
            ConvolutionConfig(draw(st.integers(1, 3)), (3, 5), (draw(st.integers(1, 2)), draw(st.integers(1, 2)))),
        ),
        cell=cell,
        layers=draw(st.integers(1, 3)),
        hidden=draw(st.integers(1, 70)),
        bidirectional=bidirectional,
        merge="sum" if cell == "clipped_rnn" else draw(st.sampled_from(["sum", "concat"])),
        batch_norm=draw(st.booleans()),
        lookahead=0 if bidirectional else draw(st.integers(0, 3)),
        fully_connected=draw(st.sampled_from([0, 13])),
    )


@settings(max_examples=120, deadline=None)
@given(
    config=networks(),
    lengths=st.one_of(
        st.lists(st.integers(1, 60), min_size=1, max_size=33), st.integers(1, 2000).map(lambda frames: [frames])
    ),
    sparsity=st.one_of(st.sampled_from([0.0, 0.9, 0.999]), st.floats(0, 0.999)),
    path=st.sampled_from(KERNELS.paths() if KERNELS else ["torch"]),
    threads=st.integers(1, 5),
    seed=st.integers(0, 2**31),
)
@example(NetworkConfig(hidden=64, layers=2), [2000, 1, 700], 0.9, KERNELS.path() if KERNELS else "torch", 2, 0)
@example(NetworkConfig(hidden=31, layers=1, cell="lstm"), [40] * 33, 0.5, KERNELS.path() if KERNELS else "torch", 4, 0)
def test_the_engine_says_what_torch_says(config, lengths, sparsity, path, threads, seed):
    if KERNELS:
        KERNELS.select(path)
    network = pruned_network(config, sparsity, seed)
    features = torch.randn(len(lengths), max(lengths) + seed % 3, BINS)
    engine = SparseNetwork(config, network.state_dict(), threads=threads)
    assert_same(network, engine, features, torch.tensor(lengths))


@needs_kernels
def test_bits_do_not_depend_on_threads():
    config = NetworkConfig(convolutions=(ConvolutionConfig(2, (3, 5), (2, 2)),), hidden=67, layers=2)
    network = pruned_network(config, 0.8, seed=0)
    features, frames = torch.randn(5, 300, BINS), torch.tensor([300, 9, 77, 150, 20])
    said = []
    for threads in (1, 2, 3, 4, 7):
        engine = SparseNetwork(config, network.state_dict(), threads=threads)
        said.append(engine(features, frames)[0].numpy().tobytes())
    assert len(set(said)) == 1


@pytest.mark.parametrize("lookahead", [0, 2])
def test_an_utterance_sounds_alone_as_it_does_in_a_batch(lookahead):
    config = NetworkConfig(
        convolutions=(ConvolutionConfig(2, (3, 5), (2, 2)),),
        hidden=20,
        layers=2,
        bidirectional=not lookahead,
        lookahead=lookahead,
    )
    engine = SparseNetwork(config, pruned_network(config, 0.5, seed=1).state_dict())
    features, frames = torch.randn(3, 90, BINS), torch.tensor([41, 90, 0])
    together, counts = engine(features, frames)
    assert counts.tolist() == [21, 45, 0]
    for row in (0, 1):
        alone, _ = engine(features[row : row + 1, : frames[row]], frames[row : row + 1])
        assert torch.allclose(together[row, : counts[row]], alone[0], atol=1e-5)
    assert not together[2].any() and not together[0, 21:].any()


def test_packing_is_that_of_torch():
    lengths = [3, 7, 0, 7, 1]
    sequences = [torch.randn(length, 4) for length in lengths]
    packing = Packing.of(lengths)
    heard = [sequence for sequence in sequences if len(sequence)]
    expected = nn.utils.rnn.pack_sequence(heard, enforce_sorted=False)
    assert torch.equal(packing.pack(sequences), expected.data)
    assert packing.counts.tolist() == expected.batch_sizes.tolist()
    for sequence, unpacked in zip(sequences, packing.unpack(expected.data)):
        assert torch.equal(sequence, unpacked)


def direction(cell_rows: int = 12, hidden: int = 4, features: int = 3, **changes) -> Direction:
    values = {
        "input": SparseMatrix.from_dense(torch.randn(cell_rows, features)),
        "recurrent": SparseMatrix.from_dense(torch.randn(cell_rows, hidden)),
        "shift": torch.zeros(cell_rows),
        "bias": torch.zeros(hidden),
    }
    return Direction(**values | changes)


@needs_kernels
@pytest.mark.parametrize(
    "cell, changes, message",
    [
        ("gru", {"hidden": 5}, r"\(12, 5\) and input matrix \(12, 3\) with 3 gates"),
        ("lstm", {}, "with 4 gates"),
        ("gru", {"shift": torch.zeros(11)}, "0 scales, 11 shifts and 4 biases: none or 12, 12 and 4 are needed"),
        ("gru", {"scale": torch.zeros(3)}, "3 scales"),
        ("gru", {"bias": None}, "0 biases"),
        ("elman", {}, "no cell 'elman'"),
    ],
)
def test_parts_that_do_not_fit_are_refused_with_the_numbers(cell, changes, message):
    with pytest.raises(ValueError, match=message):
        Recurrence(cell, (direction(**changes),), sum=False)


@needs_kernels
@pytest.mark.parametrize(
    "x, counts, threads, message",
    [
        (torch.zeros(4, 2), [1, 1, 1, 1], 1, r"x \(4, 2\) into y \(4, 4\): \(frames, 3\)"),
        (torch.zeros(4, 3), [1, 2, 1], 1, "2 utterances have a frame 1"),
        (torch.zeros(4, 3), [2, 1], 1, "do not add up to 4"),
        (torch.zeros(4, 3), [3, 0, 1], 1, "0 utterances have a frame 1"),
        (torch.zeros(4, 3), [2**62, 2**62, 2**62, 2**62 + 4], 1, "do not add up"),
        (torch.zeros(4, 3), [], 1, "do not add up to 4"),
        (torch.zeros(4, 3), [4], 0, "threads: 0"),
    ],
)
def test_frames_that_do_not_fit_are_refused_with_the_numbers(x, counts, threads, message):
    layer = Recurrence("gru", (direction(),), sum=False)
    with pytest.raises(ValueError, match=message):
        layer(x, torch.tensor(counts, dtype=torch.int64), threads)


@needs_kernels
def test_the_native_border_takes_no_other_kind_of_array():
    layer = Recurrence("gru", (direction(),), sum=False).layer
    x, counts, y = np.zeros((2, 3), "f4"), np.array([1, 1]), np.zeros((2, 4), "f4")
    layer.run(x, counts, y, 1)
    for wrong in [(x.astype("f8"), counts, y), (x, counts.astype("i4"), y), (x, counts, y.T), (x[None], counts, y)]:
        with pytest.raises((TypeError, ValueError)):
            layer.run(*wrong, 1)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "clipped_rnn"])
def test_without_native_kernels_torch_takes_the_steps(cell):
    rows = {"gru": 12, "lstm": 16}.get(cell, 4)
    torch.manual_seed(3)
    parts = [direction(rows, bias=torch.randn(4) if cell == "gru" else None, shift=torch.randn(rows)) for _ in range(2)]
    layer = Recurrence(cell, tuple(parts), sum=True)
    packing = Packing.of([9, 4, 6])
    x = torch.randn(19, 3)
    assert torch.allclose(step_by_step(layer, x, packing.counts, 1), layer(x, packing.counts, 1), atol=1e-5)

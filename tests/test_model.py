"""The network: padding never matters, layers equal their equations, parameter counts equal the paper's."""

from pathlib import Path

import pytest
import torch
from untrained import gradients_without_and_with_padding

from deepspeech_sparse.errors import InputError
from deepspeech_sparse.model import ConvolutionConfig, Network, NetworkConfig
from deepspeech_sparse.model.lookahead import Lookahead
from deepspeech_sparse.model.masking import SequenceNorm, frame_mask
from deepspeech_sparse.model.recurrent import ClippedRecurrence, FusedRecurrence
from deepspeech_sparse.training.config import load_config

RECIPES = Path(__file__).parent.parent / "recipes"
CONVOLUTIONS = (ConvolutionConfig(4, (5, 5), (2, 2)), ConvolutionConfig(6, (3, 3), (1, 2)))


def small(**settings) -> NetworkConfig:
    return NetworkConfig(**{"convolutions": CONVOLUTIONS, "layers": 2, "hidden": 10, **settings})


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "clipped_rnn"])
@pytest.mark.parametrize("training", [True, False])
def test_utterances_of_one_frame_and_of_none_pass(cell, training):
    network = Network(small(cell=cell, fully_connected=7), bins=9, labels=5).train(training)
    for frames in ([1], [4, 0], [0]):
        logits, output_frames = network(torch.randn(len(frames), max(frames) or 1, 9), torch.tensor(frames))
        assert logits.isfinite().all() and output_frames.tolist() == list(map(network.output_frames, frames))


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "clipped_rnn"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_padding_never_changes_a_result(cell, bidirectional):
    """An utterance gives the same logits alone and in a batch of longer ones, whatever stands in the padding."""
    network = Network(small(cell=cell, bidirectional=bidirectional, lookahead=3, fully_connected=7), bins=9, labels=5)
    network.train()
    frames = torch.tensor([37, 20, 6, 1])
    features = torch.randn(4, 37, 9)
    network(features, frames)  # running statistics of the norms leave their start
    network.eval()
    features[~frame_mask(frames, 37)] = 1e3
    together, output_frames = network(features, frames)
    for row, length in enumerate(frames.tolist()):
        alone, alone_frames = network(features[row : row + 1, :length], frames[row : row + 1])
        assert alone_frames.item() == output_frames[row] == network.output_frames(length)
        torch.testing.assert_close(together[row, : alone_frames.item()], alone[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cell", ["gru", "clipped_rnn"])
def test_padding_never_changes_a_gradient(cell):
    """In training too: extra padding, full of rubbish, moves neither the loss nor any gradient."""
    torch.manual_seed(0)
    network = Network(small(cell=cell, fully_connected=7), bins=9, labels=5)
    plain, with_padding = gradients_without_and_with_padding(network)
    for name, gradient in plain.items():
        torch.testing.assert_close(with_padding[name], gradient, atol=1e-4, rtol=1e-4)


def test_sequence_norm_equals_batch_norm_over_the_real_frames():
    norm, reference = SequenceNorm(3), torch.nn.BatchNorm1d(3)
    x, frames = torch.randn(2, 6, 3) * 4 + 1, torch.tensor([6, 2])
    expected = reference(torch.cat([x[0], x[1, :2]]))
    y = norm(x, frames)
    torch.testing.assert_close(torch.cat([y[0], y[1, :2]]), expected)
    torch.testing.assert_close(norm.running_var, reference.running_var)
    assert not y[1, 2:].any()


def test_clipped_recurrence_equals_its_equation():
    layer = ClippedRecurrence(4, small(cell="clipped_rnn", hidden=3)).eval()
    layer.norm.weight.data.fill_(30.0)  # large enough that the clip at 20 acts
    layer.norm.bias.data.fill_(0.5)
    x = torch.randn(1, 7, 4)
    inputs = layer.norm.weight * (x[0] @ layer.weight_ih.T) / (1 + layer.norm.eps) ** 0.5 + layer.norm.bias
    forwards, backwards = torch.zeros(7, 3), torch.zeros(7, 3)
    state = torch.zeros(3)
    for t in range(7):
        state = forwards[t] = torch.clamp(inputs[t] + layer.weight_hh @ state, 0, 20)
    state = torch.zeros(3)
    for t in reversed(range(7)):
        state = backwards[t] = torch.clamp(inputs[t] + layer.weight_hh_reverse @ state, 0, 20)
    assert forwards.max() == 20
    torch.testing.assert_close(layer(x, torch.tensor([7]))[0], forwards + backwards)


@pytest.mark.parametrize("merge, width", [("sum", 10), ("concat", 20)])
def test_directions_are_summed_or_concatenated(merge, width):
    layer = FusedRecurrence(4, small(merge=merge), norm=False)
    x = torch.randn(2, 5, 4)
    expected, _ = layer.cell(x)
    if merge == "sum":
        expected = expected[..., :10] + expected[..., 10:]
    y = layer(x, torch.tensor([5, 5]))
    assert y.shape == (2, 5, width)
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_our_gru_for_cpus_equals_torchs_in_value_and_every_gradient(bidirectional):
    torch.manual_seed(0)
    layer = FusedRecurrence(4, small(bidirectional=bidirectional, merge="concat"), norm=False).double()
    x, frames = torch.randn(4, 9, 4, dtype=torch.double, requires_grad=True), torch.tensor([6, 9, 1, 3])
    upper = torch.randn(4, 9, 20 if bidirectional else 10, dtype=torch.double)
    results = []
    for run in (layer.packed, layer):
        layer.zero_grad()
        x.grad = None
        y = run(x, frames)
        (y * upper).sum().backward()
        results.append([y.detach(), x.grad, *(parameter.grad.clone() for parameter in layer.parameters())])
    for torchs, ours in zip(*results):
        torch.testing.assert_close(ours, torchs)


def test_lookahead_equals_its_equation_and_starts_as_the_identity():
    layer = Lookahead(3, context=2)
    x = torch.randn(1, 6, 3)
    torch.testing.assert_close(layer(x), x)
    layer.weight.data.normal_()
    beyond = torch.cat([x[0], torch.zeros(2, 3)])
    expected = torch.stack([sum(layer.weight[:, 0, j] * beyond[t + j] for j in range(3)) for t in range(6)])
    torch.testing.assert_close(layer(x)[0], expected)


def test_unidirectional_networks_see_no_future_beyond_convolution_and_lookahead():
    """What such a model can stream: frames far ahead leave earlier outputs as they are."""
    network = Network(small(bidirectional=False, lookahead=2), bins=9, labels=5).eval()
    features = torch.randn(1, 60, 9)
    before, _ = network(features, torch.tensor([60]))
    features[:, 40:] += 1.0
    after, _ = network(features, torch.tensor([60]))
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, -3:], after[:, -3:])


def paper_parameters(recipe: str) -> int:
    config = load_config(RECIPES / "paper" / f"{recipe}.yaml")
    with torch.device("meta"):
        network = Network(config.network, config.features.bins, len(config.alphabet) + 1)
    return sum(parameter.numel() for parameter in network.parameters())


CONVOLUTION_PARAMETERS = 32 * 41 * 11 + 32 * 32 * 21 * 11 + 4 * 32  # two kernels, two norms


@pytest.mark.parametrize(
    "recipe, hidden, millions",
    [
        ("rnn-dense-small", 704, 11.6),
        ("rnn-dense", 1760, 67.7),
        ("rnn-dense-medium", 2560, 141.4),
        ("rnn-sparse", 1760, 67.7),
        ("rnn-sparse-medium", 2560, 141.4),
        ("rnn-sparse-big", 3072, 202.6),
    ],
)
def test_clipped_rnn_recipes_have_the_papers_parameters(recipe, hidden, millions):
    first, later = 1312 * hidden + 2 * hidden**2 + 2 * hidden, 3 * hidden**2 + 2 * hidden
    formula = first + 6 * later + hidden**2 + 2 * hidden + 29 * hidden + 29
    assert paper_parameters(recipe) == formula + CONVOLUTION_PARAMETERS
    assert round(paper_parameters(recipe) / 1e6, 1) == millions


@pytest.mark.parametrize(
    "recipe, hidden, millions", [("gru-dense", 2560, 115), ("gru-sparse", 2560, 115), ("gru-sparse-medium", 3568, 218)]
)
def test_gru_recipes_have_the_papers_parameters(recipe, hidden, millions):
    first, later = 3 * 1312 * hidden + 3 * hidden**2 + 6 * hidden, 6 * hidden**2 + 6 * hidden
    formula = first + 2 * later + hidden**2 + 2 * hidden + 29 * hidden + 29
    assert paper_parameters(recipe) == formula + CONVOLUTION_PARAMETERS
    assert round(paper_parameters(recipe) / 1e6) == millions


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: ConvolutionConfig(8, (4, 3)), "odd"),
        (lambda: ConvolutionConfig(0), "at least 1"),
        (lambda: NetworkConfig(convolutions=()), "1 to 3"),
        (lambda: NetworkConfig(hidden=0), "hidden 0"),
        (lambda: NetworkConfig(dropout=1.0), "dropout 1.0"),
        (lambda: NetworkConfig(lookahead=-1), "0 \\(none\\)"),
        (lambda: NetworkConfig(cell="clipped_rnn", merge="concat"), "merge: sum"),
    ],
)
def test_impossible_shapes_are_refused_with_the_value(make, words):
    with pytest.raises(InputError, match=words):
        make()

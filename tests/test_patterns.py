"""Patterns group the weights they say, and the quantile of millions of sizes is exact."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import deepspeech_sparse.pruning.quantile as quantile
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.pruning import Balanced, Blocks, Single, TwoOfFour, Weight
from deepspeech_sparse.pruning.quantile import kth_smallest, size_quantile


def weight_of(tensor: torch.Tensor, gates: tuple[str, ...] = ("",)) -> Weight:
    return Weight("w", "recurrent", "layer", gates, nn.Parameter(tensor))


def below(pattern, weight: Weight, share: float) -> torch.Tensor:
    sizes = pattern.sizes(weight)
    return pattern.below(weight, sizes, size_quantile([sizes], pattern.share(share)))


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 3000),
    zeros=st.sampled_from([0.0, 0.4, 0.95]),
    place=st.floats(0, 1),
    seed=st.integers(0, 9),
    ties=st.booleans(),
)
def test_the_kth_smallest_is_exact_with_zeros_ties_and_small_samples(count, zeros, place, seed, ties):
    """With a sample of 16 the bracket often misses, and the fallback must find the same."""
    generator = np.random.default_rng(seed)
    values = np.abs(generator.standard_normal(count)).astype(np.float32)
    values[generator.random(count) < zeros] = 0
    values = values.round(1) if ties else values
    rank = 1 + int(place * (count - 1))
    before = quantile.SAMPLE, quantile.CHUNK
    quantile.SAMPLE, quantile.CHUNK = 16, 100
    try:
        found = kth_smallest([torch.from_numpy(values[: count // 3]), torch.from_numpy(values[count // 3 :])], rank)
    finally:
        quantile.SAMPLE, quantile.CHUNK = before
    assert found == np.sort(values)[rank - 1]


def test_the_kth_smallest_of_a_million_comes_from_its_bracket(monkeypatch):
    """The quick way is taken, not the fallback."""
    values = torch.randn(1000, 1000).abs()
    expected = [values.flatten().kthvalue(rank).values.item() for rank in (1, 500_000, 900_001, 1_000_000)]
    monkeypatch.setattr(np, "concatenate", lambda arrays, real=np.concatenate: few(real(arrays)))
    assert [kth_smallest([values], rank) for rank in (1, 500_000, 900_001, 1_000_000)] == expected


def few(array: np.ndarray) -> np.ndarray:
    assert len(array) < 200_000
    return array


def test_a_bracket_above_the_zeros_does_not_take_a_small_rank_for_a_zero():
    """What lies below a bracket is zero only if the bracket begins at the smallest number there is."""
    values = np.array([0, 0, 1, 2, 3, 4, 5], dtype=np.float32)
    assert quantile.within_bracket([values], 2, 0.0, 4.0) == 0
    assert quantile.within_bracket([values], 3, 0.0, 4.0) == 1
    assert quantile.within_bracket([values], 3, 1.5, 4.0) is None
    assert quantile.within_bracket([values], 4, 1.5, 4.0) == 2
    assert quantile.within_bracket([values], 7, 1.5, 4.0) is None


def test_pruning_below_the_quantile_removes_exactly_the_share():
    sizes = [torch.rand(30, 20), torch.rand(40, 10)]
    for share in (0.0, 0.07, 0.5, 0.9, 1.0):
        threshold = size_quantile(sizes, share)
        assert sum(int((size < threshold).sum()) for size in sizes) == round(share * 1000)


@pytest.mark.parametrize("rows, columns", [(8, 1), (16, 1), (4, 4)])
@pytest.mark.parametrize("by", ["max", "mean"])
def test_blocks_live_and_die_as_one(rows, columns, by):
    values = torch.randn(48, 20)
    pruned = below(Blocks("blocks", rows, columns, by), weight_of(values), 0.5)
    expected = {}
    for top in range(0, 48, rows):
        for left in range(0, 20, columns):
            block = (slice(top, top + rows), slice(left, left + columns))
            expected[block[0].start, block[1].start] = getattr(values[block].abs(), by)().item()
            assert pruned[block].all() or not pruned[block].any()
    smallest = sorted(expected, key=expected.get)[: len(expected) // 2]
    assert {place for place in expected if pruned[place]} == set(smallest)


def test_sizes_are_never_negative_not_even_zeros():
    """A block counts as the larger of its largest and its smallest weight, whichever sign they have."""
    values = torch.tensor([[-0.0, 0.0, -4.0, 2.0, -1.0], [-0.0, -0.0, 3.0, -2.5, -0.0]])
    blocks = Blocks("blocks", 2, 1).sizes(weight_of(values))
    assert blocks.tolist() == [[0, 0, 4, 2.5, 1]]
    assert not torch.signbit(blocks).any() and not torch.signbit(Single().sizes(weight_of(values))).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
def test_a_size_is_below_a_threshold_as_torch_compares_them(dtype):
    """The threshold is rounded to the type of the sizes: 0.7 in float32 is not below 0.7, though it is as a double."""
    sizes = torch.tensor([[0.0, 0.1, 0.2, float("inf"), float("nan"), 0.7]], dtype=dtype)
    for threshold in (0.0, 0.1, 0.2, 0.7, np.float64(0.7), float("inf")):
        assert torch.equal(Single().below(weight_of(sizes), sizes, threshold), sizes < threshold)


def test_balanced_pruning_takes_the_same_share_of_every_gate_and_row_group():
    values = torch.randn(24, 50) * torch.linspace(0.1, 2, 24)[:, None]  # single weights would empty the upper rows
    weight = weight_of(values, ("reset", "update", "new"))
    pruned = below(Balanced("balanced", 2), weight, 0.8)
    assert pruned.view(6, -1).sum(1).tolist() == [160] * 6
    for part, mask in zip(values.view(6, -1).abs(), pruned.view(6, -1)):
        assert part[mask].max() < part[~mask].min()
    first, *_, last = below(Single(), weight, 0.8).view(6, -1).sum(1).tolist()
    assert first > 160 > last


def test_two_of_four_keeps_the_two_largest():
    values = torch.randn(7, 12)
    pruned = below(TwoOfFour("2:4"), weight_of(values), 0.5)
    fours, masks = values.abs().view(-1, 4), pruned.view(-1, 4)
    assert (masks.sum(1) == 2).all()
    assert all(torch.equal(four[mask].sort().values, four.sort().values[:2]) for four, mask in zip(fours, masks))
    half = below(TwoOfFour("2:4"), weight_of(values), 0.25)
    assert set(half.view(-1, 4).sum(1).tolist()) == {0, 2} and half.sum() == 20


def test_convolution_kernels_are_matrices_of_their_outputs():
    kernel = weight_of(torch.randn(8, 3, 5, 2))
    assert Blocks("blocks", 8, 1).sizes(kernel).shape == (1, 30)
    assert below(Blocks("blocks", 8, 1), kernel, 0.5).shape == (8, 30)


@pytest.mark.parametrize(
    "pattern, shape, words",
    [
        (Blocks("blocks", 8, 1), (12, 4), "8 x 1 do not tile w, 12 x 4"),
        (Blocks("blocks", 4, 4), (8, 6), "4 x 4 do not tile w, 8 x 6"),
        (Balanced("balanced", 5), (12, 4), "the 12 rows of w do not split into 3 gates of 5 groups"),
        (TwoOfFour("2:4"), (4, 6), "the 6 columns of w"),
    ],
)
def test_patterns_that_do_not_divide_a_matrix_are_refused_with_its_size(pattern, shape, words):
    with pytest.raises(InputError, match=words):
        pattern.check(weight_of(torch.zeros(shape), ("a", "b", "c")))


def test_more_than_half_is_refused_for_two_of_four():
    with pytest.raises(InputError, match=r"sparsity of 0.9 cannot be reached"):
        TwoOfFour("2:4").share(0.9)
    with pytest.raises(InputError, match="0 x 1"):
        Blocks("blocks", 0, 1)
    with pytest.raises(InputError, match="0 groups"):
        Balanced("balanced", 0)

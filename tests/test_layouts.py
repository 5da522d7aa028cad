"""The layout that a matrix gets: counted exactly, priced by measuring, never a block that must be slower."""

import pytest
import torch

from deepspeech_sparse.engine import SparseMatrix
from deepspeech_sparse.engine import layouts as module
from deepspeech_sparse.engine.layouts import fastest_layout, seconds_per_value, stored_in_layouts
from deepspeech_sparse.engine.sparse import BLOCKS


def kept_in_blocks(block: tuple[int, int], density: float, shape: tuple[int, int] = (256, 192)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    kept = torch.rand(shape[0] // block[0], shape[1] // block[1], generator=generator) < density
    return kept.float().repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)


@pytest.mark.parametrize("block", [*BLOCKS, None])
@pytest.mark.parametrize("density", [0.0, 0.05, 0.6])
def test_values_are_counted_as_they_are_stored(block, density):
    dense = kept_in_blocks((1, 1), density)
    assert stored_in_layouts(dense)[block] == SparseMatrix.from_dense(dense, block).stored


def test_of_a_large_matrix_a_sample_is_counted():
    dense = kept_in_blocks((8, 1), 0.1, (16_000, 64))
    counts = stored_in_layouts(dense)
    assert counts[None] < dense.numel() / 10
    assert counts[8, 1] == counts[1, 1] == pytest.approx(counts[None] * 0.1, rel=0.1)


def test_the_cheapest_layout_wins(monkeypatch):
    prices = {(1, 1): 3.0, (8, 1): 1.0, (16, 1): 1.0, (4, 4): 1.0, None: 0.9}
    monkeypatch.setattr(module, "seconds_per_value", lambda block, frames, values: prices[block])
    assert fastest_layout(kept_in_blocks((1, 1), 0.05), 1) == (1, 1)
    assert fastest_layout(kept_in_blocks((8, 1), 0.05), 1) == (8, 1)
    assert fastest_layout(kept_in_blocks((4, 4), 0.05), 1) == (4, 4)
    assert fastest_layout(kept_in_blocks((1, 1), 0.9), 1) is None
    assert fastest_layout(torch.zeros(64, 64), 1) == (1, 1)
    assert fastest_layout(torch.ones(5, 40), 1) is None  # fewer rows than any group


def test_a_very_sparse_matrix_needs_no_measuring(monkeypatch):
    def never(block, frames, values):
        raise AssertionError("measured")

    monkeypatch.setattr(module, "seconds_per_value", never)
    assert fastest_layout(kept_in_blocks((1, 1), 0.01, (1024, 1024)), 16) == (1, 1)


@pytest.mark.parametrize("block", [*BLOCKS, None])
@pytest.mark.parametrize("frames, values", [(1, "float32"), (16, "float32"), (1, "int8")])
def test_prices_are_measured_once(block, frames, values):
    price = seconds_per_value(block, frames, values)
    assert price > 0 and seconds_per_value(block, frames, values) == price


def test_a_matrix_too_wide_for_sixteen_bit_columns_is_dense():
    assert fastest_layout(torch.zeros(16, 70_000), 1) is None

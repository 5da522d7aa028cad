"""What float16 and int8 make of a matrix, and that the kernels read it exactly."""

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kernels import KERNELS, needs_kernels

from deepspeech_sparse.engine import SparseMatrix
from deepspeech_sparse.engine.values import rounded

matrices = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.floats(-(2.0**127), 2.0**127, width=32),
    fill=st.nothing(),
).map(torch.from_numpy)


@settings(max_examples=300, deadline=None)
@given(dense=matrices)
def test_int8_is_at_most_half_a_step_off_and_rounds_only_once(dense):
    once = rounded(dense, "int8")
    steps = dense.abs().amax(1, keepdim=True).double() / 127 + sys.float_info.min
    assert once.numbers.abs().max() <= 127 and (once.numbers == once.numbers.round()).all()
    error = (once.values().double() - dense.double()).abs()
    assert (error <= (0.5 + 1e-4) * steps.clamp(min=2.0**-126)).all()
    again = rounded(once.values(), "int8")
    assert torch.equal(again.values(), once.values())


def test_every_scale_survives_being_rounded_again():
    """Also the 1 of 128 that its own product with 127, rounded, would send to a neighbour."""
    scales = (torch.arange(12 * 2**20, 12 * 2**20 + 4096) * 2.0**-30)[:, None]
    dense = scales * torch.tensor([127.0, -5.0, 64.0, 1.0])
    assert (dense[:, 0] / 127 != scales[:, 0]).any()
    again = rounded(dense, "int8")
    assert torch.equal(again.values(), dense)
    assert torch.equal(again.numbers, torch.tensor([127.0, -5.0, 64.0, 1.0]).expand(4096, 4))


@pytest.mark.parametrize("value", [65520.0, -65520.0, 1e6, 3e38])
def test_what_is_beyond_float16_is_named(value):
    dense = torch.ones(4, 5)
    dense[2, 3] = value
    with pytest.raises(ValueError, match=rf"{value:g} in row 2, column 3 is beyond float16".replace("+", r"\+")):
        SparseMatrix.from_dense(dense, values="float16")


def test_float16_rounds_to_even_up_to_its_largest():
    dense = torch.tensor([[65519.0, 2049.0, 2051.0, 2.0**-24, 2.0**-26, math.inf]])
    assert rounded(dense, "float16").values().tolist() == [[65504.0, 2048.0, 2052.0, 2.0**-24, 0.0, math.inf]]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_int8_cannot_say_is_named(value):
    dense = torch.ones(4, 5)
    dense[1, 4] = value
    with pytest.raises(ValueError, match=f"{value:g} in row 1, column 4 has no place in int8"):
        SparseMatrix.from_dense(dense, values="int8")


@needs_kernels
@pytest.mark.parametrize("block", [(1, 1), (8, 1), (16, 1), (4, 4), None])
def test_every_float16_is_read_exactly(block):
    """All 65,536, infinities and NaN too, by each instruction that converts, alone and in panels."""
    bits = torch.arange(2**16).to(torch.uint16)
    numbers = bits.view(torch.float16).float()
    dense = numbers[numbers != 0][:, None]
    path = KERNELS.path()
    for wanted in KERNELS.paths():
        KERNELS.select(wanted)
        matrix = SparseMatrix.from_dense(dense, block, "float16")
        for batch in (1, 4, 8, 16):
            y = matrix @ torch.ones(1, batch)
            for column in y.t():
                assert torch.equal(column.nan_to_num(7e5, 8e5, -8e5), dense[:, 0].nan_to_num(7e5, 8e5, -8e5))
    KERNELS.select(path)


@needs_kernels
@pytest.mark.parametrize("block", [(1, 1), (8, 1), (16, 1), (4, 4), None])
def test_every_int8_is_read_exactly(block):
    steps = torch.arange(-127.0, 128.0)
    dense = torch.cat([steps, torch.full((1,), 127.0)]).repeat(3, 1)  # a scale of 1
    path = KERNELS.path()
    for wanted in KERNELS.paths():
        KERNELS.select(wanted)
        matrix = SparseMatrix.from_dense(dense, block, "int8")
        for first in range(0, 256, 16):
            x = torch.zeros(256, 16)
            x[first : first + 16] = torch.eye(16)
            assert torch.equal(matrix @ x, dense[:, first : first + 16])
            for column in range(16):
                assert torch.equal(matrix @ x[:, column], dense[:, first + column])
    KERNELS.select(path)

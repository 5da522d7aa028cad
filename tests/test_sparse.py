"""Products with packed matrices: the native kernels of every path, and torch in their place, against dense float64.

What float16 and int8 round, test_values.py says.
"""

import logging
import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import KERNELS, needs_kernels
from torch import Tensor

import deepspeech_sparse
from deepspeech_sparse.engine import SparseMatrix, runtime
from deepspeech_sparse.engine.products import NativeProduct, TorchProduct
from deepspeech_sparse.engine.sparse import BLOCKS, MOST_COLUMNS
from deepspeech_sparse.engine.values import FORMATS, rounded
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.machine.runtime import VARIABLE, choice, extension, native

ALL_BLOCKS = (*BLOCKS, None)
PATHS = ("torch", *(KERNELS.paths() if KERNELS else ()))
module = sys.modules["deepspeech_sparse.machine.runtime"]  # whose name the function hides


def packed(dense: Tensor, block: tuple[int, int] | None, path: str, values: str = "float32") -> SparseMatrix:
    """A matrix that multiplies on `path`; the native ones share their memory layout, so any may be selected later."""
    if path != "torch":
        KERNELS.select(path)
    product = TorchProduct if path == "torch" else NativeProduct
    return SparseMatrix(tuple(dense.shape), block, values, product(rounded(dense, values), block))


def pruned(rows: int, columns: int, block: tuple[int, int] | None, sparsity: float, shape: str, seed: int) -> Tensor:
    """A random matrix of which about `sparsity` of the blocks are zero."""
    generator = torch.Generator().manual_seed(seed)
    r, c = block or (1, 1)
    down, across = -(-rows // r), -(-columns // c)
    chance = torch.full((down, across), 1 - sparsity)
    if shape == "skewed":  # a few rows hold most: slices whose rows differ in length
        chance = chance * torch.rand(down, 1, generator=generator).pow(4) * 4
    if shape == "empty rows":
        chance = chance * (torch.rand(down, 1, generator=generator) < 0.3)
    if shape == "one full row":
        chance[torch.randint(down, (), generator=generator)] = 1
    kept = torch.rand(down, across, generator=generator) < chance
    kept = kept.repeat_interleave(r, 0).repeat_interleave(c, 1)[:rows, :columns]
    return torch.randn(rows, columns, generator=generator) * kept


def assert_product(y: Tensor, dense: Tensor, x: Tensor) -> None:
    """y is dense @ x but for float32 rounding: n additions may each be wrong by half a unit in the last place."""
    expected = dense.double() @ x.double()
    bound = (dense.shape[1] + 8) * 2.0**-24 * (dense.double().abs() @ x.double().abs()) + 1e-37
    assert y.dtype == torch.float32 and y.shape == expected.shape
    assert ((y.double() - expected).abs() <= bound).all()


@settings(max_examples=400, deadline=None)
@given(
    rows=st.integers(1, 300),
    columns=st.integers(1, 300),
    batch=st.one_of(st.none(), st.integers(1, 33)),
    block=st.sampled_from(ALL_BLOCKS),
    values=st.sampled_from(FORMATS),
    sparsity=st.one_of(st.sampled_from([0.0, 0.5, 0.9, 0.999, 1.0]), st.floats(0, 0.999)),
    shape=st.sampled_from(["even", "skewed", "empty rows", "one full row"]),
    threads=st.integers(1, 3),
    transposed=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_every_path_agrees_with_a_dense_product(
    rows, columns, batch, block, values, sparsity, shape, threads, transposed, seed
):
    dense = pruned(rows, columns, block, sparsity, shape, seed)
    multiplied = rounded(dense, values).values()
    size = (columns,) if batch is None else (columns, batch)
    x = torch.randn(size, generator=torch.Generator().manual_seed(seed + 1))
    if transposed:
        x = x.t().contiguous().t()
    for path in PATHS:
        matrix = packed(dense, block, path, values)
        assert_product(matrix.matmul(x, threads=threads), multiplied, x)
        y = matrix.linear(x.t(), threads=threads)
        assert y.is_contiguous()
        assert_product(y.t(), multiplied, x)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("block", ALL_BLOCKS)
@pytest.mark.parametrize("values", FORMATS)
def test_large_matrices_on_many_threads(path, block, values):
    """Large enough for bands, runs and several slices per thread; more threads than rows of blocks too."""
    dense = pruned(1003, 1501, block, 0.9, "even", 7)
    matrix, multiplied = packed(dense, block, path, values), rounded(dense, values).values()
    for batch in (None, 17, 40):
        x = torch.randn((1501,) if batch is None else (1501, batch), generator=torch.Generator().manual_seed(8))
        for threads in (1, 5, 200):
            assert_product(matrix.matmul(x, threads=threads), multiplied, x)
            assert_product(matrix.linear(x.t(), threads=threads).t(), multiplied, x)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0), (1, 1)])
@pytest.mark.parametrize("block", ALL_BLOCKS)
@pytest.mark.parametrize("values", FORMATS)
def test_matrices_and_batches_of_nothing(path, size, block, values):
    matrix = packed(torch.zeros(size), block, path, values)
    assert matrix.stored == (0 if block else math.prod(size))
    assert torch.equal(matrix @ torch.ones(size[1]), torch.zeros(size[0]))
    assert torch.equal(matrix @ torch.ones(size[1], 3), torch.zeros(size[0], 3))
    assert torch.equal(matrix.linear(torch.ones(3, 2, size[1])), torch.zeros(3, 2, size[0]))
    full = packed(torch.ones(size), block, path, values)
    assert (full @ torch.ones(size[1], 0)).shape == (size[0], 0)
    assert full.linear(torch.ones(3, 0, size[1])).shape == (3, 0, size[0])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("block", ALL_BLOCKS)
def test_linear_is_that_of_torch(path, block):
    """Any number of leading dimensions, x in any layout."""
    dense = pruned(70, 61, block, 0.5, "even", 4)
    matrix = packed(dense, block, path)
    x = torch.randn(61, 5, 4, 3).permute(3, 1, 2, 0)
    for inputs in (x, x[0], x[0, 0], x[0, 0, 0]):
        torch.testing.assert_close(matrix.linear(inputs), torch.nn.functional.linear(inputs, dense))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_in_a_dense_matrix_what_is_not_finite_reaches_every_row(path, poison):
    dense = pruned(61, 45, None, 0.9, "even", 3)
    for batch in (1, 3, 16):
        x = torch.randn(45, batch)
        x[17, 0] = poison
        y = packed(dense, None, path) @ x
        assert not y[:, 0].isfinite().any() and y[:, 1:].isfinite().all()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("batch", [1, 3, 16])
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_what_is_not_finite_reaches_only_rows_with_a_stored_value(path, block, batch, poison):
    dense = pruned(61, 45, block, 0.9, "skewed", 3)
    r, c = block
    column = 17
    dense[:8, column] = 1
    dense[32:48] = 0
    blocks = torch.nn.functional.pad(dense, (0, -45 % c, 0, -61 % r)).unflatten(0, (-1, r)).unflatten(2, (-1, c))
    reached = blocks.ne(0).any(3).any(1)[:, column // c].repeat_interleave(r)[:61]
    assert reached.any() and not reached.all()
    x = torch.randn(45, batch)
    clean = packed(dense, block, path) @ x
    x[column] = poison
    y = packed(dense, block, path) @ x
    assert not y[reached].isfinite().any()
    assert torch.equal(y[~reached], clean[~reached])


@pytest.mark.parametrize("path", PATHS)
def test_a_weight_that_is_not_a_number_is_kept(path):
    dense = torch.zeros(20, 20)
    dense[3, 4] = math.nan
    y = packed(dense, (1, 1), path) @ torch.ones(20)
    assert y.isnan().nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize("path", PATHS)
def test_the_widest_matrix_uses_its_last_column(path):
    dense = torch.zeros(17, MOST_COLUMNS)
    dense[:, -1] = torch.arange(17.0)
    dense[16, 0] = 1
    for block in BLOCKS:
        assert torch.equal(packed(dense, block, path) @ torch.ones(MOST_COLUMNS), dense.sum(1))


@pytest.mark.parametrize("path", PATHS)
def test_a_dense_matrix_may_be_wider(path):
    dense = torch.zeros(3, MOST_COLUMNS + 7)
    dense[:, -1] = torch.arange(3.0)
    assert torch.equal(packed(dense, None, path) @ torch.ones(MOST_COLUMNS + 7), dense.sum(1))


@needs_kernels
@pytest.mark.parametrize("block", ALL_BLOCKS)
def test_narrow_values_take_fewer_bytes_and_the_same_entries(block):
    dense = pruned(64, 48, block, 0.5, "even", 9)
    sizes = {values: packed(dense, block, KERNELS.paths()[0], values) for values in FORMATS}
    float32, float16, int8 = (sizes[values] for values in FORMATS)
    entries = int((dense != 0).sum()) if block else 64 * 48
    assert float32.stored == float16.stored == entries
    assert float32.bytes - float16.bytes == 2 * float32.stored
    assert float32.bytes - int8.bytes >= 3 * float32.stored - 4 * 64  # more where weights were rounded to zero


@needs_kernels
@pytest.mark.parametrize("block", ALL_BLOCKS)
@pytest.mark.parametrize("values", FORMATS)
def test_neither_threads_nor_gathers_change_a_bit(block, values):
    """Gathers are chosen by a measurement, which may differ from process to process: the result may not."""
    dense = pruned(500, 700, block, 0.9, "skewed", 1)
    for x in (torch.randn(700), torch.randn(700, 5)):
        results = {}
        for path in KERNELS.paths():
            matrix = packed(dense, block, path, values)
            results[path] = matrix.matmul(x, threads=1)
            assert torch.equal(results[path], matrix.matmul(x, threads=3))
            assert torch.equal(results[path], matrix.linear(x.t(), threads=3).t())
        for path in results:
            assert torch.equal(results[path], results[path.removesuffix("-gather")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SparseMatrix.from_dense(torch.ones(4, 4), (2, 2)), "blocks of 2x2"),
        (lambda: SparseMatrix.from_dense(torch.ones(4, 4), values="bfloat16"), "bfloat16.*float32, float16, int8"),
        (lambda: SparseMatrix.from_dense(torch.ones(4), None), r"shape \(4,\)"),
        (lambda: SparseMatrix.from_dense(torch.ones(4)), r"shape \(4,\)"),
        (lambda: SparseMatrix.from_dense(torch.ones(2, MOST_COLUMNS + 1)), "65537.*at most 65536 columns"),
        (lambda: SparseMatrix.from_dense(torch.ones(4, 4).double()), "float64 on cpu"),
        (lambda: SparseMatrix.from_dense(torch.ones(4, 4, device="meta")), "on meta"),
        (lambda: SparseMatrix.from_dense([[1.0]]), "list"),
    ],
)
def test_what_cannot_be_packed_is_refused_with_the_numbers(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(4), r"shape \(6, 5\) times x of shape \(4,\)"),
        (torch.ones(6, 2), r"\(5,\) or \(5, batch\) fit"),
        (torch.ones(5, 2, 2), r"\(5, 2, 2\)"),
        (torch.tensor(1.0), r"shape \(\)"),
        (torch.ones(5).half(), "float16"),
        (torch.ones(5, dtype=torch.int64), "int64"),
        (torch.ones(5, 5).to_sparse(), "sparse_coo"),
        (torch.ones(5, device="meta"), "meta"),
        (torch.ones(5, requires_grad=True), "gradient"),
        ([1.0] * 5, "list"),
    ],
)
def test_what_cannot_be_multiplied_is_refused_with_the_numbers(x, message):
    with pytest.raises(ValueError, match=message):
        SparseMatrix.from_dense(torch.ones(6, 5)).matmul(x)


@pytest.mark.parametrize("shape", [(), (4,), (5, 6), (2, 5, 6)])
def test_positions_of_another_width_are_refused_with_the_numbers(shape):
    with pytest.raises(ValueError, match=r"\(6, 5\): \(5,\) or \(\.\.\., 5\) fit"):
        SparseMatrix.from_dense(torch.ones(6, 5)).linear(torch.ones(shape))


@pytest.mark.parametrize("threads", [0, -1, 1025, 1.5, True])
def test_a_number_of_threads_that_cannot_be_is_refused(threads):
    with pytest.raises(ValueError, match="threads"):
        SparseMatrix.from_dense(torch.ones(6, 5)).matmul(torch.ones(5), threads=threads)


@needs_kernels
@pytest.mark.parametrize(
    ("starts", "indices", "values", "message"),
    [
        ([0, 1], [0], 1, "2 starts for 3 rows"),
        ([0, 1, 1, 2], [0], 1, "0 to 2 for 1 blocks"),
        ([1, 1, 1, 1], [0], 1, "1 to 1 for 1 blocks"),
        ([0, 2, 1, 2], [0, 1], 2, "from 2 to 1"),
        ([0, 9, 9, 2], [0, 1], 2, "from 0 to 9"),
        ([0, -5, 1, 2], [0, 1], 2, "from 0 to -5"),
        ([0, 2, 2, 2], [1, 1], 2, "index 1 behind 1"),
        ([0, 1, 1, 1], [4], 1, "index 4 behind -1"),
        ([0, 1, 1, 1], [-1], 1, "index -1"),
        ([0, 1, 1, 1], [2**40], 1, "below 4"),
        ([0, 1, 1, 1], [0], 2, "2 values for 1 blocks"),
    ],
)
def test_a_hostile_matrix_never_reaches_the_kernels(starts, indices, values, message):
    """3x4, single weights."""
    parts = torch.tensor(starts).numpy(), torch.tensor(indices).numpy(), torch.ones(values).numpy()
    with pytest.raises(ValueError, match=message):
        KERNELS.Matrix(3, 4, 1, 1, *parts, torch.ones(0).numpy())


@needs_kernels
@pytest.mark.parametrize(
    ("size", "values", "scales", "message"),
    [
        ((3, 4), torch.ones(12), 0, "12 values for a dense matrix of 3x4.*need 64"),
        ((17, 4), torch.ones(64), 0, "64 values.*need 128"),
        ((3, 4), torch.ones(64), 3, "3 scales for 3 rows of floats"),
        ((3, 4), torch.ones(64, dtype=torch.uint16), 3, "3 scales"),
        ((3, 4), torch.ones(64, dtype=torch.int8), 0, "0 scales for 3 rows of int8"),
        ((3, 4), torch.ones(64, dtype=torch.int8), 4, "4 scales"),
        ((-1, 4), torch.ones(0), 0, "-1x4"),
        ((2**32, 2**32), torch.ones(0), 0, "4294967296x4294967296"),  # whose product is 0 in 64 bits
    ],
)
def test_values_and_scales_that_do_not_fit_are_refused_with_the_numbers(size, values, scales, message):
    with pytest.raises(ValueError, match=message):
        KERNELS.Matrix(*size, values.numpy(), torch.ones(scales).numpy())


@needs_kernels
def test_the_native_border_checks_shapes_itself():
    matrix = SparseMatrix.from_dense(torch.ones(6, 5)).product.matrix
    for x, y in [((1, 4), (1, 6)), ((1, 5), (1, 7)), ((2, 5), (3, 6)), ((5,), (6,)), ((1, 1, 5), (1, 1, 6))]:
        with pytest.raises(ValueError, match="into y"):
            matrix.linear(torch.ones(x).numpy(), torch.empty(y).numpy(), 1)
    with pytest.raises(ValueError, match="threads: 0"):
        matrix.linear(torch.ones(1, 5).numpy(), torch.empty(1, 6).numpy(), 0)
    for x, y in [((4,), (6,)), ((5,), (7,)), ((5, 2), (6,)), ((5, 2), (6, 3)), ((5, 1, 1), (6, 1, 1))]:
        with pytest.raises(ValueError, match="into y"):
            matrix.multiply(torch.ones(x).numpy(), torch.empty(y).numpy(), 1)
    with pytest.raises(ValueError, match="threads: 0"):
        matrix.multiply(torch.ones(5).numpy(), torch.empty(6).numpy(), 0)
    with pytest.raises(TypeError):  # a copy would be written to and thrown away
        matrix.multiply(torch.ones(5, dtype=torch.float64).numpy(), torch.empty(6).numpy(), 1)
    with pytest.raises(ValueError, match="2x3"):
        nothing, none = torch.zeros(0).numpy(), torch.zeros(0, dtype=torch.int64).numpy()
        KERNELS.Matrix(0, 0, 2, 3, none, none, nothing, nothing)


@needs_kernels
def test_many_callers_at_once_get_their_own_results():
    """Products on threads of Python, each of them on threads of its own."""
    dense = pruned(400, 300, (1, 1), 0.8, "even", 5)
    matrix, wrong = SparseMatrix.from_dense(dense), []

    def multiply(seed: int) -> None:
        x = torch.randn(300, 1 + seed, generator=torch.Generator().manual_seed(seed))
        first = matrix.matmul(x, threads=1)
        wrong.extend(seed for _ in range(50) if not torch.equal(matrix.matmul(x, threads=1 + seed % 3), first))

    callers = [threading.Thread(target=multiply, args=(seed,)) for seed in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def in_a_new_process(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


MULTIPLY = """
import os, torch
from deepspeech_sparse.engine import SparseMatrix
matrix = SparseMatrix.from_dense(torch.ones(100, 10))
def tasks(): return len(os.listdir("/proc/self/task"))
"""


@needs_kernels
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads through /proc")
def test_as_many_threads_work_as_the_call_says():
    code = MULTIPLY + (
        "before = tasks(); matrix.matmul(torch.ones(10), threads=1); one = tasks() - before;"
        "matrix.matmul(torch.ones(10), threads=3); print(one, tasks() - before)"
    )
    assert in_a_new_process(code) == "0 2"


@needs_kernels
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_multiplies_on_threads_of_its_own():
    code = MULTIPLY + (
        "matrix.matmul(torch.ones(10), threads=3); child = os.fork()\n"
        "y = matrix.matmul(torch.ones(10), threads=3)\n"
        "if child == 0: os._exit(0 if y.eq(10).all() else 1)\n"
        "print(os.waitpid(child, 0)[1])"
    )
    assert in_a_new_process(code) == "0"


@pytest.fixture
def undecided():
    """The path is chosen anew in the test, and again after it."""
    choice.cache_clear()
    native.cache_clear()
    yield
    choice.cache_clear()
    native.cache_clear()


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_forced_by_the_environment(path, monkeypatch, undecided):
    monkeypatch.setenv(VARIABLE, path.upper())
    assert runtime().path == path and VARIABLE in runtime().reason
    matrix = SparseMatrix.from_dense(torch.ones(100, 10))
    assert isinstance(matrix.product, TorchProduct) == (path == "torch")
    assert torch.equal(matrix @ torch.ones(10), torch.full((100,), 10.0))


def test_a_path_that_is_not_there_is_named(monkeypatch, undecided):
    monkeypatch.setenv(VARIABLE, "altivec")
    with pytest.raises(InputError, match="altivec"):
        runtime()
    monkeypatch.setattr(module, "extension", lambda: None)
    with pytest.raises(InputError, match="no native kernels"):
        SparseMatrix.from_dense(torch.eye(3))


def test_without_kernels_torch_multiplies_and_the_log_says_so_once(monkeypatch, caplog, undecided):
    monkeypatch.setattr(module, "extension", lambda: None)
    monkeypatch.delenv(VARIABLE, raising=False)
    with caplog.at_level(logging.WARNING):
        assert runtime().path == "torch" and "C++ compiler" in runtime().reason
        assert not caplog.records
        for _ in range(2):
            matrix = SparseMatrix.from_dense(torch.eye(3))
            assert torch.equal(matrix @ torch.arange(3.0), torch.arange(3.0))
    assert isinstance(matrix.product, TorchProduct)
    assert len(caplog.records) == 1 and "No native kernels" in caplog.text


def test_kernels_that_cannot_be_loaded_are_not_called_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeech_sparse._kernels", None)  # as if loading failed
    monkeypatch.delattr(deepspeech_sparse, "_kernels", raising=False)
    monkeypatch.setattr(module, "find_spec", lambda name: SimpleNamespace(origin="_kernels.so"))
    assert "_kernels.so cannot be loaded (" in module.absence()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert "C++ compiler" in module.absence()


def test_the_live_path_is_told():
    live = runtime()
    assert live.path in live.paths and live.paths[0] == "torch"
    assert live.threads == torch.get_num_threads()
    assert (extension() is None) == (live.paths == ("torch",))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("block", BLOCKS)
def test_memory_is_values_and_16_bit_indices(path, block):
    dense = pruned(1600, 1600, block, 0.9, "even", 1)
    matrix = packed(dense, block, path)
    assert matrix.stored == int((dense != 0).sum())  # no block of random numbers holds a zero
    if path != "torch":
        least = matrix.stored * 4 + matrix.stored // math.prod(block) * 2
        assert least <= matrix.bytes <= 1.04 * least

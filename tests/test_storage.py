"""How tensors are stored: nothing is lost but what the values cannot hold, and hostile parts are refused by name."""

import json
import sys
import tracemalloc
from collections import Counter
from math import log2
from pathlib import Path

import numpy as np
import pytest
import torch
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from untrained import run_of, tiny_config, tiny_module

from deepspeech_sparse.errors import InputError
from deepspeech_sparse.export import export, info
from deepspeech_sparse.features import FeaturesConfig
from deepspeech_sparse.model_file import file_sizes, load_model, open_model, save_model
from deepspeech_sparse.model_file.codebook import codebook_of
from deepspeech_sparse.model_file.codec import CODECS, decoded, encoded
from deepspeech_sparse.model_file.positions import blocks_after, steps_to
from deepspeech_sparse.model_file.storage import Storage, restore, store
from deepspeech_sparse.model_file.values import VALUES

CHECKPOINTS = Path(__file__).parent.parent / "checkpoints"
CODEBOOKS = [values for values in VALUES if values.startswith("codebook")]


def pruned(shape: tuple[int, ...], sparsity: float, block: tuple[int, int] = (1, 1), seed: int = 0) -> np.ndarray:
    """Gaussian weights whose smallest blocks are zero."""
    weights = 0.05 * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    matrix = weights.reshape(shape[0], -1)
    rows, columns = block
    sizes = np.abs(matrix).reshape(shape[0] // rows, rows, -1, columns).max((1, 3))
    kept = sizes >= np.quantile(sizes, sparsity)
    return (matrix * kept.repeat(rows, 0).repeat(columns, 1)).reshape(shape)


def through(tensor: np.ndarray, values: str, codec: str) -> tuple[Storage, np.ndarray, int]:
    """How a tensor is stored, what comes back, and bytes. The metadata is read back too."""
    storage, contents = store(tensor, values, codec)
    read = Storage.from_json(json.loads(json.dumps(storage.to_json())))
    assert read == storage
    return storage, restore(read, contents), sum(map(len, contents.values()))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("block", [(1, 1), (8, 1), (16, 1), (4, 4)])
@pytest.mark.parametrize("shape", [(96, 64), (32, 4, 5, 8)])
def test_nothing_is_lost_but_what_the_values_cannot_hold(shape, block, codec):
    weights = pruned(shape, 0.9, block)
    for values in VALUES:
        storage, back, _ = through(weights, values, codec)
        assert storage.block == block and back.shape == shape and back.dtype == np.float32
        if values == "float32":
            assert np.array_equal(back, weights)
        elif values == "float16":
            assert np.array_equal(back, torch.from_numpy(weights).half().float().numpy())
        elif values == "int8":
            rows = torch.from_numpy(weights).flatten(1)
            scales = rows.abs().amax(1, keepdim=True) / 127
            expected = torch.where(scales > 0, (rows / scales).round(), 0) * scales
            assert np.array_equal(back, expected.view(shape).numpy())
        else:
            assert np.array_equal(back == 0, weights == 0), "no zero appears, none goes"
            assert len(np.unique(back[back != 0])) <= 2 ** int(values[-1])
            assert np.array_equal(back, back.astype(np.float16).astype(np.float32))
            assert np.abs(back - weights).max() < np.abs(weights).max() / 8


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.floats(0, 1),
    st.sampled_from(VALUES),
    st.sampled_from(CODECS),
    st.integers(0, 99),
)
def test_any_matrix_comes_back(rows, columns, density, values, codec, seed):
    """All zeros, no zeros, one row, one column, many equal values, tiny and large ones."""
    draw = np.random.default_rng(seed)
    weights = draw.choice([1e-9, 0.5, -0.5, 3.0, -60000.0, 6e-8], (rows, columns)).astype(np.float32)
    weights[draw.random((rows, columns)) >= density] = 0
    if store(weights, values, codec) is None:
        assert values == "float32", "left as it is"
        return
    back = through(weights, values, codec)[1]
    if values == "float32":
        assert np.array_equal(back, weights)
    elif values == "int8":
        assert (np.abs(back - weights) <= np.abs(weights).max(1, keepdims=True) / 253).all()
    else:  # so few different values that a codebook holds them all, as float16 does
        assert np.array_equal(back, weights.astype(np.float16).astype(np.float32))


def test_steps_pass_empty_blocks_and_escape_long_gaps():
    assert steps_to(np.array([0, 1, 5, 260])).tolist() == [0, 0, 3, 254]
    assert steps_to(np.array([255, 256, 1000])).tolist() == [255, 0, 0, 255, 255, 233]
    assert steps_to(np.array([], np.int64)).tolist() == []
    draw = np.random.default_rng(0)
    for share in (0.5, 0.1, 1e-3, 1e-5):
        blocks = np.flatnonzero(draw.random(700_000) < share)
        found = np.concatenate([*blocks_after(steps_to(blocks), 700_000, len(blocks)), np.array([], np.int64)])
        assert np.array_equal(found, blocks)


@pytest.mark.parametrize(
    "steps, blocks, count, words",
    [
        ([0, 0, 3], 5, 3, "leads to block 5 of 5"),
        ([0, 255], 100, 1, "leads to block 255 of 100"),
        ([0, 1], 100, 3, "leads to 2 blocks instead of 3"),
    ],
)
def test_steps_that_lead_elsewhere_are_refused(steps, blocks, count, words):
    with pytest.raises(ValueError, match=words):
        list(blocks_after(np.array(steps, np.uint8), blocks, count))


@pytest.mark.parametrize("values", CODEBOOKS)
@pytest.mark.parametrize("tails", ["gaussian", "heavy"])
def test_a_codebook_is_nearly_the_best_and_each_weight_has_its_nearest_entry(values, tails):
    draw, entries = np.random.default_rng(0), 2 ** int(values[-1])
    weights = draw.standard_normal(4000) if tails == "gaussian" else draw.standard_t(3, 4000)
    weights = weights[np.abs(weights) > 0.8].astype(np.float16)
    codebook, indices = codebook_of(weights, entries)
    assert len(codebook) <= entries and codebook.dtype == np.float16 and (np.diff(codebook) > 0).all()
    distances = np.abs(weights.astype(np.float64)[:, None] - codebook.astype(np.float64))
    assert np.array_equal(distances.min(1), distances[np.arange(len(weights)), indices])
    if values == "codebook4":
        assert (distances.min(1) ** 2).sum() < 1.15 * best_error(np.sort(weights.astype(np.float64)), entries)


def best_error(points: np.ndarray, entries: int) -> float:
    """The least sum of squares of 1-D k-means, by dynamic programming over where the clusters end."""
    sums, squares = (np.concatenate([[0], np.cumsum(points**power)]) for power in (1, 2))
    ends = np.arange(len(points) + 1)

    def cost(start, end):  # of one cluster
        return squares[end] - squares[start] - (sums[end] - sums[start]) ** 2 / np.maximum(end - start, 1)

    best = cost(0, ends)
    for _ in range(entries - 1):
        best = np.array([(best[: end + 1] + cost(ends[: end + 1], end)).min() for end in ends])
    return best[-1]


def test_a_codebook_keeps_few_different_values_as_they_are_and_zero_for_zeros():
    weights = np.array([0, -0.0, 6e-8, -6e-8, 0.5, 0.5, 3], np.float16)
    codebook, indices = codebook_of(weights, 16)
    assert np.array_equal(codebook[indices], weights)
    crowded = np.concatenate([np.zeros(50), np.random.default_rng(0).standard_normal(5000) * 1e-7]).astype(np.float16)
    codebook, indices = codebook_of(crowded, 16)
    assert np.array_equal(codebook[indices] == 0, crowded == 0) and len(codebook) <= 16


@pytest.mark.parametrize("bits", [4, 5, 6, 7])
@pytest.mark.parametrize("count", [0, 1, 7, 300_001])
def test_symbols_are_packed_without_gaps(bits, count):
    symbols = np.random.default_rng(0).integers(0, 1 << bits, count).astype(np.uint8)
    codec, content = encoded(symbols, "none", bits)
    assert codec == "none" and len(content) == -(-count * bits // 8)
    if 0 < count < 10:
        text = "".join(f"{symbol:0{bits}b}" for symbol in symbols)
        assert int.from_bytes(content.tobytes(), "big") == int(text.ljust(8 * len(content), "0"), 2)
    assert np.array_equal(decoded(content, "none", count, count, bits), symbols)


def test_the_entropy_coder_reaches_the_entropy():
    draw = np.random.default_rng(0)
    for symbols in (draw.geometric(0.1, 400_000) - 1, draw.binomial(200, 0.4, 400_000), np.full(400_000, 7)):
        symbols = np.minimum(symbols, 255).astype(np.uint8)
        shares = [count / len(symbols) for count in Counter(symbols.tolist()).values()]
        bits = -sum(share * log2(share) for share in shares)
        codec, content = encoded(symbols, "entropy")
        assert codec == "entropy" and 8 * (len(content) - 266) < (bits + 0.002) * len(symbols)
        assert np.array_equal(decoded(content, codec, len(symbols), len(symbols)), symbols)


def test_entropy_coded_bytes_mean_the_same_tomorrow():
    """Files live longer than versions of the coder's library: bytes of the day when the format was made."""
    written = bytes.fromhex(GOLDEN)
    symbols = np.array([3, 5, 3, 4, 3, 3, 9, 3] * 12, np.uint8)
    assert np.array_equal(decoded(np.frombuffer(written, np.uint8), "entropy", 96, 96), symbols)
    assert encoded(symbols, "entropy")[1].tobytes() == written


GOLDEN = "60000000000000000309ffd9d9000000d99f6e2e82d9d91631e9ee7d3afdaefd5192689fd68a010000"


def bomb(count: int, told: int | None = None) -> np.ndarray:
    """A zstd frame of zeros; its header may tell another size."""
    frame = bytearray(zstandard.ZstdCompressor().compress(bytes(count)))
    if told is not None:  # four bytes of content size behind magic and descriptor
        assert frame[4] >> 6 == 2 and frame[4] & 32
        frame[5:9] = told.to_bytes(4, "little")
    return np.frombuffer(bytes(frame), np.uint8)


def stretched_window() -> np.ndarray:
    """The head of a frame that wants to look back over 2 GB, though its content is told to have 96 bytes."""
    magic = zstandard.ZstdCompressor().compress(bytes(96))[:4]
    return np.frombuffer(magic + bytes([2 << 6, 21 << 3]) + (96).to_bytes(4, "little"), np.uint8)


ANS = encoded(np.arange(96, dtype=np.uint8) % 5, "entropy")[1]


@pytest.mark.parametrize(
    "content, codec, words",
    [
        (bomb(1 << 20, told=1 << 30), "zstd", "holds 1073741824 symbols instead of 96"),
        (bomb(1 << 20, told=96), "zstd", "no sound zstd frame"),
        (stretched_window(), "zstd", "window of 2147483648 bytes"),
        (np.concatenate([bomb(96), bomb(96)]), "zstd", "no sound zstd frame"),
        (bomb(96)[:-3], "zstd", "no sound zstd frame"),
        (np.zeros(0, np.uint8), "zstd", "no sound zstd frame"),
        (np.zeros(95, np.uint8), "none", "holds 95 symbols instead of 96"),
        (np.zeros(3, np.uint8), "entropy", "cut off after 3 bytes"),
        (np.concatenate([[0, 0, 0, 1], ANS[4:]]).astype(np.uint8), "entropy", "holds 16777216 symbols instead of 96"),
        (np.concatenate([ANS[:8], [9, 2], ANS[10:]]).astype(np.uint8), "entropy", "symbols 9 to 2"),
        (np.concatenate([ANS[:10], [0] * 5, ANS[15:]]).astype(np.uint8), "entropy", "no sound entropy-coded part"),
        (ANS[:-4], "entropy", "no sound entropy-coded part"),
        (ANS[:-1], "entropy", "no sound entropy-coded part"),
        (np.concatenate([ANS, ANS[-4:]]), "entropy", "no sound entropy-coded part"),
    ],
)
def test_hostile_parts_are_refused_before_anything_of_their_size_is_allocated(content, codec, words):
    tracemalloc.start()
    with pytest.raises(ValueError, match=words):
        decoded(content, codec, 96, 96)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


def pruned_module(config):
    module = tiny_module(config)
    with torch.no_grad():
        for name, weight in module.network.named_parameters():
            if weight.dim() >= 2 and not name.startswith("head"):
                weight.copy_(torch.from_numpy(pruned(tuple(weight.shape), 0.8)))
    return module


@pytest.fixture(scope="module")
def small():
    config = tiny_config(features=FeaturesConfig("log_mel", mels=12), hidden=24)
    return pruned_module(config), config.model


@pytest.fixture(scope="module")
def files(small, tmp_path_factory) -> list[Path]:
    """The same model in several forms."""
    folder, (module, config) = tmp_path_factory.mktemp("files"), small
    paths = []
    for values, codec in (("float32", "none"), ("float16", "zstd"), ("int8", "entropy"), ("codebook4", "none")):
        paths.append(folder / f"{values}.safetensors")
        save_model(paths[-1], module, config, {}, values=values, codec=codec)
    return paths


def test_a_file_of_format_1_gives_the_same_weights_in_format_2(tmp_path):
    """The dense released model is in format 1, and stays so for this: read as it was written, and written anew."""
    source = CHECKPOINTS / "an4-gru.safetensors"
    with safe_open(source, "pt") as file:
        assert json.loads(file.metadata()["deepspeech_sparse"])["format"] == 1
    export(source, out=tmp_path / "two.safetensors")
    once, twice = load_model(source), load_model(tmp_path / "two.safetensors")
    for key, raw in load_file(source).items():
        part, _, rest = key.partition(".")
        for model in (once, twice):
            tensors = model.network.state_dict() if part == "network" else dict(model.front_end.named_buffers())
            assert torch.equal(tensors[rest], raw) and tensors[rest].dtype == raw.dtype
    assert once.provenance == twice.provenance and once.config == twice.config
    assert (tmp_path / "two.safetensors").stat().st_size < source.stat().st_size


def test_the_released_sparse_model_is_small():
    """It was 9.04 MB in format 1."""
    assert (CHECKPOINTS / "an4-gru-sparse.safetensors").stat().st_size < 9_035_188 / 8


def test_an_open_model_decodes_one_tensor_at_a_time(small, files):
    module, config = small
    state = module.network.state_dict()
    for path in files:
        stored, loaded = open_model(path), load_model(path)
        assert set(stored.tensors) == set(stored.values) == set(state) and len(stored.tensors) == len(state)
        assert stored.config == config and stored.alphabet.size == loaded.alphabet.size
        assert torch.equal(stored.front_end.mels, module.front_end.mels) and not stored.front_end.training
        for name, tensor in stored.tensors.items():
            assert torch.equal(tensor, loaded.network.state_dict()[name])
            assert tensor.shape == state[name].shape and tensor is not stored.tensors[name]
            counter, quantised = name.endswith("num_batches_tracked"), state[name].dim() >= 2
            assert stored.values[name] == ("int64" if counter else path.stem if quantised else "float32")
            if not quantised:
                assert torch.equal(tensor, state[name])
        assert all(parameter.requires_grad for parameter in loaded.network.parameters())
        with pytest.raises(KeyError):
            stored.tensors["network.head.weight"]


@pytest.mark.parametrize(
    "values, least, bound", [("float16", 12, 0.0), ("int8", 20, 0.0), ("codebook4", 35, 0.01), ("codebook5", 31, 0.01)]
)
def test_files_of_a_sparse_network_are_as_small_as_promised(values, least, bound, tmp_path):
    config = tiny_config(hidden=256, layers=1)
    module = tiny_module(config)
    with torch.no_grad():
        for weight in module.network.parameters():
            if weight.dim() >= 2:
                weight.copy_(torch.from_numpy(pruned(tuple(weight.shape), 0.9)))
    path = tmp_path / "a.safetensors"
    save_model(path, module, config.model, {}, values=values, codec="entropy")
    sizes = file_sizes(path)
    weights = sum(w.numel() for w in module.network.parameters() if w.dim() >= 2)
    assert 4 * weights > least * (sizes.positions + sizes.values + sizes.tables)
    assert sizes.total == path.stat().st_size == info(path).bytes
    told = {tensor.name: tensor for tensor in sizes.tensors}["network.recurrent.0.cell.weight_hh_l0"]
    assert (told.values, told.form, told.codec) == (values, "1x1", "entropy")
    share, bits = 0.1, {"float16": 16, "int8": 8}.get(values) or int(values[-1])
    entropy = -share * log2(share) - (1 - share) * log2(1 - share)
    rest = sizes.dense + 4e-5 * weights  # kept shares are 0.1 but for ties
    assert sizes.bound == pytest.approx(weights * (entropy + share * bits) / 8 + rest, rel=0.02)
    assert sizes.positions + sizes.values < (1 + bound) * (sizes.bound - sizes.dense)


def test_zeros_are_left_out_only_where_that_is_smaller():
    for sparsity, sparse in ((0.0, False), (0.01, False), (0.3, True), (0.9, True)):
        weights = pruned((128, 128), sparsity)
        for values in ("float32", "int8"):
            found = store(weights, values, "zstd")
            assert (found is not None and found[0].block is not None) == sparse, (sparsity, values)


def test_what_a_run_becomes_can_be_made_smaller_later(small, tmp_path, capsys):
    from deepspeech_sparse.cli import main

    config = tiny_config(hidden=24)
    run = run_of(pruned_module(config), config, tmp_path / "run")
    first, later, direct, back = (tmp_path / f"{name}.safetensors" for name in ("a", "b", "c", "d"))
    assert main(["export", str(run), "--out", str(first)]) == 0
    assert main(["export", str(first), "--out", str(later), "--values", "codebook4", "--codec", "entropy"]) == 0
    printed = capsys.readouterr().out
    for words in ("positions", "values", "codebooks and scales", "dense tensors", "metadata", "entropy bound"):
        assert words in printed
    export(run, out=direct, values="codebook4", codec="entropy")
    assert later.read_bytes() == direct.read_bytes()
    export(later, out=back, values="float32")
    for name, tensor in open_model(later).tensors.items():
        assert torch.equal(open_model(back).tensors[name], tensor)
    assert info(later).sizes.total < info(first).sizes.total < 4 * info(first).parameters
    assert main(["info", str(later)]) == 0
    assert "codebook4 1x1 entropy" in capsys.readouterr().out
    assert main(["export", str(first), "--out", str(later), "--values", "int4"]) == 2
    for wrong in ({"values": "int4"}, {"codec": "zip"}):
        with pytest.raises(InputError, match="b.safetensors: (values 'int4'|codec 'zip'); choose one of"):
            export(first, out=later, **wrong)


def test_without_its_library_only_the_entropy_coder_is_missing(files, small, monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    for path in files:
        if path.stem == "int8":
            with pytest.raises(InputError, match=r"int8\.safetensors: the codec entropy needs .*pip install"):
                load_model(path)
        else:
            load_model(path)
    with pytest.raises(InputError, match=r"none\.safetensors: the codec entropy needs .*pip install"):
        save_model(files[0].with_name("none.safetensors"), *small, {}, codec="entropy")


def test_what_float16_cannot_hold_is_named(tmp_path):
    config = tiny_config()
    module = tiny_module(config)
    with torch.no_grad():
        module.network.head.weight[1, 2] = -70_000
    for values in ("float16", "codebook4"):
        with pytest.raises(InputError, match=r"a\.safetensors: network\.head\.weight .*-70000 .*int8"):
            save_model(tmp_path / "a.safetensors", module, config.model, {}, values=values)
    with torch.no_grad():
        module.network.head.weight[1, 2] = torch.finfo(torch.float32).max
    save_model(tmp_path / "a.safetensors", module, config.model, {}, values="int8")
    assert load_model(tmp_path / "a.safetensors").network.head.weight.isfinite().all()


def test_a_model_of_almost_nothing_but_zeros_is_neither_written_nor_read(tmp_path):
    config = tiny_config(hidden=512)
    module = tiny_module(config)
    with torch.no_grad():
        for parameter in module.network.parameters():
            parameter.zero_()
    with pytest.raises(InputError, match=r"a\.safetensors: .* weights in .* bytes, more than 256 in each"):
        save_model(tmp_path / "a.safetensors", module, config.model, {})


def rewritten(path: Path, *, storage=None, parts=None) -> Path:
    """A copy of a model file with other content."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    entry, tensors = json.loads(header["__metadata__"]["deepspeech_sparse"]), load_file(path)
    if storage:
        storage(entry["storage"][RECURRENT])
    if parts:
        parts(tensors)
    bad = path.with_name(f"{path.stem}-bad.safetensors")
    save_file(tensors, bad, {"deepspeech_sparse": json.dumps(entry)})
    return bad


RECURRENT = "network.recurrent.1.cell.weight_hh_l0"


def floats(*values: float) -> torch.Tensor:
    return torch.from_numpy(np.array(values, "<f4").view(np.uint8))


@pytest.mark.parametrize(
    "file, change, words",
    [
        ("int8", lambda t: t[f"{RECURRENT}/scales"][:4].copy_(floats(np.nan)), "scales: holds numbers that are NaN"),
        ("int8", lambda t: t[f"{RECURRENT}/scales"][:4].copy_(floats(-1)), "scales: 72 for 72 rows, the smallest -1"),
        ("int8", lambda t: t.update({f"{RECURRENT}/scales": floats(1, 1)}), "scales: 2 for 72 rows"),
        ("int8", lambda t: t.update({f"{RECURRENT}/scales": floats(*[1] * 73)}), "scales: 292 bytes"),
        ("int8", lambda t: t[f"{RECURRENT}/scales"][:4].copy_(floats(3e38)), "NaN or infinite"),
        ("int8", lambda t: t[f"{RECURRENT}/positions"].fill_(0), "positions: "),
        ("int8", lambda t: t.pop(f"{RECURRENT}/scales"), r"weight_hh_l0/scales is missing"),
        ("int8", lambda t: t.update({f"{RECURRENT}/more": floats(1)}), "weight_hh_l0/more is unknown"),
        ("int8", lambda t: t.update({f"{RECURRENT}\x1b[2J": floats(1)}), r"weight_hh_l0\\x1b\[2J' is no tensor"),
        ("int8", lambda t: t.update({RECURRENT: torch.zeros(72, 24)}), "weight_hh_l0 is unknown"),
        ("int8", lambda t: t.update({f"{RECURRENT}/scales": torch.zeros(72)}), "F32 of shape .* instead of bytes"),
        (
            "codebook4",
            lambda t: t.update({f"{RECURRENT}/codebook": floats(1)[:2]}),
            "values: index 15 into a table of 1",
        ),
        ("codebook4", lambda t: t.update({f"{RECURRENT}/codebook": floats()}), "values: index 15 into a table of 0"),
        ("codebook4", lambda t: t[f"{RECURRENT}/codebook"].fill_(255), "codebook: holds numbers that are NaN"),
        ("codebook4", lambda t: t.update({f"{RECURRENT}/codebook": floats(*[1] * 9)}), "codebook: 36 bytes"),
        ("codebook4", lambda t: t[f"{RECURRENT}/positions"].fill_(254), "positions: leads to block"),
        ("codebook4", lambda t: t[f"{RECURRENT}/positions"].fill_(255), "positions: leads to 0 blocks"),
        ("codebook4", lambda t: t.update({f"{RECURRENT}/values": floats(1)}), "values holds 4 bytes instead of"),
        ("float32", lambda t: t[f"{RECURRENT}/values"].fill_(255), "NaN or infinite"),
    ],
)
def test_parts_that_make_no_tensor_are_refused_by_name(file, change, words, files):
    [path] = [path for path in files if path.stem == file]
    with pytest.raises(InputError, match=rf"(?s){file}-bad\.safetensors: .*weight_hh_l0.*{words}|{words}") as error:
        load_model(rewritten(path, parts=change))
    assert "weight_hh_l0" in str(error.value)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda s: s.update(shape=[72, 25]), r"has shape \(72, 25\) instead of \(72, 24\)|cannot hold"),
        (lambda s: s.update(shape=[-72, -24]), "no possible shape"),
        (lambda s: s.update(shape=[2**31, 2**31, 2**31]), "no possible shape"),
        (lambda s: s.update(shape=[2**20, 2**20]), "more than 256 in each"),
        (lambda s: s.update(shape=[10**4000]), "no possible shape"),
        (lambda s: s.update(shape=[72.0, 24]), "no possible shape"),
        (lambda s: s.update(shape=[True, 24]), "no possible shape"),
        (lambda s: s.update(shape=[0, 24]), "no possible shape"),
        (lambda s: s.update(shape=[]), "no possible shape"),
        (lambda s: s.update(shape="72x24"), "no possible shape"),
        (lambda s: s.update(count=s["count"] - 1), "positions: |holds"),
        (lambda s: s.update(count=-1), "cannot hold -1 blocks"),
        (lambda s: s.update(count=10**30), "cannot hold 10+"),
        (lambda s: s.update(count=1.5), "cannot hold 1.5 blocks"),
        (lambda s: s.update(block=[8, 1]), "holds .* symbols instead of|cannot hold"),
        (lambda s: s.update(block=[2, 2]), "has blocks"),
        (lambda s: s.update(block=None), "cannot hold"),
        (lambda s: s.update(values="int9"), "has values 'int9'; known are"),
        (lambda s: s.update(values=["int8"]), "has values"),
        (lambda s: s.update(values="codebook8"), "instead of codebook, positions, values"),
        (lambda s: s["parts"].update(values="zip"), "known codecs are"),
        (lambda s: s["parts"].update(values=[]), "known codecs are"),
        (lambda s: s["parts"].update(values="zstd"), "values is no sound zstd frame"),
        (lambda s: s["parts"].update(scales="zstd"), "instead of positions, scales, values"),
        (lambda s: s["parts"].pop("scales"), "instead of positions, scales, values"),
        (lambda s: s.update(parts=7), "has parts 7"),
        (lambda s: s.update(more=1), "does not know that"),
    ],
)
def test_metadata_that_makes_no_tensor_is_refused_by_name(change, words, files):
    [path] = [path for path in files if path.stem == "int8"]
    with pytest.raises(InputError, match=rf"int8-bad\.safetensors: .*({words})"):
        load_model(rewritten(path, storage=change))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 3),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    st.booleans(),
    st.integers(0, 4000),
)
def test_random_damage_is_an_input_error_or_a_finite_model(files, small, which, changes, in_header, cut):
    """Bytes set anywhere, a tail cut off: never another exception, never a model of another shape."""
    content = bytearray(files[which].read_bytes())
    end = 8 + int.from_bytes(content[:8], "little")
    first, last = (0, end) if in_header else (end, len(content))
    for place, value in changes:
        content[first + int(place * (last - first))] = value
    bad = files[which].with_name("damaged.safetensors")
    bad.write_bytes(content[: len(content) - cut] if cut < 100 else content)
    try:
        model = load_model(bad)
    except InputError as error:
        assert str(bad) in str(error)
        return
    for name, tensor in model.network.state_dict().items():
        assert tensor.shape == small[0].network.state_dict()[name].shape and tensor.isfinite().all()


@pytest.mark.parametrize("values, codec", [("float32", "zstd"), ("codebook4", "entropy"), ("int8", "none")])
def test_decoding_takes_little_more_memory_than_the_tensor(values, codec):
    weights = pruned((2048, 2048), 0.9)
    storage, contents = store(weights, values, codec)
    size = sum(map(len, contents.values()))
    tracemalloc.start()
    back = restore(storage, contents)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert back.nbytes <= peak < back.nbytes + 2 * size + 3_000_000, "a chunk of positions takes two megabytes"


@pytest.mark.parametrize("values, codec", [("float16", "none"), ("int8", "zstd"), ("int8", "entropy")])
def test_exporting_a_quantised_file_once_more_changes_no_byte(small, tmp_path, values, codec):
    first, again = tmp_path / "first.safetensors", tmp_path / "again.safetensors"
    save_model(first, *small, {}, values=values, codec=codec)
    export(first, out=again, values=values, codec=codec)
    assert first.read_bytes() == again.read_bytes()


def test_provenance_that_would_exhaust_whoever_shows_it_is_refused(small, tmp_path):
    deep: dict = {}
    for _ in range(200):
        deep = {"inside": deep}
    save_model(tmp_path / "deep.safetensors", *small, {"history": deep})
    with pytest.raises(InputError, match=r"deep\.safetensors: its provenance is nested more than 50 deep"):
        open_model(tmp_path / "deep.safetensors")


def test_a_network_in_half_precision_is_refused_before_a_file_is_written(tmp_path):
    module = tiny_module(tiny_config())
    module.network.half()
    with pytest.raises(InputError, match=r"is torch\.float16; call \.float\(\)"):
        save_model(tmp_path / "half.safetensors", module, tiny_config().model, {})
    assert not (tmp_path / "half.safetensors").exists()

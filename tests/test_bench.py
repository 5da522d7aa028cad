"""The verb bench: what is measured computes the same, and the tables and JSON hold it. No time is asserted."""

import json

import pytest
import torch

from deepspeech_sparse.bench import bench, gradients, layers, onnx_models, products, recognition, run
from deepspeech_sparse.bench.layers import Group, dense_variants, sparse_layer, torch_layer
from deepspeech_sparse.bench.plain import PlainNetwork, with_integers
from deepspeech_sparse.bench.weights import kept
from deepspeech_sparse.engine.values import FORMATS
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.features import FeaturesConfig
from deepspeech_sparse.model import ConvolutionConfig, NetworkConfig, network_of
from deepspeech_sparse.model_config import ModelConfig
from deepspeech_sparse.report.tables import Column, Table

TINY = ModelConfig(
    FeaturesConfig(kind="log_mel", mels=16),
    NetworkConfig((ConvolutionConfig(2, (5, 5), (2, 2)),), layers=2, hidden=16),
    "abc",
)


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_what_is_called_torch_is_torchs(cell):
    """Its own layer with the same weights, and a quantised one where integers are asked for."""
    torch.manual_seed(0)
    config = NetworkConfig((ConvolutionConfig(2, (5, 5), (2, 2)),), cell=cell, layers=2, hidden=8, merge="concat")
    network = network_of(config, 16, 4).eval()
    plain = PlainNetwork(network)
    assert all(type(layer.cell).__module__ == "torch.nn.modules.rnn" for layer in plain.network.recurrent)
    features = torch.randn(1, 90, 16)
    with torch.no_grad():
        torch.testing.assert_close(plain(features), network(features, torch.tensor([90]))[0], atol=1e-5, rtol=1e-5)
    if cell == "gru":
        cells = [layer.cell for layer in with_integers(plain).network.recurrent]
        assert all(isinstance(each, torch.ao.nn.quantized.dynamic.GRU) for each in cells)


@pytest.mark.parametrize("cell", ["clipped_rnn", "gru"])
def test_all_ways_to_compute_a_layer_agree(cell):
    """The dense ones with each other, the sparse one with torch on the same weights."""
    torch.manual_seed(0)
    with torch.inference_mode():
        variants = dense_variants(torch_layer(cell, 24))
        x = torch.randn(1, 9, 24)
        first, *others = [variant(x) for variant in variants.values()]
        assert first.shape == (1, 9, 24) and first.std() > 0.05 and others
        for other in others:
            torch.testing.assert_close(other, first, atol=1e-5, rtol=1e-5)
        torch.manual_seed(1)
        recurrence, blocks = sparse_layer(cell, 24, (8, 1))
        torch.manual_seed(1)
        layer = torch_layer(cell, 24)
        for parameter in layer.parameters():
            if parameter.dim() == 2:
                parameter.mul_(kept(tuple(parameter.shape), (8, 1), 0.95)).mul_(0.05**-0.5)
        expected = layer(x, torch.tensor([9]))[0]
        computed = recurrence(x[0], torch.ones(9, dtype=torch.int64), 1)
        torch.testing.assert_close(computed, expected, atol=1e-5, rtol=1e-5)
        assert blocks and recurrence.directions[0].input.stored < 0.2 * 24 * 24 * (3 if cell == "gru" else 1)


def test_blocks_are_kept_or_pruned_whole():
    torch.manual_seed(0)
    mask = kept((20, 50), (8, 1), 0.9)
    assert mask.shape == (20, 50) and 0.05 < mask.float().mean() < 0.15
    for start in (0, 8, 16):
        rows = mask[start : start + 8]
        assert (rows.all(0) | ~rows.any(0)).all()


def test_the_plain_network_is_the_network():
    torch.manual_seed(0)
    network = network_of(TINY.network, 16, 4).eval()
    features = torch.randn(1, 31, 16)
    with torch.no_grad():
        expected, _ = network(features, torch.tensor([31]))
        plain = PlainNetwork(network)
        torch.testing.assert_close(plain(features), expected, atol=1e-6, rtol=1e-5)
        rounded = with_integers(plain)(features)
    assert 0 < (rounded - expected).abs().max() < 0.1, "integers that change nothing are none"


def test_onnx_runtime_computes_the_same_for_any_number_of_frames(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    torch.manual_seed(0)
    plain = PlainNetwork(network_of(TINY.network, 16, 4).eval())
    onnx_models.export_onnx(plain, torch.randn(1, 31, 16), tmp_path / "f.onnx")
    onnx_models.quantise_onnx(tmp_path / "f.onnx", tmp_path / "q.onnx")
    features = torch.randn(1, 50, 16)
    with torch.no_grad():
        expected = plain(features)
    exact, rounded = (onnx_models.onnx_session(tmp_path / name, 1)(features) for name in ("f.onnx", "q.onnx"))
    torch.testing.assert_close(exact, expected, atol=1e-5, rtol=1e-4)
    assert 0 < (rounded - expected).abs().max() < 0.2


def test_products_have_a_row_for_each_size_batch_pattern_and_sparsity():
    table = products.products(threads=1, full=False, sizes=((32, 24), (16, 40)), seconds=1e-4)
    assert len(table.rows) == 2 * 2 * 2 * (3 + 1)
    assert {row[:5] for row in table.rows} == {
        (size, zeros, pattern, values, batch)
        for size in ("32x24", "16x40")
        for zeros in (0.9, 0.95)
        for pattern in ("single", "8x1")
        for batch in (1, 16)
        for values in (FORMATS if batch == 1 else ("float32",))
    }
    for row in run.plain_rows(table):
        assert row["x dense"][0] == pytest.approx(row["dense"] / row["ours"])


def test_layers_stand_beside_the_dense_one_of_their_group():
    table = layers.layers(threads=1, full=False, groups=(Group("gru", 16, (16, 24)),), steps=3, rounds=2)
    assert [row[:4] for row in table.rows] == [
        ("gru", 16, 0.0, ""),
        ("gru", 16, 0.95, "single"),
        ("gru", 16, 0.95, "8x1"),
        ("gru", 24, 0.95, "single"),
        ("gru", 24, 0.95, "8x1"),
    ]
    dense, *sparse = run.plain_rows(table)
    for row in sparse:
        assert row["x dense"][0] == pytest.approx(dense["us per step"] / row["us per step"])
    assert "3 steps (quick" in table.note and "2 rounds" in table.note


@pytest.mark.parametrize("with_onnx", [True, False])
def test_recognition_holds_every_contender_against_torch(with_onnx, monkeypatch):
    if with_onnx:
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
    else:
        monkeypatch.setattr(onnx_models, "onnxruntime", None)

    def run_here(calls):
        for target, *arguments in calls:
            assert target == "deepspeech_sparse.bench.recognition:load_and_run"
            recognition.load_and_run(*map(str, arguments))
        return [1_000_000 * number for number in range(len(calls))]

    monkeypatch.setattr(recognition, "peaks_in_children", run_here)
    torch.manual_seed(0)
    before = torch.get_num_threads()
    table = recognition.recognition(threads=before, full=False, config=TINY, seconds=0.5, rounds=1)
    rows = run.plain_rows(table)
    names = ["our GRU of trainings", "torch.nn.GRU", "torch int8"]
    names += ["ONNX Runtime", "ONNX Runtime int8"] if with_onnx else []
    assert [row["computed by"] for row in rows] == [*names, "sparse engine", "sparse engine"]
    assert [row["weights"] for row in rows] == ["dense"] * len(names) + ["single", "8x1"]
    for row in rows:
        assert row["off torch float32 by"] < (0.2 if "int8" in row["computed by"] else 1e-4)
        assert row["real-time factor"] == pytest.approx(row["ms"] / 500)
    assert [row["peak memory, MB"] for row in rows] == list(range(len(rows)))
    assert ("Without ONNX Runtime" in table.note) != with_onnx


def test_gradients_are_held_against_torch_and_against_exact_ones():
    table = gradients.gradients(threads=1, full=False, sizes=(gradients.Size(2, 48, 3, 40),), rounds=2)
    rows = run.plain_rows(table)
    assert [row["layers"] for row in rows] == ["lstm, 2 x 48"] * 6 + ["gru, 2 x 48"] * 6
    for six in (rows[:6], rows[6:]):
        assert [row["rounded"] for row in six] == ["nothing", "50%", "80%", "90%", "95%", "units, 80%"]
        shares = [row["zeros"] for row in six]
        assert shares[0] < 0.05 and shares[1:] == pytest.approx([0.5, 0.8, 0.9, 0.95, 0.8], abs=0.07)
        for row in six:
            assert row["x torch"][0] == pytest.approx(row["torch ms"] / row["ms"])
            assert row["x ours, exact"][0] == pytest.approx(six[0]["ms"] / row["ms"])
        assert six[0]["beats torch from zeros of"] and not six[1]["beats torch from zeros of"]
    assert "quick" in table.note and "2 rounds" in table.note


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ({0.0: 3.0, 0.5: 2.0, 0.9: 1.0}, "70%"),  # on the line between the last slower and the first faster one
        ({0.0: 1.0, 0.5: 3.0, 0.9: 2.0}, "never"),  # faster at first does not last
        ({0.0: 1.0, 0.5: 1.2}, "0% or less"),
        ({0.5: 1.0, 0.9: 0.5}, "50% or less"),
        ({0.0: 1.0, 0.5: 2.0, 0.9: 1.0}, "70%"),
    ],
)
def test_where_it_pays_is_where_it_does_not_stop_to(times, words):
    assert gradients.pays_from(times, 1.5) == words


def test_all_figures_are_shown_and_written(tmp_path, monkeypatch):
    table = Table("one", "A table", (Column("name"), Column("time", "{:.1f}".format)), (("a", 1.234),), "How.")
    monkeypatch.setattr(run, "PARTS", {"one": lambda threads, full: table, "two": None})
    shown, path = [], tmp_path / "bench.json"
    told = bench(("one",), threads=2, seed=3, json=path, show=shown.append)
    text = "\n".join(shown)
    assert "## A table\n\nHow.\n\n| name | time |\n| --- | --- |\n| a | 1.2 |" in text and "processor" in text
    assert json.loads(path.read_text()) == json.loads(json.dumps(told))
    assert told["tables"]["one"]["rows"] == [{"name": "a", "time": 1.234}]
    assert (told["threads"], told["seed"], told["full"]) == (2, 3, False) and told["date"].startswith("20")
    assert told["machine"]["versions"]["torch"] == torch.__version__


def test_what_cannot_be_measured_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"parts \['ears'\]; choose from products, layers, recognition"):
        bench(("ears",))
    with pytest.raises(InputError, match="0 threads"):
        bench(threads=0)
    with pytest.raises(InputError, match="is a folder"):
        bench(json=tmp_path)

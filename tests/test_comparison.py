"""Comparisons: every model as evaluated alone, the table and the report against their parts."""

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console
from untrained import run_of, tiny_config, tiny_module

from deepspeech_sparse.corpora.manifest import Utterance, write_manifest
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.evaluation.comparison import compare, distinct_names, results_of
from deepspeech_sparse.evaluation.rows import plain_settings, result_of
from deepspeech_sparse.evaluation.wer import evaluate
from deepspeech_sparse.export import info
from deepspeech_sparse.model_file import save_model
from deepspeech_sparse.pruning import Goal, Hard, Pruner, PruningConfig
from deepspeech_sparse.significance import readable_p_value, sign_flip_p_value

RATE = 16_000


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    utterances = []
    for index in range(12):
        noise = np.convolve(rng.standard_normal(RATE // 2), rng.standard_normal(9), "same")
        path = folder / f"{index}.wav"
        soundfile.write(path, 0.5 * noise / np.abs(noise).max(), RATE)
        utterances.append(Utterance(f"u{index}", path, 0.5, ["a cab", "b", "abc c ab"][index % 3]))
    write_manifest(folder / "test.jsonl", utterances)
    return folder / "test.jsonl"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A dense model file, a sparse model file of the same name, a deeper run folder."""
    folder = tmp_path_factory.mktemp("models")
    config = tiny_config()
    save_model(folder / "dense" / "model.safetensors", tiny_module(config), config.model, {})
    sparse = tiny_module(config, seed=1)
    with torch.no_grad():
        for layer in sparse.network.recurrent:
            layer.cell.weight_hh_l0.zero_()
    save_model(folder / "sparse" / "model.safetensors", sparse, config.model, {})
    deep = tiny_config(layers=3)
    run = run_of(tiny_module(deep, seed=2), deep, folder / "deep")
    return [folder / "dense" / "model.safetensors", folder / "sparse" / "model.safetensors", run]


@pytest.fixture(scope="module")
def comparison(models, manifest, tmp_path_factory):
    path = tmp_path_factory.mktemp("json") / "comparison.json"
    return compare(models[0], models[1:], manifest, json=path, rounds=0), path


def test_every_model_is_evaluated_and_weighed_as_alone(comparison, models, manifest):
    for compared, path in zip(comparison[0].models, models):
        alone = evaluate(path, manifest)
        assert compared.evaluation.utterances == alone.utterances
        assert compared.evaluation.wer_interval == alone.wer_interval
        assert compared.info == info(path)


def test_p_values_hold_each_model_against_the_first(comparison):
    first, *others = comparison[0].models
    assert first.p_value is None
    before = np.array([row.errors for row in first.evaluation.utterances])
    for other in others:
        after = np.array([row.errors for row in other.evaluation.utterances])
        assert other.p_value == sign_flip_p_value(after - before)
    assert any(other.p_value < 1 for other in others), "models that never differ would prove nothing"


def test_a_model_does_not_differ_from_itself(models, manifest):
    result = compare(models[0], [models[0]], manifest, rounds=0)
    assert [model.name for model in result.models] == ["model", "model (2)"]
    assert result.models[1].p_value == 1.0


def test_json_holds_what_the_table_shows(comparison):
    result, path = comparison
    values = json.loads(path.read_text())
    assert values == json.loads(json.dumps(result.to_dict()))
    names = [model["name"] for model in values["models"]]
    assert names == ["dense/model.safetensors", "sparse/model.safetensors", "deep"]
    dense, sparse, deep = values["models"]
    assert dense["sparsity"] < sparse["sparsity"] == 1 - sparse["nonzeros"] / sparse["parameters"]
    assert dense["parameters"] == sparse["parameters"] < deep["parameters"]
    assert len(deep["layers"]) == len(dense["layers"]) + 1
    assert dense["wer"] == result.models[0].evaluation.wer and dense["p_value"] is None
    assert "sign-flip" in values["test"]


def test_one_table_shows_errors_sizes_and_zeros_layer_by_layer(comparison):
    result, _ = comparison
    console = Console(file=io.StringIO(), width=120)
    result.print(console)
    lines = console.file.getvalue().splitlines()

    def cells(title: str) -> list[str]:
        [line] = [line for line in lines if "│" in line and line.strip("│ ").startswith(title)]
        return [cell.strip() for cell in line.strip("│").split("│")[1:]]

    assert cells("WER") == [f"{model.evaluation.wer:.2%}" for model in result.models]
    assert cells("p-value")[0] == "" and cells("p-value")[2] == readable_p_value(result.models[2].p_value)
    assert cells("not zero") == [f"{model.info.nonzeros:,}" for model in result.models]
    assert cells("recurrent.2")[:2] == ["", ""] and cells("recurrent.2")[2].endswith("%")
    assert float(cells("recurrent.1")[1].rstrip("%")) > float(cells("recurrent.1")[0].rstrip("%"))
    assert cells("bytes on disk")[0] == f"{result.models[0].info.bytes / 1e6:.2f} MB"


def test_names_are_as_long_as_needed_to_differ(tmp_path):
    (tmp_path / "out" / "gru").mkdir(parents=True)
    paths = ["a/x/best.ckpt", "b/x/best.ckpt", "gru.safetensors", "out/gru", "c/lstm.safetensors", "c/lstm.safetensors"]
    assert distinct_names([tmp_path / path for path in paths]) == [
        "a/x/best.ckpt",
        "b/x/best.ckpt",
        "gru.safetensors",
        "gru",
        "lstm",
        "lstm (2)",
    ]


def test_nothing_to_compare_and_nowhere_to_write_are_refused(models, manifest, tmp_path):
    with pytest.raises(InputError, match="at least one other model"):
        compare(models[0], [], manifest)
    with pytest.raises(InputError, match="is a folder"):
        compare(models[0], models[1:], manifest, json=tmp_path)
    with pytest.raises(InputError, match=r"none\.safetensors: no such model"):
        compare(models[0], [tmp_path / "none.safetensors"], manifest)


def test_rows_of_results_are_what_was_compared(comparison):
    result, _ = comparison
    for row, model in zip(results_of(result), result.models):
        assert (row.run, row.wer, row.cer) == (model.name, model.evaluation.wer, model.evaluation.cer)
        assert row.utterance_errors == tuple(utterance.errors for utterance in model.evaluation.utterances)
        assert (row.parameters, row.nonzeros, row.bytes) == (
            model.info.parameters,
            model.info.nonzeros,
            model.info.bytes,
        )
        assert sum(part["weights"] for part in row.parts) == sum(layer.weights for layer in model.info.layers)
    dense, sparse, _ = results_of(result)
    assert (dense.method, dense.pruned_sparsity, sparse.method) == ("dense", 0.0, "pruned")
    assert 0 < sparse.pruned_sparsity < 1


def test_a_zero_by_chance_makes_no_model_a_pruned_one(comparison):
    """Nor do those of rounding, where the file says that it was trained without pruning."""
    result, _ = comparison
    dense, sparse = result.models[0], result.models[1]

    def method(model, zeros: int, **training) -> str:
        parts = [replace(part, nonzeros=part.weights) for part in model.info.parts]
        first = next(index for index, part in enumerate(parts) if part.kind == "recurrent")
        parts[first] = replace(parts[first], nonzeros=parts[first].weights - zeros)
        told = {"training": training} if training else {}
        info = replace(model.info, parts=tuple(parts), provenance={**model.info.provenance, **told})
        return result_of("a", info, model.evaluation).method

    half = next(part.weights for part in dense.info.parts if part.kind == "recurrent") // 2
    assert method(dense, 1) == "dense" and method(dense, half) == "pruned"
    assert method(dense, half, pruning=None, init_from=None) == "dense"
    assert method(dense, half, pruning=None, init_from="sparse.safetensors") == "pruned"
    assert method(sparse, 0) == "dense"


def test_the_share_of_zeros_is_of_what_pruning_was_let_at(comparison):
    model = comparison[0].models[1]
    training = {
        "pruning": {
            "recurrent": {"sparsity": 0.9},
            "include": ["network.recurrent.*weight_hh*"],
            "exclude": ["*reverse"],
        }
    }

    def zeros(told: dict) -> float:
        info = replace(model.info, provenance={**model.info.provenance, "training": told})
        return result_of("a", info, model.evaluation).pruned_sparsity

    matrices = [part for part in model.info.parts if "weight_hh" in part.name and "reverse" not in part.name]
    assert matrices
    expected = 1 - sum(part.nonzeros for part in matrices) / sum(part.weights for part in matrices)
    assert zeros(training) == pytest.approx(expected)
    usual = zeros({"pruning": {"recurrent": {"sparsity": 0.9}}})
    for strange in ({"include": "of a stranger", "exclude": [3]}, {"exclude": ["matches nothing"]}):
        assert zeros({"pruning": {"recurrent": {"sparsity": 0.9}, **strange}}) == usual > 0


@pytest.mark.parametrize(
    "more", [{}, {"exclude": []}, {"include": ("*conv*", "*cell*", "*fully*")}, {"exclude": ("*weight_ih*",)}]
)
def test_a_row_counts_the_zeros_that_the_pruner_counts(more, manifest, tmp_path):
    """The head, too, where pruning was let at it."""
    goal = Goal(sparsity=0.5)
    pruning = PruningConfig(goal, goal, goal, schedule=Hard("hard"), **more)
    config = replace(tiny_config(fully_connected=6), pruning=pruning)
    module = tiny_module(config)
    for number, parameter in enumerate(module.parameters()):
        if parameter.dim() > 1:  # zeros of another share in each
            torch.nn.init.sparse_(parameter.data.flatten(1), number / 50)
    pruner = Pruner.of(module, pruning, total_steps=10, steps_per_epoch=5)
    run = run_of(module, config, tmp_path)
    row = result_of("a", info(run), evaluate(run, manifest))
    assert row.pruned_sparsity == pytest.approx(pruner.sparsity()) and 0 < row.pruned_sparsity < 1


def test_rows_of_runs_say_what_the_training_was_told(manifest, tmp_path):
    """A run folder knows its seed, shape and pruning, and brings its history along."""
    config = tiny_config()
    values = replace(config, seed=3, epochs=7)
    dense = run_of(tiny_module(config), config, tmp_path / "dense")
    other = run_of(tiny_module(values, seed=1), values, tmp_path / "other")
    (other / "metrics.csv").write_text("epoch,step,dev_wer,sparsity\n1,20,0.9,\n2,40,0.5,0.3\n")
    (dense / "result.json").write_text("of the test set")
    first, second = results_of(compare(dense, [other], manifest, rounds=0))
    assert (dense / "result.json").read_text() == "of the test set" and not (other / "result.json").exists()
    assert (first.seed, first.hidden, first.layers, first.cell, first.method) == (0, 8, 2, "gru", "dense")
    assert (second.seed, second.epochs, second.settings) == (3, 7, {})
    assert second.history["step"] == [20, 40] and second.history["dev_wer"] == [0.9, 0.5]
    assert math.isnan(second.history["sparsity"][0]) and not first.history


def test_pruning_is_told_as_a_study_would_tell_it(comparison):
    """From the training's settings, old and new; nonsense in a stranger's model file is left out."""
    blocks = {"schedule": {"method": "cubic"}, "pattern": {"kind": "blocks", "rows": 8, "columns": 1}, "scope": "layer"}
    old = {"recurrent": {"sparsity": 0.9}, "every": 20}
    trainings = [{"pruning": None}, {"pruning": blocks}, {"pruning": old, "seed": "<script>"}]
    told = replace(
        comparison[0],
        models=tuple(
            replace(model, info=replace(model.info, provenance={"training": training}))
            for model, training in zip(comparison[0].models, trainings)
        ),
    )
    dense, cubic, narang = results_of(told)
    assert (dense.method, dense.pattern, dense.target_sparsity) == ("dense", "", None)
    assert (cubic.method, cubic.pattern, cubic.scope) == ("cubic", "blocks 8x1", "layer")
    assert (narang.method, narang.target_sparsity, narang.seed) == ("narang", 0.9, None)
    assert plain_settings("nonsense") == {}


def test_a_report_of_a_comparison_is_written_and_refused_early(models, manifest, tmp_path):
    compare(models[0], models[1:], manifest, report=tmp_path / "report", rounds=0)
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Comparison on test.jsonl" in page and "sparse/model.safetensors" in page
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        compare(models[0], [tmp_path / "none.safetensors"], manifest, report=tmp_path / "file")

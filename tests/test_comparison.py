"""Comparisons: the p-value against enumeration and closed forms, the table against its parts."""

import io
import itertools
import json
import math

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console
from untrained import run_of, tiny_config, tiny_module

from deepspeech_sparse.comparison import compare, distinct_names, readable_p_value, sign_flip_p_value
from deepspeech_sparse.corpora.manifest import Utterance, write_manifest
from deepspeech_sparse.engine import save_model
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.evaluation import evaluate
from deepspeech_sparse.export import info

RATE = 16_000


@pytest.mark.parametrize("seed", range(8))
def test_the_p_value_is_that_of_all_sign_patterns(seed):
    differences = np.random.default_rng(seed).integers(-4, 5, 10)
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=10)]
    expected = np.mean(np.array(sums) >= abs(differences.sum()))
    assert sign_flip_p_value(differences) == pytest.approx(expected, rel=1e-12)
    assert sign_flip_p_value(-differences) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [1, 5, 30, 400])
def test_the_p_value_of_one_sided_differences_is_two_patterns_of_all(count):
    assert sign_flip_p_value(np.ones(count, int)) == pytest.approx(2.0 ** (1 - count))


def test_the_p_value_of_single_errors_is_the_exact_sign_test():
    better, worse = 23, 9
    tail = sum(math.comb(better + worse, k) for k in range(better, better + worse + 1)) / 2 ** (better + worse)
    differences = np.array([1] * better + [-1] * worse + [0] * 100)
    assert sign_flip_p_value(differences) == pytest.approx(2 * tail)


def test_the_p_value_of_many_utterances_is_that_of_the_normal_distribution():
    rng = np.random.default_rng(0)
    differences = rng.integers(-3, 4, 3000)
    differences[:90] += 1
    z = (abs(differences.sum()) - 0.5) / math.sqrt((differences.astype(float) ** 2).sum())
    assert sign_flip_p_value(differences) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.05)


def test_the_p_value_of_no_difference_is_one():
    assert sign_flip_p_value(np.zeros(7, int)) == 1.0
    assert sign_flip_p_value(np.array([1, -1])) == 1.0
    assert sign_flip_p_value(np.array([], int)) == 1.0


def test_p_values_keep_their_promise_when_models_are_alike():
    """Over all sign patterns, equally likely then, exactly a share of p finds p or less."""
    sizes = np.array([1, 1, 2, 3, 1, 5, 2, 1])
    found = [sign_flip_p_value(sizes * signs) for signs in itertools.product((-1, 1), repeat=len(sizes))]
    for p_value in set(found):
        assert np.mean(np.array(found) <= p_value) == pytest.approx(p_value)


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
    return compare(models[0], models[1:], manifest, json=path), path


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
    result = compare(models[0], [models[0]], manifest)
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


@pytest.mark.parametrize("value, text", [(0.5, "0.5000"), (1.0, "1.0000"), (0.0001, "0.0001"), (0.0, "< 0.0001")])
def test_p_values_are_readable(value, text):
    assert readable_p_value(value) == text

"""Configs: round trips, and unknown keys named with their nearest relative."""

import re
from pathlib import Path

import pytest

from deepspeech_sparse.errors import InputError
from deepspeech_sparse.features import FeaturesConfig
from deepspeech_sparse.model import ConvolutionConfig, NetworkConfig
from deepspeech_sparse.model_config import ModelConfig
from deepspeech_sparse.pruning import Blocks, Cubic, Hard, Iterative, Lottery, Narang
from deepspeech_sparse.settings import config_to_dict, parse_yaml
from deepspeech_sparse.study.plan import load_study
from deepspeech_sparse.training.config import (
    RunConfig,
    changed_settings,
    config_of,
    load_config,
    refuse_scaled_gradients,
    save_config,
)
from deepspeech_sparse.training.runs import train

ROOT = Path(__file__).parent.parent
STUDIES = [path for path in sorted((ROOT / "recipes").rglob("*.yaml")) if "\ngrids:" in path.read_text()]
RECIPES = [path for path in sorted((ROOT / "recipes").rglob("*.yaml")) if path not in STUDIES]
DATA = {"train": "train.jsonl", "dev": "dev.jsonl"}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recipe_loads_and_survives_a_round_trip(recipe, tmp_path):
    config = load_config(recipe)
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config
    assert config_of(config_to_dict(config)) == config


@pytest.mark.parametrize("recipe", STUDIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_study_loads(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)  # their paths are relative, as the commands in their heads are
    study = load_study(recipe, tmp_path)
    counted = re.search(r"(\d+) trainings", recipe.read_text())
    assert len(study.cells) == int(counted[1]) if counted else len(study.cells) > 10


def test_values_become_the_types_of_their_fields():
    config = config_of(
        {
            "data": DATA,
            "network": {"convolutions": [{"channels": 4, "kernel": [3, 5]}]},
            "pruning": {"recurrent": {"q": 0.1}, "linear": None},
        }
    )
    assert isinstance(config, RunConfig) and config.data.train == Path("train.jsonl")
    assert config.network.convolutions[0].kernel == (3, 5)
    assert config.pruning.recurrent.q == 0.1 and config.pruning.linear is None


def test_only_settings_that_can_change_the_weights_are_another_training():
    now = config_of({"data": DATA, "seed": 1, "network": {"hidden": 64}})
    same = {"checkpoint_every": 7, "decoder": {"kind": "beam"}, "data": {**DATA, "workers": 3}}
    assert changed_settings({**config_to_dict(now), **same}, now, "last.ckpt") == []
    young = {"data": DATA, "network": {"hidden": 64}, "seed": 1}  # of a version that had nothing else to set
    assert changed_settings(young, now, "last.ckpt") == []
    other = {"data": {**DATA, "batch_seconds": 9}, "network": {"hidden": 64}, "epochs": 3, "seed": 1}
    assert changed_settings(other, now, "last.ckpt") == ["data.batch_seconds: 9.0 -> 120.0", "epochs: 3 -> 20"]
    with pytest.raises(InputError, match=r"last.ckpt: unknown key sed"):
        changed_settings({"data": DATA, "sed": 1}, now, "last.ckpt")


def test_training_manifests_are_one_or_several():
    one, several = (
        config_of({"data": {"train": train, "dev": "dev.jsonl"}}) for train in ("a.jsonl", ["a.jsonl", "b.jsonl"])
    )
    assert one.data.train == Path("a.jsonl") and one.data.train_manifests == (Path("a.jsonl"),)
    assert several.data.train == several.data.train_manifests == (Path("a.jsonl"), Path("b.jsonl"))
    for config in (one, several):
        assert config_of(config_to_dict(config)) == config


@pytest.mark.parametrize(
    "schedule, expected",
    [
        ({"every": 7}, Narang(every=7)),
        ({"method": "cubic", "exponent": 1}, Cubic("cubic", exponent=1)),
        ({"method": "hard", "at": 0.3}, Hard("hard", 0.3)),
        ({"method": "iterative"}, Iterative("iterative")),
        ({"method": "lottery", "share": 0.3}, Lottery("lottery", 0.3)),
    ],
)
def test_a_method_chooses_the_schedule_and_survives_a_round_trip(schedule, expected):
    pattern = {"kind": "blocks", "rows": 4, "columns": 4}
    pruning = {"recurrent": {"sparsity": 0.9}, "schedule": schedule, "pattern": pattern, "include": ["*hh*"]}
    config = config_of({"data": DATA, "pruning": pruning})
    assert config.pruning.schedule == expected and config.pruning.pattern == Blocks("blocks", 4, 4)
    assert config.pruning.include == ("*hh*",)
    assert config_of(config_to_dict(config)) == config


@pytest.mark.parametrize(
    "values, words",
    [
        ({}, "data must be given, in a recipe"),
        ({"data": {"train": "train.jsonl"}}, "data.dev must be given"),
        ({"data": DATA, "netwrok": {}}, "unknown key netwrok; did you mean network"),
        ({"data": DATA, "network": {"hiden": 3}}, "unknown key network.hiden; did you mean network.hidden"),
        ({"data": DATA, "pruning": {"recurrent": {"sparcity": 0.9}}}, "did you mean pruning.recurrent.sparsity"),
        (
            {"data": DATA, "network": {"convolutions": [{"chanels": 3}]}},
            r"network.convolutions\[0\].chanels; did you mean network.convolutions\[0\].channels",
        ),
        (
            {"data": DATA, "pruning": {"schedule": {"method": "cubbic"}}},
            "schedule.method is 'cubbic'; choose one of narang",
        ),
        ({"data": DATA, "pruning": {"schedule": {"rampe": 0.2}}}, "did you mean pruning.schedule.ramp"),
        ({"data": DATA, "pruning": {"schedule": {"method": "hard", "ramp": 1}}}, "unknown key pruning.schedule.ramp"),
        ({"data": DATA, "pruning": {"pattern": {"kind": "2:4", "rows": 1}}}, "unknown key pruning.pattern.rows"),
        ({"data": DATA, "pruning": {"recurrent": {"q": 1}, "schedule": {"every": "x"}}}, "every"),
        ({"data": DATA, "epochs": "many"}, "epochs"),
        ({"data": DATA, "epochs": 0}, "epochs 0"),
        ({"data": DATA, "network": {"hidden": 0}}, "hidden 0"),
        ({"data": "data.yaml"}, "data is 'data.yaml'; give a mapping of settings"),
        ({"data": DATA, "network": [{"hidden": 3}]}, "network is .*; give a mapping of settings"),
        ({"data": DATA, "network": {"convolutions": {"channels": 3}}}, "convolutions is .*; give a list of mappings"),
        ({"data": DATA, "network": {"convolutions": ["a.b"]}}, r"convolutions\[0\] is 'a.b'; give a mapping"),
        ({"data": DATA, "network": {"merge": None}}, "network.merge is null; give a value, or leave it out"),
        ({"data": DATA, "features": None}, "features is null"),
        ({"data": DATA, "epochs": "\x1b[31m"}, r"epochs.*\\x1b\[31m"),
        ({}, "data"),
        ([], "expected a mapping"),
    ],
)
def test_wrong_configs_are_refused_naming_file_and_key(values, words):
    with pytest.raises(InputError, match=rf"(?s)my\.yaml: .*{words}"):
        config_of(values, "my.yaml")


def test_errors_spell_out_what_a_terminal_would_obey_and_nothing_else():
    assert str(InputError("a\x1b[2J\u202eb\udce9\u2028")) == r"a\x1b[2J\u202eb\udce9\u2028"
    shown = "une seconde\u00a0; \u3000\u200d\n\tend"
    assert str(InputError(shown)) == shown


@pytest.mark.parametrize(
    "text, value",
    [
        ("2:4", "2:4"),
        ("12", 12),
        ("-3", -3),
        ("1.5e-3", 0.0015),
        ("4e-3", 0.004),
        ("1_000", 1000),
        ("0x1f", 31),
        ("0", 0),
        ("08", "08"),
        (".inf", float("inf")),
        ("null", None),
        ("true", True),
        ("1.2.3", "1.2.3"),
        ("[0.9, 1.1]", [0.9, 1.1]),
    ],
)
def test_yaml_reads_numbers_as_people_do(text, value):
    """And not to the base of 60, in which the pattern 2:4 is 124."""
    assert parse_yaml(text) == value and type(parse_yaml(text)) is type(value)


def test_missing_and_broken_files_are_named(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(InputError, match=r"list\.yaml: expected a mapping of settings, got list"):
        load_config(tmp_path / "list.yaml")
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1")
    with pytest.raises(InputError, match=r"broken\.yaml: not valid YAML"):
        load_config(tmp_path / "broken.yaml")


def test_a_network_whose_frames_last_for_seconds_is_no_recognizer():
    features = FeaturesConfig(hop=0.02, window=0.02)
    ModelConfig(features, NetworkConfig(convolutions=(ConvolutionConfig(2, (5, 51), (1, 50)),)))
    with pytest.raises(InputError, match=r"time stride 51 is 1.02 s"):
        ModelConfig(features, NetworkConfig(convolutions=(ConvolutionConfig(2, (5, 51), (1, 51)),)))


def test_scaled_losses_are_refused_where_gradients_are_measured():
    scaled = {"data": {"train": "a", "dev": "b"}, "precision": "16-mixed"}
    for gradients in ({}, {"probe": False, "rule": {"kind": "absolute"}}):
        config = config_of({**scaled, "gradients": gradients})  # runs of before can be read
        with pytest.raises(InputError, match=r"16-mixed scales the loss.*bf16-mixed"):
            train(config, Path("runs/none"))
    refuse_scaled_gradients(config_of({**scaled, "gradients": {"probe": False}}))
    refuse_scaled_gradients(config_of({**scaled, "precision": "bf16-mixed", "gradients": {}}))

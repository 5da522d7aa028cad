"""A forecast against trainings that then took place, against its own model of training, and from a table of runs."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from deepspeech_sparse.cli import main
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.export import info
from deepspeech_sparse.forecast.journey import spent
from deepspeech_sparse.forecast.recipe import forecast
from deepspeech_sparse.forecast.wer_curve import Wanted, predicted_wer
from deepspeech_sparse.model_file import save_model
from deepspeech_sparse.models import any_model
from deepspeech_sparse.pruning import Blocks, Cubic, Goal, Hard, Iterative, Lottery, Narang, Pruner, PruningConfig
from deepspeech_sparse.pruning.forecast import RECOVERED, UPDATES, WANDER, Walk, thinned, updates_of, without
from deepspeech_sparse.results import Result, write_results
from deepspeech_sparse.training.config import config_of, load_config
from deepspeech_sparse.training.runs import train

RECIPE = """
data: {{train: {train}, dev: {dev}, batch_seconds: 5}}
features: {{kind: log_mel, mels: 16}}
network: {{convolutions: [{{channels: 4, kernel: [5, 5], stride: [2, 2]}}], layers: 1, hidden: 24, fully_connected: 16}}
optimizer: {{learning_rate: 1.0e-2}}
alphabet: abc
epochs: 12
threads: 1
"""


@pytest.fixture(scope="module")
def recipe(tones, tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(RECIPE.format(**tones))
    return path


@pytest.fixture(scope="module")
def dense(recipe, tmp_path_factory):
    """A dense run of the recipe."""
    return train(load_config(recipe), tmp_path_factory.mktemp("dense") / "run")


@pytest.fixture(scope="module")
def sparse(recipe, dense, tmp_path_factory):
    """The same with the threshold that the dense run gives."""
    goal = Goal(dense=dense, percentile=0.8)
    pruning = PruningConfig(recurrent=goal, schedule=Narang(every=3))
    return train(replace(load_config(recipe), pruning=pruning), tmp_path_factory.mktemp("sparse") / "run")


def test_a_training_reaches_what_was_forecast_from_a_dense_run(sparse):
    config = load_config(sparse / "config.yaml")
    told = forecast(config, reached=(sparse,))  # the recipe names the dense run
    [reached] = told.reached.values()
    assert reached == info(sparse).recurrent.sparsity
    assert 0.6 < reached < 0.9
    assert told.sparsity == pytest.approx(reached, abs=0.03)
    # The dense weights as they are would say something else: the share below the last threshold.
    assert told.layers[1].nonzeros / told.layers[1].weights == pytest.approx(1 - told.sparsity)
    assert told.nonzeros == pytest.approx(info(sparse).nonzeros, rel=0.1)
    assert told.bytes_sparse < told.bytes_dense
    assert sum(told.macs.values()) == pytest.approx(info(sparse).macs_per_second, rel=0.1)


def test_without_a_dense_model_some_dense_steps_or_the_initial_weights_must_do(sparse, recipe):
    config = load_config(sparse / "config.yaml")
    q = forecast(config).updates[-1].thresholds["recurrent"]
    aimed = replace(config, pruning=replace(config.pruning, recurrent=Goal(q=q)))
    warm, initial = forecast(aimed, warm_up=20), forecast(aimed)
    assert "first 20 steps" in warm.source and "the initial ones" in initial.source
    assert warm.updates != initial.updates
    for told in (warm, initial):
        assert told.sparsity == pytest.approx(info(sparse).recurrent.sparsity, abs=0.1)


@pytest.mark.parametrize(
    "pruning",
    [
        PruningConfig(Goal(q=1.0), schedule=Narang(every=3)),
        PruningConfig(Goal(q=1.0), schedule=Narang(every=3), pattern=Blocks("blocks", 8, 1), scope="layer"),
        PruningConfig(Goal(q=1.0), Goal(q=1.0), schedule=Hard("hard"), scope="global"),
        PruningConfig(Goal(q=1.0), Goal(q=2.0), schedule=Narang(every=3), taper=0.2),
    ],
    ids=["narang", "blocks", "global", "kinds"],
)
def test_hyper_parameters_for_a_target(pruning, recipe, dense):
    config = replace(load_config(recipe), pruning=pruning)
    told = forecast(config, dense=dense, target_sparsity=0.75)
    assert told.sparsity == pytest.approx(0.75, abs=0.01)
    for kind in pruning.goals:
        assert told.pruning[kind]["q"] > 0 and told.pruning[kind]["sparsity"] is None
    # What is told is what the recipe then says.
    goals = {kind: Goal(q=told.pruning[kind]["q"]) for kind in pruning.goals}
    again = forecast(replace(config, pruning=replace(pruning, **goals)), dense=dense)
    assert again.updates == told.updates


def test_a_target_out_of_reach_is_refused_with_the_cause(recipe, dense, tmp_path):
    config = replace(load_config(recipe), pruning=PruningConfig(Goal(sparsity=0.8), schedule=Narang(every=3)))
    model = any_model(dense)
    for name, parameter in model.network.named_parameters():
        if "cell.weight" in name:
            torch.nn.init.sparse_(parameter.data, 0.9)
    save_model(tmp_path / "sparse.safetensors", model, model.config, {})
    with pytest.raises(InputError, match=r"recurrent layers have more than 50.0% zeros already; raise the target"):
        forecast(replace(config, init_from=tmp_path / "sparse.safetensors"), target_sparsity=0.5)
    steep = replace(config.pruning, schedule=Narang(every=2, start_epoch=0.2, phi_ratio=20))
    with pytest.raises(InputError, match=r"no threshold .* ends at 90.0% zeros. The last that was refused: .*phi ="):
        forecast(replace(config, pruning=steep), dense=dense, target_sparsity=0.9)


@pytest.mark.parametrize("schedule", [Cubic("cubic", every=3), Iterative("iterative"), Lottery("lottery", 0.5)])
def test_methods_that_take_a_sparsity_meet_it(schedule, recipe, dense):
    config = replace(load_config(recipe), pruning=PruningConfig(Goal(sparsity=0.4), schedule=schedule))
    told = forecast(config, dense=dense, target_sparsity=0.8)
    assert told.pruning["recurrent"]["sparsity"] == 0.8
    assert told.sparsity == pytest.approx(0.8, abs=1e-3)


def test_what_is_left_wins_back_some_of_what_is_lost():
    weights = torch.tensor([3.0, 4.0, 1.0, 1.0])
    assert without(weights.clone(), None).equal(weights)
    left = without(weights.clone(), torch.tensor([False, True, False, True]))
    assert left.square().sum() == pytest.approx(10 + RECOVERED * 17)
    assert left.nonzero().flatten().tolist() == [0, 2]


def test_weights_wander_to_a_known_end():
    start, end = torch.randn(2, 200, 300, generator=torch.Generator().manual_seed(1))
    walk = Walk(start, end)
    length = (end - start).square().mean().sqrt().item()
    for time in (0.0, 0.1, 0.25, 0.6, 0.9, 1.0, 1.0):
        astray = (walk.at(time) - torch.lerp(start, end, math.sqrt(time))).square().mean().sqrt().item()
        assert astray == pytest.approx(WANDER * length * math.sqrt(time * (1 - time)), rel=0.02, abs=1e-6)
    assert walk.at(1.0).equal(end)


def test_the_time_of_a_walk_is_the_learning_rate_spent():
    config = config_of({"data": {"train": "a", "dev": "b"}}, "recipe")
    time = spent(config, 100)
    assert time(0) == 0 and time(100) == time(200) == 1
    rates = [config.optimizer.rate(step, 100) ** 2 for step in range(100)]
    assert time(30) == pytest.approx(sum(rates[:30]) / sum(rates))


def test_what_has_not_come_above_the_threshold_in_time_is_gone():
    layer = nn.GRU(8, 8)
    start = {name: torch.full_like(weight, 0.1) for name, weight in layer.named_parameters() if weight.dim() > 1}
    end = {name: tensor.clone() for name, tensor in start.items()}
    for tensor in end.values():
        tensor[:12] = 50.0  # half of the weights grow
    pruner = Pruner.of(
        layer, PruningConfig(Goal(q=0.2), schedule=Hard("hard", at=1.0)), total_steps=100, steps_per_epoch=10
    )
    [update] = updates_of(pruner, 100, start=start, end=end, spent=lambda step: step / 100)
    assert update.step == 100 and update.thresholds == {"recurrent": 0.2}
    assert update.nonzeros == {"weight_ih_l0": 96, "weight_hh_l0": 96}


def test_long_schedules_are_followed_at_some_updates_and_at_the_last():
    due = list(range(7, 10_007, 10))
    chosen = thinned(due, UPDATES)
    assert len(chosen) <= UPDATES and chosen[-1] == due[-1] and set(chosen) <= set(due)
    assert thinned(due[:5], UPDATES) == due[:5]


def test_the_verb_prints_draws_and_writes(recipe, dense, sparse, tmp_path, capsys):
    config = ["forecast", "--config", str(recipe), "--pruning.schedule.every", "3"]
    target = ["--target-sparsity", "0.9", "--dense", str(dense), "--pruning.recurrent.sparsity", "0.5"]
    files = ["--json", str(tmp_path / "told.json"), "--plot", str(tmp_path / "told.svg")]
    assert main([*config, *target, *files, "--reached", f"[{sparse}]"]) == 0
    out = capsys.readouterr().out
    for words in (
        "pruning.recurrent: {q: ",
        "theta = ",
        "recurrent.0",
        "multiply-accumulates",
        "zeros left out; with zeros",
        "has reached",
    ):
        assert words in out
    values = json.loads((tmp_path / "told.json").read_text())
    assert values["sparsity"] == pytest.approx(0.9, abs=0.01)
    assert values["updates"][0]["sparsity"] < values["updates"][-1]["sparsity"] == values["sparsity"]
    assert "optimizer step" in (tmp_path / "told.svg").read_text()
    assert main([*config, *target, "--plot", str(tmp_path / "told.png")]) == 0
    assert (tmp_path / "told.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    "flags, words",
    [
        ([], "the recipe has no `pruning`"),
        (["--target-sparsity", "1"], "sparsity = 1.0 must lie between 0 and 1"),
        (["--target-sparsity", "0.9", "--dense", "{dense}", "--warm-up", "5"], "not both"),
        (["--target-sparsity", "0.9", "--warm-up", "5000"], "a warm-up of 5000 steps does not fit into a training of"),
        (["--target-sparsity", "0.9", "--dense", "nowhere"], "nowhere"),
        (["--target-sparsity", "0.9", "--dense", "{dense}", "--network.hidden", "8"], "in the recipe; give a dense"),
        (["--target-sparsity", "0.9", "--reached", "[{dense}]", "--network.hidden", "8"], "give a run of this recipe"),
        (["--target-sparsity", "0.9", "--plot", "a.pdf"], "a.pdf: a plot is written as .svg or .png"),
        (["--target-sparsity", "0.9", "--results", "none.csv"], "none.csv: cannot be read"),
        (["--pruning.recurrent.q", "50"], "nothing would be left"),
        (["--pruning.recurrent.q", "50"], "are the initial ones, which training makes larger"),
    ],
)
def test_wrong_questions_get_an_answer(flags, words, recipe, dense, capsys):
    every = ["--pruning.schedule.every", "3"]
    every += [] if "--pruning.recurrent.q" in flags or not flags else ["--pruning.recurrent.sparsity", "0.5"]
    flags = [flag.format(dense=dense) for flag in flags]
    assert main(["forecast", "--config", str(recipe), *(every if flags else []), *flags]) == 1
    assert words in capsys.readouterr().err


WANTED = Wanted("narang", "single", "gru", 24, 1, 12)


def rows(noise: float = 0.0) -> list[Result]:
    """Runs whose log WER is a line over log density, but for noise: 0.05 density ** -0.5."""
    rng = np.random.default_rng(0)
    return [
        Result(
            run=f"{sparsity}-{seed}",
            **{name: value for name, value in vars(WANTED).items() if name != "told"},
            seed=seed,
            manifest="dev.jsonl",
            words=10**9,
            wer=0.05 * (1 - sparsity) ** -0.5 * math.exp(noise * rng.standard_normal()),
            pruned_sparsity=sparsity,
        )
        for sparsity in (0.8, 0.9, 0.95)
        for seed in range(3)
    ]


def test_the_wer_of_a_run_is_read_off_a_line():
    told = predicted_wer(rows(), WANTED, 0.85)
    assert told.wer == pytest.approx(0.05 * 0.15**-0.5, rel=1e-6)
    assert told.rows == 9 and (told.densest, told.sparsest) == (0.8, 0.95)
    assert "fitted on 9 runs (narang, single, gru 1 x 24, 12 epochs)" in str(told)
    assert "extrapolation" not in str(told) and "extrapolation" in str(predicted_wer(rows(), WANTED, 0.99))


def test_the_interval_of_a_predicted_wer_covers_new_runs():
    hits = 0
    rng = np.random.default_rng(1)
    for _ in range(400):
        noisy = [replace(row, wer=row.wer * math.exp(0.1 * rng.standard_normal())) for row in rows()]
        told = predicted_wer(noisy, WANTED, 0.9)
        hits += told.low < 0.05 * 0.1**-0.5 * math.exp(0.1 * rng.standard_normal()) < told.high
    assert 0.92 < hits / 400 < 0.98


def test_rows_of_another_kind_do_not_count():
    others = [replace(row, hidden=8) for row in rows()] + [replace(row, status="failed") for row in rows()]
    others += [replace(row, wer=None) for row in rows()] + [replace(row, manifest="other.jsonl") for row in rows()[:3]]
    others += [replace(row, scope="layer") for row in rows()] + [
        replace(row, gradients="sparsity 0.8") for row in rows()
    ]
    assert predicted_wer([*others, *rows()], WANTED, 0.9).rows == 9
    told = predicted_wer([*others, *rows()[:4]], WANTED, 0.9)
    assert told == (
        "No WER is told: the table has 4 runs of this kind (narang, single, gru 1 x 24, 12 epochs) at 2 sparsities; "
        "5 at 3 are needed"
    )
    assert "0 runs" in predicted_wer([], WANTED, 0.9)


def test_settings_that_varied_in_a_study_must_be_those_of_the_recipe():
    told = {"pruning.schedule.end": 0.5, "pruning.recurrent.q": None, "augment.speed": [0.9, 1.1]}
    wanted = replace(WANTED, told=told)
    same = {"pruning.schedule.end": "0.5", "pruning.recurrent.q": "0.2", "augment.speed": "0.9x1.1", "unknown": "3"}
    alike = [replace(row, settings=same) for row in rows()]
    for name, text in (("pruning.schedule.end", "0.7"), ("augment.speed", "1x1"), ("pruning.schedule", "narang-0.5")):
        others = [replace(row, settings={name: text}) for row in rows()]
        assert predicted_wer([*alike, *others], wanted, 0.9).rows == 9


@pytest.mark.parametrize(
    "value, text", [(4.0, "4"), (1e-6, "0.000001"), ([1.0, 1.1], "1x1.1"), (4, "4"), (True, "True")]
)
def test_numbers_of_a_study_are_those_of_the_recipe_however_they_are_written(value, text):
    wanted = replace(WANTED, told={"varied": value})
    assert all(wanted.agrees(replace(row, settings={"varied": text})) for row in rows())
    for other in ("5", "1x2", "1x1.1x1.2", "no number", "False"):
        assert not wanted.agrees(replace(rows()[0], settings={"varied": other}))


def test_scope_and_gradients_are_told_where_they_are_not_the_usual():
    assert str(replace(WANTED, scope="layer", gradients="sparsity 0.8")).endswith(
        "12 epochs, scope layer, gradients sparsity 0.8"
    )


def test_the_verb_predicts_from_a_table(recipe, dense, tmp_path, capsys):
    write_results(tmp_path / "results.csv", rows(0.1))
    flags = ["--pruning.recurrent.sparsity", "0.9", "--pruning.schedule.every", "3"]
    table = ["--results", str(tmp_path / "results.csv")]
    assert main(["forecast", "--config", str(recipe), "--dense", str(dense), *flags, *table]) == 0
    assert "WER on dev.jsonl: 1" in capsys.readouterr().out

"""A study of tiny trainings: finished, killed, resumed, failed, refused."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

from deepspeech_sparse.cli import main
from deepspeech_sparse.corpora.manifest import read_manifest, write_manifest
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.export import export
from deepspeech_sparse.model_file import open_model
from deepspeech_sparse.results import Result, failures, read_results, write_results
from deepspeech_sparse.study.cell import main as cell_process
from deepspeech_sparse.study.cell import read_row, write_row
from deepspeech_sparse.study.earlier import take_earlier
from deepspeech_sparse.study.plan import Study, load_study
from deepspeech_sparse.study.watch import Watch, finished_row, run_study, waiting_row, write_tables
from deepspeech_sparse.training.callbacks import load_checkpoint
from deepspeech_sparse.training.config import save_config
from deepspeech_sparse.training.lock import alone_in

BASE = """
data: {{train: {train}, dev: {dev}, batch_seconds: 5}}
features: {{kind: log_mel, mels: 16}}
network: {{convolutions: [{{channels: 4, kernel: [5, 5], stride: [2, 2]}}], layers: 1, hidden: 8}}
epochs: 3
checkpoint_every: 2
threads: 1
"""


@pytest.fixture
def grid(tones, tmp_path):
    """Two dense and two sparse trainings."""
    return make_grid(tones, tmp_path)


def make_grid(corpus: dict[str, Path], folder: Path) -> Path:
    (folder / "base.yaml").write_text(BASE.format(**corpus))
    values = {
        "base": str(folder / "base.yaml"),
        "evaluate": str(corpus["dev"]),
        "grids": [
            {"name": "dense", "vary": {"seed": [0, 1]}},
            {
                "name": "sparse",
                "set": {"pruning.schedule": {"method": "cubic", "every": 1}},
                "vary": {"pruning.recurrent.sparsity": [0.5, 0.8]},
            },
        ],
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(values))
    return folder / "study.yaml"


def figures(path) -> list[tuple]:
    return [(row.run, row.wer, row.nonzeros, row.word_errors, row.history["loss"]) for row in read_results(path)]


def planned(study: Study) -> list[Result]:
    """Rows of its cells as if they were done, without figures."""
    return [replace(waiting_row(cell, study), status="done") for cell in study.cells]


def test_a_study_of_spoken_killed_in_the_middle_finishes_with_the_same_rows(spoken, tmp_path, capsys):
    grid = make_grid(spoken, tmp_path)
    assert main(["study", "--config", str(grid), "--out", str(tmp_path / "whole"), "--jobs", "2"]) == 0
    expected = figures(tmp_path / "whole" / "results.csv")
    assert [row[0] for row in expected] == [
        "dense_seed-0",
        "dense_seed-1",
        "sparse_sparsity-0.5",
        "sparse_sparsity-0.8",
    ]

    for sparsity in (0.5, 0.8):
        run = tmp_path / "whole" / f"sparse_sparsity-{sparsity}"
        export(run, out=tmp_path / "model.safetensors")
        exported = open_model(tmp_path / "model.safetensors").tensors
        checkpoint = load_checkpoint(run / "checkpoints" / "best.ckpt")
        tensors, masks = checkpoint["state_dict"], checkpoint["callbacks"]["GradualPruning"]["pruned"]
        assert (
            sum(int(mask.sum()) for mask in masks.values())
            >= sparsity * sum(mask.numel() for mask in masks.values()) - 1
        )
        for name, mask in masks.items():
            assert not tensors[name][mask].view(torch.int32).any(), "a masked weight is not exactly 0.0"
            assert torch.equal(exported[name.removeprefix("network.")], tensors[name])

    out = tmp_path / "killed"
    command = [sys.executable, "-m", "deepspeech_sparse.cli", "study", "--config", str(grid), "--out", str(out)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True)
    deadline = time.monotonic() + 240
    while not (out / "sparse_sparsity-0.5" / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 130
    rows = read_results(out / "results.csv")
    assert [row.status for row in rows] == ["done", "done", "waiting", "waiting"] and not failures(rows)
    assert (rows[3].run, rows[3].method, rows[3].target_sparsity) == ("sparse_sparsity-0.8", "cubic", 0.8)
    assert main(["study", "--config", str(grid), "--out", str(out)]) == 0
    assert figures(out / "results.csv") == expected
    assert "2 of 4 cells are done already" in capsys.readouterr().out
    assert "Warning" not in (out / "sparse_sparsity-0.5" / "log.txt").read_text()

    assert main(["report", str(out / "results.csv"), "--out", str(tmp_path / "page")]) == 0
    assert "sparse_sparsity-0.8" in (tmp_path / "page" / "report.html").read_text()


def test_a_cell_that_is_killed_while_it_is_tested_is_not_done(grid, tones, tmp_path):
    """Trained and evaluated before; the system ends the process that evaluates the test set."""
    grid.write_text(f"{grid.read_text()}test: {tones['dev']}\n")
    study, out = load_study(grid, tmp_path / "out"), tmp_path / "out"
    cell = study.cells[0]
    (out / cell.name).mkdir(parents=True)
    write_row(out / cell.name, planned(study)[0])
    watch = Watch(study, out, 1, {}, Console(stderr=True))
    killed = subprocess.Popen([sys.executable, "-c", "import os; os.abort()"])
    killed.wait()
    watch.running[cell.name] = (killed, time.monotonic())
    watch.finish(cell.name, 0)
    row = watch.rows[cell.name]
    assert row.status == "failed" and row.error.startswith("its evaluation on the test set ended with -6")
    assert watch.is_trained(cell.name), "others may take their threshold from it"
    assert finished_row(study, out / cell.name) is None, "the next start evaluates it"


def test_a_cell_waits_for_the_training_that_a_killed_study_has_left(grid, tmp_path, capsys):
    """And takes its row: it is no failure."""
    study, folder = load_study(grid, tmp_path), tmp_path / "cell"
    at_work = threading.Event()

    def left_over() -> None:
        with alone_in(folder):
            at_work.set()
            time.sleep(0.5)
            write_row(folder, planned(study)[0])

    other = threading.Thread(target=left_over)
    other.start()
    at_work.wait()
    assert cell_process([str(folder), "{}", str(study.manifest)]) == 0
    assert "cell: another process is at work in this folder; waiting" in capsys.readouterr().out
    other.join()


def test_a_test_set_that_cannot_be_read_costs_no_row(grid, tones, tmp_path):
    """Nor is anything trained again once it can be."""
    values = yaml.safe_load(grid.read_text())
    missing = tmp_path / "missing.jsonl"
    missing.write_text('{"audio_filepath": "gone.wav", "duration": 1.0, "text": "a"}\n')
    grid.write_text(yaml.safe_dump({**values, "grids": [{"name": "dense"}], "test": str(missing)}))
    run, out = ["study", "--config", str(grid), "--out", str(tmp_path / "out")], tmp_path / "out"
    assert main(run) == 1
    [row] = read_results(out)
    assert row.method == "dense" and "its evaluation on the test set ended with 1; see dense/log.txt" in row.error
    trained = read_row(out / "dense")
    assert trained.done and "gone.wav" in (out / "dense" / "log.txt").read_text()
    write_manifest(missing, read_manifest(tones["dev"]))
    assert main(run) == 0
    assert read_results(out) == [trained] and read_row(out / "dense") == trained
    assert read_results(out / "test.csv")[0].wer == trained.wer


def test_a_row_that_is_still_to_be_tested_is_no_row_that_waits(grid, tones, tmp_path):
    grid.write_text(f"{grid.read_text()}test: {tones['dev']}\n")
    study, out = load_study(grid, tmp_path / "out"), tmp_path / "out"
    row = planned(study)[1]
    (out / row.run).mkdir(parents=True)
    write_row(out / row.run, row)
    assert [row.status for row in write_tables(study, out, {})] == ["waiting", "done", "waiting", "waiting"]


def test_a_test_set_has_a_table_of_its_own(grid, tones, tmp_path, capsys):
    """Asked for when the training is done already: evaluated, not trained again."""
    out = tmp_path / "out"
    grid.write_text(yaml.safe_dump({**yaml.safe_load(grid.read_text()), "grids": [{"name": "dense"}]}))
    run = ["study", "--config", str(grid), "--out", str(out)]
    assert main(run) == 0
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/checkpoints/*")}
    first = read_results(out)
    assert len(before) == 2 and not (out / "test.csv").exists()

    # The dev set, backwards: as many errors, in another order.
    lines = Path(tones["dev"]).read_text().splitlines(keepends=True)
    test = Path(tones["dev"]).with_name("backwards.jsonl")
    test.write_text("".join(reversed(lines)))
    try:
        grid.write_text(grid.read_text() + f"test: {test}\n")
        capsys.readouterr()
        assert main(run) == 0
    finally:
        test.unlink()
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/checkpoints/*")} == before
    assert read_results(out) == first
    for row, tested in zip(first, read_results(out / "test.csv"), strict=True):
        assert (tested.run, tested.wer, tested.nonzeros) == (row.run, row.wer, row.nonzeros)
        assert tested.word_errors == row.word_errors[::-1] and tested.manifest == "backwards.jsonl"
        assert row.history and not tested.history
    assert "0 failed" in capsys.readouterr().out
    grid.write_text(grid.read_text().replace(str(test), str(tones["dev"])))
    assert main(run) == 1
    assert "test.json: was evaluated on backwards.jsonl, the study now says" in capsys.readouterr().err


@pytest.mark.parametrize("key, name", [("evaluate", "row.json"), ("test", "test.json")])
def test_another_corpus_of_the_same_file_name_is_not_taken_for_it(key, name, grid, tones, tmp_path):
    """Every corpus has a dev.jsonl."""
    out = tmp_path / "out"
    utterances = read_manifest(tones["dev"])
    words = sum(len(utterance.text.split()) for utterance in utterances)
    told = {"manifest": tones["dev"].name, "utterances": len(utterances), "words": words}
    values = {**yaml.safe_load(grid.read_text()), "test": str(tones["dev"])}
    grid.write_text(yaml.safe_dump(values))
    rows = [replace(row, **told) for row in planned(load_study(grid, out))]
    for row in rows:
        (out / row.run).mkdir(parents=True)
        write_row(out / row.run, row)
        write_row(out / row.run, row, "test.json")
    assert run_study(grid, out) == rows
    write_results(out / "test.csv", rows)

    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / tones["dev"].name
    write_manifest(other, utterances[1:])
    grid.write_text(yaml.safe_dump({**values, key: str(other)}))
    fewer = f"utterances {len(utterances)} -> {len(utterances) - 1}"
    with pytest.raises(InputError, match=rf"{name}: was evaluated on .* says {re.escape(str(other))} \({fewer}\)"):
        run_study(grid, out)
    table = {"evaluate": "results.csv", "test": "test.csv"}[key]
    with pytest.raises(InputError, match=f"{table}: dense_seed-0 has utterances {len(utterances)}, in this study"):
        run_study(grid, tmp_path / "new", earlier=out)
    write_manifest(other, [*utterances[1:], replace(utterances[0], text="a b")])
    with pytest.raises(InputError, match=rf"\(words {words} -> {words + 1}\)"):
        run_study(grid, out)


def test_what_ran_elsewhere_is_taken_and_not_trained(grid, tmp_path, capsys):
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    whole = yaml.safe_load(grid.read_text())
    whole["grids"] = [
        {"name": "dense"},
        {
            "name": "sparse",
            "set": {"pruning.schedule": {"method": "cubic", "every": 1}, "pruning.recurrent.sparsity": 0.5},
        },
    ]
    grid.write_text(yaml.safe_dump({**whole, "test": whole["evaluate"], "grids": whole["grids"][:1]}))
    assert main(["study", "--config", str(grid), "--out", str(elsewhere)]) == 0
    grid.write_text(yaml.safe_dump({**whole, "test": whole["evaluate"]}))
    run = ["study", "--config", str(grid), "--out", str(out), "--earlier", str(elsewhere)]
    assert main(run) == 0
    assert "1 of 2 cells are in" in capsys.readouterr().out
    for table in ("results.csv", "test.csv"):
        rows = read_results(out / table)
        assert rows[:1] == read_results(elsewhere / table) and [row.run for row in rows] == ["dense", "sparse"]
    assert [path.parent.parent.name for path in out.glob("*/checkpoints/best.ckpt")] == ["sparse"]
    assert main(run[:-2]) == 0, "from now on they are this folder's own"
    assert "2 of 2 cells are done already" in capsys.readouterr().out


def test_a_cell_whose_weights_are_needed_is_trained_although_it_ran_elsewhere(grid, tmp_path):
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    whole = yaml.safe_load(grid.read_text())
    dense = {"name": "dense"}
    goal = {
        "name": "goal",
        "set": {"pruning.recurrent.dense": "dense", "pruning.schedule": {"start_epoch": 0, "every": 1}},
    }
    grid.write_text(yaml.safe_dump({**whole, "grids": [dense, goal]}))
    elsewhere.mkdir()
    write_results(elsewhere / "results.csv", planned(load_study(grid, out))[:1])
    assert main(["study", "--config", str(grid), "--out", str(out), "--earlier", str(elsewhere)]) == 0
    assert (out / "dense" / "checkpoints" / "best.ckpt").exists()
    assert [row.run for row in read_results(out)] == ["dense", "goal"]


def test_the_weights_that_any_training_needs_are_not_taken(grid, tones, tmp_path):
    """Whatever it is trained for: no row of it, none on the test set, or because another needs it."""
    out, goal = tmp_path / "out", {"pruning.schedule": {"start_epoch": 0, "every": 1}}
    chain = [{"name": "first"}]
    for name, needs in (("second", "first"), ("third", "second")):
        chain.append({"name": name, "set": {**goal, "pruning.recurrent.dense": needs}})
    grid.write_text(yaml.safe_dump({**yaml.safe_load(grid.read_text()), "grids": chain, "test": str(tones["dev"])}))
    study = load_study(grid, out)
    first, second, third = rows = planned(study)

    def taken(results: list[Result], tests: list[Result]) -> list[str]:
        elsewhere, fresh = tmp_path / "elsewhere", Path(tempfile.mkdtemp(dir=tmp_path))
        elsewhere.mkdir(exist_ok=True)
        write_results(elsewhere / "results.csv", results)
        write_results(elsewhere / "test.csv", tests)
        take_earlier(study, fresh, elsewhere)
        return sorted(path.name for path in fresh.iterdir())

    assert taken(rows, rows) == ["first", "second", "third"]
    assert taken([first, third], rows) == ["third"]
    assert taken(rows, [first, second]) == []
    (out / "third").mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    write_results(elsewhere / "test.csv", rows)
    assert take_earlier(study, out, elsewhere) == 0, "third is under way"
    write_row(out / "third", third)
    assert take_earlier(study, out, elsewhere) == 2, "third is done"


def test_rows_of_another_study_are_refused(grid, tones, tmp_path):
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    rows = planned(load_study(grid, out))

    def refused(*changed: Result) -> str:
        elsewhere.mkdir(exist_ok=True)
        write_results(elsewhere / "results.csv", changed)
        with pytest.raises(InputError) as caught:
            run_study(grid, out, earlier=elsewhere)
        assert not (out / changed[-1].run).exists()
        return str(caught.value)

    told = refused(replace(rows[1], hidden=9))
    assert "results.csv: dense_seed-1 has hidden 9, in this study it would have 8; restore it" in told
    assert "sparse_sparsity-0.5 has method 'hard'" in refused(replace(rows[2], method="hard"))
    assert "has settings {'pruning.schedule.at': '0.5'}" in refused(
        replace(rows[0], settings={"pruning.schedule.at": "0.5"})
    )
    assert "dense_seed-0 has manifest 'dev.jsonl'" in refused(replace(rows[0], manifest="dev.jsonl"))
    for place, words in ((tmp_path / "nowhere", "nowhere: is no folder"), (tmp_path, "results.csv: cannot be read")):
        with pytest.raises(InputError, match=words):
            run_study(grid, out, earlier=place)

    write_results(elsewhere / "results.csv", rows)
    assert run_study(grid, out, earlier=elsewhere) == rows  # none is left to train


def test_one_failure_is_a_row_and_the_rest_goes_on(grid, tmp_path):
    values = yaml.safe_load(grid.read_text())
    values["grids"] = [
        {
            "name": "late",
            "set": {"pruning.recurrent.sparsity": 0.5, "pruning.schedule": {"start_epoch": 9, "every": 1}},
        },
        {"name": "needs", "set": {"pruning.recurrent.dense": "late", "pruning.schedule": {"every": 1}}},
        {"name": "dense"},
    ]
    grid.write_text(yaml.safe_dump(values))
    assert main(["study", "--config", str(grid), "--out", str(tmp_path / "out")]) == 1
    late, needs, dense = read_results(tmp_path / "out" / "results.csv")
    assert (late.method, needs.method, late.target_sparsity) == ("narang", "narang", 0.5), "what it was to be"
    assert not late.done and "need 0 <= start < ramp" in late.error
    assert not needs.done and "late, which gives its threshold, failed" in needs.error
    assert dense.done and dense.train_seconds > 0 and dense.peak_memory > 10**8 and dense.machine


@pytest.mark.parametrize(
    "change, words",
    [
        ({"grids": []}, "has base, evaluate and grids, maybe test"),
        ({"other": 1}, "has base, evaluate and grids, maybe test"),
        ({"grids": "dense"}, "has base, evaluate and grids, maybe test"),
        ({"grids": [{"name": "a", "set": 3}]}, r"grids\[0\]: a grid has a name, .* two mappings"),
        ({"grids": [{"name": "a", "vary": [1]}]}, r"grids\[0\]: a grid has a name, .* two mappings"),
        ({"grids": [{"name": ".."}]}, r"grids\[0\]: a grid has a name"),
        ({"grids": [{"name": "a", "set": {"pruning": 3}}]}, "a: .*pruning"),
        ({"grids": [{"vary": {}}]}, r"grids\[0\]: a grid has a name"),
        ({"grids": [{"name": "a", "vary": {"seed": 3}}]}, r"vary.seed is 3; give a list"),
        ({"base": ["x"]}, r"study.yaml: base is \['x'\]; give the path of one file"),
        ({"evaluate": 3}, "study.yaml: evaluate is 3; give the path of one file"),
        ({"evaluate": ["a.jsonl", "b.jsonl"]}, "study.yaml: evaluate is .*; give the path of one file"),
        ({"test": [1]}, r"study.yaml: test is \[1\]; give the path of one file"),
        ({"grids": [{"name": "a", "set": {3: 4}}]}, r"grids\[0\]: 3 is not the dotted name of a setting"),
        ({"grids": [{"name": "a", "vary": {3: [4]}}]}, r"grids\[0\]: 3 is not the dotted name of a setting"),
        ({"grids": [{"name": "a", "set": {"pruning.recurrent": {"dense": 3}}}]}, 'a: key "pruning.recurrent.dense"'),
        ({"grids": [{"name": "a"}, {"name": "a"}]}, "two cells are called a"),
        ({"grids": [{"name": "a", "set": {"sed": 1}}]}, "a: unknown key sed; did you mean seed"),
        ({"grids": [{"name": "a", "set": {"pruning.recurrent.dense": "b"}}]}, "a takes its threshold from b"),
        (
            {"grids": [{"name": "a", "set": {"pruning.recurrent.dense": "a"}}]},
            "a <- a: thresholds are taken in a circle",
        ),
    ],
)
def test_wrong_study_files_are_refused_before_any_training(change, words, grid, tmp_path):
    grid.write_text(yaml.safe_dump({**yaml.safe_load(grid.read_text()), **change}))
    with pytest.raises(InputError, match=words):
        load_study(grid, tmp_path / "out")


def test_a_study_that_another_process_runs_is_left_alone(grid, tmp_path):
    out = tmp_path / "runs"
    with alone_in(out), pytest.raises(InputError, match="runs: another process is at work in this folder"):
        run_study(grid, out)
    assert [path.name for path in out.iterdir()] == [".lock"]


@pytest.mark.parametrize("key", ["evaluate", "test"])
def test_a_manifest_that_is_not_there_is_named_before_any_training(key, grid, tmp_path):
    grid.write_text(yaml.safe_dump({**yaml.safe_load(grid.read_text()), key: "no.jsonl"}))
    with pytest.raises(InputError, match=f"{key}: no.jsonl does not exist; prepare the corpus first"):
        run_study(grid, tmp_path / "out")


def test_cells_that_share_a_goal_each_have_their_own(grid, tmp_path):
    values = yaml.safe_load(grid.read_text())
    goal = {"dense": "dense_seed-0", "percentile": 0.8}
    vary = {"pruning.recurrent": [goal], "pruning.schedule.phi_ratio": [1.5, 2]}
    values["grids"].append({"name": "narang", "vary": vary})
    grid.write_text(yaml.safe_dump(values))
    cells = load_study(grid, tmp_path / "out").cells[-2:]
    assert [cell.needs for cell in cells] == ["dense_seed-0"] * 2
    assert [cell.name for cell in cells] == [f"narang_recurrent-dense_seed-0-0.8_phi_ratio-{phi}" for phi in (1.5, 2)]
    assert cells[0].settings == {"pruning.recurrent": "dense_seed-0-0.8", "pruning.schedule.phi_ratio": "1.5"}


def test_gradients_as_a_whole_may_vary_and_have_their_own_column(grid, tmp_path):
    values = yaml.safe_load(grid.read_text())
    values["grids"] = [
        {"name": "dense", "vary": {"gradients": [None, {"rule": {"kind": "sparsity", "sparsity": 0.8}}]}}
    ]
    grid.write_text(yaml.safe_dump(values))
    exact, sparse = load_study(grid, tmp_path).cells
    assert exact.settings == sparse.settings == {} and sparse.told["gradients"] == "sparsity 0.8"


def test_a_folder_trained_with_other_settings_is_not_taken(grid, tmp_path, capsys):
    folder = tmp_path / "out" / "dense_seed-0"
    folder.mkdir(parents=True)
    (folder / "cell.yaml").write_text(BASE.format(train="a", dev="b").replace("hidden: 8", "hidden: 9"))
    assert main(["study", "--config", str(grid), "--out", str(tmp_path / "out")]) == 1
    assert "was trained with other settings: " in (told := capsys.readouterr().err) and "network.hidden: 9 -> 8" in told


def test_a_decoder_that_is_tuned_between_does_not_stop_a_study(grid, tmp_path):
    """Nor does it train anything again: how texts are found changes no weight."""
    out = tmp_path / "out"
    rows = planned(load_study(grid, out))
    for cell in load_study(grid, out).cells:
        (out / cell.name).mkdir(parents=True)
        save_config(cell.config, out / cell.name / "cell.yaml")
    for row in rows:
        write_row(out / row.run, row)
    with open(tmp_path / "base.yaml", "a") as base:
        base.write("decoder: {kind: beam, alpha: 0.7}\n")
    assert run_study(grid, out) == rows

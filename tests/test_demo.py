"""The demo, much shortened: it runs through, says what it did, and never deletes a folder that is not its own."""

import pytest

from deepspeech_sparse.demo import demo_config, run_demo, sparse_twin
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.export import info
from deepspeech_sparse.settings import config_to_dict
from deepspeech_sparse.training.config import config_of


def test_the_demo_replaces_an_earlier_one_and_runs_through(tmp_path, capsys):
    pytest.importorskip("espeakng_loader")
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / ".demo").touch()
    (folder / "stale").touch()
    run_demo(folder, epochs=6, utterances=80)
    shown = capsys.readouterr().out
    assert "WER" in shown and shown.split("5. three dev files")[1].count("heard") == 3
    made = {path.name for path in folder.iterdir()}
    assert made >= {"dense.safetensors", "sparse.safetensors", "spoken"} and "stale" not in made
    assert info(folder / "sparse.safetensors").recurrent.sparsity == pytest.approx(0.9, abs=0.001)
    assert info(folder / "dense.safetensors").recurrent.sparsity == 0


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not a demo's"):
        run_demo(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_the_sparse_twin_differs_in_pruning_alone(tmp_path):
    dense = demo_config(tmp_path, seed=3)
    sparse = sparse_twin(dense)
    assert sparse.pruning.recurrent.sparsity == 0.9
    assert {name for name, value in config_to_dict(sparse).items() if value != config_to_dict(dense)[name]} == {
        "pruning"
    }
    assert config_of(config_to_dict(sparse)) == sparse

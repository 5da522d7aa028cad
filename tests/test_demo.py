"""The demo, much shortened: it runs through, says what it did, and never deletes a folder that is not its own."""

import pytest

from deepspeech_sparse.config import config_from_dict, config_to_dict
from deepspeech_sparse.demo import demo_config, run_demo, sparse_twin
from deepspeech_sparse.errors import InputError


def test_the_demo_runs_twice_in_the_same_folder(tmp_path, capsys):
    pytest.importorskip("espeakng_loader")
    for _ in range(2):
        run_demo(tmp_path / "demo", epochs=4, utterances=30)
    shown = capsys.readouterr().out
    assert shown.count("heard") >= 6 and "WER" in shown and "90." in shown.replace("89.", "90.")
    assert {path.name for path in (tmp_path / "demo").iterdir()} >= {"dense.safetensors", "sparse.safetensors", "spoken"}


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not a demo's"):
        run_demo(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_the_sparse_twin_differs_in_pruning_alone(tmp_path):
    dense = demo_config(tmp_path, seed=3)
    sparse = sparse_twin(dense)
    assert sparse.pruning.recurrent.sparsity == 0.9
    assert {name for name, value in config_to_dict(sparse).items() if value != config_to_dict(dense)[name]} == {"pruning"}
    assert config_from_dict(config_to_dict(sparse)) == sparse

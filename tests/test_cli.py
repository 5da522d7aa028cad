"""The command line: every verb explains itself; wrong input ends with the right exit code and one clear line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_sparse import __version__
from deepspeech_sparse.cli import VERBS, main
from deepspeech_sparse.cli.parser import plain_value
from deepspeech_sparse.corpora.manifest import read_manifest, write_manifest

TINY = """
data: {{train: {train}, dev: {dev}, batch_seconds: 5}}
features: {{kind: log_mel, mels: 16}}
network:
  convolutions: [{{channels: 4, kernel: [5, 5], stride: [2, 2]}}]
  layers: 1
  hidden: 12
alphabet: abc
epochs: 2
threads: 1
"""


@pytest.fixture(scope="module")
def recipe(tones, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY.format(**tones))
    return path


@pytest.fixture(scope="module")
def model(recipe, tmp_path_factory) -> Path:
    """A model file, made by the verbs train and export."""
    folder = tmp_path_factory.mktemp("cli")
    assert main(["train", "--config", str(recipe), "--out", str(folder / "run")]) == 0
    assert main(["export", str(folder / "run"), "--out", str(folder / "tiny.safetensors")]) == 0
    return folder / "tiny.safetensors"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_every_argument(verb, capsys):
    with pytest.raises(SystemExit) as exit:
        main([*verb.split(), "--help"])
    text = capsys.readouterr().out
    assert exit.value.code == 0
    assert VERBS[verb].__doc__.splitlines()[0].split(";")[0].split(":")[0][:40] in " ".join(text.split())
    for argument in VERBS[verb].__annotations__:
        if argument != "return":
            assert re.search(rf"\b{argument}\b", text), argument


def test_help_of_train_tells_units_and_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "length of the Hamming window in seconds" in text and "default: 0.02" in text
    assert "--network.hidden" in text and "--pruning" in text


def test_without_a_verb_all_verbs_are_listed(capsys):
    assert main(["--help"]) == 0
    assert main([]) == 2
    listed = capsys.readouterr().out
    assert all(verb in listed for verb in VERBS)
    for arguments in (["data"], ["lm"], ["data", "-h"], ["lm", "--help"]):
        assert main(arguments) == 0 and "data check" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["trian"], 2, "did you mean 'train'"),
        (["trian", "--out", "x"], 2, "unknown verb 'trian'; did you mean 'train'"),
        (["data", "chekc", "x"], 2, "unknown verb 'data chekc'; did you mean 'data check'"),
        (["lm", "biuld", "t", "--out", "x"], 2, "did you mean 'lm build'"),
        (["dta", "prepare", "an4"], 2, "unknown verb 'dta'; did you mean 'data prepare'"),
        (["lm", "--out", "x"], 2, "unknown verb 'lm --out'"),
        (["train", "--config", "none.yaml", "--out", "x"], 1, r"none\.yaml: cannot be read"),
        (["train", "--network.hiden", "3", "--out", "x"], 2, "did you mean network.hidden"),
        (["train", "--pruning.pattern.kind", "2:5", "--out", "x"], 2, "kind is '2:5'; choose one of single.* 2:4"),
        (["evaluate", "none.safetensors", "none.jsonl"], 1, r"none\."),
        (["info", "none.safetensors"], 1, r"none\.safetensors"),
        (["transcribe"], 2, "model"),
        (["bench", "--parts", "[ears]"], 2, "layers"),
        (["bench", "--threads", "0"], 1, "0 threads"),
        (["data", "prepare", "an5"], 2, "an4"),
        (["data", "check", "none.jsonl"], 1, r"none\.jsonl"),
    ],
)
def test_wrong_input_gets_one_clear_line_and_the_right_exit_code(arguments, code, words, capsys):
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ") and re.search(words, error), error
    assert "Traceback" not in error


def test_unknown_keys_of_a_recipe_are_named_with_their_nearest_relative(tmp_path, recipe, capsys):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(recipe.read_text().replace("hidden:", "hiden:"))
    assert main(["train", "--config", str(wrong), "--out", str(tmp_path / "run")]) == 1
    assert "wrong.yaml: unknown key network.hiden; did you mean network.hidden?" in capsys.readouterr().err


def test_flags_override_the_recipe(recipe, tmp_path):
    arguments = ["--config", str(recipe), "--out", str(tmp_path / "run"), "--epochs", "1", "--network.hidden", "8"]
    assert main(["train", *arguments]) == 0
    text = (tmp_path / "run" / "config.yaml").read_text()
    assert "epochs: 1" in text and "hidden: 8" in text


def test_a_second_run_in_the_same_folder_is_refused(model, recipe, capsys):
    assert main(["train", "--config", str(recipe), "--out", str(model.parent / "run")]) == 1
    assert "--resume auto" in capsys.readouterr().err


def test_transcribe_does_the_good_files_and_names_the_broken(model, tones, tmp_path, capsys):
    good, other = (utterance.audio for utterance in read_manifest(tones["dev"])[:2])
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF nonsense")
    assert main(["transcribe", str(model), str(broken), str(good), str(other), str(good), "--format", "json"]) == 1
    out, errors = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 2 and all("text" in line for line in lines)
    assert "broken.wav" in errors
    assert main(["transcribe", str(model), str(good)]) == 0


def test_evaluate_and_compare_print_rates_and_write_json(model, tones, tmp_path, capsys):
    assert main(["evaluate", str(model), str(tones["dev"]), "--json", str(tmp_path / "e.json")]) == 0
    assert "WER" in capsys.readouterr().out
    assert json.loads((tmp_path / "e.json").read_text())
    run = str(model.parent / "run")
    arguments = [str(model), run, "--manifest", str(tones["dev"]), "--json", str(tmp_path / "c.json"), "--rounds", "0"]
    assert main(["compare", *arguments]) == 0
    assert "WER" in capsys.readouterr().out
    assert main(["info", str(model)]) == 0
    assert "parameters" in capsys.readouterr().out


def test_data_check_ends_with_1_only_when_training_would_fail(tones, recipe, tmp_path, capsys):
    assert main(["data", "check", str(tones["dev"]), "--config", str(recipe)]) == 0
    utterance = read_manifest(tones["dev"])[0]
    row = {"audio_filepath": str(utterance.audio), "duration": utterance.duration, "text": "xyz"}
    (tmp_path / "foreign.jsonl").write_text(json.dumps(row) + "\n")
    assert main(["data", "check", str(tmp_path / "foreign.jsonl"), "--config", str(recipe)]) == 1
    assert "foreign characters" in capsys.readouterr().out


def test_data_prepare_folder_makes_manifests(tmp_path, capsys):
    recordings = tmp_path / "mine"
    recordings.mkdir()
    rows = ["path,text"]
    for index in range(20):
        soundfile.write(recordings / f"{index}.wav", [0.1] * 8000, 16_000)
        rows.append(f"{index}.wav,hello")
    (recordings / "table.csv").write_text("\n".join(rows))
    assert main(["data", "prepare", "folder", "--archive", str(recordings), "--out", str(tmp_path / "out")]) == 0
    assert "train" in capsys.readouterr().out
    assert read_manifest(tmp_path / "out" / "train.jsonl")


def test_flags_are_those_of_the_encoder_that_config_or_flag_names(recipe, tmp_path, monkeypatch, capsys):
    import yaml

    from deepspeech_sparse.training import runs

    trained = []
    monkeypatch.setattr(runs, "train", lambda config, out, resume: trained.append(config.network))
    values = yaml.safe_load(recipe.read_text())
    values["network"] = {"encoder": "conformer", "hidden": 24, "layers": 2}
    conformer = tmp_path / "conformer.yaml"
    conformer.write_text(yaml.safe_dump(values))
    data = ["--data.train", "a.jsonl", "--data.dev", "b.jsonl", "--out", "x"]
    assert main(["train", "--config", str(conformer), "--network.heads", "6", "--out", "x"]) == 0
    assert main(["train", "--network.encoder", "conformer", "--network.heads", "2", *data]) == 0
    assert main(["train", "--network.encoder=wav2letter", *data]) == 0
    assert main(["train", "--network.hidden", "32", "--network.layers", "1", *data]) == 0
    assert [(network.encoder, getattr(network, "heads", 0)) for network in trained] == [
        ("conformer", 6),
        ("conformer", 2),
        ("wav2letter", 0),
        ("recurrent", 0),
    ]
    assert (trained[0].hidden, trained[3].hidden, trained[3].layers) == (24, 32, 1)
    assert main(["train", "--network.encoder", "mamba", *data]) == 2
    assert "choose one of recurrent, conformer, wav2letter" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "--config", str(conformer), "--help"])
    assert "--network.heads" in capsys.readouterr().out


def test_bench_measures_the_parts_asked_for(monkeypatch):
    from deepspeech_sparse import bench

    asked = []
    monkeypatch.setattr(bench, "bench", lambda parts, **options: asked.append((parts, options)))
    assert main(["bench", "--parts", "[layers]", "--full", "--seed", "3"]) == 0
    assert main(["bench"]) == 0
    assert asked[0] == (("layers",), {"full": True, "threads": 1, "seed": 3, "json": None})
    assert asked[1][0] == ("products", "layers", "recognition", "gradients") and asked[1][1]["full"] is False


def test_names_that_are_no_utf8_are_arguments_like_others(tones, tmp_path, capsys):
    text, out, manifest = (tmp_path / os.fsdecode(b"caf\xe9" + suffix) for suffix in (b".txt", b".arpa", b".jsonl"))
    try:
        text.write_text("to be or not to be")
    except OSError:
        pytest.skip("this file system wants UTF-8")
    assert main(["lm", "build", str(text), "--out", str(out), "--order", "2"]) == 0 and out.is_file()
    write_manifest(manifest, read_manifest(tones["dev"]))
    assert main(["data", "check", str(manifest)]) == 0
    assert main(["info", str(tmp_path / os.fsdecode(b"caf\xe9"))]) == 1 and "no " in capsys.readouterr().err
    assert plain_value(str(manifest)) == str(manifest)


def test_a_terminal_that_cannot_show_a_name_ends_nothing(tmp_path):
    for name in ("a\u0142.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros(1600, np.float32), 16_000)
    model = Path(__file__).parent.parent / "checkpoints" / "digits-gru-sparse.safetensors"
    command = [
        sys.executable,
        "-m",
        "deepspeech_sparse.cli",
        "transcribe",
        str(model),
        str(tmp_path),
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a\u0142.txt").exists() and (tmp_path / "b.txt").exists()

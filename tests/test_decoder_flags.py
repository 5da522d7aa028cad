"""Decoders on the command line: a recipe's section, flags over it, and what is wrong with them."""

import json

import pytest
import yaml

from deepspeech_sparse.cli import main
from deepspeech_sparse.cli.parser import split_decoder
from deepspeech_sparse.decoder_config import DecoderConfig
from deepspeech_sparse.errors import InputError


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"decoder": {"kind": "beam", "alpha": 0.9, "beta": 1.5, "hot_words": ["Abc"]}}))
    return path


def test_flags_stand_over_the_section_of_a_recipe_wherever_they_are(recipe):
    words = ["--decoder.alpha", "0.25", "model", "--decoder", str(recipe), "--json=x"]
    config, rest = split_decoder(words)
    assert config == DecoderConfig("beam", alpha=0.25, beta=1.5, hot_words=("Abc",))
    assert rest == ["model", "--json=x"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--decoder.alhpa", "1"], "alpha"),
        (["--decoder.alpha"], "--decoder.alpha needs a value"),
        (["--decoder.alpha", "much"], "alpha"),
        (["--decoder.alpha", ".nan"], "alpha"),
        (["--decoder.kind", "widest"], "widest"),
        (["--decoder.beam_width", "0"], "beam_width 0"),
        (["--decoder.cutoff_prob", "1.5"], "cutoff_prob 1.5"),
        (["--decoder", "none.yaml"], "none.yaml"),
        (["--decoder.lm", "words.arpa"], "greedy"),
        (["--decoder.beam_width", "200"], "greedy knows no beam_width; choose kind beam"),
        (["--decoder.kind", "beam", "--decoder.lm", "none.arpa"], "none.arpa: no such language model"),
    ],
)
def test_wrong_settings_are_one_line_that_names_them(model, tones, flags, message, capsys):
    if "beam" in flags:
        pytest.importorskip("flashlight.lib.text")
    assert main(["evaluate", str(model), str(tones["dev"]), *flags]) in (1, 2)
    said = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in said if "error" in line]) == 1
    assert message in said[-1] or any(message in line for line in said)
    assert not any("Traceback" in line for line in said)


def test_an_apostrophe_at_one_end_of_a_hot_word_belongs_to_it():
    decoder, _ = split_decoder(["--decoder.hot_words", """[goin', 'cause, "rock 'n' roll", 'quoted']"""])
    assert decoder.hot_words == ("goin'", "'cause", "rock 'n' roll", "quoted")


def test_a_recipe_without_the_section_and_one_with_an_unknown_key_are_refused(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("seed: 1\n")
    with pytest.raises(InputError, match="has no section decoder"):
        split_decoder(["--decoder", str(path)])
    path.write_text("decoder: {betta: 1}\n")
    with pytest.raises(InputError, match="beta"):
        split_decoder(["--decoder", str(path)])


@pytest.mark.parametrize("verb", ["evaluate", "compare", "transcribe"])
def test_help_tells_every_setting(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "--decoder CONFIG" in said
    for name in DecoderConfig.__dataclass_fields__:
        assert f"--decoder.{name}" in said


def test_evaluate_decodes_with_the_beam_of_a_recipe(model, tones, recipe, tmp_path):
    pytest.importorskip("flashlight.lib.text")
    out = tmp_path / "result.json"
    arguments = ["evaluate", str(model), str(tones["dev"]), "--decoder", str(recipe), "--json", str(out)]
    assert main([*arguments, "--decoder.hot_word_boost", "500"]) == 0
    hypotheses = json.dumps(json.loads(out.read_text()))
    assert "abc" in hypotheses

"""Tuning: the best pair is found, the network runs once, nothing is searched twice, recipes keep all else."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch

from deepspeech_sparse.audio import load_audio
from deepspeech_sparse.cli import main
from deepspeech_sparse.corpora.manifest import Utterance, read_manifest, write_manifest
from deepspeech_sparse.decoder_config import DecoderConfig
from deepspeech_sparse.decoding import GreedyDecoder
from deepspeech_sparse.decoding.hypothesis import Hypothesis
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.recognition.recognizer import Recognizer
from deepspeech_sparse.training.config import load_config
from deepspeech_sparse.tuning import search as tuning_search
from deepspeech_sparse.tuning.recipe import decoder_section, write_section
from deepspeech_sparse.tuning.scores import heard, saved_scores
from deepspeech_sparse.tuning.search import half_steps, search_grid, tune
from deepspeech_sparse.tuning.trials import Trial, append_trial, read_trials


def bowl(alpha: float, beta: float) -> Trial:
    """Best at alpha 1.2 and beta 2.6."""
    return Trial(alpha, beta, 0.1 + (alpha - 1.2) ** 2 + (beta - 2.6) ** 2 / 10, 0.05)


def test_the_search_refines_around_the_best_of_the_grid(tmp_path):
    trials = search_grid(bowl, (0, 1, 2), (0, 2, 4), tmp_path / "tune.csv", "k")
    assert len(trials) == 9 + 8 and len({(t.alpha, t.beta) for t in trials}) == 17
    best = min(trials, key=lambda trial: trial.rank)
    assert (best.alpha, best.beta) == (1.0, 3.0)  # of 0.5, 1, 1.5 and 1, 2, 3


def test_what_was_searched_is_not_searched_again(tmp_path):
    path = tmp_path / "tune.csv"
    first = search_grid(bowl, (0, 1), (0,), path, "k")
    with path.open("a") as file:
        file.write("1.5,0.0,0.2")  # a kill cut this line short
    seen = []

    def search(alpha, beta):
        seen.append((alpha, beta))
        return bowl(alpha, beta)

    assert search_grid(search, (0, 1), (0,), path, "k") == first and not seen
    search_grid(search, (0, 1), (0,), path, "another model")
    assert len(seen) == len(first)
    assert set(read_trials(path, "k").values()) == set(first)


def test_equal_rates_are_decided_by_characters_then_the_weaker_model():
    trials = [Trial(2, 0, 0.1, 0.05), Trial(1, 3, 0.1, 0.05), Trial(1, -2, 0.1, 0.05), Trial(0, 0, 0.1, 0.06)]
    assert min(trials, key=lambda trial: trial.rank) == Trial(1, -2, 0.1, 0.05)


def test_half_steps_stay_inside_the_grid():
    assert half_steps((0, 1, 3), 1) == [0.5, 1, 2]
    assert half_steps((0, 1, 3), 0) == [0, 0.5] and half_steps((0, 1, 3), 3) == [2, 3] and half_steps((2,), 2) == [2]


RECIPE = """# A recipe.
data: {train: a.jsonl, dev: b.jsonl}  # manifests
decoder:
  # an older winner
  kind: beam

  alpha: 9
# what follows
epochs: 3
"""


def test_only_the_section_of_a_recipe_changes(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    decoder = DecoderConfig("beam", lm=Path("lm.arpa"), lexicon=Path("words.txt"), alpha=1.25, beta=0.5, beam_width=50)
    write_section(recipe, decoder_section(decoder, "found"))
    text = recipe.read_text()
    assert text.startswith("# A recipe.\ndata: {train: a.jsonl, dev: b.jsonl}  # manifests\ndecoder:  # found\n")
    assert text.endswith("# what follows\nepochs: 3\n") and "older" not in text
    assert load_config(recipe).decoder == decoder
    write_section(recipe, decoder_section(replace(decoder, alpha=2.0)))
    assert load_config(recipe).decoder.alpha == 2.0 and recipe.read_text().count("decoder:") == 1


@pytest.mark.parametrize("text", ["decoder: {\n  kind: beam,\n}\nseed: 1\n", "- a list\n"])
def test_a_section_that_text_cannot_replace_is_left_and_printed(text, tmp_path):
    recipe = tmp_path / "flow.yaml"
    recipe.write_text(text)
    with pytest.raises(InputError, match=r"flow\.yaml: its decoder section cannot be .*\ndecoder:\n  kind: beam"):
        write_section(recipe, decoder_section(DecoderConfig("beam", alpha=1.5)))
    assert recipe.read_text() == text


def test_a_section_may_have_its_name_in_quotes(tmp_path):
    recipe = tmp_path / "quoted.yaml"
    recipe.write_text('"decoder":\n  kind: beam\nseed: 1\n')
    write_section(recipe, "decoder:\n  kind: greedy\n")
    assert recipe.read_text() == "decoder:\n  kind: greedy\nseed: 1\n"


@pytest.mark.parametrize("cut", [0, 30, 60])
def test_what_a_kill_left_of_a_table_spoils_no_later_row(cut, tmp_path):
    path = tmp_path / "tune.csv"
    for number in range(3):
        append_trial(path, "k", Trial(0.5, float(number), 0.1, 0.05))
    path.write_bytes(path.read_bytes()[:cut])
    append_trial(path, "k", Trial(2.0, 2.0, 0.1, 0.05))
    assert (2.0, 2.0) in read_trials(path, "k")


def test_a_recipe_without_a_section_gets_one_at_its_end(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: {train: a.jsonl, dev: b.jsonl}\nepochs: 3")
    write_section(recipe, decoder_section(DecoderConfig("beam", alpha=1.5)))
    assert recipe.read_text().startswith("data: {train: a.jsonl, dev: b.jsonl}\nepochs: 3\ndecoder:\n  kind: beam\n")
    assert load_config(recipe).decoder.alpha == 1.5
    write_section(tmp_path / "new.yaml", "decoder: {}\n")
    assert (tmp_path / "new.yaml").read_text() == "decoder: {}\n"
    recipe.write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"recipe.yaml: cannot be read"):
        write_section(recipe, "decoder: {}\n")


class BestNearOne:
    """Right where alpha is 1 and beta 0, else the greedy text and as many words more as it is off."""

    def __init__(self, config: DecoderConfig, alphabet, texts: list[str]) -> None:
        self.greedy, self.off, self.texts = GreedyDecoder(alphabet), abs(config.alpha - 1) + abs(config.beta), texts

    def decode(self, log_probs, frames, n_best=1):
        assert torch.allclose(log_probs.exp().sum(-1), torch.ones(()), atol=1e-4)
        text = " ".join([self.texts.pop(0), *["more"] * round(4 * self.off)])
        return [[Hypothesis(text, (), (), 0.0, 0.0)]]


def test_the_network_runs_once_and_the_winner_lands_in_the_recipe(model, tones, tmp_path, monkeypatch, capsys):
    texts = [utterance.text for utterance in read_manifest(tones["dev"])]
    real = tuning_search.decoder_of
    monkeypatch.setattr(
        tuning_search,
        "decoder_of",
        lambda config, alphabet: (
            real(config, alphabet) if config.kind == "greedy" else BestNearOne(config, alphabet, list(texts))
        ),
    )
    recipe, lm = tmp_path / "recipe.yaml", tmp_path / "lm.arpa"
    recipe.write_text("epochs: 3\n")
    lm.write_text("a language model")
    command = ["lm", "tune", str(model), str(tones["dev"]), "--decoder.lm", str(lm), "--out", str(tmp_path / "out")]
    command += ["--recipe", str(recipe), "--alphas", "[0, 1, 2]", "--betas", "[0, 2]"]
    assert main(command) == 0
    output = capsys.readouterr().out
    assert re.search(r"best: alpha 1, beta 0: WER 0.00%", output) and "*0.00" in output
    assert "decoder:\n  kind: beam\n" in output
    assert "alpha: 1.0\n  beta: 0.0\n" in recipe.read_text() and "WER 0.00%, greedy " in recipe.read_text()
    [saved] = (tmp_path / "out").glob("log_probs-*.safetensors")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {saved.name, "tune.csv", "tuning.svg", "tuning.png"}
    monkeypatch.setattr(
        "deepspeech_sparse.recognition.recognizer.Recognizer.log_probs", None
    )  # asked only if what it said is lost
    assert main(command) == 0
    saved.write_bytes(saved.read_bytes()[:50])
    with pytest.raises(TypeError):
        main(command)


def test_the_same_lines_beside_other_audio_are_another_corpus(model, tones, tmp_path):
    recognizer = Recognizer.load(model)
    found = []
    for loudness in (1.0, 0.01):
        folder = tmp_path / str(loudness)
        folder.mkdir()
        utterance = read_manifest(tones["dev"])[0]
        soundfile.write(folder / "a.wav", loudness * load_audio(utterance.audio) + 0.01, 16_000)
        write_manifest(folder / "dev.jsonl", [Utterance("a", folder / "a.wav", 0.2, "a")])
        utterances = read_manifest(folder / "dev.jsonl")
        key = heard(model, folder / "dev.jsonl", utterances)
        found += saved_scores(recognizer, utterances, folder / "dev.jsonl", tmp_path / "tuning", key)
    assert (tmp_path / "1.0" / "dev.jsonl").read_text() == (tmp_path / "0.01" / "dev.jsonl").read_text()
    assert not torch.equal(*found)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"decoder": DecoderConfig()}, "no language model to tune"),
        ({"alphas": ()}, r"alphas \[\]"),
        ({"alphas": (-1,)}, r"alphas \[-1\]"),
        ({"betas": ()}, r"betas \[\]"),
        ({"recipe": Path("/proc/none/recipe.yaml")}, "recipe.yaml"),
    ],
)
def test_what_cannot_be_tuned_is_refused_first(options, words, model, tones, tmp_path):
    settings = {"decoder": DecoderConfig(lm=Path("lm.arpa")), "out": tmp_path / "out", **options}
    with pytest.raises(InputError, match=words):
        tune(model, tones["dev"], **settings)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_comments_at_the_margin_inside_a_section_go_with_it(tmp_path, end):
    recipe = tmp_path / "recipe.yaml"
    before = "data: {train: a.jsonl, dev: b.jsonl}", "decoder:", "  kind: beam", "# old", "", "  alpha: 0.7"
    after = "", "# of the training", "epochs: 3", ""
    recipe.write_bytes(end.join([*before, *after]).encode())
    write_section(recipe, decoder_section(DecoderConfig("beam", alpha=2.0)))
    assert load_config(recipe).decoder.alpha == 2.0
    content = recipe.read_bytes()
    assert content.startswith(before[0].encode() + end.encode()) and content.endswith(end.join(after).encode())
    assert b"old" not in content

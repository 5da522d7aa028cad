"""Label priors: counted from texts, read back, taken off the scores of a search, weighed by `lm tune`."""

import math
from pathlib import Path

import pytest
import torch

from deepspeech_sparse.cli import main
from deepspeech_sparse.decoder_config import DecoderConfig
from deepspeech_sparse.decoding import GreedyDecoder, decoder_of
from deepspeech_sparse.decoding.hypothesis import Hypothesis
from deepspeech_sparse.decoding.priors import WithoutPriors, read_priors
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.text import Alphabet
from deepspeech_sparse.tuning import search as tuning_search

ALPHABET = Alphabet(" ab")


@pytest.fixture
def priors(tmp_path) -> Path:
    """Of "ab a" and "a": five blanks and two, three times a, b and the space once."""
    (tmp_path / "text.txt").write_text("ab A\n\na\n")
    command = ["lm", "build", str(tmp_path / "text.txt"), "--out", str(tmp_path / "lm.arpa")]
    assert main([*command, "--priors", str(tmp_path / "priors.tsv")]) == 0
    return tmp_path / "priors.tsv"


def test_labels_are_counted_with_blanks_between_them(priors):
    assert priors.read_text() == "<blank>\t7\n<space>\t1\na\t3\nb\t1\n"
    assert read_priors(priors, ALPHABET).exp().tolist() == pytest.approx([7 / 12, 1 / 12, 3 / 12, 1 / 12])
    # A label that no text has counts once, one that the model does not write is passed over.
    assert read_priors(priors, Alphabet("ax")).exp().tolist() == pytest.approx([7 / 11, 3 / 11, 1 / 11])


def test_a_text_with_bars_has_other_spaces(tmp_path):
    (tmp_path / "text.txt").write_text("a | b\n")
    command = ["lm", "build", str(tmp_path / "text.txt"), "--out", str(tmp_path / "lm.arpa")]
    assert main([*command, "--priors", str(tmp_path / "priors.tsv")]) == 0
    assert read_priors(tmp_path / "priors.tsv", Alphabet(" |")).exp().tolist() == pytest.approx([6 / 9, 2 / 9, 1 / 9])


def test_a_part_of_the_priors_is_taken_off_and_what_is_left_are_probabilities():
    heard = []

    class Ear:
        def decode(self, log_probs, frames, n_best=1):
            heard.append(log_probs)
            return [[Hypothesis("", (), (), 0.0, 0.0)]]

    log_priors, rows = torch.tensor([0.5, 0.3, 0.2]).log(), torch.randn(1, 4, 3).log_softmax(-1)
    WithoutPriors(Ear(), log_priors, 0.5).decode(rows, torch.tensor([4]))
    expected = rows.exp() / log_priors.exp().sqrt()
    assert torch.allclose(heard[0].exp(), expected / expected.sum(-1, keepdim=True), atol=1e-6)


def test_a_rare_label_wins_once_the_network_need_not_expect_the_frequent_one(priors):
    pytest.importorskip("flashlight.lib.text.decoder")
    rows = torch.tensor([[0.05, 0.05, 0.5, 0.4]]).log()  # blank, space, a, b; a is three times as frequent

    def text(gamma: float) -> str:
        decoder = decoder_of(DecoderConfig("beam", priors=priors, gamma=gamma), ALPHABET)
        return decoder.decode(rows[None], torch.tensor([1]))[0][0].text

    assert (text(0.0), text(0.1), text(0.5)) == ("a", "a", "b")  # 0.5 / 3^gamma against 0.4


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"none\.tsv: cannot be read \(No such file.*lm build --priors"),
        (b"\xff", "cannot be read"),
        (b"a\t3\nab\t1\n", "line 2: 'ab.*' is no label, tab and count"),
        (b"<blank>\t3\na\t-1\n", "line 2"),
        (b"<blank>\t3\na\t1.5\n", "line 2"),
        ("<blank>\t3\na\t²\n".encode(), "line 2"),
        (b"a\t3\n", "has no <blank>"),
        (b"<blank>\t3\nx\t3\n", "no label that the model writes"),
        (b"", "has no <blank>"),
    ],
)
def test_files_that_do_not_fit_are_refused(content, words, tmp_path):
    path = tmp_path / ("none.tsv" if content is None else "priors.tsv")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_priors(path, ALPHABET)


def test_settings_that_mean_nothing_are_refused(priors):
    with pytest.raises(InputError, match=r"gamma 0\.3 is a part of priors; give a file"):
        DecoderConfig("beam", gamma=0.3)
    with pytest.raises(InputError, match="gamma nan"):
        DecoderConfig("beam", priors=priors, gamma=math.nan)
    with pytest.raises(InputError, match="greedy knows no priors"):
        decoder_of(DecoderConfig(priors=priors, gamma=0.3), ALPHABET)
    assert isinstance(decoder_of(DecoderConfig(), ALPHABET), GreedyDecoder)


def test_tuning_weighs_them_too(model, tones, priors, tmp_path, monkeypatch, capsys):
    """By a decoder that is right where gamma is 0.4 and alpha 1, and hears nothing elsewhere."""
    from deepspeech_sparse.corpora.manifest import read_manifest

    texts = {id: utterance.text for id, utterance in enumerate(read_manifest(tones["dev"]))}
    real, asked = tuning_search.decoder_of, []

    class Decoder:
        def __init__(self, config):
            self.right, self.texts = (config.gamma, config.alpha) == (0.4, 1.0), iter(texts.values())
            asked.append((config.gamma, config.alpha, config.beta))

        def decode(self, log_probs, frames, n_best=1):
            text = next(self.texts)
            return [[Hypothesis(text if self.right else "", (), (), 0.0, 0.0)]]

    monkeypatch.setattr(
        tuning_search,
        "decoder_of",
        lambda config, alphabet: real(config, alphabet) if config.kind == "greedy" else Decoder(config),
    )
    (tmp_path / "other.arpa").write_text("a language model")
    command = ["lm", "tune", str(model), str(tones["dev"]), "--decoder.lm", str(tmp_path / "other.arpa")]
    command += ["--out", str(tmp_path / "out"), "--alphas", "[0, 1]", "--betas", "[0]"]
    assert main([*command, "--gammas", "[0.4]"]) == 1
    assert "give --decoder.priors" in capsys.readouterr().err
    recipe = tmp_path / "recipe.yaml"
    command += ["--decoder.priors", str(priors), "--recipe", str(recipe)]
    assert main(command) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "best: alpha 1, beta 0, gamma 0.4: WER 0.00%" in said
    assert "table of gamma 0.4; the best WER of each gamma: 0 100.00%, 0.2 100.00%, 0.4 0.00%, 0.6 100.00%" in said
    assert "gamma: 0.4\n" in recipe.read_text() and f"priors: {priors}\n" in recipe.read_text()
    assert {gamma for gamma, *_ in asked} == {0.0, 0.2, 0.4, 0.6}
    asked.clear()
    assert main([*command, "--gammas", "[0.4, 0.5]"]) == 0
    assert {gamma for gamma, *_ in asked if gamma} == {0.5}, "what was searched is not searched again"

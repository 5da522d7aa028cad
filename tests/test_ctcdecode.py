"""The adapter to ctcdecode, before a stand-in that does by brute force what its documentation says."""

import itertools
import sys
import types

import pytest
import torch

from deepspeech_sparse import DecoderConfig
from deepspeech_sparse.decoding import decoder_of
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.text import Alphabet

ALPHABET = Alphabet(" ab")


class CTCBeamDecoder:
    """As in ctcdecode 1.0.3: scores are negative logarithms, arrays are padded, frames are those of the last label."""

    made: list[dict]

    def __init__(self, labels, **options) -> None:
        self.labels, self.options = labels, options
        type(self).made.append(options | {"labels": labels})

    def decode(self, log_probs, lengths):
        assert self.options["log_probs_input"] and self.options["blank_id"] == 0
        beams, frames = self.options["beam_width"], log_probs.shape[1]
        labels = torch.zeros(len(log_probs), beams, frames, dtype=torch.int)
        begins, scores = torch.zeros_like(labels), torch.zeros(len(log_probs), beams)
        counts = torch.zeros(len(log_probs), beams, dtype=torch.int)
        for row, length in enumerate(lengths.tolist()):
            found: dict[tuple, float] = {}
            for path in itertools.product(range(len(self.labels)), repeat=length):
                text = tuple(label for label, _ in itertools.groupby(path) if label)
                score = sum(log_probs[row, frame, label] for frame, label in enumerate(path)).exp()
                found[text] = found.get(text, 0.0) + score
            for beam, (text, total) in enumerate(sorted(found.items(), key=lambda pair: -pair[1])[:beams]):
                labels[row, beam, : len(text)] = torch.tensor(text)
                begins[row, beam, : len(text)] = torch.arange(len(text))
                scores[row, beam], counts[row, beam] = -total.log(), len(text)
        return labels, scores, begins, counts


@pytest.fixture(autouse=True)
def package(monkeypatch):
    module = types.ModuleType("ctcdecode")
    module.CTCBeamDecoder = CTCBeamDecoder
    CTCBeamDecoder.made = []
    monkeypatch.setitem(sys.modules, "ctcdecode", module)


def test_its_options_keep_their_names(tmp_path):
    lm = tmp_path / "lm.arpa"
    lm.write_text("any")
    decoder_of(
        DecoderConfig("ctcdecode", lm=lm, alpha=2.0, beta=1.0, beam_width=7, cutoff_top_n=3, cutoff_prob=0.9), ALPHABET
    )
    [made] = CTCBeamDecoder.made
    assert made.pop("num_processes") >= 1
    assert made == {
        "labels": ["_", " ", "a", "b"],
        "model_path": str(lm),
        "alpha": 2.0,
        "beta": 1.0,
        "cutoff_top_n": 3,
        "cutoff_prob": 0.9,
        "beam_width": 7,
        "blank_id": 0,
        "log_probs_input": True,
    }


def test_it_agrees_with_our_beam_search():
    pytest.importorskip("flashlight.lib.text.decoder")
    rows = (2 * torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0))).log_softmax(-1)
    frames = torch.tensor([4, 3])
    letters = Alphabet("abc")  # ours takes texts that differ in idle spaces for one
    theirs = decoder_of(DecoderConfig("ctcdecode", beam_width=9), letters).decode(rows, frames, n_best=1)
    ours = decoder_of(DecoderConfig("beam", beam_width=2000), letters).decode(rows, frames)
    for [their], [our] in zip(theirs, ours):
        assert their.labels == our.labels and their.text == our.text
        assert their.score == pytest.approx(our.score, abs=1e-3)
    more = decoder_of(DecoderConfig("ctcdecode", beam_width=9), ALPHABET).decode(rows, frames, n_best=3)
    assert [len(found) for found in more] == [3, 3] and more[0][0].score > more[0][1].score > more[0][2].score


def test_what_it_does_not_know_is_refused(tmp_path, monkeypatch):
    for options in ({"lexicon": tmp_path / "l.txt"}, {"hot_words": ("a",)}):
        with pytest.raises(InputError, match=f"ctcdecode knows no {next(iter(options))}"):
            decoder_of(DecoderConfig("ctcdecode", **options), ALPHABET)
    with pytest.raises(InputError, match=r"none.arpa: no such language model"):
        decoder_of(DecoderConfig("ctcdecode", lm=tmp_path / "none.arpa"), ALPHABET)
    monkeypatch.setitem(sys.modules, "ctcdecode", None)
    with pytest.raises(InputError, match="ctcdecode cannot be imported .*choose --decoder.kind beam"):
        decoder_of(DecoderConfig("ctcdecode"), ALPHABET)

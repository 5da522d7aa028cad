"""The models in checkpoints/: they load in this version, are as sparse as their card says, and still hear the same."""

from pathlib import Path

import pytest

from deepspeech_sparse import Recognizer
from deepspeech_sparse.corpora.manifest import read_manifest
from deepspeech_sparse.corpora.prepare import prepare
from deepspeech_sparse.export import info

CHECKPOINTS = Path(__file__).parent.parent / "checkpoints"
# Of AN4's test set, as `transcribe` wrote them on the day of the release: a changed front end would change them.
GOLDEN = {
    "an4-gru": {
        "an391-mjwl-b": "enter two nine eight one",
        "an396-miry-b": "erase a b s n qw fifty seven",
        "an401-mdms2-b": "enter seven one five four",
        "an406-fcaw-b": "rubout g n e f three nine",
        "an426-fvap-b": "enter nine two eight",
    },
    "an4-gru-sparse": {
        "an391-mjwl-b": "enter two nine eight one",
        "an396-miry-b": "erase a b f n q fifty seven",
        "an401-mdms2-b": "enter seven one five four",
        "an406-fcaw-b": "rubout g n e f three nine",
        "an426-fvap-b": "enter nine two eight",
    },
}


@pytest.mark.parametrize("name, nonzeros, sparsity", [("an4-gru", 2_238_493, 0.0), ("an4-gru-sparse", 264_426, 0.9)])
def test_released_models_are_what_their_card_says(name, nonzeros, sparsity):
    model = info(CHECKPOINTS / f"{name}.safetensors")
    assert (model.parameters, model.nonzeros) == (2_238_493, nonzeros)
    assert model.recurrent.sparsity == pytest.approx(sparsity, abs=1e-4)
    assert f"{model.parameters:,} | {model.nonzeros:,}" in (CHECKPOINTS / "README.md").read_text()


def test_released_models_hear_what_they_heard_on_the_day_of_their_release(corpora, tmp_path):
    manifests = prepare("an4", out=tmp_path, archive=corpora / "an4_raw.bigendian.tar.gz")
    recordings = {utterance.id: utterance.audio for utterance in read_manifest(manifests["test"])}
    for name, texts in GOLDEN.items():
        recognizer = Recognizer.load(CHECKPOINTS / f"{name}.safetensors")
        assert {id: recognizer.transcribe(recordings[id]).text for id in texts} == texts

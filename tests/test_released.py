"""The models in checkpoints/: they load in this version, are as sparse as their card says, and still hear the same."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deepspeech_sparse import DecoderConfig, Recognizer
from deepspeech_sparse.audio import load_audio
from deepspeech_sparse.corpora.manifest import read_manifest
from deepspeech_sparse.corpora.prepare import prepare
from deepspeech_sparse.decoding import greedy
from deepspeech_sparse.export import info
from deepspeech_sparse.machine.runtime import native
from deepspeech_sparse.recognition.streaming import Final, joined

CHECKPOINTS = Path(__file__).parent.parent / "checkpoints"
SPOKEN = Path(__file__).parent / "golden"
# Of AN4's test set, as `transcribe` wrote them on the day of the release: a changed front end would change them.
GOLDEN = {
    "an4-gru": {
        "an391-mjwl-b": "enter two nine eight one",
        "an396-miry-b": "erase a b s n qw fifty seven",
        "an401-mdms2-b": "enter seven one five four",
        "an406-fcaw-b": "rubout g n e f three nine",
        "an426-fvap-b": "enter nine two eight",
    },
    "an4-gru-spliced": {
        "an391-mjwl-b": "enter two nine eight one",
        "an396-miry-b": "erase a b f n q fifty seven",
        "an401-mdms2-b": "enter seven one five four",
        "an406-fcaw-b": "rubout g m e s three nine",
        "an426-fvap-b": "enter nine two eight",
    },
    "an4-gru-sparse": {
        "an391-mjwl-b": "enter two nine eight one",
        "an396-miry-b": "erase a b f n q fifty seven",
        "an401-mdms2-b": "enter seven one five four",
        "an406-fcaw-b": "rubout g n e f three nine",
        "an426-fvap-b": "enter nine two eight",
    },
    "an4-gru-sparse-big": {
        "an391-mjwl-b": "enter two nine eight one",
        "an396-miry-b": "erase a b f n q fifty seven",
        "an401-mdms2-b": "enter seven one five four",
        "an406-fcaw-b": "rubout g m e f three nine",
        "an426-fvap-b": "enter nine two eight",
    },
    "an4-gru-spliced-sparse-big": {
        "an391-mjwl-b": "enter two nine eight one",
        "an396-miry-b": "erase a b f n q fifty seven",
        "an401-mdms2-b": "enter seven one five four",
        "an406-fcaw-b": "rubout g m e s three nine",
        "an426-fvap-b": "enter nine two eight",
    },
    "an4-streaming-sparse": {
        "an391-mjwl-b": "enter two nine eight one",
        "an396-miry-b": "erase a b f m q fifty seven",
        "an401-mdms2-b": "enter seven one five four",
        "an406-fcaw-b": "rubout g n e s three nine",
        "an426-fvap-b": "enter ninetwo eight",
    },
}

# The same of what espeak-ng says, 0.2 s of silence around, so that no corpus is needed to hear it: enter.flac, "enter
# six five five eight" by the voice en-gb-x-rp+m1 at 150 words a minute; digits.flac, "three one eight six nine two" by
# en-us+m3 at 130, pitch 40, 8 kHz.
GOLDEN_SPOKEN = {
    "an4-gru": ("enter", "enter six five five eight"),
    "an4-gru-spliced": ("enter", "enter six nine five eight"),
    "an4-gru-sparse": ("enter", "enter six five five eight"),
    "an4-gru-sparse-big": ("enter", "enter six five five eight"),
    "an4-gru-spliced-sparse-big": ("enter", "en teo six fine five eight"),
    "an4-streaming-sparse": ("enter", "enter six five five threght"),
    "digits-gru-sparse": ("digits", "three oneight six nine two"),
}


@pytest.mark.parametrize(
    "name, parameters, nonzeros, sparsity",
    [
        ("an4-gru", 2_238_493, 2_238_493, 0.0),
        ("an4-gru-spliced", 2_238_493, 2_238_492, 0.0),  # float16: one weight is too small for it
        ("an4-gru-sparse", 2_238_493, 264_426, 0.9),
        ("an4-gru-sparse-big", 5_870_821, 638_092, 0.9),
        ("an4-gru-spliced-sparse-big", 5_870_821, 638_092, 0.9),
        ("an4-streaming-sparse", 4_252_669, 478_717, 0.9),
        ("digits-gru-sparse", 631_629, 78_669, 0.9),
    ],
)
def test_released_models_are_what_their_card_says(name, parameters, nonzeros, sparsity):
    model = info(CHECKPOINTS / f"{name}.safetensors")
    assert (model.parameters, model.nonzeros) == (parameters, nonzeros)
    assert model.recurrent.sparsity == pytest.approx(sparsity, abs=1e-4)
    assert f"{model.parameters:,} | {model.nonzeros:,}" in (CHECKPOINTS / "README.md").read_text()


def test_released_models_hear_what_they_heard_on_the_day_of_their_release(corpora, tmp_path):
    manifests = prepare("an4", out=tmp_path, archive=corpora / "an4_raw.bigendian.tar.gz")
    recordings = {utterance.id: utterance.audio for utterance in read_manifest(manifests["test"])}
    for name, texts in GOLDEN.items():
        recognizer = Recognizer.load(CHECKPOINTS / f"{name}.safetensors")
        assert {id: recognizer.transcribe(recordings[id]).text for id in texts} == texts


@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("name", list(GOLDEN_SPOKEN))
def test_released_models_hear_the_golden_recording(name, engine):
    if engine == "native" and native() is None:
        pytest.skip("no native kernels here")
    recognizer = Recognizer.load(CHECKPOINTS / f"{name}.safetensors", engine=engine)
    recording, text = GOLDEN_SPOKEN[name]
    assert recognizer.transcribe(SPOKEN / f"{recording}.flac").text == text


def test_the_digits_model_writes_digits_when_it_is_told_which_words_there_are(tmp_path):
    pytest.importorskip("flashlight.lib.text.decoder")
    words = "zero one two three four five six seven eight nine"
    (tmp_path / "lexicon.txt").write_text("".join(f"{word}\t{' '.join(word)}\n" for word in words.split()))
    decoder = DecoderConfig("beam", lexicon=tmp_path / "lexicon.txt", alpha=0.0)
    recognizer = Recognizer.load(CHECKPOINTS / "digits-gru-sparse.safetensors", decoder=decoder)
    assert recognizer.transcribe(SPOKEN / "digits.flac").text == "three one eight six nine two"


def test_the_streaming_model_hears_the_same_live(corpora, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "deepspeech_sparse.recognition.streaming.PAUSE", float("inf")
    )  # a pause would end the utterance
    manifests = prepare("an4", out=tmp_path, archive=corpora / "an4_raw.bigendian.tar.gz")
    recognizer = Recognizer.load(CHECKPOINTS / "an4-streaming-sparse.safetensors")
    for utterance in read_manifest(manifests["dev"])[:20]:
        samples, stream = load_audio(utterance.audio), recognizer.stream()
        results = [result for chunk in np.array_split(samples, 17) for result in stream.feed(chunk)]
        finals = [result for result in results if isinstance(result, Final)] + stream.finish()
        assert joined(finals) == recognizer.recognize([samples])[0] != ""


def test_both_engines_hear_the_same_in_all_of_an4(corpora, tmp_path):
    """Texts equal, and the log-probabilities behind them within 1e-4: 130 utterances, in batches of unlike lengths."""
    manifests = prepare("an4", out=tmp_path, archive=corpora / "an4_raw.bigendian.tar.gz")
    recordings = [load_audio(utterance.audio) for utterance in read_manifest(manifests["test"])]
    assert len(recordings) == 130
    for name in GOLDEN:
        native, dense = (
            Recognizer.load(CHECKPOINTS / f"{name}.safetensors", engine=engine) for engine in ("native", "torch")
        )
        assert (native.engine, dense.engine) == ("native", "torch")
        for start in range(0, len(recordings), 10):
            features, frames = native.features_of(recordings[start : start + 10])
            with torch.inference_mode():
                (logits, lengths), (expected, _) = (each.network(features, frames) for each in (native, dense))
            assert greedy(logits, lengths, native.alphabet) == greedy(expected, lengths, dense.alphabet)
            for index, length in enumerate(lengths):
                difference = logits[index, :length].log_softmax(-1) - expected[index, :length].log_softmax(-1)
                assert difference.abs().max() < 1e-4

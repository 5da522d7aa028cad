"""Live recognition: what comes out is what the whole recording gives, however it is cut; nothing grows."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from untrained import tiny_config, tiny_module

from deepspeech_sparse import Recognizer
from deepspeech_sparse.engine import recurrent
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.features import FeaturesConfig
from deepspeech_sparse.model import ConformerConfig, ConvolutionConfig
from deepspeech_sparse.model_config import ModelConfig
from deepspeech_sparse.model_file import Model, save_model
from deepspeech_sparse.recognition import streaming
from deepspeech_sparse.recognition.streaming import (
    FeatureStream,
    Final,
    GreedyStream,
    Partial,
    algorithmic_latency,
    joined,
    refuse_what_cannot_stream,
)
from deepspeech_sparse.text import Alphabet

RATE = 16_000
GLOBAL = FeaturesConfig(normalise="global")
SHAPES = [
    {"cell": "gru"},
    {"cell": "lstm", "lookahead": 3},
    {"cell": "rnn", "fully_connected": 6, "lookahead": 10},
    {"cell": "clipped_rnn", "layers": 1},
    {"cell": "gru", "convolutions": (ConvolutionConfig(2, (11, 11), (4, 2)), ConvolutionConfig(3, (5, 5), (4, 3)))},
    {
        "cell": "lstm",
        "lookahead": 1,
        "convolutions": tuple(
            ConvolutionConfig(2, (5, width), (3, stride)) for width, stride in ((1, 1), (7, 1), (3, 4))
        ),
    },
    {"cell": "gru", "convolutions": (ConvolutionConfig(2, (11, 3), (4, 1)), ConvolutionConfig(3, (5, 1), (4, 2)))},
]


def recognizer_of(shape: dict, features: FeaturesConfig = GLOBAL, seed: int = 0) -> Recognizer:
    config = tiny_config(features=features, bidirectional=False, **shape)
    module = tiny_module(config, seed=seed)
    if module.network.lookahead is not None:  # begins as the identity, which would hide what it does
        weight = module.network.lookahead.weight
        torch.nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)  # rows stay as large as a trained network's
    return Recognizer(Model(module.front_end, module.network, config.model, {}))


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """Noise that changes its colour and falls silent now and then."""
    rng = np.random.default_rng(seed)
    pieces = [
        np.convolve(rng.standard_normal(4000), rng.standard_normal(9), "same") * (rng.random() > 0.3)
        for _ in range(-(-samples // 4000))
    ]
    return (np.concatenate([np.zeros(0), *pieces])[:samples] * 0.05).astype(np.float32)


def chunks_of(samples: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """The sizes again and again until nothing is left."""
    chunks, start = [], 0
    for size in itertools.cycle(sizes):
        if start >= len(samples):
            return chunks
        chunks.append(samples[start : start + size])
        start += size
    return chunks


def streamed(recognizer: Recognizer, chunks: list[np.ndarray]) -> tuple[torch.Tensor, str]:
    """Log-probabilities that were read, and the text."""
    stream = recognizer.stream()
    rows, decoder = [torch.zeros(0, recognizer.alphabet.size)], stream.decoder

    class Watched:
        text, final = property(lambda self: decoder.text), decoder.final

        def __call__(self, log_probs):
            finals, read, paused = decoder(log_probs)
            rows.append(log_probs[:read])
            return finals, read, paused

    stream.decoder = Watched()
    finals = [result for chunk in chunks for result in stream.feed(chunk) if isinstance(result, Final)]
    finals += stream.finish()
    return torch.cat(rows), joined(finals)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape["cell"])
@settings(max_examples=12, deadline=None)
@given(
    st.one_of(st.integers(0, 400), st.integers(0, 40_000)),
    st.lists(st.one_of(st.integers(0, 3), st.integers(1, 9000)), min_size=1, max_size=6).filter(any),
    st.integers(0, 3),
)
def test_any_chunking_gives_what_the_whole_gives(shape, length, sizes, seed):
    if sum(sizes) < 40 * len(sizes):
        length = min(length, 500)  # or chunks of one sample take long
    recognizer, samples = recognizer_of(shape, seed=seed), noise(length, seed)
    [expected] = recognizer.log_probs([samples])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "PAUSE", math.inf)  # one utterance
        rows, text = streamed(recognizer, chunks_of(samples, sizes))
    assert rows.shape == expected.shape
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=1e-5)
    assert text == recognizer.recognize([samples])[0]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape["cell"])
@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(50, 9000), min_size=1, max_size=6), st.integers(0, 3), st.sampled_from([0.06, 0.1, 0.2]))
def test_with_pauses_no_chunking_changes_anything_either(shape, sizes, seed, pause):
    recognizer, samples = recognizer_of(shape, seed=seed), noise(40_000, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "PAUSE", pause)
        expected, text = streamed(recognizer, [samples])
        rows, other = streamed(recognizer, chunks_of(samples, sizes))
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=1e-5)
    assert other == text


def test_after_a_pause_the_network_begins_anew(monkeypatch):
    """What is read then is what it says of the rest when it has heard nothing before."""
    recognizer, samples = recognizer_of({"cell": "gru", "lookahead": 3}), noise(40_000, 2)
    monkeypatch.setattr(streaming, "PAUSE", math.inf)
    never, _ = streamed(recognizer, chunks_of(samples, [1000]))
    stream = recognizer.stream()
    stream.network(stream.features(torch.from_numpy(samples[:20_000])))
    read = 5
    again = stream.network.restart(stream.network.heard[read:])
    assert len(again) == len(stream.network.heard) > 20
    fresh = recognizer.stream().network
    convolved = torch.cat([stream.network.heard, stream.network.below])
    torch.testing.assert_close(again, fresh.recur(convolved, False), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(again[:10].log_softmax(-1), never[read : read + 10], atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES[:4], ids=lambda shape: shape["cell"])
def test_without_native_layers_it_is_the_same(shape, monkeypatch):
    recognizer, samples = recognizer_of(shape), noise(20_000)
    expected, text = streamed(recognizer, chunks_of(samples, [999]))
    for _, layer in recognizer.network.layers:
        monkeypatch.setattr(layer, "layer", None)
    calls = []
    step = recurrent.cell_step
    monkeypatch.setattr(recurrent, "cell_step", lambda *args: calls.append(1) or step(*args))
    rows, other = streamed(recognizer, chunks_of(samples, [999]))
    assert calls and other == text
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("features", [GLOBAL, FeaturesConfig("log_mel", window=0.025, normalise="global", mels=20)])
def test_streamed_features_are_those_of_the_front_end_bit_for_bit_but_rounding(features):
    front_end, samples = recognizer_of({}, features).front_end, torch.from_numpy(noise(9001))
    front_end.mean.normal_()
    expected, _ = front_end(samples[None], torch.tensor([9001]))
    stream = FeatureStream(front_end)
    parts = [stream(samples[start : start + 37]) for start in range(0, 9001, 37)] + [stream(samples[:0], last=True)]
    torch.testing.assert_close(torch.cat(parts), expected[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [SHAPES[1], SHAPES[4]], ids=lambda shape: shape["cell"])
def test_a_frame_waits_for_as_much_audio_as_the_latency_says_and_no_more(shape):
    recognizer = recognizer_of(shape)
    latency, frame = algorithmic_latency(recognizer.config), 12
    samples = noise(40_000, 3) + 0.01
    [expected] = recognizer.log_probs([samples])
    centre = round(frame * recognizer.seconds_per_frame * RATE)
    edge = centre + round(latency * RATE)
    for change, equal in ((edge + 1, True), (edge - 80, False)):
        other = samples.copy()
        other[change:] = -other[change:][::-1] * 3
        [rows] = recognizer.log_probs([other])
        assert torch.allclose(rows[frame], expected[frame], atol=1e-6) == equal
    stream = recognizer.stream()
    assert stream.latency == latency
    stream.feed(samples[: edge + 1])
    assert stream.decoder.frame == frame + 1
    stream = recognizer.stream()
    stream.feed(samples[: edge - 1])
    assert stream.decoder.frame == frame


def test_nothing_grows_with_the_length_of_a_stream():
    recognizer = recognizer_of(SHAPES[4])
    stream, sizes = recognizer.stream(), []
    for second in range(90):
        stream.feed(noise(RATE, second % 7))
        network = stream.network
        sizes.append(
            (
                len(stream.features.samples),
                len(network.waiting),
                *(convolution.kept.shape[2] for convolution in network.convolutions),
            )
        )
        assert len(stream.decoder.said) <= 61 / recognizer.seconds_per_frame
    assert max(map(sum, sizes[60:])) <= max(map(sum, sizes[:30]))


def rows_of(path: str) -> torch.Tensor:
    """Log-probabilities of frames that say one symbol each; - is the blank."""
    labels = [0 if symbol == "-" else Alphabet(" ab").encode(symbol)[0] for symbol in path]
    return torch.nn.functional.one_hot(torch.tensor(labels), 4).float().mul(8).log_softmax(-1)


def read_all(decoder: GreedyStream, rows: torch.Tensor) -> list[Final]:
    """All frames, on after each pause."""
    finals: list[Final] = []
    while len(rows):
        found, read, paused = decoder(rows)
        assert read == len(rows) or paused
        finals, rows = finals + found, rows[read:]
    return finals


def test_segments_end_at_pauses():
    """0.1 s a frame: a pause has 8."""
    decoder = GreedyStream(Alphabet(" ab"), 0.1)
    rows = rows_of("--ab-" + "-" * 6 + "a -b" + "-" * 9 + " a" + "  " + "-" * 9 + "b")
    finals, read, paused = decoder(rows)
    assert paused and read == 14 + 1 + 8  # the last letter of the first segment is the 15th frame
    finals += read_all(decoder, rows[read:])
    assert [final.segment.text for final in finals] == ["aba b", "a"]
    assert not any(final.continues for final in finals)
    first = finals[0].segment
    assert [(word.text, round(word.start, 2), round(word.end, 2)) for word in first.words] == [
        ("aba", 0.15, 1.15),
        ("b", 1.35, 1.45),
    ]
    assert (round(first.start, 2), round(first.end, 2)) == (0.15, 1.45)
    assert all(0.9 < word.confidence <= 1 for word in first.words)
    assert decoder.text == "b"
    [last] = decoder.final()
    assert joined([*finals, last]) == "aba b a b"
    assert decoder.final() == [] and decoder.text == ""


def test_a_label_that_lasts_is_not_cut_and_long_speech_is():
    decoder = GreedyStream(Alphabet(" ab"), 0.1)
    assert read_all(decoder, rows_of("a" * 700)) == [] and decoder.text == "a"
    decoder = GreedyStream(Alphabet(" ab"), 0.1)
    finals = read_all(decoder, rows_of("ab" * 140 + "-" + "ba" * 15 + " -" + "ab" * 5))
    assert [len(final.segment.text) for final in finals] == [310]  # at the first space after 30 s
    assert decoder.text == "ab" * 5
    decoder = GreedyStream(Alphabet(" ab"), 0.1)
    finals = read_all(decoder, rows_of("ab-" * 230))
    assert len(finals) == 1 and joined(finals + decoder.final()) == "ab" * 230


@pytest.mark.parametrize("said, longest", [("ab b " * 300, 310), ("ab" * 900, 600)])
def test_long_speech_without_any_blank_is_cut_too(said, longest):
    """At the first space after 30 s, within a word after 60 s."""
    decoder = GreedyStream(Alphabet(" ab"), 0.1)
    finals = read_all(decoder, rows_of(said))
    assert len(finals) >= (len(said) - 1) // longest and len(decoder.text) <= longest
    assert all(len(final.segment.text) <= longest for final in finals)
    assert joined(finals + decoder.final()) == said.strip()


def test_partials_tell_what_was_said_since_the_last_final():
    recognizer = recognizer_of({"cell": "gru"})
    stream, results = recognizer.stream(), []
    for chunk in chunks_of(noise(60_000, 1), [1600]):
        results += stream.feed(chunk)
    partials = [result.text for result in results if isinstance(result, Partial)]
    assert len(partials) > 3 and all(first != second for first, second in itertools.pairwise(partials))
    finals = [result for result in results if isinstance(result, Final)] + stream.finish()
    assert joined(finals).endswith(partials[-1].split()[-1]) or len(finals) > 1


def test_integers_are_samples_too_and_a_finished_stream_is_over():
    recognizer, samples = recognizer_of({"cell": "gru"}), noise(16_000)
    whole = (samples * 32768).astype(np.int16)
    _, expected = streamed(recognizer, [whole / np.float32(32768)])
    assert streamed(recognizer, [whole])[1] == expected
    with recognizer.stream() as stream:
        stream.feed(whole)
        assert joined(stream.finish()) == expected and stream.finish() == []
        with pytest.raises(InputError, match="it is over"):
            stream.feed(whole)


@pytest.mark.parametrize(
    "samples, words",
    [
        (np.zeros((5, 2), np.float32), r"\(5, 2\) float32"),
        (np.zeros(5, np.int32), "int32"),
        (np.array([0.0, math.nan]), "NaN or infinite"),
        (np.array(["a"]), "samples of shape"),
    ],
)
def test_other_samples_are_refused(samples, words):
    with pytest.raises(InputError, match=words):
        recognizer_of({"cell": "gru"}).stream().feed(samples)


def test_models_that_cannot_stream_say_why(tmp_path, model):
    with pytest.raises(InputError, match=r"bidirectional model .*streaming-sparse\.yaml"):
        Recognizer.load(model).stream()
    with pytest.raises(InputError, match="conformer networks hear whole utterances"):
        refuse_what_cannot_stream(ModelConfig(network=ConformerConfig()))
    with pytest.raises(InputError, match="features.normalise: global"):
        recognizer_of({"cell": "gru"}, FeaturesConfig()).stream()
    config = tiny_config(features=GLOBAL, bidirectional=False)
    path = tmp_path / "one-way.safetensors"
    save_model(path, tiny_module(config), config.model, {})
    with pytest.raises(InputError, match="sparse engine; leave --engine torch out"):
        Recognizer.load(path, engine="torch").stream()


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "clipped_rnn"])
def test_a_recurrent_layer_goes_on_where_it_was(cell):
    recognizer = recognizer_of({"cell": cell, "layers": 1})
    [(_, layer)] = recognizer.network.layers
    x, counts = torch.randn(9, layer.features), torch.ones(9, dtype=torch.int64)
    whole = layer(x, counts, 1)
    state = layer.first_state()
    parts = [layer(x[a:b], counts[a:b], 1, state) for a, b in ((0, 4), (4, 4), (4, 5), (5, 9))]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-6, rtol=1e-6)
    assert torch.equal(state[: layer.outputs], parts[-1][-1])
    if layer.layer is not None:
        for wrong in (state[:-1], torch.cat([state, state])):
            with pytest.raises(ValueError, match="can go on"):
                layer(x, counts, 1, wrong)
        with pytest.raises(ValueError, match="one utterance in one direction"):
            layer(x[:8], torch.tensor([2] * 4), 1, state)


def test_spaces_without_letters_are_not_kept():
    decoder = GreedyStream(Alphabet(" ab"), 0.1)
    read_all(decoder, rows_of(" -" * 500))
    assert decoder.said == [] and decoder.text == ""
    read_all(decoder, rows_of("a" + " - " * 2))
    assert len(decoder.said) == 2 and decoder.text == "a"

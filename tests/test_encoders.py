"""Conformer and Wav2Letter: torchaudio's results, padding that never matters, and the way of every other network."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchaudio.models import Wav2Letter
from untrained import gradients_without_and_with_padding, tiny_config

from deepspeech_sparse import Recognizer
from deepspeech_sparse.decoding import greedy
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.export import export, info
from deepspeech_sparse.features import FeaturesConfig
from deepspeech_sparse.model import (
    ConformerConfig,
    ConvolutionConfig,
    Network,
    NetworkConfig,
    Wav2LetterConfig,
    network_of,
)
from deepspeech_sparse.model.conformer import conformer_layer
from deepspeech_sparse.model.masking import frame_mask
from deepspeech_sparse.model_file import load_model, save_model
from deepspeech_sparse.settings import config_to_dict
from deepspeech_sparse.training.batches import DataConfig
from deepspeech_sparse.training.callbacks import load_checkpoint
from deepspeech_sparse.training.config import RunConfig, config_of, load_config, save_config
from deepspeech_sparse.training.module import OptimizerConfig
from deepspeech_sparse.training.runs import speech_recognition, train

DATA = {"train": "train.jsonl", "dev": "dev.jsonl"}
CONVOLUTIONS = (ConvolutionConfig(4, (5, 5), (2, 2)), ConvolutionConfig(6, (3, 3), (1, 2)))
CONFORMER = ConformerConfig(CONVOLUTIONS, layers=2, hidden=12, heads=3, feed_forward=20, kernel=7, dropout=0.2)
WAV2LETTER = Wav2LetterConfig()
ENCODERS = pytest.mark.parametrize("config", [CONFORMER, WAV2LETTER], ids=lambda config: config.encoder)


def network(config, *, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return network_of(config, bins=9, labels=5)


@ENCODERS
def test_padding_never_changes_a_result(config):
    """An utterance gives the same logits alone and in a batch of longer ones, whatever stands in the padding."""
    net = network(config)
    frames = torch.tensor([61, 60, 33, 6, 2, 1])
    features = torch.randn(6, 61, 9)
    with torch.no_grad():
        net(features, frames)  # running statistics of the norms leave their start
    net.eval()
    features[~frame_mask(frames, 61)] = 1e3
    with torch.no_grad():
        together, output_frames = net(features, frames)
        for row, length in enumerate(frames.tolist()):
            alone, alone_frames = net(features[row : row + 1, :length], frames[row : row + 1])
            assert alone.shape[1] == alone_frames.item() == output_frames[row] == net.output_frames(length)
            torch.testing.assert_close(together[row, : alone_frames.item()], alone[0], atol=1e-5, rtol=1e-5)


@ENCODERS
def test_padding_never_changes_a_gradient_and_every_parameter_has_one(config):
    """In training too: extra padding, full of rubbish, moves neither the loss nor any gradient."""
    net = network(replace(config, dropout=0.0) if config is CONFORMER else config)
    plain, with_padding = gradients_without_and_with_padding(net)
    for name, gradient in plain.items():
        assert gradient.any(), f"{name} learns nothing"
        torch.testing.assert_close(with_padding[name], gradient, atol=1e-4, rtol=1e-4, msg=name)


@ENCODERS
def test_output_frames_are_those_that_come_out(config):
    net = network(config).eval()
    lengths = torch.arange(1, 201)
    expected = (lengths + 3) // 4 if config is CONFORMER else lengths // 2 + 1
    assert torch.equal(net.output_frames(lengths), expected)
    with torch.no_grad():
        for length in lengths.tolist() if config is CONFORMER else (1, 2, 3, 47, 48, 49, 199, 200):
            logits, frames = net(torch.randn(1, length, 9), torch.tensor([length]))
            assert logits.shape == (1, net.output_frames(length), 5) and frames.tolist() == [logits.shape[1]]


def test_every_convolution_of_wav2letter_makes_as_many_frames_as_its_arithmetic_says():
    """All lengths, on a narrow stand-in with the same kernels: the real one would take minutes."""
    net = network(WAV2LETTER)
    for index, layer in enumerate(net.acoustic_model):
        if isinstance(layer, nn.Conv1d):
            net.acoustic_model[index] = nn.Conv1d(
                9 if index == 0 else 2, 2, layer.kernel_size, layer.stride, layer.padding
            )
    net.head = nn.Conv1d(2, 5, 1)
    for length in range(1, 201):
        logits, frames = net(torch.randn(1, length, 9), torch.tensor([length]))
        assert logits.shape[1] == frames.item() == net.output_frames(length) == length // 2 + 1


@pytest.mark.parametrize("training", [True, False])
def test_without_padding_a_conformer_layer_is_torchaudios(training):
    net = network(replace(CONFORMER, dropout=0.0)).train(training)
    x, frames = torch.randn(3, 15, 12), torch.tensor([15, 15, 15])
    for layer in net.conformer.conformer_layers:
        ours = conformer_layer(layer, x, frames)
        norm = layer.conv_module.sequential[3]
        layer.conv_module.sequential[3] = nn.BatchNorm1d(12).train(training)
        layer.conv_module.sequential[3].load_state_dict(norm.state_dict())
        layer.conv_module.sequential[3].running_mean.copy_(norm.running_mean)
        theirs = layer(x.transpose(0, 1), None).transpose(0, 1)
        torch.testing.assert_close(ours, theirs)


def test_without_padding_wav2letter_is_torchaudios_but_for_its_end():
    net = network(WAV2LETTER).eval()
    theirs = Wav2Letter(5, input_type="mfcc", num_features=9).eval()
    state = {f"acoustic_model.{name}": value for name, value in net.acoustic_model.state_dict().items()}
    theirs.load_state_dict(
        {**state, "acoustic_model.20.weight": net.head.weight, "acoustic_model.20.bias": net.head.bias}
    )
    features = torch.randn(2, 80, 9)
    with torch.no_grad():
        logits, _ = net(features, torch.tensor([80, 80]))
        expected = theirs(features.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(logits.relu().log_softmax(-1), expected)


@ENCODERS
def test_a_fresh_network_tells_frames_apart(config):
    """What goes in differs by one deviation; of what comes out a good part must be left, or nothing is ever learned."""
    net = network(config).train()
    with torch.no_grad():
        logits, _ = net(torch.randn(2, 100, 9), torch.tensor([100, 100]))
    assert logits.std(1).mean() > 0.05


@ENCODERS
def test_dropout_follows_the_global_generator_alone(config):
    """What a resumed run relies on: the same seed, the same outputs, in training too."""
    net, features, frames = network(config).train(), torch.randn(2, 30, 9), torch.tensor([30, 20])
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(net(features, frames)[0])
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2]) == (config is WAV2LETTER), "Wav2Letter has no dropout"


@ENCODERS
def test_the_head_is_called_head_and_gives_the_scores(config):
    net = network(config).eval()
    names = [name for name, _ in net.named_parameters()]
    assert names[-2:] == ["head.weight", "head.bias"]
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias.copy_(torch.arange(5.0))
        logits, _ = net(torch.randn(1, 20, 9), torch.tensor([20]))
    torch.testing.assert_close(logits, torch.arange(5.0).expand_as(logits))


def with_network(config) -> RunConfig:
    return replace(tiny_config(features=FeaturesConfig("log_mel", mels=12)), network=config)


@ENCODERS
def test_a_loaded_model_computes_the_same_bits_and_transcribes(config, tmp_path):
    run = with_network(config)
    torch.manual_seed(0)
    module = speech_recognition(run).eval()
    module.network.head.bias.data[0] = -100.0  # no blank: something is written
    save_model(tmp_path / "a.safetensors", module, run.model, {})
    state = torch.random.get_rng_state()
    model = load_model(tmp_path / "a.safetensors")
    assert torch.equal(torch.random.get_rng_state(), state), "loading must not disturb the caller's randomness"
    assert model.config == run.model and not any(tensor.is_meta for tensor in model.network.state_dict().values())
    samples, lengths = torch.randn(2, 8000), torch.tensor([8000, 4000])
    with torch.no_grad():
        ours, theirs = (any.network(*any.front_end(samples, lengths))[0].log_softmax(-1) for any in (module, model))
    assert torch.equal(ours, theirs)
    recognizer = Recognizer.load(tmp_path / "a.safetensors")
    text = recognizer.transcribe(samples[0].numpy(), sample_rate=16_000).text
    assert text and text == greedy(ours[:1], torch.tensor([ours.shape[1]]), module.alphabet)[0]
    (tmp_path / "a.safetensors").unlink()


def test_info_tells_the_layers_of_a_conformer_and_counts_all_their_weights(tmp_path, capsys):
    from rich.console import Console

    run = with_network(CONFORMER)
    module = speech_recognition(run).eval()
    with torch.no_grad():
        module.network.conformer.conformer_layers[1].ffn1.sequential[1].weight.zero_()
    save_model(tmp_path / "a.safetensors", module, run.model, {})
    model = info(tmp_path / "a.safetensors")
    names = ["convolutions.0", "convolutions.1", "linear", *(f"conformer.conformer_layers.{i}" for i in (0, 1)), "head"]
    assert [layer.name for layer in model.layers] == names
    matrices = [parameter for parameter in module.network.parameters() if parameter.dim() > 1]
    assert sum(layer.weights for layer in model.layers) == sum(matrix.numel() for matrix in matrices)
    assert [layer.weights - layer.nonzeros for layer in model.layers] == [0, 0, 0, 0, 12 * 20, 0]
    model.print(Console(width=120))
    printed = capsys.readouterr().out
    assert "conformer.conformer_layers.1" in printed and "encoder: conformer" in printed


@pytest.mark.parametrize(
    "network, words",
    [
        ({"layers": 10**9}, "a model that its .* tensors cannot be"),
        ({"hidden": 3 * 10**12}, "a model that its .* tensors cannot be"),
        ({"layers": 3}, r"conformer_layers\.2.* is missing"),
        ({"feed_forward": 21}, r"has shape \(20, 12\) instead of \(21, 12\)"),
        ({"encoder": "wav2letter"}, "unknown key network.convolutions"),
        ({"encoder": "mamba"}, "'mamba'; choose one of recurrent, conformer, wav2letter"),
    ],
)
def test_a_model_file_that_lies_about_its_conformer_is_refused(network, words, tmp_path):
    run = with_network(CONFORMER)
    save_model(tmp_path / "a.safetensors", speech_recognition(run).eval(), run.model, {})
    content = (tmp_path / "a.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    entry = json.loads(header["__metadata__"]["deepspeech_sparse"])
    entry["config"]["network"].update(network)
    bad = tmp_path / "bad.safetensors"
    save_file(load_file(tmp_path / "a.safetensors"), bad, {"deepspeech_sparse": json.dumps(entry)})
    with pytest.raises(InputError, match=rf"(?s)bad\.safetensors: .*{words}"):
        load_model(bad)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: ConformerConfig(kernel=8), "kernel 8 must be odd, e.g. 9"),
        (lambda: ConformerConfig(kernel=-3), "kernel -3 must be odd, e.g. 1"),
        (lambda: ConformerConfig(hidden=100, heads=3), "hidden 100 .* heads 3; make it a multiple, e.g. 99"),
        (lambda: ConformerConfig(heads=0), "heads 0"),
        (lambda: ConformerConfig(layers=0), "layers 0"),
        (lambda: ConformerConfig(feed_forward=0), "feed_forward 0"),
        (lambda: ConformerConfig(dropout=1.0), "dropout 1.0"),
        (lambda: ConformerConfig(convolutions=()), "0 convolutions; give 1 to 3"),
    ],
)
def test_impossible_shapes_are_refused_with_the_value(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize(
    "values, words",
    [
        (
            {"encoder": "transformer"},
            "network.encoder is 'transformer'; choose one of recurrent, conformer, wav2letter",
        ),
        ({"encoder": ["conformer"]}, "choose one of recurrent, conformer, wav2letter"),
        ({"encoder": "conformer", "cell": "gru"}, "unknown key network.cell"),
        ({"encoder": "conformer", "heds": 2}, "did you mean network.heads"),
        ({"encoder": "wav2letter", "hidden": 2}, "unknown key network.hidden; did you mean network.encoder"),
        ({"heads": 2}, "unknown key network.heads"),
        ({"encoder": "conformer", "heads": 5}, "heads 5"),
        ({"encoder": "conformer", "heads": "many"}, "many"),
    ],
)
def test_wrong_encoders_and_settings_of_another_are_refused_by_name(values, words):
    with pytest.raises(InputError, match=rf"(?s)my\.yaml: .*{words}"):
        config_of({"data": DATA, "network": values}, "my.yaml")


@pytest.mark.parametrize(
    "values, expected",
    [
        ({}, NetworkConfig()),
        ({"hidden": 7}, NetworkConfig(hidden=7)),
        ({"encoder": "recurrent", "cell": "lstm"}, NetworkConfig(cell="lstm")),
        ({"encoder": "conformer", "hidden": 8, "heads": 2}, ConformerConfig(hidden=8, heads=2)),
        (
            {"encoder": "conformer", "convolutions": [{"channels": 3, "kernel": [5, 3]}]},
            ConformerConfig((ConvolutionConfig(3, (5, 3)),)),
        ),
        ({"encoder": "wav2letter"}, WAV2LETTER),
    ],
)
def test_encoder_names_the_network_and_survives_yaml(values, expected, tmp_path):
    config = config_of({"data": DATA, "network": values})
    assert config.network == expected and type(config.network) is type(expected)
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config == config_of(config_to_dict(config))
    assert f"  encoder: {expected.encoder}" in (tmp_path / "config.yaml").read_text()
    assert isinstance(network_of(expected, 12, 5), Network) == (expected.encoder == "recurrent")


def run_config(config, tones, **settings) -> RunConfig:
    return RunConfig(
        data=DataConfig(tones["train"], tones["dev"], batch_seconds=5),
        features=FeaturesConfig(kind="log_mel", mels=16),
        network=config,
        alphabet="abc",
        threads=1,
        **{"augment": None, "spec_augment": None, "checkpoint_every": 1000, **settings},
    )


def test_a_tiny_conformer_learns_tones_and_becomes_a_model_file(tones, tmp_path):
    shape = ConformerConfig(CONVOLUTIONS[:1], layers=2, hidden=16, heads=2, feed_forward=32, kernel=5)
    run = run_config(shape, tones, optimizer=OptimizerConfig(learning_rate=0.01), epochs=10)
    train(run, tmp_path / "run")
    rows = [row.split(",") for row in (tmp_path / "run" / "metrics.csv").read_text().splitlines()]
    errors = [float(row[rows[0].index("dev_cer")]) for row in rows[1:]]
    assert errors[-1] < 0.6 < errors[0]
    export(tmp_path / "run", out=tmp_path / "a.safetensors")
    samples = [torch.randn(9000).numpy()]
    texts = [Recognizer.load(source).recognize(samples) for source in (tmp_path / "run", tmp_path / "a.safetensors")]
    assert texts[0] == texts[1]


def test_a_conformer_stopped_and_resumed_ends_with_the_same_weights(tones, tmp_path, monkeypatch):
    """Dropout of attention and feed-forward modules included."""
    import deepspeech_sparse.training.runs as runs

    class StopAt(Exception):
        pass

    class Bomb(runs.Monitor):
        def on_train_batch_end(self, trainer, *arguments):
            super().on_train_batch_end(trainer, *arguments)
            if trainer.global_step == 4:
                raise StopAt

    run = run_config(CONFORMER, tones, epochs=2, checkpoint_every=3)
    train(run, tmp_path / "unbroken")
    with monkeypatch.context() as patch, pytest.raises(StopAt):
        patch.setattr(runs, "Monitor", Bomb)
        train(run, tmp_path / "broken")
    train(run, tmp_path / "broken", resume=True)
    expected, reached = (
        load_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"] for name in ("unbroken", "broken")
    )
    assert all(torch.equal(expected[name], reached[name]) for name in expected)


def test_wav2letter_takes_a_few_steps_and_moves_every_weight(tones, tmp_path):
    run = run_config(WAV2LETTER, tones, optimizer=OptimizerConfig(learning_rate=3e-4), epochs=1)
    run = replace(run, data=replace(run.data, batch_seconds=15))
    torch.manual_seed(run.seed)
    before = {name: value.clone() for name, value in speech_recognition(run).network.named_parameters()}
    train(run, tmp_path)
    state = load_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["state_dict"]
    shutil.rmtree(tmp_path / "checkpoints")  # several hundred megabytes
    assert all((state[f"network.{name}"] != value).float().mean() > 0.9 for name, value in before.items())

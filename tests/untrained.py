"""Tiny networks with random weights, and run folders around them: for tests that need a model, not a good one."""

import math
from pathlib import Path

import torch
from torch import nn

from deepspeech_sparse.features import FeaturesConfig
from deepspeech_sparse.machine.versions import versions
from deepspeech_sparse.model import ConvolutionConfig, NetworkConfig
from deepspeech_sparse.model.masking import frame_mask
from deepspeech_sparse.settings import config_to_dict
from deepspeech_sparse.training.batches import DataConfig
from deepspeech_sparse.training.callbacks import CHECKPOINT_FORMAT, AtomicCheckpointIO
from deepspeech_sparse.training.config import RunConfig
from deepspeech_sparse.training.module import SpeechRecognition
from deepspeech_sparse.training.runs import speech_recognition


def tiny_config(
    *, features: FeaturesConfig = FeaturesConfig(), data_folder: str = "data", alphabet: str = " abc", **network
) -> RunConfig:
    shape = {"convolutions": (ConvolutionConfig(2, (41, 5), (8, 2)),), "layers": 2, "hidden": 8, **network}
    data = DataConfig(Path(data_folder) / "train.jsonl", Path(data_folder) / "dev.jsonl")
    return RunConfig(data=data, features=features, network=NetworkConfig(**shape), alphabet=alphabet)


def tiny_module(config: RunConfig, *, seed: int = 0) -> SpeechRecognition:
    """Random weights, and a head loud enough that something is written."""
    torch.manual_seed(seed)
    module = speech_recognition(config)
    with torch.no_grad():
        for parameter in module.network.recurrent.parameters():
            parameter.mul_(3)
        module.network.head.weight.normal_(std=3.0)
        for name, buffer in module.network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
    return module.eval()


def run_of(
    module: SpeechRecognition, config: RunConfig, folder: Path, *, name: str = "best.ckpt", best_wer: float = math.inf
) -> Path:
    """A run folder with one checkpoint, as a training would leave it after 3 epochs and 70 steps."""
    checkpoint = {
        "format": CHECKPOINT_FORMAT,
        "config": config_to_dict(config),
        "versions": versions(),
        "state_dict": module.state_dict(),
        "epoch": 2,
        "global_step": 70,
        "callbacks": {"Checkpoints": {"best_wer": best_wer}},
    }
    AtomicCheckpointIO().save_checkpoint(checkpoint, folder / "checkpoints" / name)
    return folder


def gradients_without_and_with_padding(network: nn.Module) -> list[dict[str, torch.Tensor]]:
    """Gradients by name of one loss over real frames of 9 bins: alone, and with 14 frames of rubbish behind them."""
    frames = torch.tensor([30, 17])
    features = torch.randn(2, 30, 9)
    padded = torch.cat([features, torch.full((2, 14, 9), 77.0)], dim=1)
    gradients = []
    for batch in (features, padded):
        network.zero_grad()
        logits, output_frames = network(batch, frames)
        logits[frame_mask(output_frames, logits.shape[1])].square().sum().backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in network.named_parameters()})
    return gradients

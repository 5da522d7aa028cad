"""A training step of a recipe against the same network with torch's own recurrent layers, in turn, A B A B.

    python benchmarks/training_step.py --config recipes/an4/gru.yaml [--hidden 224] [--batches 6] [--rounds 3]

Audio is noise of the length that the recipe's batches have, so no corpus is needed; the front end and augmentation are
left out. Prints the time of a step in parts, medians over all batches and rounds, and the ratio of the two.
"""

import argparse
import dataclasses
import itertools
import platform
import statistics
import time
from pathlib import Path
from unittest.mock import patch

import torch

from deepspeech_sparse.gradients.layers import TorchLayer
from deepspeech_sparse.machine.description import processor
from deepspeech_sparse.model import network_of
from deepspeech_sparse.text import Alphabet
from deepspeech_sparse.training.config import load_config
from deepspeech_sparse.training.module import ctc_loss

PARTS = ("forward", "loss", "backward", "optimizer")
SECONDS = 3.0  # of an utterance, as AN4's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("recipes/an4/gru.yaml"))
    parser.add_argument("--hidden", type=int, help="units, if not those of the recipe")
    parser.add_argument("--batches", type=int, default=6, help="steps of each in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = load_config(options.config)
    shape = config.network if options.hidden is None else dataclasses.replace(config.network, hidden=options.hidden)
    alphabet = Alphabet(config.alphabet)
    network = network_of(shape, config.features.bins, alphabet.size).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    count = max(1, int(config.data.batch_seconds / SECONDS))
    longest = int(SECONDS / config.features.hop)

    def step() -> list[float]:
        frames = torch.linspace(0.7 * longest, longest, count).long()  # a batch is filled to some 85 %
        features = torch.randn(count, longest, config.features.bins)
        labels, lengths = torch.randint(1, alphabet.size, (count, 20)), torch.full((count,), 20)
        times = [time.perf_counter()]
        logits, frames = network(features, frames)
        times.append(time.perf_counter())
        loss = ctc_loss(logits, frames, labels, lengths)
        times.append(time.perf_counter())
        loss.backward()
        times.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.optimizer.clip)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter())
        return [after - before for before, after in itertools.pairwise(times)]

    measured: dict[str, list[list[float]]] = {"ours": [], "torch's layers": []}
    for round_ in range(options.rounds + 1):
        for name, steps in measured.items():
            with patch.object(TorchLayer, "takes", TorchLayer.takes if name == "ours" else lambda self, x: False):
                found = [step() for _ in range(options.batches)]
            if round_:  # the first one warms up
                steps += found
    parameters = sum(parameter.numel() for parameter in network.parameters())
    print(f"{processor()}, {platform.machine()}, torch {torch.__version__}, {options.threads} thread(s), seed 0")
    print(f"{options.config}: {parameters / 1e6:.2f} M parameters, {count} utterances of {SECONDS} s in a batch, ms")
    print(f"{'':15}" + "".join(f"{part:>11}" for part in (*PARTS, "step", "least")))
    for name, steps in measured.items():
        whole = [sum(step) for step in steps]
        parts = [*map(statistics.median, zip(*steps)), statistics.median(whole), min(whole)]
        print(f"{name:15}" + "".join(f"{1e3 * seconds:11.1f}" for seconds in parts))
    pairs = [sum(b) / sum(a) for a, b in zip(*measured.values())]
    print(
        f"torch's layers take {statistics.median(pairs):.2f} times as long (pairs {min(pairs):.2f} to {max(pairs):.2f})"
    )


if __name__ == "__main__":
    main()

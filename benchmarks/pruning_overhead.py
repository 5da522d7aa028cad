"""How much gradual pruning adds to a training step: steps with and without the callback's work, in turn, A B A B.

    python benchmarks/pruning_overhead.py [--hidden 256] [--rounds 30]

Prints the median step time of both, the ratio of the medians, and the interquartile range of the pairwise ratios.
"""

import argparse
import platform
import statistics
import time

import torch

from deepspeech_sparse.model import ConvolutionConfig, Network, NetworkConfig
from deepspeech_sparse.pruning import Blocks, Goal, Narang, Pruner, PruningConfig, Single
from deepspeech_sparse.training import ctc_loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--every", type=int, default=100, help="steps between mask updates")
    parser.add_argument("--rounds", type=int, default=4, help="pairs of blocks; a block is `every` steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--blocks", action="store_true", help="blocks of 8x1 instead of single weights")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    convolutions = (ConvolutionConfig(32, (11, 11), (2, 2)), ConvolutionConfig(32, (5, 5), (2, 2)))
    network = Network(NetworkConfig(convolutions, layers=3, hidden=options.hidden, merge="concat"), bins=64, labels=29)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    features, frames = torch.randn(24, 330, 64), torch.full((24,), 330)
    labels, label_lengths = torch.randint(1, 29, (24, 20)), torch.full((24,), 20)
    # A ramp that lasts for the whole measurement: every block holds one mask update and `every` applications.
    steps = 2 * options.rounds * options.every * 4
    config = PruningConfig(
        Goal(sparsity=0.9),
        schedule=Narang(every=options.every),
        pattern=Blocks("blocks", 8, 1) if options.blocks else Single(),
    )
    pruner = Pruner.of(network, config, total_steps=steps, steps_per_epoch=1)
    step = 0

    def block(prune: bool) -> float:
        nonlocal step
        seconds = []
        for _ in range(options.every):
            start = time.perf_counter()
            optimizer.zero_grad()
            logits, output_frames = network(features, frames)
            ctc_loss(logits, output_frames, labels, label_lengths).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            if prune:
                step += 1
                pruner.step(step)
            seconds.append(time.perf_counter() - start)
        return sum(seconds) / len(seconds)

    block(True)
    pairs = [(block(True), block(False)) for _ in range(options.rounds)]
    ratios = sorted(a / b for a, b in pairs)
    pruning, dense = (statistics.median(column) for column in zip(*pairs))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    print(f"{platform.machine()}, torch {torch.__version__}, {options.threads} threads, seed 0")
    print(f"{parameters / 1e6:.2f} M parameters, mask update every {options.every} steps")
    print(f"step without pruning {dense * 1e3:.1f} ms, with {pruning * 1e3:.1f} ms, ratio {pruning / dense:.4f}")
    print(f"pairwise ratios: min {ratios[0]:.4f}, median {statistics.median(ratios):.4f}, max {ratios[-1]:.4f}")
    # The work alone, without the noise of the rest of the step.
    start = time.perf_counter()
    for _ in range(100):
        pruner.apply()
    apply = (time.perf_counter() - start) / 100
    start = time.perf_counter()
    pruner.step((step // options.every + 1) * options.every)
    update = time.perf_counter() - start
    share = (apply + update / options.every) / dense
    print(f"masks applied in {apply * 1e3:.3f} ms, remade in {update * 1e3:.1f} ms: {share:.2%} of a step")


if __name__ == "__main__":
    main()

"""How much gradual pruning adds to a training step: steps with and without the callback's work, in turn, A B A B.

    python benchmarks/pruning_overhead.py [--hidden 256] [--rounds 30] [--blocks]
    python benchmarks/pruning_overhead.py --layer [--hidden 2560] [--blocks]

Prints the median step time of both, the ratio of the medians, and the range of the pairwise ratios. With --layer no
training runs: the pruner's work alone on one GRU layer at 90 % sparsity, in processor time of one thread.
"""

import argparse
import functools
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from deepspeech_sparse.model import ConvolutionConfig, Network, NetworkConfig
from deepspeech_sparse.pruning import Blocks, Cubic, Goal, Narang, Pruner, PruningConfig, Single
from deepspeech_sparse.training.module import ctc_loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--every", type=int, default=100, help="steps between mask updates")
    parser.add_argument("--rounds", type=int, default=4, help="pairs of blocks; a block is `every` steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--blocks", action="store_true", help="blocks of 8x1 instead of single weights")
    parser.add_argument("--layer", action="store_true", help="no training, only the work on one GRU layer, one thread")
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.layer:
        measure_layer(options.hidden, Blocks("blocks", 8, 1) if options.blocks else Single())
        return
    torch.set_num_threads(options.threads)
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
    apply = statistics.median(seconds_of(pruner.apply) for _ in range(100))
    due = (step // options.every + 1) * options.every
    update = statistics.median(seconds_of(functools.partial(pruner.step, due)) for _ in range(9))
    share = (apply + update / options.every) / dense
    print(f"masks applied in {apply * 1e3:.3f} ms, remade in {update * 1e3:.1f} ms: {share:.2%} of a step")


def seconds_of(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """How long one call takes."""
    start = clock()
    work()
    return clock() - start


def measure_layer(hidden: int, pattern: Blocks | Single, repeats: int = 21) -> None:
    """Print what the pruner does at every step and at every mask update, without a training around it.

    In processor time: on a machine that others use too, the time on the clock says more about them.
    """
    torch.set_num_threads(1)
    layer = nn.GRU(hidden, hidden)
    schedule = Cubic("cubic", start_epoch=0, end=1.0, every=1, initial=0.85)
    config = PruningConfig(Goal(sparsity=0.9), schedule=schedule, pattern=pattern)
    pruner = Pruner.of(layer, config, total_steps=2 * repeats, steps_per_epoch=1)
    seconds: dict[str, list[float]] = {"mask update": [], "masks applied": [], "share of zeros": []}
    for step in range(1, repeats + 1):
        for parameter in layer.parameters():
            parameter.data.add_(torch.randn_like(parameter), alpha=1e-3)
        for what, work in zip(seconds, (functools.partial(pruner.step, step), pruner.apply, pruner.sparsity)):
            seconds[what].append(seconds_of(work, time.thread_time))
    print(
        f"{platform.machine()}, torch {torch.__version__}, one thread, {6 * hidden**2 / 1e6:.1f} M weights, {pattern}"
    )
    for what, times in seconds.items():
        print(f"{what}: median {statistics.median(times) * 1e3:.1f} ms, least {min(times) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()

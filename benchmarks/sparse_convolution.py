"""The convolutions of Deep Speech 2, pruned, against torch's dense one (oneDNN's on x86), in turn: A B A B.

    python benchmarks/sparse_convolution.py [--rounds 15] [--frames 1000]

Prints a Markdown table of processor time on one thread: medians, and in brackets the shortest. Dense is the fastest of
three layouts that torch could be given, the one of the trained model among them. Shift, clipping and the memory of the
result are in the times of both. DEEPSPEECH_SPARSE_KERNELS forces a path.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from deepspeech_sparse.engine import SparseConvolution, runtime
from deepspeech_sparse.machine.description import machine

# channels out and in, frames, bins; stride in frames, bins; bins of the input, its frames for one of the audio
LAYERS = {"first": ((32, 1, 11, 41), (2, 2), 161, 1), "second": ((32, 32, 11, 21), (1, 2), 81, 2)}
SPARSITIES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--frames", type=int, default=1000, help="of the audio, before the first stride")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{machine().processor}; kernels: {runtime().path}; one thread\n")
    print(
        "| convolution | zeros | ours | dense | x dense | G multiply-adds/s | bytes of dense | chosen |\n|" + "---|" * 8
    )
    for name, (shape, stride, bins, reduced) in LAYERS.items():
        x = torch.rand(shape[1], bins, -(-options.frames // reduced))
        for sparsity in SPARSITIES:
            weight = torch.randn(shape) * (torch.rand(shape) >= sparsity)
            scale, shift = torch.rand(shape[0]) + 0.5, torch.randn(shape[0])
            sparse = SparseConvolution.from_dense(weight, stride, scale, shift, "sparse")
            chosen = SparseConvolution.from_dense(weight, stride, scale, shift)
            contestants = {"ours": lambda sparse=sparse, x=x: sparse(x), **dense(weight, stride, shift, x)}
            times = measure(contestants, options.rounds)
            median, least = (best(times, statistic) for statistic in (statistics.median, min))
            done = sparse.stored * -(-bins // stride[1]) * -(-x.shape[2] // stride[0])
            print(
                f"| {name} | {sparsity:.0%} |",
                " | ".join(f"{median[who] * 1e3:.2f} ms ({least[who] * 1e3:.2f})" for who in ("ours", "dense")),
                f"| {median['dense'] / median['ours']:.1f} ({least['dense'] / least['ours']:.1f})",
                f"| {done / median['ours'] / 1e9:.0f} | {sparse.bytes / weight.nbytes:.0%} | {chosen.choice} |",
                flush=True,
            )
    print(f"\nLoad average at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")


def dense(weight: Tensor, stride: tuple[int, int], shift: Tensor, x: Tensor) -> dict[str, Callable[[], object]]:
    """torch's convolution of (bins, frames), channels first and last, and of (frames, bins)."""

    def layer(x: Tensor, weight: Tensor, stride: tuple[int, int]) -> Callable[[], object]:
        padding = (weight.shape[2] // 2, weight.shape[3] // 2)
        return lambda: torch.nn.functional.conv2d(x, weight, shift, stride, padding).clamp_(0, 20)

    turned = x[None], weight.transpose(2, 3).contiguous()
    last = (tensor.contiguous(memory_format=torch.channels_last) for tensor in turned)
    return {
        "dense:bins": layer(*turned, stride[::-1]),
        "dense:channels last": layer(*last, stride[::-1]),
        "dense:frames": layer(x.transpose(1, 2).contiguous()[None], weight, stride),
    }


def measure(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of processor time of each, in turn; the first round is not counted."""
    times = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, convolve in contestants.items():
            start = time.process_time()
            convolve()
            times[name].append(time.process_time() - start)
    return {name: values[1:] for name, values in times.items()}


def best(times: dict[str, list[float]], statistic: Callable[[list[float]], float]) -> dict[str, float]:
    """By a statistic, ours and the fastest dense one."""
    others = [statistic(values) for name, values in times.items() if name != "ours"]
    return {"ours": statistic(times["ours"]), "dense": min(others)}


if __name__ == "__main__":
    main()

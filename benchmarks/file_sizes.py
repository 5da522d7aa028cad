"""Bytes, distance to the entropy bound, and loading time of a sparse model's file in every form.

    python benchmarks/file_sizes.py [--weights gaussian heavy] [--block 1x1] [--repeats 5]
    python benchmarks/file_sizes.py --model checkpoints/an4-gru-sparse.safetensors

Without --model: 5 bidirectional GRU layers of 1024 units above two convolutions, random weights (Gaussian, or
Student's t with 3 degrees of freedom), of which every matrix and kernel has lost the 90 % smallest. Prints a Markdown
table. Bytes of the dense file are those of all numbers in float32. Times are processor time, which other jobs disturb
less: of `save_model` once, of `load_model` the least of some repeats, the file in the page cache. Memory is the most
that decoding one tensor after the other takes, that tensor included, beyond the mapped file.
"""

import argparse
import math
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import torch

from deepspeech_sparse.features import FrontEnd
from deepspeech_sparse.machine.description import machine
from deepspeech_sparse.model import NetworkConfig
from deepspeech_sparse.model_config import ModelConfig
from deepspeech_sparse.model_file import Model, empty_network, file_sizes, load_model, open_model, save_model

VALUES = ("float32", "float16", "int8", "codebook4", "codebook5", "codebook6", "codebook8")
CODECS = ("none", "zstd", "entropy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model file, instead of random weights")
    parser.add_argument("--weights", nargs="+", default=["gaussian", "heavy"], choices=["gaussian", "heavy"])
    parser.add_argument("--block", default="1x1", choices=["1x1", "8x1", "16x1", "4x4"])
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--values", nargs="+", default=VALUES, choices=VALUES)
    parser.add_argument("--codecs", nargs="+", default=CODECS, choices=CODECS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{machine().processor}; {options.threads} thread(s)\n")
    print(
        "| weights | values | codec | MB | of dense | positions | values | tables | dense | metadata | to the bound ",
        end="",
    )
    print("| error | written in | loaded in | memory |\n|" + "---|" * 15)
    for name, model in models(options):
        weights = model.network.state_dict()
        whole = sum(tensor.nbytes for tensor in (*weights.values(), *model.front_end.buffers()))
        for values in options.values:
            for codec in options.codecs:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "model.safetensors"
                    started = time.process_time()
                    save_model(path, model, model.config, model.provenance, values=values, codec=codec)
                    written = time.process_time() - started
                    sizes = file_sizes(path)
                    parts = (sizes.positions, sizes.values, sizes.tables, sizes.dense, sizes.metadata)
                    cells = (
                        *(name, values, codec, f"{sizes.total / 1e6:.3f}", f"1/{whole / sizes.total:.1f}"),
                        *(f"{part / 1e6:.3f}" for part in parts),
                        *(f"{sizes.above_bound:+.1%}", f"{error(path, weights):.2%}", f"{written:.2f} s"),
                        *(f"{loading(path, options.repeats):.2f} s", f"{memory(path) / 1e6:.0f} MB"),
                    )
                    print("| " + " | ".join(cells) + " |", flush=True)


def models(options: argparse.Namespace) -> Iterator[tuple[str, Model]]:
    if options.model:
        yield options.model.stem, load_model(options.model)
        return
    config = ModelConfig(network=NetworkConfig(layers=options.layers, hidden=options.hidden))
    rows, columns = (int(side) for side in options.block.split("x"))
    for weights in options.weights:
        draw = torch.Generator().manual_seed(0)
        network = empty_network(config).to_empty(device="cpu")
        with torch.no_grad():
            for tensor in network.state_dict().values():
                if tensor.is_floating_point():
                    tensor.normal_(std=0.05, generator=draw)
            for weight in network.parameters():
                if weight.dim() < 2:
                    continue
                if weights == "heavy":  # Student's t: a Gaussian over the root of a mean of three squares
                    squares = sum(torch.empty_like(weight).normal_(generator=draw).square_() for _ in range(3))
                    weight.div_((squares / 3).sqrt_())
                prune(weight.flatten(1), rows, columns)
        yield f"{weights} {options.block}", Model(FrontEnd(config.features), network.eval(), config, {})


def prune(matrix: torch.Tensor, rows: int, columns: int) -> None:
    """Set the 90 % smallest blocks to zero, in place; where blocks do not tile, the smallest weights."""
    if matrix.shape[0] % rows or matrix.shape[1] % columns:
        rows = columns = 1
    blocks = matrix.view(matrix.shape[0] // rows, rows, matrix.shape[1] // columns, columns)
    sizes = blocks.abs().amax((1, 3), keepdim=True)
    threshold = sizes.flatten().kthvalue(math.ceil(0.9 * sizes.numel())).values
    blocks.mul_(sizes > threshold)


def error(path: Path, weights: dict[str, torch.Tensor]) -> float:
    """Root mean square error of matrices and kernels, as a share of their root mean square."""
    squares = [
        (float((tensor - weights[name]).double().square().sum()), float(weights[name].double().square().sum()))
        for name, tensor in open_model(path).tensors.items()
        if tensor.dim() >= 2
    ]
    wrong, whole = (sum(column) for column in zip(*squares))
    return math.sqrt(wrong / whole)


def loading(path: Path, repeats: int) -> float:
    """Least processor time of `load_model`, in seconds."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        load_model(path)
        times.append(time.process_time() - started)
    return min(times)


def memory(path: Path) -> int:
    """Most bytes that decoding one tensor after the other took, the tensor included, the mapped file not."""
    tensors = open_model(path).tensors
    tracemalloc.start()
    for name in tensors:
        tensors[name]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


if __name__ == "__main__":
    main()

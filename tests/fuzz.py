"""Hostile input for the native kernels and the model file, for as long as one likes.

`make fuzz` runs it with the address and undefined-behaviour sanitizers, and any complaint of theirs ends it. Each case
has a seed: `python tests/fuzz.py --case SEED` repeats it. What a case may do is succeed, or raise ValueError or
TypeError (kernels) or InputError (files); everything else is a finding. Not collected by pytest.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import re
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ODD = (0, 1, -1, 2, 3, 7, 15, 16, 17, 255, 65_535, 65_536, 65_537, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--case", type=int, help="repeat this one alone")
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--kernels", type=Path, help="the extension module to fuzz, e.g. one with sanitizers")
    arguments = parser.parse_args()
    if arguments.kernels:
        use_kernels(arguments.kernels)
    targets = fuzz_targets()
    if arguments.case is not None:
        run_case(targets, arguments.case)
        return
    counts = dict.fromkeys(targets, 0)
    refused = dict.fromkeys(targets, 0)
    case, started = arguments.seed, time.monotonic()
    while time.monotonic() - started < arguments.seconds:
        print(f"\rcase {case}", end="", file=sys.stderr, flush=True)  # what a crash leaves on the screen
        name, accepted = run_case(targets, case)
        counts[name] += 1
        refused[name] += not accepted
        case += 1
    print(file=sys.stderr)
    for name, count in counts.items():
        print(f"{name}: {count} cases, {refused[name]} refused")
        if refused[name] > 0.8 * count and not targets[name].mostly_refused:
            sys.exit(f"{name}: nearly all is refused, so little is fuzzed: mend this script")


def use_kernels(path: Path) -> None:
    """Have the package find this extension module in place of the installed one."""
    name = "deepspeech_sparse._kernels"
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def run_case(targets: dict[str, Callable], seed: int) -> tuple[str, bool]:
    """Whether the input was accepted."""
    draw = random.Random(seed)
    name = draw.choices(list(targets), weights=[target.weight for target in targets.values()])[0]
    try:
        targets[name](draw)
    except targets[name].refusals:
        return name, False
    return name, True


class Target:
    """Something that eats hostile input."""

    def __init__(
        self,
        function: Callable[[random.Random], None],
        refusals: tuple[type, ...],
        weight: float,
        mostly_refused: bool = False,
    ) -> None:
        self.function, self.refusals, self.weight = function, refusals, weight
        self.mostly_refused = mostly_refused

    def __call__(self, draw: random.Random) -> None:
        self.function(draw)


def fuzz_targets() -> dict[str, Target]:
    from deepspeech_sparse.errors import InputError
    from deepspeech_sparse.machine.runtime import native

    kernels = native()
    if kernels is None:
        sys.exit("no native kernels to fuzz: install a C++ compiler, then the package again")
    border = (ValueError, TypeError, OverflowError)
    return {
        "matrix": Target(lambda draw: matrix_case(kernels, draw), border, 4),
        "recurrence": Target(lambda draw: recurrence_case(kernels, draw), border, 2),
        "convolution": Target(lambda draw: convolution_case(kernels, draw), border, 2),
        "training": Target(lambda draw: training_case(kernels, draw), border, 2),
        "products": Target(lambda draw: products_case(kernels, draw), border, 1),
        "model file": Target(model_file_case(), (InputError,), 1, mostly_refused=True),
    }


def spoiled(value: int, draw: random.Random) -> int:
    """Mostly the value, sometimes another."""
    return value if draw.random() < 0.98 else draw.choice(ODD) if draw.random() < 0.7 else value + draw.choice((-1, 1))


def spoiled_array(array: np.ndarray, draw: random.Random) -> np.ndarray:
    """Mostly the array, sometimes one with other values, another length or another type."""
    if draw.random() < 0.96:
        return array
    array = array.copy()
    kind = draw.randrange(5)
    if kind == 0 and array.size:
        array.flat[draw.randrange(array.size)] = draw.choice(ODD) if array.dtype.kind == "i" else float("nan")
    elif kind == 1:
        array = array[: draw.randrange(array.size + 1)]
    elif kind == 2:
        array = np.concatenate([array.ravel(), array.ravel()[:1]])
    elif kind == 3 and array.size > 1:
        first, second = draw.sample(range(array.size), 2)
        array.flat[first], array.flat[second] = array.flat[second], array.flat[first]
    else:
        array = array.astype(draw.choice(["f4", "f8", "i4", "i8", "u2"]))
    return array


def matrix_of(kernels, rows: int, columns: int, density: float, draw: random.Random, spoil: bool):
    """A native matrix of random entries in any layout; with `spoil` from arguments that may be wrong."""
    random_ = np.random.default_rng(draw.getrandbits(32))
    block = draw.choice([(1, 1), (1, 1), (8, 1), (16, 1), (4, 4), None])
    down, across = -(-rows // (block or (16, 1))[0]), -(-columns // (block or (16, 1))[1])
    kept = random_.random((down, across)) < (density if block else 1)
    area = block[0] * block[1] if block else 16
    values = 10 * random_.standard_normal(int(kept.sum()) * area)
    kind = draw.choice(["f4", "u2", "i1"])  # u2 has the bits of float16
    values = values.astype("f2").view("u2") if kind == "u2" else values.astype(kind)
    arrays = [values, np.ones(rows * (kind == "i1"), "f4")]
    numbers = [rows, columns]
    if block:
        arrays = [np.concatenate([[0], kept.sum(1).cumsum()]).astype("i8"), np.nonzero(kept)[1].astype("i8"), *arrays]
        numbers += block
    if spoil:
        arrays = [spoiled_array(array, draw) for array in arrays]
        numbers = [spoiled(number, draw) for number in numbers]
    return kernels.Matrix(*numbers, *arrays)


def matrix_case(kernels, draw: random.Random) -> None:
    kernels.select(draw.choice(kernels.paths()))
    rows, columns = draw.randint(0, 90), draw.randint(0, 90)
    matrix = matrix_of(kernels, rows, columns, draw.choice([0, 0.1, 0.5, 1]), draw, spoil=True)
    for _ in range(3):
        batch = draw.choice([1, 2, 4, 5, 8, 9, 16, 17, 33])
        x = np.ones((spoiled(columns, draw) % 100, batch), "f4")
        y = np.empty((spoiled(rows, draw) % 100, batch), "f4")
        arrays, threads = (spoiled_array(x, draw), spoiled_array(y, draw)), spoiled(draw.randint(1, 3), draw)
        if draw.random() < 0.5:
            matrix.multiply(*arrays, threads)
        else:
            matrix.linear(*(np.ascontiguousarray(array.T) for array in arrays), threads)


def recurrence_case(kernels, draw: random.Random) -> None:
    kernels.select(draw.choice(kernels.paths()))
    cell = draw.choice(["rnn", "gru", "lstm", "clipped_rnn", "elman"])
    gates = {"gru": 3, "lstm": 4}.get(cell, 1)
    hidden, features = draw.randint(1, 40), draw.randint(1, 40)
    parts = []
    for _ in range(spoiled(draw.choice([1, 2]), draw) % 4):
        rows, units = spoiled(gates * hidden, draw) % 200, spoiled(hidden, draw) % 200
        sizes = (draw.choice([0, rows]), rows, hidden * (cell == "gru"))  # scale, shift, bias
        parts.append(
            (
                matrix_of(kernels, rows, features, 0.3, draw, spoil=False),
                matrix_of(kernels, rows, units, 0.3, draw, spoil=False),
                *(spoiled_array(np.zeros(size, "f4"), draw) for size in sizes),
            )
        )
    side_by_side = draw.random() < 0.5
    layer = kernels.Recurrence(cell, not side_by_side, parts)
    lengths = [draw.randint(1, 30) for _ in range(draw.choice([1, 2, 5, 17, 33]))]
    counts = np.array([sum(length > time for length in lengths) for time in range(max(lengths))], "i8")
    x = np.ones((sum(lengths), features), "f4")
    y = np.empty((spoiled(sum(lengths), draw) % 1000, hidden * (len(parts) if side_by_side else 1)), "f4")
    state = None
    if draw.random() < 0.5 or (len(parts) == 1 and len(lengths) == 1):  # one utterance in one direction may go on
        state = spoiled_array(np.full(hidden * (1 + (cell == "lstm")), draw.choice([0, 1, np.nan]), "f4"), draw)
    layer.run(
        spoiled_array(x, draw),
        spoiled_array(counts, draw),
        spoiled_array(y, draw),
        spoiled(draw.randint(1, 5), draw),
        state,
    )


def convolution_case(kernels, draw: random.Random) -> None:
    kernels.select(draw.choice(kernels.paths()))
    random_ = np.random.default_rng(draw.getrandbits(32))
    sizes = [draw.randint(1, 5), draw.randint(1, 5), draw.choice([1, 3, 11, 41]), draw.choice([1, 3, 5, 11])]
    strides = [draw.randint(1, 3), draw.randint(1, 3)]
    weight = random_.standard_normal([spoiled(size, draw) % 50 for size in sizes]).astype("f4")
    weight[random_.random(weight.shape) < draw.choice([0, 0.5, 0.9, 1])] = 0
    shift = spoiled_array(np.ones(weight.shape[0], "f4"), draw)
    convolution = kernels.Convolution(weight, *(spoiled(stride, draw) for stride in strides), shift)
    bins, frames = draw.randint(0, 50), draw.choice([0, 1, 5, 63, 64, 65, 128, 200, 300])
    x = np.ones([spoiled(size, draw) % 400 for size in (sizes[1], bins, frames)], "f4")
    shape = (sizes[0], -(-bins // strides[0]), -(-frames // strides[1]))
    y = np.empty([spoiled(size, draw) % 400 for size in shape], "f4")
    convolution.run(spoiled_array(x, draw), spoiled_array(y, draw), spoiled(draw.randint(1, 4), draw))


def training_case(kernels, draw: random.Random) -> None:
    """A direction forwards, then backwards with what that left."""
    kernels.select(draw.choice(kernels.paths()))
    cell = draw.choice(["rnn", "gru", "lstm", "clipped_rnn", "relu_rnn"])
    hidden, times, batch = draw.randint(1, 40), draw.randint(0, 12), draw.choice([1, 2, 5, 8, 17, 33])
    gates = {"gru": 3, "lstm": 4}.get(cell, 1)
    rows, random_ = gates * hidden, np.random.default_rng(draw.getrandbits(32))

    def array(used: bool, *shape: int) -> np.ndarray | None:
        x = random_.standard_normal([spoiled(size, draw) % 200 for size in shape]).astype("f4")
        return spoiled_array(x, draw) if used or draw.random() < 0.02 else None

    lengths = spoiled_array(np.array([draw.randint(0, times) for _ in range(batch)], "i8"), draw)
    fixed = cell, draw.random() < 0.5, lengths, array(True, rows, hidden), array(cell == "gru", hidden)
    kept = [
        array(True, times, batch, rows),
        array(True, times + 1, batch, hidden),
        array(cell == "lstm", times + 1, batch, hidden),
        array(cell == "gru", times, batch, hidden),
    ]
    threads, every = spoiled(draw.randint(1, 4), draw) % 64, spoiled(draw.choice([0, 1, 5]), draw)
    kernels.train_forward(*fixed, *kept, threads)
    kernels.train_backward(
        *fixed,
        *kept,
        array(True, times, batch, hidden),
        array(True, batch, hidden),
        array(cell == "lstm", batch, hidden),
        draw.choice([0.0, 1e-6, 0.5, 100.0, float("inf"), float("nan"), -1.0] if draw.random() < 0.1 else [0.0, 0.5]),
        spoiled(draw.choice([0, 1, rows // 2, rows]), draw),
        every,
        array(every > 0, -(-times // every) if every > 0 else 0, batch, rows),
        array(True, times, batch, rows),
        array(cell == "gru", times, batch, rows),
        threads,
    )


def products_case(kernels, draw: random.Random) -> None:
    kernels.select(draw.choice(kernels.paths()))
    random_ = np.random.default_rng(draw.getrandbits(32))
    n, k, m = draw.randint(0, 90), draw.randint(0, 90), draw.randint(0, 90)
    x = random_.standard_normal((n, k)).astype("f4")
    x[random_.random(x.shape) < draw.choice([0, 0.5, 0.9, 1])] = draw.choice([0, -0.0])
    outer = draw.random() < 0.5
    other = np.ones((spoiled(n if outer else k, draw) % 200, m), "f4")
    y = np.empty((spoiled(k if outer else n, draw) % 200, spoiled(-(-m // 16) * 16, draw) % 200), "f4")
    function = kernels.skipping_outer if outer else kernels.skipping_product
    function(*(spoiled_array(array, draw) for array in (x, other, y)), spoiled(draw.randint(1, 4), draw) % 64)


def with_another_number(content: bytes, draw: random.Random) -> bytes:
    """A model file whose header says one number otherwise, or whose dense tensors hold an odd weight."""
    end = 8 + int.from_bytes(content[:8], "little")
    numbers = [match.span() for match in re.finditer(rb"(?<![\w.])\d+(?![\w.])", content[8:end])]
    if draw.random() < 0.5 and numbers:
        first, last = draw.choice(numbers)
        header = content[8 : 8 + first] + str(draw.choice(ODD)).encode() + content[8 + last : end]
        header += b" " * (-len(header) % 8)
        return len(header).to_bytes(8, "little") + header + content[end:]
    place = draw.randrange(end, len(content) - 4)
    return content[:place] + struct.pack("<f", draw.choice([-1.0, 1e38, 1e-45, -0.0])) + content[place + 4 :]


def model_file_case() -> Callable[[random.Random], None]:
    """Damages small model files of every kind; what can still be opened goes through the engine."""
    import torch
    from untrained import tiny_config, tiny_module

    from deepspeech_sparse.model_file import open_model, save_model
    from deepspeech_sparse.recognition.inference import sparse_network

    config = tiny_config()
    module = tiny_module(config)
    with torch.no_grad():
        for parameter in module.network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(torch.rand_like(parameter) < 0.3)
    folder = Path(tempfile.mkdtemp())
    whole = []
    for values in ("float32", "float16", "int8", "codebook4"):
        for codec in ("none", "zstd", "entropy"):
            save_model(folder / "whole.safetensors", module, config.model, {}, values=values, codec=codec)
            whole.append((folder / "whole.safetensors").read_bytes())

    def case(draw: random.Random) -> None:
        content = draw.choice(whole)
        if draw.random() < 0.3:
            content = with_another_number(content, draw)
        content = bytearray(content)
        end = 8 + int.from_bytes(content[:8], "little")
        for _ in range(draw.choice([0, 1, 1, 2, 8])):
            first, last = draw.choice([(0, end), (end, len(content)), (end, len(content))])
            content[draw.randrange(first, last)] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)])
        if draw.random() < 0.1:
            content = content[: draw.randrange(len(content))]
        path = folder / "damaged.safetensors"
        path.unlink(missing_ok=True)  # an earlier one may still be mapped
        path.write_bytes(content)
        network = sparse_network(open_model(path), threads=1)
        logits, _ = network(torch.zeros(1, 40, config.features.bins), torch.tensor([40]))
        if not logits.shape[-1] == len(config.alphabet) + 1:
            raise AssertionError(f"a model of another shape: {tuple(logits.shape)}")

    return case


if __name__ == "__main__":
    main()

"""Whole recognition, features to text: the sparse engine against torch and, where it is installed, ONNX Runtime."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..decoding import greedy
from ..features import FrontEnd
from ..machine.memory import peaks_in_children
from ..machine.timing import in_turn
from ..model import network_of
from ..model_config import ModelConfig
from ..model_file import Model, load_model, save_model
from ..pruning import prunable_weights
from ..recognition.recognizer import Recognizer
from ..report.tables import Column, Table
from ..text import Alphabet
from .onnx_models import available, export_onnx, onnx_session, quantise_onnx
from .plain import PlainNetwork, with_integers
from .weights import PATTERNS, kept, pair

SPARSITY = 0.9
DENSE = ("our GRU of trainings", "torch.nn.GRU")  # float32; the faster is what the others are held against


@dataclass(frozen=True)
class Contender:
    """A way to recognise, and a file with what it needs."""

    name: str
    weights: str  # dense, single or 8x1
    file: Path


def recognition(
    *,
    threads: int,
    full: bool,
    config: ModelConfig = ModelConfig(),
    seconds: float | None = None,
    rounds: int | None = None,
) -> Table:
    """The table: a row for each contender.

    Args:
        config: of a recurrent network of GRUs without lookahead and fully connected layer
        seconds: of audio, 10 or, for the quick table, 3
        rounds: in which the contenders take turns, 7 or 3
    """
    seconds, rounds = seconds or (10.0 if full else 3.0), rounds or (7 if full else 3)
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(Path(folder), config, seconds, rounds, threads)
    columns = (
        Column("computed by"),
        Column("weights"),
        Column("ms", "{:.0f}".format),
        Column("real-time factor", "{:.4f}".format),
        pair("x dense", "{:.2f} ({:.2f})"),
        Column("peak memory, MB", "{:.0f}".format),
        Column("file, MB", "{:.1f}".format),
        Column("off torch float32 by", "{:.1e}".format),
    )
    shape = f"{config.network.layers} x {config.network.hidden}"
    quick = "" if full else " (quick; the figures to publish are of --full)"
    note = (
        f"{seconds:g} s of audio{quick}, features to text, batch 1, {shape} GRU, {len(config.network.convolutions)} "
        f"convolutions, random weights; single and 8x1: {SPARSITY:.0%} zeros in all recurrent layers and, "
        f"always as single weights, in the convolutions. Medians of "
        f"{rounds} rounds in turn; ratios to the faster of {' and '.join(DENSE)}, of the medians and, in brackets, of "
        "the shortest times. Peak memory: to load and recognise once in a process of its own, above the interpreter "
        "and its imports. torch int8: dynamic, quantised when loaded. Off by: largest difference of a log-probability "
        "to the same weights in torch, float32. "
    )
    if available():
        note += "ONNX Runtime has no integer GRU: its dynamic int8 holds for convolutions and head alone."
    else:
        note += "Without ONNX Runtime: the extra `bench` is not installed."
    return Table("recognition", "Whole recognition", columns, rows, note)


@torch.inference_mode()
def measured(folder: Path, config: ModelConfig, seconds: float, rounds: int, threads: int) -> tuple[tuple, ...]:
    """The rows of the table."""
    samples = torch.rand(1, round(seconds * config.features.sample_rate)) - 0.5
    features, frames = FrontEnd(config.features).eval()(samples, torch.tensor([samples.shape[1]]))
    np.save(folder / "features.npy", features.numpy())
    contenders = written(folder, config, features)
    alphabet = Alphabet(config.alphabet)
    works = {each: network_run(each.name, each.file, threads) for each in contenders}
    logits = {each: work(features).log_softmax(-1) for each, work in works.items()}
    expected = {
        weights: load_model(folder / f"{weights}.safetensors").network(features, frames)[0].log_softmax(-1)
        for weights in {each.weights for each in contenders}
    }

    def to_text(work: Callable[[Tensor], Tensor]) -> None:
        scores = work(features)
        greedy(scores, torch.tensor([scores.shape[1]]), alphabet)

    times = in_turn({each: partial(to_text, work) for each, work in works.items()}, rounds)
    medians = {each: statistics.median(values) for each, values in times.items()}
    dense = [each for each in contenders if each.name in DENSE]
    fastest, shortest = min(medians[each] for each in dense), min(min(times[each]) for each in dense)

    target, heard = f"{__name__}:load_and_run", folder / "features.npy"
    peaks = peaks_in_children([(target, each.name, each.file, heard, threads) for each in contenders])

    def row(each: Contender, peak: int) -> tuple:
        return (
            each.name,
            each.weights,
            1e3 * medians[each],
            medians[each] / seconds,
            (fastest / medians[each], shortest / min(times[each])),
            peak / 1e6,
            None if each.name == "torch int8" else each.file.stat().st_size / 1e6,
            float((logits[each] - expected[each.weights]).abs().max()),
        )

    return tuple(map(row, contenders, peaks))


def written(folder: Path, config: ModelConfig, features: Tensor) -> list[Contender]:
    """All contenders, their files made."""
    network = network_of(config.network, config.features.bins, Alphabet(config.alphabet).size).eval()
    model = Model(FrontEnd(config.features), network, config, {})
    save_model(folder / "dense.safetensors", model, config, {})
    contenders = [Contender(name, "dense", folder / "dense.safetensors") for name in (*DENSE, "torch int8")]
    if available():
        export_onnx(PlainNetwork(network), features, folder / "dense.onnx")
        quantise_onnx(folder / "dense.onnx", folder / "int8.onnx")
        contenders.append(Contender("ONNX Runtime", "dense", folder / "dense.onnx"))
        contenders.append(Contender("ONNX Runtime int8", "dense", folder / "int8.onnx"))
    pruned = [each for each in prunable_weights(network) if each.kind in ("recurrent", "convolution")]
    dense = {each.name: each.parameter.detach().clone() for each in pruned}
    for pattern, block in PATTERNS.items():
        for each in pruned:
            weights = dense[each.name]
            mask = kept(tuple(weights.flatten(1).shape), block if each.kind == "recurrent" else (1, 1), SPARSITY)
            each.parameter.copy_(weights * mask.view_as(weights) / (1 - SPARSITY) ** 0.5)  # as loud as before
        save_model(folder / f"{pattern}.safetensors", model, config, {})
        contenders.append(Contender("sparse engine", pattern, folder / f"{pattern}.safetensors"))
    return contenders


def network_run(name: str, file: str | Path, threads: int) -> Callable[[Tensor], Tensor]:
    """features (1, T, F) -> logits (1, T', V), in the way that is called `name`."""
    if name.startswith("ONNX Runtime"):
        return onnx_session(file, threads)
    if name in ("torch.nn.GRU", "torch int8"):
        plain = PlainNetwork(load_model(file).network)
        return with_integers(plain) if name == "torch int8" else plain
    network = Recognizer.load(file, engine="native" if name == "sparse engine" else "torch", threads=threads).network
    return lambda features: network(features, torch.tensor([features.shape[1]]))[0]


@torch.inference_mode()
def load_and_run(name: str, file: str, features: str, threads: str) -> None:
    """What the peak memory is measured of, in a child."""
    torch.set_num_threads(int(threads))
    network_run(name, file, int(threads))(torch.from_numpy(np.load(features)))

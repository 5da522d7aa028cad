"""From a trained run to a model file, and what a model is: parameters, zeros, bytes, history."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.table import Table
from torch import nn

from .errors import InputError
from .features import FeaturesConfig
from .files import refuse_unwritable
from .model.cost import uses_per_second
from .model_file import (
    CODEC,
    FileSizes,
    TensorSize,
    file_sizes,
    is_run,
    model_bytes,
    portable,
    save_model,
)
from .model_file.codec import Codec
from .model_file.values import Values
from .models import any_model, model_name
from .pruning import prunable_weights


@dataclass(frozen=True)
class Layer:
    """Weights of one layer: its matrices and kernels, biases and norms left out."""

    name: str  # as in the network's parameter names, e.g. recurrent.0
    kind: str  # recurrent or linear where pruning may touch it, else empty
    weights: int
    nonzeros: int

    @property
    def sparsity(self) -> float:
        """Share of exact zeros, 0 without weights: not every network has recurrent layers."""
        return 1 - self.nonzeros / self.weights if self.weights else 0.0


@dataclass(frozen=True)
class Part:
    """One matrix or kernel, or what one gate has of it."""

    name: str  # in the network's named_parameters
    kind: str  # recurrent, linear or convolution; empty for what pruning never touches
    layer: str
    gate: str  # reset, update, ...; empty without gates
    weights: int
    nonzeros: int


@dataclass(frozen=True)
class ModelInfo:
    """What a model is."""

    name: str
    parameters: int  # everything learned, biases and norms included
    nonzeros: int
    layers: tuple[Layer, ...]
    parts: tuple[Part, ...]
    macs_per_second: float  # multiply-accumulates with a non-zero weight per second of audio, attention's own left out
    sizes: FileSizes  # of the model file; for a run folder or checkpoint, of the file that `export` would write
    config: dict[str, Any]  # plain values of ModelConfig
    provenance: dict[str, Any]  # the training's config included, paths reduced to file names

    @property
    def sparsity(self) -> float:
        """Share of exact zeros among all parameters."""
        return 1 - self.nonzeros / self.parameters

    @property
    def bytes(self) -> int:
        """Of the model file, see `sizes`."""
        return self.sizes.total

    @property
    def recurrent(self) -> Layer:
        """All recurrent layers as one: what gradual pruning aims at."""
        layers = [layer for layer in self.layers if layer.kind == "recurrent"]
        weights, nonzeros = (sum(getattr(layer, field) for layer in layers) for field in ("weights", "nonzeros"))
        return Layer("all recurrent", "recurrent", weights, nonzeros)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        layers = [asdict(layer) | {"sparsity": layer.sparsity} for layer in self.layers]
        sizes = self.sizes.to_dict()
        return asdict(self) | {"sparsity": self.sparsity, "bytes": self.bytes, "layers": layers, "sizes": sizes}

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.parameters:,} parameters, {self.nonzeros:,} of them not zero, "
            f"{self.sparsity:.1%} zeros ({self.recurrent.sparsity:.1%} in recurrent layers), {megabytes(self.bytes)}"
        )

    def print(self, console: Console) -> None:
        """The summary, a table of layers, how the model came about, and its config."""
        console.print(str(self), highlight=False, markup=False)
        macs = f"{self.macs_per_second / 1e6:.1f} M multiply-accumulates with a non-zero weight per second of audio"
        console.print(macs, highlight=False, markup=False)
        table = Table("layer", "weights", "not zero", "zeros", "bytes", "stored as", box=None)
        for column in table.columns[1:-1]:
            column.justify = "right"
        layers = {part.name: part.layer for part in self.parts}  # names in the network
        stored: dict[str, list[TensorSize]] = {}
        for tensor in self.sizes.tensors:
            layer = layers.get(tensor.name.removeprefix("network."))
            rest = "front end" if tensor.name.startswith("front_end.") else "biases and norms"
            stored.setdefault(layer or rest, []).append(tensor)

        def add_row(name: str, *counts: str) -> None:
            tensors = stored.get(name, [])
            forms = sorted({f"{tensor.values} {tensor.form} {tensor.codec}" for tensor in tensors})
            table.add_row(name, *counts, f"{sum(tensor.bytes for tensor in tensors):,}", ", ".join(forms))

        for layer in self.layers:
            add_row(layer.name, f"{layer.weights:,}", f"{layer.nonzeros:,}", f"{layer.sparsity:.1%}")
        rest = self.parameters - sum(layer.weights for layer in self.layers)
        add_row("biases and norms", f"{rest:,}", "", "")
        add_row("front end", "", "", "")
        whole = self.recurrent
        table.add_row(whole.name, f"{whole.weights:,}", f"{whole.nonzeros:,}", f"{whole.sparsity:.1%}")
        console.print(table)
        console.print(str(self.sizes), highlight=False, markup=False)
        for title, values in (("came about by", self.provenance), ("config", self.config)):
            # As YAML, which escapes: a stranger's text must not reach the terminal as control sequences.
            plain = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=console.width - 1)
            console.print(f"\n{title}\n{plain.rstrip()}", highlight=False, markup=False)


def export(run: Path, *, out: Path, values: Values = "float32", codec: Codec = CODEC) -> ModelInfo:
    """Write a trained model as one self-contained .safetensors file, its zeros left out.

    Args:
        run: run folder (its best checkpoint), checkpoint, or a model file: a quantised one counts as what it decodes to
        out: the model file; an older one is replaced once the new one is whole
        values: of matrices and kernels: float32, float16, int8, codebook4 to codebook8; only the first loses nothing
        codec: none, zstd or entropy; never loses anything

    Returns:
        what was written

    Raises:
        InputError: nothing trained there, weights that `values` cannot hold, or no place to write
    """
    refuse_unwritable(out)
    if is_run(out):  # a checkpoint there could still be resumed
        raise InputError(
            f"{out}: a model file is no checkpoint; give it a name such as {out.with_suffix('.safetensors')}"
        )
    model = any_model(run)
    save_model(out, model, model.config, model.provenance, values=values, codec=codec)
    return info(out)


def info(model: Path) -> ModelInfo:
    """What a model is.

    Args:
        model: run folder, checkpoint (.ckpt) or model file
    """
    path = Path(model)
    loaded = any_model(path)
    if is_run(path):  # a checkpoint holds the optimizer's state too: not what a model weighs
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.safetensors"
            file.write_bytes(model_bytes(loaded, loaded.config, loaded.provenance, name=path))
            sizes = file_sizes(file)
    else:
        sizes = file_sizes(path)
    parameters = list(loaded.network.parameters())
    parts = parts_of(loaded.network)
    return ModelInfo(
        name=model_name(path),
        parameters=sum(parameter.numel() for parameter in parameters),
        nonzeros=sum(int(torch.count_nonzero(parameter)) for parameter in parameters),
        layers=tuple(layers_of(parts)),
        parts=tuple(parts),
        macs_per_second=sum(macs_per_second(loaded.network, parts, loaded.config.features).values()),
        sizes=sizes,
        config=portable(loaded.config),
        provenance=loaded.provenance,
    )


def layers_of(parts: Iterable[Part]) -> list[Layer]:
    """The layers that have matrices or kernels, from the input to the head.

    What is numbered is a layer with all that it holds: recurrent.0, conformer.conformer_layers.3; else what stands at
    the top: fully_connected, head.
    """
    layers: dict[str, Layer] = {}
    for part in parts:
        before = layers.get(part.layer, Layer(part.layer, "", 0, 0))
        layers[part.layer] = Layer(
            part.layer,
            part.kind or before.kind,
            before.weights + part.weights,
            before.nonzeros + part.nonzeros,
        )
    return list(layers.values())


def parts_of(network: nn.Module) -> list[Part]:
    """Every matrix and kernel of a network, gate by gate."""
    known = {weight.name: weight for weight in prunable_weights(network)}
    parts = []
    for name, parameter in network.named_parameters():
        if parameter.dim() < 2:
            continue
        words = name.split(".")
        number = next((place for place, word in enumerate(words) if word.isdigit()), 0)
        layer = ".".join(words[: number + 1])
        kind, gates = (known[name].kind, known[name].gates) if name in known else ("", ("",))
        for gate, rows in zip(gates, parameter.detach().chunk(len(gates))):
            parts.append(Part(name, kind, layer, gate, rows.numel(), int(torch.count_nonzero(rows))))
    return parts


def macs_per_second(network: nn.Module, parts: Iterable[Part], features: FeaturesConfig) -> dict[str, float]:
    """Multiply-accumulates with a non-zero weight per second of audio, by layer; attention's own left out."""
    uses = uses_per_second(network, features.bins, 1 / features.hop)
    macs: dict[str, float] = {}
    for part in parts:
        macs[part.layer] = macs.get(part.layer, 0.0) + part.nonzeros * uses[part.name]
    return macs


def megabytes(count: int) -> str:
    """Bytes for people, 1 MB = 1000000 bytes."""
    return f"{count / 1e6:.2f} MB"

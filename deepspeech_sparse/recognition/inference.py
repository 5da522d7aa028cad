"""Which code computes a trained network: the sparse engine, or torch.

The engine knows the recurrent networks (`model/network.py`); a Conformer or a Wav2Letter always runs in torch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Literal, get_args

from torch import Tensor

from ..engine.network import SparseNetwork
from ..engine.sparse import number_of_threads
from ..errors import InputError
from ..model import NetworkConfig
from ..model_config import ModelConfig
from ..model_file import Model, StoredModel

Engine = Literal["native", "torch"]
# As what the engine holds the values of a model file; the rest as float32. A codebook's entries are float16 numbers.
IN_MEMORY = {"float16": "float16", "int8": "int8"} | {f"codebook{bits}": "float16" for bits in range(4, 9)}
RunningNetwork = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # features, frames -> logits, frames

log = logging.getLogger(__name__)


def network_to_run(model: Model | StoredModel, engine: Engine, threads: int | None) -> tuple[RunningNetwork, Engine]:
    """The network of a model in the engine that was asked for, and the engine that it is in.

    A network that the sparse engine does not know runs in torch, and the log says so, once.

    Shapes, of the network: features (B, T, F), frames (B,) -> logits (B, T', V), frames (B,)

    Raises:
        InputError: another engine than native and torch, weights that the engine cannot compute with
    """
    if engine not in get_args(Engine):
        raise InputError(f"engine = {engine!r}: choose native or torch")
    if engine == "native":
        if known_to_engine(model.config):
            return sparse_network(model, threads), "native"
        say_that_torch_computes(model.config.network.encoder)
    return (model.network() if isinstance(model, StoredModel) else model.network).eval(), "torch"


def known_to_engine(config: ModelConfig) -> bool:
    """Whether the sparse engine has what a network of this config needs."""
    return isinstance(config.network, NetworkConfig)


def sparse_network(model: Model | StoredModel, threads: int | None) -> SparseNetwork:
    """The network of a model in the sparse engine. Of an opened file one weight after the other is read and packed.

    Raises:
        InputError: weights that the engine cannot compute with, a negative variance for one
    """
    tensors, values = (
        (model.tensors, {key: IN_MEMORY[form] for key, form in model.values.items() if form in IN_MEMORY})
        if isinstance(model, StoredModel)
        else (model.network.state_dict(), {})
    )
    try:
        return SparseNetwork(model.config.network, tensors, values=values, threads=threads)
    except InputError:
        raise  # says all: a damaged file, kernels that are not there
    except ValueError as error:
        name = model.path if isinstance(model, StoredModel) else "model"
        raise InputError(f"{name}: {error}. Try --engine torch, or export the run again") from error


@cache
def say_that_torch_computes(encoder: str) -> None:
    log.warning("encoder %s: runs in torch, with its zeros; the sparse engine knows recurrent networks only", encoder)


def checked_threads(threads: int | None) -> int | None:
    """InputError unless it is a number of threads that there can be, or None."""
    try:
        return None if threads is None else number_of_threads(threads)
    except ValueError as error:
        raise InputError(str(error)) from error

"""Which code computes a trained network: the sparse engine, or torch.

The engine knows the recurrent networks (`model/network.py`); a Conformer or a Wav2Letter always runs in torch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal, get_args

from torch import Tensor

from .config import ModelConfig
from .engine.model_file import Model
from .engine.network import SparseNetwork
from .engine.sparse import MOST_THREADS
from .errors import InputError
from .model import NetworkConfig

Engine = Literal["native", "torch"]
RunningNetwork = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # features, frames -> logits, frames

log = logging.getLogger(__name__)


def network_to_run(model: Model, engine: Engine, threads: int | None) -> tuple[RunningNetwork, Engine]:
    """The network of a model in the engine that was asked for, and the engine that it is in.

    A network that the sparse engine does not know runs in torch, and the log says so, once.

    Shapes, of the network: features (B, T, F), frames (B,) -> logits (B, T', V), frames (B,)

    Raises:
        InputError: another engine than native and torch
    """
    if engine not in get_args(Engine):
        raise InputError(f"engine = {engine!r}: choose native or torch")
    if engine == "native":
        if known_to_engine(model.config):
            return sparse_network(model.config, model.network.state_dict(), threads), "native"
        say_that_torch_computes(model.config.network.encoder)
    return model.network.eval(), "torch"


def known_to_engine(config: ModelConfig) -> bool:
    """Whether the sparse engine has what a network of this config needs."""
    return isinstance(config.network, NetworkConfig)


def sparse_network(config: ModelConfig, tensors: Mapping[str, Tensor], threads: int | None) -> SparseNetwork:
    """The network of `config` in the sparse engine.

    Args:
        tensors: the state of the network, by its names; each is asked for once
    """
    return SparseNetwork(config.network, config.features.bins, tensors, threads=threads)


@cache
def say_that_torch_computes(encoder: str) -> None:
    log.warning("encoder %s: runs in torch, with its zeros; the sparse engine knows recurrent networks only", encoder)


def checked_threads(threads: int | None) -> int | None:
    """InputError unless it is a number of threads that there can be, or None."""
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise InputError(f"threads = {threads}: 1 to {MOST_THREADS} are possible")
    return threads

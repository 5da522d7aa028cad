"""The model file: one .safetensors file with all that recognition needs, and no pickle.

Its metadata has one entry, `deepspeech_sparse`, a JSON object (one entry, so that equal models give equal bytes):

    format      2, the version of this layout; format 1, where every tensor is dense, is read too
    config      the ModelConfig: front end, network, alphabet. Nothing of the training: its options may change in
                later versions, and the file is still read
    storage     how each tensor is stored, {"network.head.bias": "dense", "network.head.weight": {...}, ...}: "dense" is
                an ordinary tensor, float32; an object tells shape, values, block, number of blocks, and its parts with
                the codec of each (`storage.py`), which are tensors of bytes: "network.head.weight/positions", ...
    provenance  how the model came about, told by `info` and never interpreted: versions, epoch, step, dev WER, seed,
                training config

Its tensors are the network's state, `network.*`, and the buffers of the front end, `front_end.*`: window and mel bands
too, so that a later torchaudio cannot change what an old model hears.

A file may come from a stranger: everything in it is checked before anything of its size is allocated. Training
checkpoints are those of `training/`; nothing here reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..features import FrontEnd
from ..files import write_whole
from ..model_config import ModelConfig
from ..text import Alphabet
from .codec import CODECS, Codec
from .metadata import ENTRY, FORMAT, build, refuse_too_many_weights
from .storage import store
from .stored_model import open_model, refuse_non_finite
from .values import VALUES, Values

CODEC: Codec = "zstd"  # unless asked otherwise, see `model_bytes`


class Recognition(Protocol):
    """Anything with the two parts of a recognizer: `SpeechRecognition` of a training, or `Model`."""

    front_end: FrontEnd
    network: nn.Module


@dataclass(frozen=True)
class Model:
    """A trained model, ready for use: modules in eval mode."""

    front_end: FrontEnd
    network: nn.Module
    config: ModelConfig
    provenance: dict[str, Any]

    @property
    def alphabet(self) -> Alphabet:
        return Alphabet(self.config.alphabet)


def save_model(
    path: str | Path,
    module: Recognition,
    config: ModelConfig,
    provenance: Mapping[str, Any],
    *,
    values: Values = "float32",
    codec: Codec = CODEC,
) -> None:
    """Write a model file; it appears whole or not at all.

    Args:
        module: front end and network that `config` describes
        provenance: plain values that JSON can hold
        values, codec: as for `model_bytes`

    Raises:
        InputError: weights that do not fit the config, are not finite or not to be had as `values`, or no place to
            write
    """
    write_whole(path, model_bytes(module, config, provenance, values=values, codec=codec, name=path))


def model_bytes(
    module: Recognition,
    config: ModelConfig,
    provenance: Mapping[str, Any],
    *,
    values: Values = "float32",
    codec: Codec = CODEC,
    name: str | Path = "model",
) -> bytes:
    """The content of a model file; equal models give equal bytes.

    Zeros are left out of every tensor that gets smaller by it. With float32 no information is lost.

    Args:
        values: of matrices and kernels; all else stays float32
        codec: none, zstd or entropy (`codec.py`), for positions and values. zstd is the default: a float32 file is
            2 % larger than with entropy, decodes five times as fast, and does so wherever Python runs
    """
    for given, known, what in ((values, VALUES, "values"), (codec, CODECS, "codec")):
        if given not in known:
            raise InputError(f"{name}: {what} {given!r}; choose one of {', '.join(known)}")
    tensors = {f"network.{key}": tensor for key, tensor in module.network.state_dict().items()}
    tensors |= {f"front_end.{key}": tensor for key, tensor in module.front_end.named_buffers()}
    # Cloned: cuDNN's weights are views into one buffer, which safetensors refuses.
    tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    build(config, shapes, name)
    stored: dict[str, Tensor] = {}
    storage: dict[str, Any] = {}
    for key, tensor in tensors.items():
        if tensor.dtype != (torch.int64 if key.endswith(".num_batches_tracked") else torch.float32):
            raise InputError(f"{name}: {key} is {tensor.dtype}; call .float() on the network before it is saved")
        refuse_non_finite(tensor, key, name)
        wanted = values if key.startswith("network.") and tensor.dim() >= 2 else "float32"
        try:
            parts = store(tensor.numpy(), wanted, codec) if tensor.dtype == torch.float32 else None
        except ValueError as error:
            raise InputError(f"{name}: {key} {error}") from error
        except ImportError as error:
            raise InputError(f"{name}: {error}") from error
        if parts is None:
            stored[key], storage[key] = tensor, "dense"
        else:
            storage[key] = parts[0].to_json()
            stored |= {f"{key}/{part}": torch.from_numpy(content.copy()) for part, content in parts[1].items()}
    content = {
        "format": FORMAT,
        "config": portable(config),
        "storage": dict(sorted(storage.items())),
        "provenance": dict(provenance),
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    refuse_too_many_weights(shapes, len(text) + sum(tensor.nbytes for tensor in stored.values()), name)
    return safetensors.torch.save(stored, {ENTRY: text})


def load_model(path: str | Path) -> Model:
    """The model in a model file, on the CPU, in eval mode, every tensor dense.

    Raises:
        InputError: missing, truncated or foreign file, pickle, other format version, tensors that do not fit the
            config, damaged parts
    """
    stored = open_model(path)
    return Model(stored.front_end, stored.network(), stored.config, stored.provenance)


def is_run(source: str | Path) -> bool:
    """Whether `source` is a run folder or a checkpoint, not a model file."""
    return Path(source).is_dir() or Path(source).suffix == ".ckpt"


def portable(config: Any) -> Any:
    """A config as plain values, paths reduced to their last part: a model does not tell whose machine made it."""
    if is_dataclass(config):
        return {item.name: portable(getattr(config, item.name)) for item in fields(config)}
    if isinstance(config, (list, tuple)):
        return [portable(value) for value in config]
    return config.name if isinstance(config, Path) else config

"""The model file: one .safetensors file with all that recognition needs, and no pickle.

Its metadata has one entry, `deepspeech_sparse`, a JSON object (one entry, so that equal models give equal bytes):

    format      1, the version of this layout
    config      the ModelConfig: front end, network, alphabet. Nothing of the training: its options may change in
                later versions, and the file is still read
    storage     how each tensor is stored, {"network.head.weight": "dense", ...}; format 1 knows only dense
    provenance  how the model came about, told by `info` and never interpreted: versions, epoch, step, dev WER, seed,
                training config

Its tensors are the network's state, `network.*`, and the buffers of the front end, `front_end.*`: window and mel bands
too, so that a later torchaudio cannot change what an old model hears.

A file may come from a stranger: everything in it is checked before anything of its size is allocated. Training
checkpoints are `runs.py`'s; nothing here reads them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..config import ModelConfig, config_from_dict
from ..errors import InputError
from ..features import FeaturesConfig, FrontEnd
from ..files import write_whole
from ..model import network_of
from ..text import Alphabet

FORMAT = 1
ENTRY = "deepspeech_sparse"
PICKLES = (b"PK\x03\x04", b"\x80")  # torch's archives, bare pickles
DTYPES = {"F32": torch.float32, "I64": torch.int64}  # weights; batch norm's counters


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


@dataclass(frozen=True)
class Description:
    """What a model file says of itself, its weights not read."""

    config: ModelConfig
    provenance: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]  # of every tensor


def save_model(path: str | Path, module: Recognition, config: ModelConfig, provenance: Mapping[str, Any]) -> None:
    """Write a model file; it appears whole or not at all.

    Args:
        module: front end and network that `config` describes
        provenance: plain values that JSON can hold

    Raises:
        InputError: weights that do not fit the config or are not finite, or no place to write
    """
    write_whole(path, model_bytes(module, config, provenance, name=path))


def model_bytes(
    module: Recognition, config: ModelConfig, provenance: Mapping[str, Any], *, name: str | Path = "model"
) -> bytes:
    """The content of a model file; equal models give equal bytes."""
    tensors = {f"network.{key}": tensor for key, tensor in module.network.state_dict().items()}
    tensors |= {f"front_end.{key}": tensor for key, tensor in module.front_end.named_buffers()}
    # Cloned: cuDNN's weights are views into one buffer, which safetensors refuses.
    tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    network, front_end = build(config, tensors, name)
    refuse_other_shapes({key: tuple(tensor.shape) for key, tensor in tensors.items()}, network, front_end, name)
    refuse_non_finite(tensors, name)
    content = {
        "format": FORMAT,
        "config": portable(config),
        "storage": dict.fromkeys(sorted(tensors), "dense"),
        "provenance": dict(provenance),
    }
    return safetensors.torch.save(tensors, {ENTRY: json.dumps(content, ensure_ascii=False, allow_nan=False)})


def load_model(path: str | Path) -> Model:
    """The model in a model file, on the CPU, in eval mode.

    Raises:
        InputError: missing, truncated or foreign file, pickle, other format version, tensors that do not fit the config
    """
    with opened(path) as file:
        description, storage = read_metadata(file, path)
        network, front_end = build(description.config, description.shapes, path)
        refuse_other_shapes(description.shapes, network, front_end, path)
        tensors = {key: read_tensor(file, key, storage, path) for key in description.shapes}
    refuse_non_finite(tensors, path)
    network.load_state_dict(
        {key.removeprefix("network."): tensor for key, tensor in tensors.items() if key.startswith("network.")},
        assign=True,  # the network was built without memory
    )
    for key, buffer in front_end.named_buffers():
        buffer.copy_(tensors[f"front_end.{key}"])
    return Model(front_end.eval(), network.eval(), description.config, description.provenance)


def describe_model(path: str | Path) -> Description:
    """Config, provenance and shapes of a model file, read from its header alone.

    Raises:
        InputError: as `load_model`, but for what only the weights show
    """
    with opened(path) as file:
        return read_metadata(file, path)[0]


def portable(config: Any) -> Any:
    """A config as plain values, paths reduced to their last part: a model does not tell whose machine made it."""
    if is_dataclass(config):
        return {item.name: portable(getattr(config, item.name)) for item in fields(config)}
    if isinstance(config, (list, tuple)):
        return [portable(value) for value in config]
    return config.name if isinstance(config, Path) else config


@contextmanager
def opened(path: str | Path) -> Iterator[Any]:
    """A safetensors file whose header is sound."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; `deepspeech-sparse export` makes a model file of a run folder")
    try:
        with open(path, "rb") as file:
            start = file.read(9)
        # A safetensors file starts with the length of its header, eight bytes of any value, and then the header's "{".
        if start.startswith(PICKLES) and start[8:] != b"{":
            raise InputError(
                f"{path}: is a pickle or a torch archive, which may run any code; model files are never read from one. "
                "`deepspeech-sparse export` makes a model file of a training checkpoint (.ckpt)"
            )
        with safe_open(path, "pt") as file:
            yield file
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such model file") from error
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path}: not a readable .safetensors file ({error}); it may be truncated or foreign. "
            "Copy or download it again, or export the run again"
        ) from error


def read_metadata(file: Any, path: str | Path) -> tuple[Description, dict[str, str]]:
    """The checked description of an opened file, and how its tensors are stored."""
    text = (file.metadata() or {}).get(ENTRY)
    if text is None:
        raise InputError(
            f"{path}: holds tensors, but no model of this project (no metadata {ENTRY!r}); "
            "make a model file with `deepspeech-sparse export`"
        )
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its metadata is not valid JSON ({error}); export the run again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: its metadata is no JSON object but {type(content).__name__}; export the run again")
    if content.get("format") != FORMAT:
        raise InputError(
            f"{path}: model format {content.get('format')!r}, this version of deepspeech_sparse reads {FORMAT}. "
            "Use the version that wrote it, or export the run again with this one"
        )
    for key in ("config", "storage", "provenance"):
        if not isinstance(content.get(key), dict):
            raise InputError(f"{path}: {key} in its metadata is not a mapping; export the run again")
    config = read_config(content["config"], path)
    shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - no mapping
    return Description(config, content["provenance"], shapes), content["storage"]


def read_config(values: dict, path: str | Path) -> ModelConfig:
    try:
        return config_from_dict(values, path, ModelConfig)
    except InputError as error:
        place = "" if str(error).startswith(str(path)) else f"{path}: "
        raise InputError(f"{place}{error}. The model file is damaged, or of another version") from error
    except Exception as error:  # numbers without sense fail in many ways: infinite seconds, a rate of 10^400 Hz
        raise InputError(f"{path}: its config makes no sense ({error}); export the run again") from error


def build(config: ModelConfig, tensors: Mapping[str, Any], name: str | Path) -> tuple[nn.Module, FrontEnd]:
    """The network, its weights without memory yet, and the front end of `config`.

    A config from a stranger may ask for terabytes or a billion layers: the tensors that are really there bound both.
    """
    absurd = f"{name}: its config describes a model that its {len(tensors)} tensors cannot be"
    sizes = {key: getattr(tensor, "shape", tensor) for key, tensor in tensors.items()}
    entries = sum(torch.Size(size).numel() for size in sizes.values())
    if config.network.layers > len(tensors) or front_end_entries(config.features) > entries:
        raise InputError(
            f"{absurd} ({config.network.layers} layers, window of {config.features.window} s at "
            f"{config.features.sample_rate} Hz); export the run again"
        )
    try:
        with torch.device("meta"):
            network = network_of(config.network, config.features.bins, Alphabet(config.alphabet).size)
        return network, FrontEnd(config.features)
    except (RuntimeError, OverflowError, TypeError, MemoryError) as error:
        raise InputError(f"{absurd} ({str(error).splitlines()[0]}); export the run again") from error


def front_end_entries(features: FeaturesConfig) -> int:
    """Numbers that the front end keeps: its window and its mel bands."""
    bands = (features.transform_size // 2 + 1) * features.mels if features.kind == "log_mel" else 0
    return features.window_samples + bands


def refuse_other_shapes(
    shapes: Mapping[str, tuple[int, ...]], network: nn.Module, front_end: FrontEnd, name: str | Path
) -> None:
    """InputError unless the tensors are exactly those of the modules."""
    expected = {f"network.{key}": tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    expected |= {f"front_end.{key}": tuple(tensor.shape) for key, tensor in front_end.named_buffers()}
    complaints = [f"{key} is missing" for key in expected if key not in shapes]
    complaints += [f"{key} is unknown" for key in shapes if key not in expected]
    complaints += [
        f"{key} has shape {shapes[key]} instead of {shape}"
        for key, shape in expected.items()
        if shapes.get(key, shape) != shape
    ]
    if complaints:
        more = f" and {len(complaints) - 3} more" if len(complaints) > 3 else ""
        raise InputError(
            f"{name}: tensors do not fit the config stored with them: {'; '.join(complaints[:3])}{more}. "
            "Export the run again"
        )


def read_tensor(file: Any, key: str, storage: Mapping[str, Any], path: str | Path) -> Tensor:
    """One tensor in its dense form, whatever form it is stored in. Sparse forms get their branch here."""
    if storage.get(key) != "dense":
        raise InputError(
            f"{path}: {key} is stored as {storage.get(key)!r}, this version of deepspeech_sparse reads 'dense'; "
            "use the version that wrote the file"
        )
    kind = file.get_slice(key).get_dtype()
    wanted = torch.int64 if key.endswith(".num_batches_tracked") else torch.float32
    if DTYPES.get(kind) != wanted:
        raise InputError(f"{path}: {key} holds {kind} instead of {wanted}; export the run again")
    return file.get_tensor(key).clone()  # its own memory: the file may be replaced while the model lives


def refuse_non_finite(tensors: Mapping[str, Tensor], name: str | Path) -> None:
    for key, tensor in tensors.items():
        bad = tensor.numel() - int(tensor.isfinite().sum())
        if bad:
            raise InputError(
                f"{name}: {bad} of {tensor.numel()} values of {key} are NaN or infinite; such a model hears nothing. "
                "Export another checkpoint"
            )

"""What a model file says of itself: opened, its header read and checked, none of its weights touched."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ..errors import InputError
from ..features import FeaturesConfig, FrontEnd
from ..model import network_of
from ..model_config import ModelConfig
from ..settings import config_from_dict
from ..text import Alphabet
from .storage import Storage

FORMAT = 2
FORMATS = (1, 2)  # that are read: format 1 knows only dense tensors
ENTRY = "deepspeech_sparse"
BYTES = {"F32": 4, "I64": 8}
PICKLES = (b"PK\x03\x04", b"\x80")  # torch's archives, bare pickles
DEEPEST = 50  # levels of provenance: whoever shows it recurses
MOST_WEIGHTS_PER_BYTE = 256  # of a file: codebooks and an entropy coder get there beyond 99.7 % zeros


@dataclass(frozen=True)
class Description:
    """What a model file says of itself, its weights not read."""

    config: ModelConfig
    provenance: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]  # of every tensor, whatever form it is stored in
    storage: dict[str, Storage | None]  # None: an ordinary tensor of the safetensors file
    part_bytes: dict[str, dict[str, int]]  # of each tensor, by part; an ordinary one has the part "dense"


def describe_model(path: str | Path) -> Description:
    """Config, provenance, shapes and storage of a model file, read from its header alone.

    Raises:
        InputError: as `open_model`, but for what only the network shows
    """
    return described(opened(path), path)


def opened(path: str | Path) -> Any:
    """A safetensors file whose header is sound: its tensors stay on the disk, mapped into memory, until asked for.

    Raises:
        InputError: missing, truncated or foreign file, folder, pickle
    """
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
        return safe_open(path, "pt")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such model file") from error
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path}: not a readable .safetensors file ({error}); it may be truncated or foreign. "
            "Copy or download it again, or export the run again"
        ) from error


def described(file: Any, path: str | Path) -> Description:
    """The checked description of an opened file."""
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
    if content.get("format") not in FORMATS:
        raise InputError(
            f"{path}: model format {content.get('format')!r}, this version of deepspeech_sparse reads "
            f"{' and '.join(map(str, FORMATS))}. Use the version that wrote it, or export the run again with this one"
        )
    for key in ("config", "storage", "provenance"):
        if not isinstance(content.get(key), dict):
            raise InputError(f"{path}: {key} in its metadata is not a mapping; export the run again")
    if depth(content["provenance"]) > DEEPEST:
        raise InputError(f"{path}: its provenance is nested more than {DEEPEST} deep; export the run again")
    try:
        json.dumps(content["provenance"], ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:  # it could not be written again
        raise InputError(f"{path}: its provenance is no text or number ({error}); export the run again") from error
    shapes, storage, part_bytes = stored_tensors(file, content["storage"], path)
    refuse_too_many_weights(shapes, len(text) + sum(sum(parts.values()) for parts in part_bytes.values()), path)
    config = read_config(content["config"], path)
    return Description(config, content["provenance"], shapes, storage, part_bytes)


def depth(value: Any) -> int:
    """How deep plain values are nested, DEEPEST + 1 at most."""
    level, deep = [value], 0
    while level and deep <= DEEPEST:
        deep += 1
        level = [
            inside
            for each in level
            if isinstance(each, (dict, list))
            for inside in (each.values() if isinstance(each, dict) else each)
        ]
    return deep


def stored_tensors(
    file: Any, told: Mapping[str, Any], path: str | Path
) -> tuple[dict[str, tuple[int, ...]], dict[str, Storage | None], dict[str, dict[str, int]]]:
    """Shape, storage and bytes by part of every tensor, from what metadata and header tell of it."""
    slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    shapes, storage, part_bytes = {}, {}, {}
    for key in (*slices, *told):
        if not key.isprintable():  # no stranger's control sequence gets into a message
            raise InputError(f"{path}: {key!r} is no tensor of a model; export the run again")
    for key, value in told.items():
        if value == "dense":
            continue
        try:
            stored = Storage.from_json(value)
        except ValueError as error:
            raise InputError(f"{path}: {key} {error}. Use the version that wrote the file") from error
        parts = {}
        for part in stored.codecs:
            piece = slices.pop(f"{key}/{part}", None)
            if piece is None:
                raise InputError(f"{path}: {key}/{part} is missing; export the run again")
            if piece.get_dtype() != "U8" or len(piece.get_shape()) != 1:
                raise InputError(
                    f"{path}: {key}/{part} holds {piece.get_dtype()} of shape {piece.get_shape()} instead of bytes"
                )
            parts[part] = piece.get_shape()[0]
        shapes[key], storage[key], part_bytes[key] = stored.shape, stored, parts
    for key, piece in slices.items():
        if told.get(key) != "dense":
            raise InputError(f"{path}: {key} is unknown: its metadata does not tell of it; export the run again")
        kind = "I64" if key.endswith(".num_batches_tracked") else "F32"  # counters of batch norm; weights
        if piece.get_dtype() != kind:
            raise InputError(f"{path}: {key} holds {piece.get_dtype()} instead of {kind}; export the run again")
        shapes[key], storage[key] = tuple(piece.get_shape()), None
        part_bytes[key] = {"dense": math.prod(shapes[key]) * BYTES[kind]}
    return shapes, storage, part_bytes


def refuse_too_many_weights(shapes: Mapping[str, tuple[int, ...]], size: int, name: str | Path) -> None:
    """InputError where a few bytes would become a model of any size."""
    entries = sum(math.prod(shape) for shape in shapes.values())
    if entries > MOST_WEIGHTS_PER_BYTE * size:
        raise InputError(
            f"{name}: {entries:,} weights in {size:,} bytes, more than {MOST_WEIGHTS_PER_BYTE} in each; "
            "a model has fewer zeros than that"
        )


def read_config(values: dict, path: str | Path) -> ModelConfig:
    try:
        return config_from_dict(values, path, ModelConfig)
    except InputError as error:
        place = "" if str(error).startswith(str(path)) else f"{path}: "
        raise InputError(f"{place}{error}. The model file is damaged, or of another version") from error
    except Exception as error:  # numbers without sense fail in many ways: infinite seconds, a rate of 10^400 Hz
        raise InputError(f"{path}: its config makes no sense ({error}); export the run again") from error


def build(config: ModelConfig, shapes: Mapping[str, tuple[int, ...]], name: str | Path) -> tuple[nn.Module, FrontEnd]:
    """The network, its weights without memory yet, and the front end of `config`; both have the tensors of `shapes`.

    A config from a stranger may ask for terabytes or a billion layers: the tensors that are really there bound both.

    Raises:
        InputError: tensors that are not those of the config
    """
    absurd = f"{name}: its config describes a model that its {len(shapes)} tensors cannot be"
    entries = sum(math.prod(shape) for shape in shapes.values())
    if config.network.layers > len(shapes) or front_end_entries(config.features) > entries:
        raise InputError(
            f"{absurd} ({config.network.layers} layers, window of {config.features.window} s at "
            f"{config.features.sample_rate} Hz); export the run again"
        )
    try:
        network, front_end = empty_network(config), FrontEnd(config.features)
    except (RuntimeError, OverflowError, TypeError, MemoryError) as error:
        raise InputError(
            f"{absurd} ({(str(error) or type(error).__name__).splitlines()[0]}); export the run again"
        ) from error
    refuse_other_shapes(shapes, network, front_end, name)
    return network, front_end


def empty_network(config: ModelConfig) -> nn.Module:
    """The network of a config, its weights without memory."""
    with torch.device("meta"):
        return network_of(config.network, config.features.bins, Alphabet(config.alphabet).size)


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

"""A model file, opened: config, front end, and weights that are decoded one by one when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..features import TINY_DEVIATION, FrontEnd
from ..model_config import ModelConfig
from ..text import Alphabet
from .metadata import build, described, empty_network, opened
from .storage import Storage, restore


class StoredTensors(Mapping[str, Tensor]):
    """The tensors of a model file under their names in it. Each access decodes one to its dense form and keeps nothing.

    Raises:
        InputError: on access: a damaged part, NaN or infinity
    """

    def __init__(self, file: Any, storage: Mapping[str, Storage | None], path: str | Path, prefix: str) -> None:
        self.file, self.path, self.prefix = file, path, prefix
        self.storage = {key: form for key, form in storage.items() if key.startswith(prefix)}

    def __iter__(self) -> Iterator[str]:
        return (key.removeprefix(self.prefix) for key in self.storage)

    def __contains__(self, name: object) -> bool:
        return f"{self.prefix}{name}" in self.storage  # a Mapping's own would decode it

    def __len__(self) -> int:
        return len(self.storage)

    def __getitem__(self, name: str) -> Tensor:
        key = f"{self.prefix}{name}"
        storage = self.storage[key]
        if storage is None:
            tensor = self.file.get_tensor(key).clone()  # its own memory: the file may change while the model lives
        else:
            contents = {part: self.file.get_tensor(f"{key}/{part}").numpy() for part in storage.codecs}
            try:
                tensor = torch.from_numpy(restore(storage, contents))
            except ImportError as error:
                raise InputError(f"{self.path}: {error}") from error
            except (ValueError, MemoryError) as error:
                raise InputError(
                    f"{self.path}: {key}, {error}. Copy or download the file again, or export the run again"
                ) from error
        refuse_non_finite(tensor, key, self.path)
        return tensor


@dataclass(frozen=True)
class StoredModel:
    """A model file whose weights stay in it until they are asked for."""

    config: ModelConfig
    provenance: dict[str, Any]
    front_end: FrontEnd  # its buffers are those of the file; eval mode
    tensors: Mapping[str, Tensor]  # as in network.state_dict(); each access decodes one and keeps nothing
    path: Path
    values: Mapping[str, str]  # of each tensor: float32, float16, int8, codebook4 to codebook8; int64 for counters

    @property
    def alphabet(self) -> Alphabet:
        return Alphabet(self.config.alphabet)

    def network(self) -> nn.Module:
        """The network as a torch module, every tensor decoded, in eval mode."""
        network = empty_network(self.config)
        network.load_state_dict(dict(self.tensors), assign=True)
        return network.eval()


def open_model(path: str | Path) -> StoredModel:
    """Open a model file: header, config and shapes are checked, the front end is read, of the weights nothing yet.

    Raises:
        InputError: missing, truncated or foreign file, pickle, other format version, tensors that do not fit the
            config; what only the weights themselves show is found when they are asked for
    """
    file = opened(path)
    description = described(file, path)
    _, front_end = build(description.config, description.shapes, path)
    buffers = StoredTensors(file, description.storage, path, "front_end.")
    for name, buffer in front_end.named_buffers():
        buffer.copy_(buffers[name])
    if description.config.features.normalise == "global" and (front_end.deviation < TINY_DEVIATION).any():
        least = front_end.deviation.min().item()
        raise InputError(f"{path}: front_end.deviation of {least:g}, below {TINY_DEVIATION}; export the run again")
    tensors = StoredTensors(file, description.storage, path, "network.")
    return StoredModel(
        description.config,
        description.provenance,
        front_end.eval(),
        tensors,
        Path(path),
        {name: values_of(form, name) for name, form in zip(tensors, tensors.storage.values())},
    )


def values_of(storage: Storage | None, name: str) -> str:
    """What a tensor's values are stored as."""
    if storage is not None:
        return storage.values
    return "int64" if name.endswith(".num_batches_tracked") else "float32"


def refuse_non_finite(tensor: Tensor, key: str, name: str | Path) -> None:
    if tensor.numel() and not all(edge.isfinite() for edge in tensor.aminmax()):  # quick; NaN would be both edges
        bad = tensor.numel() - int(tensor.isfinite().sum())
        raise InputError(
            f"{name}: {bad} of {tensor.numel()} values of {key} are NaN or infinite; such a model hears nothing. "
            "Export another checkpoint"
        )

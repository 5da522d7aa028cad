"""The configuration of a run: one dataclass, from YAML and flags, stored beside everything that came of it."""

import difflib
import re
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from .augment import AugmentConfig
from .batches import DataConfig
from .errors import InputError
from .features import FeaturesConfig, SpecAugmentConfig
from .model import NetworkConfig
from .pruning import PruningConfig
from .text import Alphabet
from .training import OptimizerConfig


@dataclass(frozen=True)
class ModelConfig:
    """What a trained model needs to be used: the part of a run that its weights depend on.

    Args:
        features: spectrogram front end
        network: shape of the network
        alphabet: symbols that the network writes, in label order; the CTC blank is added
    """

    features: FeaturesConfig = FeaturesConfig()
    network: NetworkConfig = NetworkConfig()
    alphabet: str = Alphabet().symbols

    def __post_init__(self) -> None:
        Alphabet(self.alphabet)  # refuses symbols given twice, and none at all


@dataclass(frozen=True)
class RunConfig:
    """Everything needed to repeat a training.

    Args:
        data: manifests and batches
        features: spectrogram front end
        network: shape of the network
        optimizer: how weights move
        pruning: gradual pruning; none trains a dense network
        augment: speed, gain and noise on training audio; none for none
        spec_augment: masks on training features; none for none
        alphabet: symbols that the network writes, in label order; the CTC blank is added
        epochs: passes over the training data
        seed: initial weights, batches, augmentation and dropout follow from it
        checkpoint_every: optimizer steps between two checkpoints to resume from; one is written after each epoch too
        threads: CPU threads of torch, 0 for as many as there are cores
        precision: Lightning's precision, e.g. 32-true or bf16-mixed; the loss is float32 always
    """

    data: DataConfig
    features: FeaturesConfig = FeaturesConfig()
    network: NetworkConfig = NetworkConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    pruning: PruningConfig | None = None
    augment: AugmentConfig | None = field(default_factory=AugmentConfig)
    spec_augment: SpecAugmentConfig | None = field(default_factory=SpecAugmentConfig)
    alphabet: str = Alphabet().symbols
    epochs: int = 20
    seed: int = 0
    checkpoint_every: int = 200
    threads: int = 0
    precision: str = "32-true"

    def __post_init__(self) -> None:
        Alphabet(self.alphabet)
        if self.epochs < 1 or self.checkpoint_every < 1 or self.threads < 0:
            raise InputError(
                f"config: epochs {self.epochs} and checkpoint_every {self.checkpoint_every} must be at least 1, "
                f"threads {self.threads} at least 0"
            )

    @property
    def model(self) -> ModelConfig:
        """The part that a model file keeps."""
        return ModelConfig(self.features, self.network, self.alphabet)


Config = TypeVar("Config", RunConfig, ModelConfig)


def config_from_dict(values: dict, source: str | Path = "config", kind: type[Config] = RunConfig) -> Config:
    """A config from nested plain values, as YAML, a checkpoint or a model file holds them.

    Raises:
        InputError: unknown key (names the nearest valid one), wrong type, impossible value
    """
    if not isinstance(values, dict):
        raise InputError(f"{source}: expected a mapping of settings, got {type(values).__name__}")
    refuse_unknown_keys(values, kind, source)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, None)
    try:
        return kind(**vars(parser.instantiate(parser.parse_object(values))))
    except (ArgumentError, InputError, TypeError) as error:
        raise InputError(f"{source}: {error}") from error


def config_to_dict(config: Any) -> Any:
    """Nested plain values (dict, list, str, number, bool, None) that `config_from_dict` takes back."""
    if is_dataclass(config):
        return {item.name: config_to_dict(getattr(config, item.name)) for item in fields(config)}
    if isinstance(config, (list, tuple)):
        return [config_to_dict(value) for value in config]
    return str(config) if isinstance(config, Path) else config


def load_config(path: str | Path) -> RunConfig:
    """RunConfig from a YAML file.

    Raises:
        InputError: missing file, broken YAML, and all of `config_from_dict`
    """
    return config_from_dict(read_yaml(path), path)


def read_yaml(path: str | Path) -> dict:
    """The mapping in a YAML file."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML config") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {error}") from error
    return {} if values is None else values


def save_config(config: RunConfig, path: str | Path) -> None:
    """Write `config` as YAML that `load_config` reads."""
    Path(path).write_text(yaml.safe_dump(config_to_dict(config), sort_keys=False), encoding="utf-8")


def refuse_unknown_keys(values: Any, expected: Any, source: str | Path, place: str = "") -> None:
    """InputError for the first key that `expected`, a dataclass or a type made of dataclasses, does not have."""
    if not is_dataclass(expected):  # X | None, tuple[X, ...]: look inside
        for part in get_args(expected):
            refuse_unknown_keys(values, part, source, place)
        return
    if isinstance(values, (list, tuple)):
        for index, value in enumerate(values):
            refuse_unknown_keys(value, expected, source, f"{place}[{index}]")
        return
    if not isinstance(values, dict):
        return  # a wrong type: the parser says so
    kinds = get_type_hints(expected)
    for key, value in values.items():
        name = f"{place}.{key}" if place else str(key)
        if key not in kinds:
            close = difflib.get_close_matches(str(key), kinds, n=1, cutoff=0.0)
            raise InputError(
                f"{source}: unknown key {name}; did you mean {re.sub(r'[^.]*$', '', name)}{close[0]}? "
                f"Known here: {', '.join(kinds)}"
            )
        refuse_unknown_keys(value, kinds[key], source, name)

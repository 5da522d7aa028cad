"""The configuration of a run: one dataclass, from YAML and flags, stored beside everything that came of it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import yaml

from ..augment import AugmentConfig
from ..decoder_config import DecoderConfig
from ..errors import InputError
from ..features import FeaturesConfig, SpecAugmentConfig
from ..files import write_whole
from ..gradients import Absolute, GradientsConfig
from ..model import AnyNetworkConfig, NetworkConfig
from ..model_config import ModelConfig
from ..pruning import PruningConfig
from ..settings import config_from_dict, config_to_dict, differences, read_yaml
from ..text import Alphabet
from .batches import DataConfig
from .module import OptimizerConfig

MOST_SEEDS = 1 << 40  # seeds are multiplied by a million and counted on, in 63 bits


@dataclass(frozen=True)
class RunConfig:
    """Everything needed to repeat a training.

    Args:
        data: manifests and batches
        features: spectrogram front end
        network: shape of the network
        optimizer: how weights move
        pruning: gradual pruning; none trains a dense network
        gradients: sparsified back-propagation through recurrent layers; none for exact gradients
        augment: speed, gain and noise on training audio; none for none
        spec_augment: masks on training features; none for none
        alphabet: symbols that the network writes, in label order; the CTC blank is added
        init_from: trained run folder, checkpoint or model file of the same network, whose weights the training starts
            from; what is zero in it stays zero unless `pruning` is given; none starts from random weights
        epochs: passes over the training data
        seed: initial weights, batches, augmentation and dropout follow from it
        checkpoint_every: optimizer steps between two checkpoints to resume from; one is written after each epoch too
        threads: CPU threads of torch, 0 for as many as there are cores
        precision: of Lightning: 32-true, 16-mixed or bf16-mixed; the loss is float32 always
        decoder: how the trained model is meant to be used, see `lm tune`; training itself decodes greedily
    """

    data: DataConfig
    features: FeaturesConfig = FeaturesConfig()
    network: AnyNetworkConfig = NetworkConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    pruning: PruningConfig | None = None
    gradients: GradientsConfig | None = None
    augment: AugmentConfig | None = field(default_factory=AugmentConfig)
    spec_augment: SpecAugmentConfig | None = field(default_factory=SpecAugmentConfig)
    alphabet: str = Alphabet().symbols
    init_from: Path | None = None
    epochs: int = 20
    seed: int = 0
    checkpoint_every: int = 200
    threads: int = 0
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    decoder: DecoderConfig = DecoderConfig()

    def __post_init__(self) -> None:
        Alphabet(self.alphabet)
        if self.epochs < 1 or self.checkpoint_every < 1 or self.threads < 0:
            raise InputError(
                f"epochs {self.epochs} and checkpoint_every {self.checkpoint_every} must be at least 1, "
                f"threads {self.threads} at least 0"
            )

        if not 0 <= self.seed < MOST_SEEDS:
            raise InputError(f"seed {self.seed} must lie between 0 and {MOST_SEEDS - 1}")

    @property
    def model(self) -> ModelConfig:
        """The part that a model file keeps."""
        return ModelConfig(self.features, self.network, self.alphabet)


def changed_settings(before: dict, now: RunConfig, source: str | Path) -> list[str]:
    """Where a training was told something else, as "place: before -> now".

    What cannot change the weights does not count; settings younger than the training had their defaults in it.

    Args:
        before: plain values of the config it began with
        source: where they were read

    Raises:
        InputError: they are no config
    """
    before, now = (config_to_dict(of_weights(config)) for config in (config_of(before, source), now))
    return differences(before, now)


def of_weights(config: RunConfig) -> RunConfig:
    """A config with defaults for whatever cannot change the weights."""
    data = replace(config.data, workers=DataConfig.workers)
    return replace(config, data=data, checkpoint_every=RunConfig.checkpoint_every, decoder=RunConfig.decoder)


def refuse_scaled_gradients(config: RunConfig) -> None:
    """InputError where a training with these settings would measure gradients of a scaled loss.

    Asked where a training begins: runs of before are still to be read.
    """
    asked = config.gradients
    if asked is not None and config.precision == "16-mixed" and (asked.probe or isinstance(asked.rule, Absolute)):
        raise InputError(
            "precision 16-mixed scales the loss, and gradients with it: an absolute threshold and the probe of "
            "`gradients` would see others than were asked for. Take bf16-mixed, or another rule and probe: false"
        )


def load_config(path: str | Path) -> RunConfig:
    """RunConfig from a YAML file.

    Raises:
        InputError: missing file, broken YAML, and all of `config_of`
    """
    return config_of(read_yaml(path), path)


def save_config(config: RunConfig, path: str | Path) -> None:
    """Write `config` as YAML that `load_config` reads.

    Raises:
        InputError: when it cannot be written
    """
    write_whole(path, yaml.safe_dump(config_to_dict(config), sort_keys=False).encode())


def config_of(values: dict, source: str | Path = "config") -> RunConfig:
    """RunConfig from nested plain values, see `config_from_dict`."""
    return config_from_dict(values, source, RunConfig)

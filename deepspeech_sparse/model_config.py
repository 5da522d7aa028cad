"""What a trained model needs to be used, as every model file holds it."""

from dataclasses import dataclass

from .errors import InputError
from .features import FeaturesConfig
from .model import AnyNetworkConfig, NetworkConfig
from .text import Alphabet

LONGEST_FRAME = 1.0  # s of an output frame; people say more than one letter in it


@dataclass(frozen=True)
class ModelConfig:
    """What a trained model needs to be used: the part of a run that its weights depend on.

    Args:
        features: spectrogram front end
        network: shape of the network
        alphabet: symbols that the network writes, in label order; the CTC blank is added
    """

    features: FeaturesConfig = FeaturesConfig()
    network: AnyNetworkConfig = NetworkConfig()
    alphabet: str = Alphabet().symbols

    def __post_init__(self) -> None:
        Alphabet(self.alphabet)  # refuses symbols given twice, and none at all
        if self.seconds_per_frame > LONGEST_FRAME:
            raise InputError(
                f"features.hop {self.features.hop} s times the network's time stride {self.network.time_stride} is "
                f"{self.seconds_per_frame:g} s, of which one label is written; {LONGEST_FRAME:g} s are the "
                "most, 0.02 to 0.08 usual"
            )

    @property
    def seconds_per_frame(self) -> float:
        """Of the network's output, in whole samples: times of texts are counted in it."""
        return self.features.hop_seconds * self.network.time_stride

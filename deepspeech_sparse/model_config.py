"""What a trained model needs to be used, as every model file holds it."""

from dataclasses import dataclass

from .features import FeaturesConfig
from .model import AnyNetworkConfig, NetworkConfig
from .text import Alphabet


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

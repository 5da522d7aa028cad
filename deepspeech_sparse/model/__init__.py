"""The network: masked convolutions, then recurrent layers or a Conformer, and the CTC head; or Wav2Letter.

Symbols, once for the whole package: B batch, T frames, F bins, C channels, H hidden units, V labels.
"""

from .config import AnyNetworkConfig, ConformerConfig, ConvolutionConfig, NetworkConfig, Wav2LetterConfig
from .network import Network, network_of

__all__ = [
    "AnyNetworkConfig",
    "ConformerConfig",
    "ConvolutionConfig",
    "Network",
    "NetworkConfig",
    "Wav2LetterConfig",
    "network_of",
]

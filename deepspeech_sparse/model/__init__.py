"""The network: masked convolutions, recurrent layers, an optional lookahead convolution and the CTC head.

Symbols, once for the whole package: B batch, T frames, F bins, C channels, H hidden units, V labels.
"""

from .config import ConvolutionConfig, NetworkConfig
from .network import Network

__all__ = ["ConvolutionConfig", "Network", "NetworkConfig"]

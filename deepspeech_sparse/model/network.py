"""The whole network: features in, one score per label and output frame out.

The recurrent one is here, the others are in `conformer.py` and `wav2letter.py`; `network_of` picks. All have
`output_frames`, and a last layer called `head`.
"""

from torch import Tensor, nn

from .config import AnyNetworkConfig, ConformerConfig, NetworkConfig, Wav2LetterConfig
from .conformer import ConformerNetwork
from .convolution import Convolutions
from .lookahead import Lookahead
from .masking import SequenceNorm, clipped_relu
from .recurrent import recurrent_layer
from .wav2letter import Wav2LetterNetwork


class FullyConnected(nn.Module):
    """Linear, sequence-wise batch norm, clipped ReLU: H^2 + 2 H parameters when H features go in and out."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, units, bias=False)
        self.norm = SequenceNorm(units)

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:
        return clipped_relu(self.norm(self.linear(x), frames))


class Network(nn.Module):
    """Convolutions, recurrent layers, lookahead, fully connected layer, CTC head (Deep Speech 2, figure 1).

    Args:
        config: the shape
        bins: features per frame (F)
        labels: size of the alphabet with the blank (V)

    Shapes:
        features (B, T, F), frames (B,) -> logits (B, T', V), frames (B,) with T' = output_frames(T)

        |x x x x x x x x . .|  stride 2 in time  |y y y y .|
    """

    def __init__(self, config: NetworkConfig, bins: int, labels: int) -> None:
        super().__init__()
        self.convolutions = Convolutions(config.convolutions, bins)
        widths = [self.convolutions.features, *[config.recurrent_features] * (config.layers - 1)]
        self.recurrent = nn.ModuleList(
            recurrent_layer(width, config, first=index == 0) for index, width in enumerate(widths)
        )
        self.dropout = nn.Dropout(config.dropout)
        features = config.recurrent_features
        self.lookahead = Lookahead(features, config.lookahead) if config.lookahead else None
        self.fully_connected = FullyConnected(features, config.fully_connected) if config.fully_connected else None
        self.head = nn.Linear(config.fully_connected or features, labels)

    def output_frames(self, frames):
        """Output frames for input frames, an int or a tensor of ints."""
        return self.convolutions.output_frames(frames)

    def forward(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        x, frames = self.convolutions(features, frames)
        for layer in self.recurrent:
            x = self.dropout(layer(x, frames))
        if self.lookahead is not None:
            x = self.lookahead(x)
        if self.fully_connected is not None:
            x = self.fully_connected(x, frames)
        return self.head(x), frames


def network_of(config: AnyNetworkConfig, bins: int, labels: int) -> Network | ConformerNetwork | Wav2LetterNetwork:
    """The network of a config.

    Args:
        bins: features per frame (F)
        labels: size of the alphabet with the blank (V)
    """
    if isinstance(config, ConformerConfig):
        return ConformerNetwork(config, bins, labels)
    if isinstance(config, Wav2LetterConfig):
        return Wav2LetterNetwork(bins, labels)
    return Network(config, bins, labels)

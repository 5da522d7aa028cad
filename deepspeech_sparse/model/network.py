"""The whole network: features in, one score per label and output frame out."""

from torch import Tensor, nn

from .config import NetworkConfig
from .convolution import MaskedConvolution
from .lookahead import Lookahead
from .masking import SequenceNorm, clipped_relu, frame_mask
from .recurrent import recurrent_layer


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
        channels = [1, *(convolution.channels for convolution in config.convolutions)]
        self.convolutions = nn.ModuleList(
            MaskedConvolution(channels_in, convolution)
            for channels_in, convolution in zip(channels, config.convolutions)
        )
        for convolution in config.convolutions:
            bins = -(-bins // convolution.stride[0])
        widths = [channels[-1] * bins, *[config.recurrent_features] * (config.layers - 1)]
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
        for convolution in self.convolutions:
            frames = convolution.output_frames(frames)
        return frames

    def forward(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        x = features * frame_mask(frames, features.shape[1])[..., None]
        x = x.unsqueeze(2)  # (B, T, C = 1, F)
        for convolution in self.convolutions:
            x, frames = convolution(x, frames)
        x = x.flatten(2)  # (B, T', C * F')
        for layer in self.recurrent:
            x = self.dropout(layer(x, frames))
        if self.lookahead is not None:
            x = self.lookahead(x)
        if self.fully_connected is not None:
            x = self.fully_connected(x, frames)
        return self.head(x), frames

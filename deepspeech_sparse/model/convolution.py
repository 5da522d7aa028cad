"""The convolutions at the bottom of the network, exact for padded batches."""

from torch import Tensor, nn

from .config import ConvolutionConfig
from .masking import SequenceNorm, clipped_relu, frame_mask


class MaskedConvolution(nn.Module):
    """2-D convolution, sequence-wise batch norm, clipped ReLU; zero beyond each utterance's end.

    Zeros beyond the end are what an utterance alone would see there (the convolution's own zero padding), so
    neighbours in a batch never change a result.

    Shapes:
        x: (B, T, F, C), frames: (B,) -> (B, ceil(T / s), ceil(F / s'), C'), (B,)
    """

    def __init__(self, channels_in: int, config: ConvolutionConfig) -> None:
        super().__init__()
        bins, frames = config.kernel
        self.convolution = nn.Conv2d(
            channels_in,
            config.channels,
            kernel_size=(frames, bins),
            stride=config.stride[::-1],
            padding=(frames // 2, bins // 2),
            bias=False,  # the norm has a shift
        )
        self.norm = SequenceNorm(config.channels)

    def output_frames(self, frames):
        """Frames after the time stride, for an int or a tensor of ints: ceil(frames / stride)."""
        stride = self.convolution.stride[0]
        return (frames + stride - 1) // stride

    def forward(self, x: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        x = self.convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # (B, T', F', C'), no copies
        frames = self.output_frames(frames)
        return clipped_relu(self.norm(x, frames)), frames


class Convolutions(nn.ModuleList):
    """The convolutions at the bottom, in order, and their channels and bins side by side.

    Shapes:
        features (B, T, F), frames (B,) -> (B, T', C * F'), frames (B,); zeros after each length
    """

    def __init__(self, configs: tuple[ConvolutionConfig, ...], bins: int) -> None:
        channels = [1, *(config.channels for config in configs)]
        super().__init__(MaskedConvolution(channels_in, config) for channels_in, config in zip(channels, configs))
        for config in configs:
            bins = -(-bins // config.stride[0])
        self.features = channels[-1] * bins  # C * F'

    def output_frames(self, frames):
        """Output frames for input frames, an int or a tensor of ints."""
        for convolution in self:
            frames = convolution.output_frames(frames)
        return frames

    def forward(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        x = features * frame_mask(frames, features.shape[1])[..., None]
        # Channels last throughout: in the other layout the gradient of the first convolution takes eight times as long.
        x = x.unsqueeze(-1)  # (B, T, F, C = 1)
        for convolution in self:
            x, frames = convolution(x, frames)
        return x.transpose(2, 3).flatten(2), frames

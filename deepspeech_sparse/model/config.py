"""What a network looks like: plain numbers, checked once, stored in every model file."""

import math
from dataclasses import dataclass, field
from typing import Literal

from ..errors import InputError


@dataclass(frozen=True)
class ConvolutionConfig:
    """One 2-D convolution over bins and frames.

    Args:
        channels: feature maps it makes
        kernel: width in (bins, frames), both odd so that frames stay aligned with the audio
        stride: step in (bins, frames); the product of all frame strides is the time reduction of the network
    """

    channels: int = 32
    kernel: tuple[int, int] = (41, 11)
    stride: tuple[int, int] = (2, 2)

    def __post_init__(self) -> None:
        if self.channels < 1 or min(self.stride) < 1:
            raise InputError(f"convolution: channels {self.channels} and stride {self.stride} must be at least 1")
        if min(self.kernel) < 1 or any(width % 2 == 0 for width in self.kernel):
            raise InputError(f"convolution: kernel {self.kernel} must be odd in both directions, e.g. (41, 11)")


def time_stride_of(convolutions: tuple[ConvolutionConfig, ...]) -> int:
    """Frames of the features for each frame of the output."""
    return math.prod(convolution.stride[1] for convolution in convolutions)


def refuse_wrong_convolutions(convolutions: tuple[ConvolutionConfig, ...]) -> None:
    """InputError unless there are as many convolutions as a network can have below its layers."""
    if not 1 <= len(convolutions) <= 3:
        raise InputError(f"network: {len(convolutions)} convolutions; give 1 to 3")


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of the recurrent network between features and label scores.

    Args:
        encoder: tells the shapes of networks apart: recurrent, conformer or wav2letter
        convolutions: 1 to 3 convolutions, in order
        cell: rnn, gru or lstm (torch's fused layers), or clipped_rnn, the layer of Narang et al. 2017
        layers: number of recurrent layers
        hidden: units per direction (H)
        bidirectional: read the utterance in both directions; such a model cannot stream
        merge: how two directions are joined: their sum (H features) or side by side (2 H features)
        batch_norm: sequence-wise batch norm before every recurrent layer but the first; the fully connected layer
            always has it, and clipped_rnn, on its input term
        dropout: share of each recurrent layer's outputs set to zero in training
        lookahead: future frames seen by the lookahead convolution, 0 for none
        fully_connected: units of the layer before the CTC head, 0 for none
    """

    encoder: Literal["recurrent"] = field(default="recurrent", kw_only=True)
    convolutions: tuple[ConvolutionConfig, ...] = (
        ConvolutionConfig(32, (41, 11), (2, 2)),
        ConvolutionConfig(32, (21, 11), (2, 1)),
    )
    cell: Literal["rnn", "gru", "lstm", "clipped_rnn"] = "gru"
    layers: int = 5
    hidden: int = 1024
    bidirectional: bool = True
    merge: Literal["sum", "concat"] = "sum"
    batch_norm: bool = True
    dropout: float = 0.0
    lookahead: int = 0
    fully_connected: int = 0

    def __post_init__(self) -> None:
        refuse_wrong_convolutions(self.convolutions)
        if self.layers < 1 or self.hidden < 1:
            raise InputError(f"network: layers {self.layers} and hidden {self.hidden} must be at least 1")
        if not 0 <= self.dropout < 1:
            raise InputError(f"network: dropout {self.dropout} must be at least 0 and below 1")
        if self.lookahead < 0 or self.fully_connected < 0:
            raise InputError("network: lookahead and fully_connected must be 0 (none) or more")
        if self.cell == "clipped_rnn" and self.merge != "sum":
            raise InputError("network: clipped_rnn sums its directions; set merge: sum")

    @property
    def time_stride(self) -> int:
        """Frames of the features for each frame of the output."""
        return time_stride_of(self.convolutions)

    @property
    def recurrent_features(self) -> int:
        """Features a frame has after the recurrent layers."""
        return self.hidden * (2 if self.bidirectional and self.merge == "concat" else 1)


@dataclass(frozen=True)
class ConformerConfig:
    """Shape of a Conformer (Gulati et al. 2020, arXiv 2005.08100); the defaults are the encoder of its size S, Table 1.

    Args:
        encoder: conformer
        convolutions: 1 to 3 convolutions below it; the paper reduces time by 4
        layers: number of Conformer blocks
        hidden: features of a frame in all of them (H)
        heads: attention heads that share them
        feed_forward: units inside the two feed-forward modules of a block
        kernel: frames seen by the depthwise convolution, odd so that frames stay aligned with the audio
        dropout: share of outputs set to zero in training, of every module of a block
    """

    encoder: Literal["conformer"] = field(default="conformer", kw_only=True)
    convolutions: tuple[ConvolutionConfig, ...] = (
        ConvolutionConfig(32, (3, 3), (2, 2)),
        ConvolutionConfig(32, (3, 3), (2, 2)),
    )
    layers: int = 16
    hidden: int = 144
    heads: int = 4
    feed_forward: int = 576
    kernel: int = 31
    dropout: float = 0.1

    def __post_init__(self) -> None:
        refuse_wrong_convolutions(self.convolutions)
        if min(self.layers, self.hidden, self.heads, self.feed_forward) < 1:
            raise InputError(
                f"network: layers {self.layers}, hidden {self.hidden}, heads {self.heads} and feed_forward "
                f"{self.feed_forward} must be at least 1"
            )
        if self.hidden % self.heads:
            near = max(self.hidden // self.heads, 1) * self.heads
            raise InputError(
                f"network: hidden {self.hidden} cannot be shared equally by heads {self.heads}; "
                f"make it a multiple, e.g. {near}"
            )
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise InputError(f"network: kernel {self.kernel} must be odd, e.g. {max(self.kernel, 0) + 1}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"network: dropout {self.dropout} must be at least 0 and below 1")

    @property
    def time_stride(self) -> int:
        """Frames of the features for each frame of the output."""
        return time_stride_of(self.convolutions)


@dataclass(frozen=True)
class Wav2LetterConfig:
    """A Wav2Letter network (Collobert et al. 2016, arXiv 1609.03193): its shape is fixed, 24 M parameters.

    Args:
        encoder: wav2letter
    """

    encoder: Literal["wav2letter"] = field(default="wav2letter", kw_only=True)

    @property
    def layers(self) -> int:
        """Convolutions, the head included."""
        return 11

    @property
    def time_stride(self) -> int:
        """Frames of the features for each frame of the output."""
        return 2


AnyNetworkConfig = NetworkConfig | ConformerConfig | Wav2LetterConfig

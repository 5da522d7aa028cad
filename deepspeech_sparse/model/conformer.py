"""The Conformer: torchaudio's, below it our convolutions, above it the CTC head. Exact for padded batches.

torchaudio hides padding from the attention only. Its depthwise convolution reads the padding, and its batch norm counts
it, so the layers are run here module by module, with torchaudio's weights under torchaudio's names.
"""

from torch import Tensor, nn
from torchaudio.models import Conformer
from torchaudio.models.conformer import ConformerLayer

from .config import ConformerConfig
from .convolution import Convolutions
from .masking import SequenceNorm, frame_mask


class ConformerNetwork(nn.Module):
    """Convolutions, linear layer, Conformer blocks, CTC head (Gulati et al. 2020, figure 1).

    As in torchaudio nothing encodes positions: the convolutions tell the attention where a frame lies.

    Args:
        config: the shape
        bins: features per frame (F)
        labels: size of the alphabet with the blank (V)

    Shapes:
        features (B, T, F), frames (B,) -> logits (B, T', V), frames (B,) with T' = output_frames(T)
    """

    def __init__(self, config: ConformerConfig, bins: int, labels: int) -> None:
        super().__init__()
        self.convolutions = Convolutions(config.convolutions, bins)
        self.linear = nn.Linear(self.convolutions.features, config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.conformer = Conformer(
            config.hidden, config.heads, config.feed_forward, config.layers, config.kernel, config.dropout
        )
        for layer in self.conformer.conformer_layers:
            modules = layer.conv_module.sequential
            [place] = [index for index, module in enumerate(modules) if isinstance(module, nn.BatchNorm1d)]
            modules[place] = SequenceNorm(config.hidden)  # the same parameters, padding not counted
        self.head = nn.Linear(config.hidden, labels)

    def output_frames(self, frames):
        """Output frames for input frames, an int or a tensor of ints."""
        return self.convolutions.output_frames(frames)

    def forward(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        x, frames = self.convolutions(features, frames)
        x = self.dropout(self.linear(x))
        for layer in self.conformer.conformer_layers:
            x = conformer_layer(layer, x, frames)
        return self.head(x), frames


def conformer_layer(layer: ConformerLayer, x: Tensor, frames: Tensor) -> Tensor:
    """What torchaudio's layer makes of each utterance alone; rubbish after each length.

    Equation 1 of Gulati et al. 2020:

        x~ = x + FFN(x) / 2;  x' = x~ + MHSA(x~);  x'' = x' + Conv(x');  y = LayerNorm(x'' + FFN(x'') / 2)

    Shapes: x (B, T, H), frames (B,) -> (B, T, H)
    """
    x = x + layer.ffn1(x) / 2
    queries = layer.self_attn_layer_norm(x).transpose(0, 1)
    padding = ~frame_mask(frames, x.shape[1])
    attended, _ = layer.self_attn(queries, queries, queries, key_padding_mask=padding, need_weights=False)
    x = x + layer.self_attn_dropout(attended).transpose(0, 1)
    x = x + convolution_module(layer.conv_module, x, frames)
    return layer.final_layer_norm(x + layer.ffn2(x) / 2)


def convolution_module(module: nn.Module, x: Tensor, frames: Tensor) -> Tensor:
    """Figure 2 of Gulati et al. 2020, with zeros where its depthwise convolution would read padding.

    Shapes: x (B, T, H), frames (B,) -> (B, T, H)
    """
    pointwise, gate, depthwise, norm, swish, project, dropout = module.sequential
    x = gate(pointwise(module.layer_norm(x).transpose(1, 2)))  # (B, H, T)
    x = depthwise(x * frame_mask(frames, x.shape[2])[:, None])
    x = norm(x.transpose(1, 2), frames).transpose(1, 2)
    return dropout(project(swish(x))).transpose(1, 2)

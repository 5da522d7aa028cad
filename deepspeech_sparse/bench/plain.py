"""A recurrent network for one utterance without padding, in bare torch layers: quick, exportable, quantisable."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor, nn

from ..gradients import GRU, LSTM, RNN
from ..model import Network
from ..model.masking import clipped_relu


class PlainNetwork(nn.Module):
    """The same weights as `network`, no masks, torch's own recurrent layers.

    Shapes:
        features (1, T, F) -> logits (1, T', V)
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        for layer in self.network.recurrent:
            layer.cell = torchs_own(layer.cell)

    def forward(self, features: Tensor) -> Tensor:
        x = features[:, None]  # (1, C = 1, T, F)
        for layer in self.network.convolutions:
            x = clipped_relu(normalised(layer.norm, layer.convolution(x)))
        x = x.transpose(1, 2).flatten(2)
        for layer in self.network.recurrent:
            if layer.norm is not None:
                x = normalised(layer.norm, x.transpose(1, 2)).transpose(1, 2)
            x = layer.cell(x)[0]
            if layer.sum_directions:
                forwards, backwards = x.chunk(2, dim=-1)
                x = forwards + backwards
        return self.network.head(x)


def torchs_own(layer: GRU | LSTM | RNN) -> nn.RNNBase:
    """The layer of torch that ours is: same weights, torch's code."""
    own = next(kind for kind in type(layer).__mro__ if kind.__module__.startswith("torch."))
    names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
    more = {"nonlinearity": layer.nonlinearity} if isinstance(layer, nn.RNN) else {}
    plain = own(**{name: getattr(layer, name) for name in names}, **more)
    plain.load_state_dict(layer.state_dict())
    return plain.train(layer.training)


def normalised(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """The norm in eval mode, over dimension 1."""
    return nn.functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


def with_integers(network: PlainNetwork) -> nn.Module:
    """Its recurrent layers and head with 8-bit weights, activations quantised as they come: torch's dynamic int8."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces a successor, which has no GRU
        return torch.ao.quantization.quantize_dynamic(network, {nn.GRU, nn.Linear}, dtype=torch.qint8)

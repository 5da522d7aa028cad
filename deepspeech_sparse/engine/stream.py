"""A network in one direction that hears as time goes on: its log-probabilities are those of the whole utterance.

Every layer keeps what its next output needs and nothing else, so a chunk costs the same after an hour as at the start.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..model.config import NetworkConfig
from ..model.masking import clipped_relu
from .convolution import SparseConvolution
from .network import SparseNetwork, look_ahead


class ConvolutionStream:
    """A convolution over time whose outputs are given once all of their inputs are there.

    Output j sees the inputs from j s - p to j s + p (stride s, p half the kernel). The layer itself pads with zeros, so
    it is given the last inputs again, and what it makes of the edges is dropped:

        inputs kept    . . x x x x x x x n n n n       n new
        outputs          e   e   y   y   e             e edge, y given
    """

    def __init__(self, convolution: SparseConvolution) -> None:
        self.convolution = convolution
        self.stride, self.half = convolution.stride[0], convolution.shape[2] // 2
        self.edge = -(-self.half // self.stride)  # outputs
        self.kept: Tensor | None = None  # (C, F, frames)
        self.first = 0  # input that `kept` begins with, a multiple of the stride
        self.given = 0  # outputs

    def __call__(self, x: Tensor, last: bool, threads: int) -> Tensor | None:
        """Some frames more: (C, F, t) -> (C', F', t'), None for no output."""
        self.kept = x if self.kept is None else torch.cat([self.kept, x], dim=2)
        seen = self.first + self.kept.shape[2]
        ready = -(-seen // self.stride) if last else max(0, (seen - 1 - self.half) // self.stride + 1)
        if ready <= self.given:
            return None
        begin = self.first // self.stride
        y = self.convolution(self.kept, threads)[:, :, self.given - begin : ready - begin]
        self.given = ready
        first = max(0, ready - self.edge) * self.stride
        self.kept, self.first = self.kept[:, :, first - self.first :], first
        return y


class NetworkStream:
    """A `SparseNetwork` with one direction, fed with features piece by piece.

    Args:
        network: not changed; several streams may share it
    """

    def __init__(self, network: SparseNetwork) -> None:
        self.network = network
        self.convolutions = [ConvolutionStream(convolution) for convolution in network.convolutions.values()]
        self.states = [layer.first_state() for _, layer in network.layers]
        self.waiting = torch.zeros(0, network.layers[-1][1].outputs)  # frames whose future is not there yet

    @torch.inference_mode()
    def __call__(self, features: Tensor, *, last: bool = False) -> Tensor:
        """Some frames more.

        Args:
            features: (t, F), any t
            last: whether the utterance ends here

        Returns:
            logits (t', V) of the output frames that are sure now
        """
        network = self.network
        threads = network.threads or torch.get_num_threads()
        nothing = torch.zeros(0, network.head.shape[0])
        x: Tensor | None = features.t()[None]  # channels, bins, frames
        for convolution in self.convolutions:
            if x is None:  # nothing new from below, but the end may bring something
                x = convolution.kept[:, :, :0] if last and convolution.kept is not None else None
            x = None if x is None else convolution(x, last, threads)
        if x is not None:
            x = x.flatten(0, 1).t()
            counts = torch.ones(len(x), dtype=torch.int64)
            for (norm, layer), state in zip(network.layers, self.states):
                x = layer(x if norm is None else norm(x), counts, threads, state)
        elif not last:
            return nothing
        x = self.with_lookahead(x, last)
        if not len(x):
            return nothing
        if network.fully_connected is not None:
            matrix, norm = network.fully_connected
            x = clipped_relu(norm(matrix.linear(x, threads)))
        return network.head.linear(x, threads) + network.head_bias

    def with_lookahead(self, x: Tensor | None, last: bool) -> Tensor:
        """Frames (t, H) that have seen all they may of the future."""
        if x is not None:
            self.waiting = torch.cat([self.waiting, x])
        weight = self.network.lookahead
        context = 0 if weight is None else weight.shape[-1] - 1
        ready = len(self.waiting) if last else max(0, len(self.waiting) - context)
        if not ready:
            return self.waiting[:0]
        y = self.waiting if weight is None else look_ahead(self.waiting, weight)
        self.waiting = self.waiting[ready:]
        return y[:ready]


def future_frames(config: NetworkConfig) -> int:
    """Frames of the features after the one below an output frame that it depends on."""
    future = config.lookahead
    for convolution in reversed(config.convolutions):
        future = future * convolution.stride[1] + convolution.kernel[1] // 2
    return future

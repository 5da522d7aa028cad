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
        # With a stride beyond the kernel the next output may begin after all that was heard.
        first = min(max(0, ready - self.edge), seen // self.stride) * self.stride
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
        self.begin()

    def begin(self) -> None:
        """The recurrent layers remember nothing."""
        layers = [layer for _, layer in self.network.layers]
        self.states = [layer.first_state() for layer in layers]
        self.below = torch.zeros(0, layers[0].features)  # what they heard, of the frames in `waiting`
        self.waiting = torch.zeros(0, layers[-1].outputs)  # frames whose future is not there yet

    @torch.inference_mode()
    def __call__(self, features: Tensor, *, last: bool = False) -> Tensor:
        """Some frames more.

        Args:
            features: (t, F), any t
            last: whether the utterance ends here

        Returns:
            logits (t', V) of the output frames that are sure now
        """
        x: Tensor | None = features.t()[None]  # channels, bins, frames
        for convolution in self.convolutions:
            if x is None:  # nothing new from below, but the end may bring something
                x = convolution.kept[:, :, :0] if last and convolution.kept is not None else None
            x = None if x is None else convolution(x, last, self.threads)
        return self.recur(self.below[:0] if x is None else x.flatten(0, 1).t(), last)

    @torch.inference_mode()
    def restart(self, left: Tensor, *, last: bool = False) -> Tensor:
        """Forget what was said before, and hear again what came after it.

        Args:
            left: (t, features) what the recurrent layers heard in frames whose logits are of no use, see `heard`
            last: as given with the features of these frames

        Returns:
            logits (t', V), as of a call
        """
        again = torch.cat([left, self.below])
        self.begin()
        return self.recur(again, last)

    def recur(self, x: Tensor, last: bool) -> Tensor:
        """What lies above the convolutions: (t, features) -> logits (t', V)."""
        network, threads = self.network, self.threads
        self.below = torch.cat([self.below, x])
        if len(x):
            counts = torch.ones(len(x), dtype=torch.int64)
            for (norm, layer), state in zip(network.layers, self.states):
                x = layer(x if norm is None else norm(x), counts, threads, state)
            self.waiting = torch.cat([self.waiting, x])
        x = self.with_lookahead(last)
        self.heard, self.below = self.below[: len(x)], self.below[len(x) :]  # of the frames that are given, and after
        if not len(x):
            return torch.zeros(0, network.head.shape[0])
        if network.fully_connected is not None:
            matrix, norm = network.fully_connected
            x = clipped_relu(norm(matrix.linear(x, threads)))
        return network.head.linear(x, threads) + network.head_bias

    @property
    def threads(self) -> int:
        return self.network.threads or torch.get_num_threads()

    def with_lookahead(self, last: bool) -> Tensor:
        """Frames (t, H) that have seen all they may of the future."""
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

"""A whole network without its zeros: the recurrent network of `model/network.py`, in the engine's products."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from ..model.config import NetworkConfig
from ..model.masking import clipped_relu
from .convolution import SparseConvolution
from .recurrent import Direction, Recurrence
from .sequences import Packing
from .sparse import SparseMatrix
from .weights import Affine, Weights


class SparseNetwork:
    """What `Network` computes in eval mode, on the CPU, without a gradient.

    Args:
        config: the shape
        tensors: the state of the network, by its names; each is asked for once, packed and let go
        values: which of the matrices hold float16 or int8 numbers (and a scale for each row): they stay that small
        threads: how many work at the same time, torch.get_num_threads() unless given

    Raises:
        ValueError: tensors that do not fit each other, a batch norm with a negative variance
    """

    def __init__(
        self,
        config: NetworkConfig,
        tensors: Mapping[str, Tensor],
        *,
        values: Mapping[str, str] = MappingProxyType({}),
        threads: int | None = None,
    ) -> None:
        self.config, self.threads = config, threads
        weights = Weights(tensors, values)
        for index, convolution in enumerate(config.convolutions):
            weights.convolution(f"convolutions.{index}", convolution)
        self.layers = [layer_of(weights, f"recurrent.{i}", config) for i in range(config.layers)]
        self.lookahead = weights.dense("lookahead.weight") if config.lookahead else None
        self.fully_connected = None
        if config.fully_connected:
            self.fully_connected = weights.matrix("fully_connected.linear.weight"), weights.norm("fully_connected.norm")
        self.head, self.head_bias = weights.matrix("head.weight"), weights.dense("head.bias")
        self.convolutions: dict[str, SparseConvolution] = weights.convolutions
        self.matrices: dict[str, SparseMatrix] = weights.matrices

    def output_frames(self, frames):
        """Output frames for input frames, an int or a tensor of ints."""
        for convolution in self.config.convolutions:
            frames = (frames + convolution.stride[1] - 1) // convolution.stride[1]
        return frames

    @torch.inference_mode()
    def __call__(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes: features (B, T, F), frames (B,) -> logits (B, T', V), frames (B,); zeros beyond each length."""
        threads = self.threads or torch.get_num_threads()
        lengths = frames.tolist()
        sequences = [self.convolve(x[:length], threads) for x, length in zip(features, lengths)]
        packing = Packing.of([len(sequence) for sequence in sequences])
        x = packing.pack(sequences)
        del sequences
        for norm, layer in self.layers:
            x = layer(x if norm is None else norm(x), packing.counts, threads)
        if self.lookahead is not None:
            x = packing.pack([look_ahead(sequence, self.lookahead) for sequence in packing.unpack(x)])
        if self.fully_connected is not None:
            matrix, norm = self.fully_connected
            x = clipped_relu(norm(matrix.linear(x, threads)))
        logits = packing.unpack(self.head.linear(x, threads) + self.head_bias)
        padded = logits[0].new_zeros(len(logits), self.output_frames(features.shape[1]), self.head.shape[0])
        for row, sequence in zip(padded, logits):
            row[: len(sequence)] = sequence
        return padded, self.output_frames(frames)

    def convolve(self, x: Tensor, threads: int) -> Tensor:
        """One utterance through the convolutions: (T, F) -> (T', C * F')."""
        if not len(x):  # no convolution is defined for it
            return x.new_zeros(0, self.layers[0][1].features)
        x = x.t()[None]  # channels, bins, frames
        for convolution in self.convolutions.values():
            x = convolution(x, threads)
        return x.flatten(0, 1).t()


def layer_of(weights: Weights, name: str, config: NetworkConfig) -> tuple[Affine | None, Recurrence]:
    """A recurrent layer and the norm of its input."""
    suffixes = ("", "_reverse") if config.bidirectional else ("",)
    sum = config.merge == "sum"
    if config.cell == "clipped_rnn":
        matrix, norm = weights.matrix(f"{name}.weight_ih"), weights.norm(f"{name}.norm")
        directions = [
            Direction(matrix, weights.matrix(f"{name}.weight_hh{suffix}", frames=1), norm.shift, norm.scale)
            for suffix in suffixes
        ]
        return None, Recurrence(config.cell, tuple(directions), sum=sum)
    directions = []
    for suffix in suffixes:
        of_input, of_state = (weights.dense(f"{name}.cell.bias_{part}_l0{suffix}") for part in ("ih", "hh"))
        bias = None
        if config.cell == "gru":  # the reset gate lies between the two biases of the new gate
            bias = of_state[-config.hidden :].clone()
            of_state = torch.cat([of_state[: -config.hidden], torch.zeros(config.hidden)])
        directions.append(
            Direction(
                weights.matrix(f"{name}.cell.weight_ih_l0{suffix}"),
                weights.matrix(f"{name}.cell.weight_hh_l0{suffix}", frames=1),
                of_input + of_state,
                bias=bias,
            )
        )
    norm = weights.norm(f"{name}.norm") if config.batch_norm and name != "recurrent.0" else None
    return norm, Recurrence(config.cell, tuple(directions), sum=sum)


def look_ahead(x: Tensor, weight: Tensor) -> Tensor:
    """`Lookahead` for one utterance: (T, H) -> (T, H)."""
    if not len(x):  # no convolution is defined for it
        return x
    x = nn.functional.pad(x.t(), (0, weight.shape[-1] - 1))
    return nn.functional.conv1d(x, weight, groups=weight.shape[0]).t()

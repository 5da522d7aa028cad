"""torch's LSTM, GRU and RNN with gate gradients that may be rounded: same arguments, same results, same state dicts.

Where nothing is rounded they are torch's own layers or, on a CPU, the native kernels: over many frames these are as
fast, or faster.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from . import native_direction
from .direction import real_frames
from .function import Recurrence
from .rounded import RoundedGradients


class TorchLayer(RoundedGradients):
    """What the three layers share."""

    @property
    def directions(self) -> int:
        """Directions of all layers."""
        return self.num_layers * (2 if self.bidirectional else 1)

    def forward(self, input, hx=None):
        """See torch's layer of the same name."""
        packed = isinstance(input, PackedSequence)
        if not self.takes(input.data if packed else input):
            return super().forward(input, hx)
        if packed:
            return self.over_packed(input, hx)
        if input.dim() == 2:  # a single utterance
            batch = 0 if self.batch_first else 1
            y, state = self.over(input.unsqueeze(batch), mapped(hx, lambda h: h.unsqueeze(1)))
            return y.squeeze(batch), mapped(state, lambda h: h.squeeze(1))
        return self.over(input, hx)

    def takes(self, x: Tensor) -> bool:
        """Whether our own code runs: to round gradients, to take notes of them, or because it is faster here."""
        if torch.is_grad_enabled() and (any(self.roundings) or self.seen is not None):
            if getattr(self, "proj_size", 0):
                raise ValueError("gradients are not rounded in an LSTM with a projection; set proj_size=0")
            return True
        if not torch.is_grad_enabled() and x.numel() < FEWEST * x.shape[-1]:
            return False
        plain = not getattr(self, "proj_size", 0) and x.numel() > 0 and not torch.is_autocast_enabled(x.device.type)
        seen_by_others = torch.jit.is_tracing() or torch.compiler.is_compiling()  # who need torch's own operators
        return plain and not seen_by_others and native_direction.usable(x, *self.parameters())

    def over(self, input: Tensor, hx=None, lengths: Tensor | None = None):
        """All layers over a padded batch.

        Args:
            input: (T, B, F), or (B, T, F) where `batch_first` is set; finite in the padding, too
            hx: first states (layers * directions, B, H), of an LSTM a pair with those of its memory; zeros by default
            lengths: (B,) frames that are real, all by default; zero is possible

        Returns:
            as torch's layers on packed sequences, zeros in the padding
        """
        if input.dim() != 3 or input.shape[2] != self.input_size:
            wanted = f"2 or 3 dimensions are needed, the last of them input_size = {self.input_size}"
            raise RuntimeError(f"input {tuple(input.shape)}: {wanted}")
        x = input.transpose(0, 1) if self.batch_first else input
        total, batch = x.shape[:2]
        lengths = torch.full((batch,), total) if lengths is None else in_whole_numbers(lengths)
        if lengths.shape != (batch,) or (batch and not 0 <= lengths.min() <= lengths.max() <= total):
            raise RuntimeError(f"lengths {lengths.tolist()} for {batch} utterances in {total} frames")
        dtype = self.weight_hh_l0.dtype
        if x.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
            raise ValueError(f"input {x.dtype}: the weights are {dtype}")
        first = self.first_states(hx, x, dtype)
        whole = bool((lengths == total).all()) or hx is None  # padding then keeps the first state, which is zero
        lasts = []
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(dtype)
            for layer in range(self.num_layers):
                if layer and self.dropout:
                    x = nn.functional.dropout(x, self.dropout, self.training)
                outputs = []
                for backwards in range(self.directions // self.num_layers):
                    y, *last = self.direction(x, lengths, first, layer, bool(backwards))
                    outputs.append(y if whole else y * real_frames(lengths, total, x.device))
                    lasts.append(last)
                x = torch.cat(outputs, dim=-1) if len(outputs) > 1 else outputs[0]
        states, memories = (torch.stack(parts) if parts[0] is not None else None for parts in zip(*lasts))
        y = x.transpose(0, 1) if self.batch_first else x
        return y, states if memories is None else (states, memories)

    def first_states(self, hx, x: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """[h] or [h, c], each (layers * directions, B, H)."""
        count = 2 if self.mode == "LSTM" else 1
        if hx is None:
            return [x.new_zeros(self.directions, x.shape[1], self.hidden_size, dtype=dtype)] * count
        states = list(hx) if count == 2 else [hx]
        wanted = (self.directions, x.shape[1], self.hidden_size)
        if any(tuple(state.shape) != wanted for state in states) or len(states) != count:
            raise RuntimeError(f"hx {[tuple(state.shape) for state in states]}: {count} of {wanted} are needed")
        return [state.to(dtype) for state in states]

    def direction(self, x: Tensor, lengths: Tensor, first: list[Tensor], layer: int, backwards: bool):
        """One direction of one layer: x (T, B, F) -> states (T, B, H), last state, last memory or none."""
        suffix = f"_l{layer}{'_reverse' if backwards else ''}"
        weight_ih, weight_hh = (getattr(self, name + suffix) for name in ("weight_ih", "weight_hh"))
        bias = bias_new = None
        if self.bias:
            bias, bias_hh = (getattr(self, name + suffix) for name in ("bias_ih", "bias_hh"))
            if self.mode == "GRU":  # the last gate's lies behind its reset gate
                bias_new = bias_hh[-self.hidden_size :]
                bias_hh = nn.functional.pad(bias_hh[: -self.hidden_size], (0, self.hidden_size))
            bias = bias + bias_hh
        index = layer * (self.directions // self.num_layers) + backwards
        way = self.way(CELLS[self.mode], index, backwards, lengths)
        memory = first[1][index] if len(first) == 2 else None
        return Recurrence.apply(way, x, weight_ih, weight_hh, bias, bias_new, first[0][index], memory)

    def over_packed(self, input: PackedSequence, hx):
        """`over` a packed sequence, and packed as that was."""
        padded, lengths = pad_packed_sequence(input, self.batch_first)
        y, state = self.over(padded, hx, lengths)
        if input.sorted_indices is not None:
            y = y.index_select(0 if self.batch_first else 1, input.sorted_indices)
            lengths = lengths[input.sorted_indices.cpu()]
        data = pack_padded_sequence(y, lengths, self.batch_first).data
        return PackedSequence(data, input.batch_sizes, input.sorted_indices, input.unsorted_indices), state


FEWEST = 64  # frames of all utterances that are worth packing the weights for
CELLS = {"LSTM": "lstm", "GRU": "gru", "RNN_TANH": "rnn", "RNN_RELU": "relu_rnn"}


def in_whole_numbers(lengths: Tensor) -> Tensor:
    """A copy on the CPU, as the kernels read it: the caller's may change until the backward pass."""
    return lengths.detach().to("cpu", torch.int64, copy=True).contiguous()


def mapped(state, change: Callable[[Tensor], Tensor]):
    """`change` of a state, of both of an LSTM's, or of none."""
    if state is None:
        return None
    return tuple(map(change, state)) if isinstance(state, (tuple, list)) else change(state)


class LSTM(TorchLayer, nn.LSTM):
    """torch.nn.LSTM whose gate gradients may be rounded, see `RoundedGradients`; not with proj_size."""


class GRU(TorchLayer, nn.GRU):
    """torch.nn.GRU whose gate gradients may be rounded, see `RoundedGradients`."""


class RNN(TorchLayer, nn.RNN):
    """torch.nn.RNN, tanh or relu, whose gate gradients may be rounded, see `RoundedGradients`."""

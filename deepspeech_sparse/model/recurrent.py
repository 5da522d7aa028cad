"""Recurrent layers: torch's cells, and the clipped RNN of the sparsity paper.

Both map (B, T, features) and frames (B,) to (B, T, features') with zeros after each length, and neither lets padding
touch a real frame. The gate gradients of both may be rounded in training, see `gradients/`.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ..gradients import GRU, LSTM, RNN, RoundedGradients
from ..gradients.function import Recurrence, Way
from ..gradients.layers import in_whole_numbers
from .config import NetworkConfig
from .masking import SequenceNorm

FUSED = {"rnn": RNN, "gru": GRU, "lstm": LSTM}


class FusedRecurrence(nn.Module):
    """One RNN, GRU or LSTM layer, with sequence-wise batch norm on its input.

    torch's GRU applies the reset gate after the recurrent product, as Deep Speech 2 does.
    """

    def __init__(self, features: int, config: NetworkConfig, *, norm: bool) -> None:
        super().__init__()
        self.norm = SequenceNorm(features) if norm else None
        self.cell = FUSED[config.cell](features, config.hidden, batch_first=True, bidirectional=config.bidirectional)
        self.sum_directions = config.bidirectional and config.merge == "sum"

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:
        if self.norm is not None:
            x = self.norm(x, frames)
        # torch's own layers know packed sequences alone, none of them empty; ours do without.
        ours = self.cell.takes(x) or not frames.all()
        y = self.cell.over(x, lengths=frames)[0] if ours else self.packed(x, frames)
        if self.sum_directions:
            forwards, backwards = y.chunk(2, dim=-1)
            y = forwards + backwards
        return y

    def packed(self, x: Tensor, frames: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, frames.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.cell(packed)[0], batch_first=True, total_length=x.shape[1])[0]


class ClippedRecurrence(RoundedGradients, nn.Module):
    """The paper's bidirectional layer: one input matrix for both directions, their outputs summed.

    Narang et al. 2017, section 4; Deep Speech 2, Eq. 9:

        a_t = BN(W x_t);  h_t = f(a_t + U h_{t-1});  g_t = f(a_t + V g_{t+1})
        y_t = h_t + g_t;  f(x) = min(max(x, 0), 20)

    Unidirectional: without g.
    """

    def __init__(self, features: int, config: NetworkConfig) -> None:
        super().__init__()
        self.directions = directions = 2 if config.bidirectional else 1
        self.weight_ih = nn.Parameter(torch.empty(config.hidden, features))
        self.weight_hh = nn.Parameter(torch.empty(config.hidden, config.hidden))
        self.weight_hh_reverse = nn.Parameter(torch.empty(config.hidden, config.hidden)) if directions == 2 else None
        self.norm = SequenceNorm(config.hidden)
        nn.init.xavier_uniform_(self.weight_ih)
        for weight in (self.weight_hh, self.weight_hh_reverse)[:directions]:
            # A ReLU recurrence with a gain of one explodes over hundreds of frames; half of it forgets in time.
            nn.init.orthogonal_(weight, gain=0.5)

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:
        inputs = self.norm(nn.functional.linear(x, self.weight_ih), frames)  # (B, T, H), zero in the padding
        with torch.autocast(x.device.type, enabled=False):
            inputs, lengths = inputs.to(self.weight_hh.dtype).transpose(0, 1), in_whole_numbers(frames)
            y = self.recur(inputs, self.weight_hh, self.way("clipped_rnn", 0, False, lengths))
            if self.weight_hh_reverse is not None:
                y = y + self.recur(inputs, self.weight_hh_reverse, self.way("clipped_rnn", 1, True, lengths))
        return y.transpose(0, 1)

    @staticmethod
    def recur(inputs: Tensor, weight: Tensor, way: Way) -> Tensor:
        """h_t = f(a_t + U h_{t-1}) over all frames, or backwards: (T, B, H) -> (T, B, H)."""
        first = inputs.new_zeros(inputs.shape[1:])
        return Recurrence.apply(way, inputs, None, weight, None, None, first, None)[0]


def recurrent_layer(features: int, config: NetworkConfig, *, first: bool) -> FusedRecurrence | ClippedRecurrence:
    """The layer of `config.cell`; the first one needs no norm on its input, the convolution below has one."""
    if config.cell == "clipped_rnn":
        return ClippedRecurrence(features, config)
    return FusedRecurrence(features, config, norm=config.batch_norm and not first)

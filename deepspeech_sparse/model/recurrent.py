"""Recurrent layers: torch's fused cells, and the clipped RNN of the sparsity paper.

Both map (B, T, features) and frames (B,) to (B, T, features') with zeros after each length, and neither lets padding
touch a real frame: the fused cells run on packed sequences, the clipped one starts in the padding with a zero state
that stays zero until the first real frame.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .config import NetworkConfig
from .gru_cpu import gru_on_cpu
from .masking import SequenceNorm, clipped_relu, frame_mask

FUSED = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class FusedRecurrence(nn.Module):
    """One RNN, GRU or LSTM layer (cuDNN / oneDNN), with sequence-wise batch norm on its input.

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
        y = gru_on_cpu(self.cell, x, frames) if self.on_cpu(x) else self.packed(x, frames)
        if self.sum_directions:
            forwards, backwards = y.chunk(2, dim=-1)
            y = forwards + backwards
        return y

    def on_cpu(self, x: Tensor) -> bool:
        """Whether our own GRU runs, which is faster than torch's on a CPU; it knows float32 and no autocast."""
        return isinstance(self.cell, nn.GRU) and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")

    def packed(self, x: Tensor, frames: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, frames.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.cell(packed)[0], batch_first=True, total_length=x.shape[1])[0]


class ClippedRecurrence(nn.Module):
    """The paper's bidirectional layer: one input matrix for both directions, their outputs summed.

    Narang et al. 2017, section 4; Deep Speech 2, Eq. 9:

        a_t = BN(W x_t);  h_t = f(a_t + U h_{t-1});  g_t = f(a_t + V g_{t+1})
        y_t = h_t + g_t;  f(x) = min(max(x, 0), 20)

    Unidirectional: without g.
    """

    def __init__(self, features: int, config: NetworkConfig) -> None:
        super().__init__()
        directions = 2 if config.bidirectional else 1
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
        y = self.recur(inputs, self.weight_hh)
        if self.weight_hh_reverse is not None:
            y = y + self.recur(inputs.flip(1), self.weight_hh_reverse).flip(1)
        return y * frame_mask(frames, y.shape[1])[..., None]

    @staticmethod
    def recur(inputs: Tensor, weight: Tensor) -> Tensor:
        """h_t = f(a_t + U h_{t-1}) over all frames: (B, T, H) -> (B, T, H)."""
        state = inputs.new_zeros(inputs.shape[0], inputs.shape[2])
        states = []
        for frame in inputs.unbind(1):
            state = clipped_relu(frame + nn.functional.linear(state, weight))
            states.append(state)
        return torch.stack(states, dim=1)


def recurrent_layer(features: int, config: NetworkConfig, *, first: bool) -> FusedRecurrence | ClippedRecurrence:
    """The layer of `config.cell`; the first one needs no norm on its input, the convolution below has one."""
    if config.cell == "clipped_rnn":
        return ClippedRecurrence(features, config)
    return FusedRecurrence(features, config, norm=config.batch_norm and not first)

"""Lookahead convolution: a little future context for networks that read in one direction only."""

import torch
from torch import Tensor, nn


class Lookahead(nn.Module):
    """Row convolution of Deep Speech 2, section 3.7: each unit sees its own next `context` frames.

        r_{t,i} = sum_{j=0..context} W_{i,j} h_{t+j,i}

    Frames beyond the end count as zero. Shapes: (B, T, H) -> (B, T, H).
    """

    def __init__(self, hidden: int, context: int) -> None:
        super().__init__()
        self.context = context
        self.weight = nn.Parameter(torch.zeros(hidden, 1, context + 1))
        with torch.no_grad():
            self.weight[..., 0] = 1.0  # starts as the identity: the future is learned

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(x.transpose(1, 2), (0, self.context))
        return nn.functional.conv1d(x, self.weight, groups=self.weight.shape[0]).transpose(1, 2)

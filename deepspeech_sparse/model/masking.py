"""Padding: which frames of a batch are real, and a batch norm that looks at no other."""

import torch
from torch import Tensor, nn


def frame_mask(frames: Tensor, total: int) -> Tensor:
    """True where a frame is real: frames (B,) -> (B, T) with T = total."""
    return torch.arange(total, device=frames.device) < frames[:, None]


class SequenceNorm(nn.BatchNorm1d):
    """Batch norm whose statistics run over batch and time, padding left out (Deep Speech 2, section 3.2).

    Shapes:
        x: (B, T, H) or, after a convolution, (B, T, F, H); frames: (B,) -> the same shape, zeros after each length

        utterance 0   x x x x x x x
        utterance 1   x x x x . . .      . = padding: neither counted nor changed from zero
    """

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:
        real = frame_mask(frames, x.shape[1])
        normalised = x.new_zeros(x.shape)
        # Gathering the real frames keeps torch's fused kernel, and its gradient, exact without a masked variant.
        # The cast follows autocast, which may run the norm in another precision than its input.
        flat = x[real]
        normalised[real] = self.normalised(flat.flatten(0, -2)).view_as(flat).to(x.dtype)
        return normalised

    def normalised(self, x: Tensor) -> Tensor:
        """(N, H) -> (N, H); a single frame has no variance: in training, too, it is held against the running ones."""
        if len(x) > 1:
            return super().forward(x)
        return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def clipped_relu(x: Tensor) -> Tensor:
    """min(max(x, 0), 20), the non-linearity of Deep Speech."""
    return torch.nn.functional.hardtanh(x, 0.0, 20.0)  # clamp's gradient takes ten times as long

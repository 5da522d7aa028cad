"""Wav2Letter: torchaudio's convolutions over frames, exact for padded batches."""

from torch import Tensor, nn
from torchaudio.models import Wav2Letter

from .masking import frame_mask


class Wav2LetterNetwork(nn.Module):
    """Eleven 1-D convolutions over frames (Collobert et al. 2016, figure 1), the last of them the CTC head.

    torchaudio ends in a ReLU and a log-softmax. Scores are taken before both: a label whose score the ReLU cuts off in
    every frame would have no gradient, and never be learned.

    Args:
        bins: features per frame (F), the channels of the first convolution
        labels: size of the alphabet with the blank (V)

    Shapes:
        features (B, T, F), frames (B,) -> logits (B, T', V), frames (B,) with T' = output_frames(T) = T // 2 + 1
    """

    def __init__(self, bins: int, labels: int) -> None:
        super().__init__()
        *layers, head, _ = Wav2Letter(labels, input_type="mfcc", num_features=bins).acoustic_model
        self.acoustic_model = nn.Sequential(*layers)
        self.head = head
        for layer in self.acoustic_model:
            if isinstance(layer, nn.Conv1d):
                # With torch's own start, differences between frames fade to a thousandth on the way through ten ReLUs.
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def output_frames(self, frames):
        """Output frames for input frames, an int or a tensor of ints."""
        for layer in self.acoustic_model:
            if isinstance(layer, nn.Conv1d):
                frames = frames_after(layer, frames)
        return frames

    def forward(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        total = features.shape[1]
        # With a single frame the first kernel is wider than its input and padding together.
        x = nn.functional.pad(features.transpose(1, 2), (0, max(0, 2 - total)))
        x = x * frame_mask(frames, x.shape[2])[:, None]
        for layer in self.acoustic_model:
            x = layer(x)
            if isinstance(layer, nn.Conv1d):
                frames = frames_after(layer, frames)
                x = x * frame_mask(frames, x.shape[2])[:, None]
        return self.head(x).transpose(1, 2)[:, : self.output_frames(total)], frames


def frames_after(convolution: nn.Conv1d, frames):
    """Output frames of a convolution, for an int or a tensor of ints."""
    [kernel], [stride], [padding] = convolution.kernel_size, convolution.stride, convolution.padding
    return (frames + 2 * padding - kernel) // stride + 1

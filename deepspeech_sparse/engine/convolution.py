"""A pruned 2-D convolution with its batch norm and clipped ReLU, for one utterance, in float32 on the CPU.

What `model/convolution.py` does in evaluation, without a batch and so without masks. Each layer takes the faster
of two ways, by measurement: the C++ of `native/`, which multiplies only weights that are not zero, or torch's dense
convolution, oneDNN's on x86, which multiplies all of them at a higher rate.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..machine.runtime import native
from ..model.masking import clipped_relu
from .products import threads_of_torch
from .sparse import number_of_threads, refuse_unfit, without_gradient

CHOICES = ("sparse", "dense")
MEASURED_FRAMES = 128  # of output
MOST_MEASURED = 1 << 24  # inputs: a few weights from a stranger must not ask for gigabytes


class NativeConvolution:
    """In the C++ of `native/`: the weights that are not zero, each with the place of its input."""

    def __init__(self, weight: Tensor, stride: tuple[int, int], shift: Tensor) -> None:
        self.channels, self.stride = weight.shape[0], stride
        weight = weight.transpose(2, 3).contiguous()  # (C', C, bins, frames): time is contiguous in x
        self.convolution = native().Convolution(weight.numpy(), stride[1], stride[0], shift.contiguous().numpy())

    @property
    def stored(self) -> int:
        return self.convolution.stored

    @property
    def bytes(self) -> int:
        return self.convolution.bytes

    def __call__(self, x: Tensor, threads: int) -> Tensor:
        y = torch.empty(output_shape(self.channels, x, self.stride))
        self.convolution.run(x.contiguous().numpy(), y.numpy(), threads)
        return y


class TorchConvolution:
    """In torch's dense convolution, zeros included."""

    def __init__(self, weight: Tensor, stride: tuple[int, int], shift: Tensor) -> None:
        self.weight = weight.transpose(2, 3).contiguous()
        self.stride, self.shift = stride, shift.clone()

    @property
    def stored(self) -> int:
        return self.weight.numel()

    @property
    def bytes(self) -> int:
        return (self.weight.numel() + self.shift.numel()) * self.weight.element_size()

    def __call__(self, x: Tensor, threads: int) -> Tensor:
        if x.numel() == 0:  # torch refuses it
            return torch.empty(output_shape(self.weight.shape[0], x, self.stride))
        padding = (self.weight.shape[2] // 2, self.weight.shape[3] // 2)
        with threads_of_torch(threads):
            y = torch.nn.functional.conv2d(x[None], self.weight, self.shift, self.stride[::-1], padding)
            return clipped_relu(y[0])


@dataclass(frozen=True, eq=False)
class SparseConvolution:
    """clip(scale * (x convolved with a kernel) + shift, 0, 20), padded by half the kernel, for many x.

    Example:
        >>> kernel = torch.zeros(1, 1, 3, 1)
        >>> kernel[0, 0, 2] = 2.0  # twice the next frame
        >>> layer = SparseConvolution.from_dense(kernel, (1, 1), torch.ones(1), torch.tensor([0.5]))
        >>> layer(torch.tensor([[[1.0, 2.0, 3.0]]]))
        tensor([[[4.5000, 6.5000, 0.5000]]])
    """

    shape: tuple[int, int, int, int]  # channels out and in, frames, bins of the kernel
    stride: tuple[int, int]  # frames, bins
    convolution: NativeConvolution | TorchConvolution = field(repr=False)
    seconds: dict[str, float] | None  # what "sparse" and "dense" took where they were measured, on one thread

    @classmethod
    def from_dense(
        cls, weight: Tensor, stride: tuple[int, int], scale: Tensor, shift: Tensor, choice: str | None = None
    ) -> SparseConvolution:
        """Pack a kernel, and keep either its weights that are not zero or all of them.

        Unless `choice` says which, both ways are measured on noise, a few times what 128 frames of output take; a
        kernel too wide for that is sparse if half its weights are zero. The measurement may differ from process to
        process; the two ways differ in rounding, and a zero times NaN or infinity is NaN in the dense one alone.
        Without native kernels, and where the strides are too long for them, it is "dense".

        Args:
            weight: (C', C, frames, bins) float32 on the CPU, frames and bins odd; copied
            stride: step in (frames, bins)
            scale, shift: (C',) float32: what a batch norm does with each output channel after the convolution
            choice: "sparse" or "dense" instead of the faster

        Raises:
            ValueError: another shape, dtype, device, stride or choice; scale or shift not finite; "sparse" without
                native kernels
        """
        refuse_unfit("the weight", weight)
        if weight.dim() != 4 or weight.numel() == 0 or any(side % 2 == 0 for side in weight.shape[2:]):
            raise ValueError(f"a weight of shape {tuple(weight.shape)}: (C', C, frames, bins), the last two odd, fits")
        stride = tuple(stride)
        if len(stride) != 2 or any(isinstance(step, bool) or not isinstance(step, int) or step < 1 for step in stride):
            raise ValueError(f"stride {stride}: two whole numbers from 1 on, frames and bins")
        for name, tensor in (("scale", scale), ("shift", shift)):
            refuse_unfit(name, tensor)
            if tensor.shape != weight.shape[:1] or not tensor.isfinite().all():
                raise ValueError(
                    f"{name} of shape {tuple(tensor.shape)}: {weight.shape[0]} finite numbers fit, one for each channel"
                )
        if choice not in (None, *CHOICES):
            raise ValueError(f"choice {choice!r}: not one of {', '.join(CHOICES)}")
        if choice == "sparse" and native() is None:
            raise ValueError("choice 'sparse' needs native kernels: there are none, or torch is forced")
        weight, shift = (weight * scale[:, None, None, None]).detach(), shift.detach()
        wanted, seconds = choice, None
        if choice is None and native() is None:
            choice = "dense"
        if choice is None and math.prod(measured_shape(weight, stride)) > MOST_MEASURED:
            choice = "sparse" if 2 * int(weight.count_nonzero()) < weight.numel() else "dense"
        ways = {"sparse": NativeConvolution, "dense": TorchConvolution}
        try:
            made = {name: way(weight, stride, shift) for name, way in ways.items() if choice in (None, name)}
        except ValueError:
            if wanted is not None:
                raise
            choice, made = "dense", {"dense": TorchConvolution(weight, stride, shift)}
        if choice is None:
            seconds = measure(made, measured_shape(weight, stride))
            choice = min(seconds, key=seconds.get)
        return cls(tuple(weight.shape), stride, made[choice], seconds)

    @property
    def choice(self) -> str:
        """Which way was taken, "sparse" or "dense"."""
        return "dense" if self.dense else "sparse"

    @property
    def dense(self) -> bool:
        """Whether all weights are kept and multiplied."""
        return isinstance(self.convolution, TorchConvolution)

    @property
    def stored(self) -> int:
        """Weights kept."""
        return self.convolution.stored

    @property
    def bytes(self) -> int:
        """Memory of the weights, their places and the shift."""
        return self.convolution.bytes

    def __call__(self, x: Tensor, threads: int | None = None) -> Tensor:
        """Convolve one utterance.

        Shapes:
            (C, F, T) -> (C', ceil(F / s'), ceil(T / s)) for a stride of (s, s')

        Args:
            x: float32 on the CPU, in any layout; no gradient flows
            threads: how many work at the same time, torch.get_num_threads() unless given; they change no bit of a
                sparse one's result

        Raises:
            ValueError: another shape, dtype or device, an x that wants a gradient, threads below 1 or above 1024
        """
        refuse_unfit("x", x)
        if x.dim() != 3 or x.shape[0] != self.shape[1]:
            raise ValueError(
                f"a kernel of shape {self.shape} and x of shape {tuple(x.shape)}: ({self.shape[1]}, bins, frames) fits"
            )
        return self.convolution(without_gradient(x, self), number_of_threads(threads))


def output_shape(channels: int, x: Tensor, stride: tuple[int, int]) -> tuple[int, int, int]:
    return channels, -(-x.shape[1] // stride[1]), -(-x.shape[2] // stride[0])


def measured_shape(weight: Tensor, stride: tuple[int, int]) -> tuple[int, int, int]:
    """(C, F, T) of what the two ways are measured on."""
    return weight.shape[1], 2 * weight.shape[3], MEASURED_FRAMES * stride[0]


def measure(made: dict[str, NativeConvolution | TorchConvolution], shape: tuple[int, int, int]) -> dict[str, float]:
    """Seconds of each on one thread, the shorter of two times in turn after a first that is not counted.

    Of processor time, which other jobs on the machine disturb least.
    """
    generator = torch.Generator().manual_seed(0)  # the caller's random numbers stay as they are
    x = torch.rand(shape, generator=generator)
    least = dict.fromkeys(made, float("inf"))
    for round_ in range(3):
        for name, convolution in made.items():
            start = time.thread_time()
            convolution(x, 1)
            if round_ > 0:
                least[name] = min(least[name], time.thread_time() - start)
    return least

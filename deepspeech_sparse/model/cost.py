"""What a second of audio costs: how often each weight of a network is multiplied."""

from __future__ import annotations

import torch
from torch import nn

from .recurrent import ClippedRecurrence, FusedRecurrence

# Two lengths of silence: what the longer one takes more is free of edges. Usual strides divide the difference.
SHORT, LONG = 96, 192


def uses_per_second(network: nn.Module, bins: int, frames_per_second: float) -> dict[str, float]:
    """How often each weight matrix or kernel is applied per second of audio, by parameter name.

    A matrix is applied once per frame, a kernel once per place of its output; the multiply-accumulates of a layer are
    its non-zero weights times this. Found by looking at forward passes over silence, so it holds for any network.
    The products inside attention have no weights and are not in it.

    Args:
        network: as of `network_of`
        bins: features per frame (F)
        frames_per_second: of the front end, 1 / hop
    """
    short, long = (places_of_weights(network, bins, frames) for frames in (SHORT, LONG))
    return {name: (count - short[name]) * frames_per_second / (LONG - SHORT) for name, count in long.items()}


@torch.no_grad()
def places_of_weights(network: nn.Module, bins: int, frames: int) -> dict[str, int]:
    """How often each weight is applied to one utterance of so many frames, by parameter name."""
    places: dict[str, int] = {}

    def watch(path: str, module: nn.Module) -> None:
        prefix = f"{path}." if path else ""
        names = [f"{prefix}{name}" for name, weight in module.named_parameters() if weight.dim() > 1]

        def hook(_module: nn.Module, arguments: tuple, output) -> None:
            if isinstance(module, (FusedRecurrence, ClippedRecurrence)):
                count = arguments[0].shape[1]
            elif isinstance(module, nn.MultiheadAttention):
                count = output[0].numel() // module.embed_dim
            else:
                count = output.numel() // module.weight.shape[0]
            places.update(dict.fromkeys(names, count))

        handles.append(module.register_forward_hook(hook))

    handles: list = []
    training = network.training
    for path, module in network.named_modules():
        weight = getattr(module, "weight", None)
        whole = isinstance(module, (FusedRecurrence, ClippedRecurrence, nn.MultiheadAttention))
        if whole or (isinstance(weight, nn.Parameter) and weight.dim() > 1):
            watch(path, module)
    device = next(network.parameters()).device
    try:
        network.eval()(torch.zeros(1, frames, bins, device=device), torch.tensor([frames], device=device))
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return places

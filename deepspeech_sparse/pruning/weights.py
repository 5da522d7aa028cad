"""Which weights of a module may be pruned, and what is known of them: layer, type, gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.conv import _ConvNd

from ..errors import InputError

HEAD = ("*head.weight",)  # the CTC head stays dense: it is small, and every output depends on each of its rows

GATES = {
    (nn.GRU, nn.GRUCell): ("reset", "update", "new"),
    (nn.LSTM, nn.LSTMCell): ("input", "forget", "cell", "output"),
}


@dataclass(frozen=True, eq=False)
class Weight:
    """One prunable tensor. As a matrix it has one row per output: a kernel (C', C, k...) counts as (C', C * k...)."""

    name: str  # in the module's named_parameters
    kind: str  # recurrent, linear or convolution
    layer: str  # path of the module that owns it
    gates: tuple[str, ...]  # what its rows compute, from top to bottom in equal parts; one empty name without gates
    parameter: nn.Parameter


def prunable_weights(module: nn.Module, *, include: Sequence[str] = (), exclude: Sequence[str] = HEAD) -> list[Weight]:
    """The weights of `module` that pruning may touch, from input to output.

    Recurrent: input and recurrent matrices of any torch RNN, GRU or LSTM, or of a module with a `weight_hh`. Linear:
    fully connected layers and the projections of attention. Convolution: kernels. Never biases, norms, embeddings.

    Args:
        include: name patterns (`*` matches dots too); given, only parameters that match one are taken, and then also
            matrices of modules that are not known here, as linear (2-D) or convolution
        exclude: name patterns of parameters to leave dense, beside the CTC head; () prunes the head, too

    Raises:
        InputError: a pattern that matches no parameter
    """
    names = [name for name, parameter in module.named_parameters() if parameter.dim() >= 2]
    for pattern in (*include, *(set(exclude) - set(HEAD))):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(
                f"pruning: the pattern {pattern!r} matches no weight. The weights are {', '.join(names) or 'none'}"
            )
    dense = (*exclude, *HEAD) if exclude else ()
    found = []
    for path, layer in module.named_modules():
        for name, parameter in layer.named_parameters(recurse=False):
            full = f"{path}.{name}".lstrip(".")
            if full not in names or any(fnmatchcase(full, pattern) for pattern in dense):
                continue
            asked = any(fnmatchcase(full, pattern) for pattern in include)
            kind = kind_of(layer, explicit=asked, matrix=parameter.dim() == 2)
            if kind and (asked or not include):
                gated = kind == "recurrent" and "_hr" not in name  # the projection of an LSTM has no gates
                gates = gates_of(layer) if gated else ("",)
                found.append(Weight(full, kind, path, gates, parameter))
    return found


def gates_of(layer: nn.Module) -> tuple[str, ...]:
    """Names of a recurrent layer's gates, one below the other in its matrices; one without a name if it has none."""
    return next((gates for kinds, gates in GATES.items() if isinstance(layer, kinds)), ("",))


def kind_of(layer: nn.Module, *, explicit: bool, matrix: bool) -> str | None:
    """recurrent, linear or convolution; None for what is not pruned."""
    if isinstance(layer, nn.RNNBase) or hasattr(layer, "weight_hh"):
        return "recurrent"
    if isinstance(layer, (nn.Linear, nn.MultiheadAttention)):
        return "linear"
    if isinstance(layer, _ConvNd):
        return "convolution"
    if explicit:
        return "linear" if matrix else "convolution"
    return None

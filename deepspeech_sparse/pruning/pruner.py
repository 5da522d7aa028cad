"""Which weights are zero: masks made from thresholds and kept, for any torch module and any training loop.

Knows no schedule's formula and no Lightning. Works in place: parameter names, and the flat weights cuDNN wants,
stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from ..errors import InputError
from .schedules import NarangThreshold


def prunable_parameters(module: nn.Module, *, exclude: Iterable[str] = ("head",)) -> dict[str, dict[str, nn.Parameter]]:
    """Weight matrices by layer type, {"recurrent": {name: W}, "linear": {name: W}}.

    The paper prunes input and recurrent matrices of every recurrent layer and the fully connected layers; not biases,
    norms and convolutions. A recurrent layer is any torch RNN, LSTM or GRU, or a module with a `weight_hh`.

    Args:
        exclude: names of submodules to leave dense, anywhere in a parameter's path
    """
    excluded = set(exclude)
    found: dict[str, dict[str, nn.Parameter]] = {"recurrent": {}, "linear": {}}
    for path, layer in module.named_modules():
        if excluded & set(path.split(".")):
            continue
        recurrent = isinstance(layer, nn.RNNBase) or hasattr(layer, "weight_hh")
        if not recurrent and not isinstance(layer, nn.Linear):
            continue
        for name, parameter in layer.named_parameters(recurse=False):
            if parameter.dim() == 2:
                found["recurrent" if recurrent else "linear"][f"{path}.{name}".lstrip(".")] = parameter
    return found


def sparsity(parameters: Iterable[Tensor]) -> float:
    """Share of exact zeros among all entries, 0 for no entries."""
    zeros = total = 0
    for parameter in parameters:
        zeros += parameter.numel() - int(torch.count_nonzero(parameter))
        total += parameter.numel()
    return zeros / total if total else 0.0


def magnitude_quantile(parameters: Iterable[Tensor], share: float) -> float:
    """The smallest |w| that at least `share` of all weights do not exceed; pruning below it removes `share` of them."""
    magnitudes = torch.cat([parameter.detach().abs().flatten() for parameter in parameters])
    # kthvalue, because torch.quantile refuses more than 16 million entries.
    rank = min(math.floor(share * magnitudes.numel()) + 1, magnitudes.numel())
    return magnitudes.kthvalue(rank).values.item()


class TargetThreshold:
    """Narang's ramp towards a target sparsity instead of a fixed final threshold.

    `shape` is the paper's schedule; what it gives, relative to its last update, is the share of the full threshold
    due at a step, and the full threshold is the target's quantile of the weights as they are now. At the last update
    the share is one: the target is met exactly (up to ties), with no dense run to measure q on.
    """

    def __init__(self, target: float, shape: NarangThreshold) -> None:
        self.target = target
        self.shape = shape
        self.full = shape(shape.last_update)

    def __call__(self, step: int, parameters: Iterable[Tensor]) -> float | None:
        due = self.shape(step)
        if due is None:
            return None
        return due / self.full * magnitude_quantile(parameters, self.target)


# A threshold rule of one layer type: (step, its weights) -> threshold, or None when no mask changes at that step.
ThresholdRule = Callable[[int, Iterable[Tensor]], "float | None"]


class Pruner:
    """Masks for a module's weights: remade when a threshold is due, applied after every optimizer step.

    Algorithm 1 of Narang et al. 2017. Gradients are not masked: a pruned weight still gets its update, and returns if
    that update alone exceeds the threshold when masks are next remade.

    Args:
        parameters: weights by layer type, see `prunable_parameters`
        rules: threshold rule by layer type; types without one stay dense

    Example, in a hand-written loop:
        pruner = Pruner(prunable_parameters(model), {"recurrent": lambda step, weights: schedule(step)})
        for step, batch in enumerate(batches, start=1):
            ...; optimizer.step(); pruner.step(step)
    """

    def __init__(
        self, parameters: Mapping[str, Mapping[str, nn.Parameter]], rules: Mapping[str, ThresholdRule]
    ) -> None:
        for kind in rules:
            if not parameters.get(kind):
                raise InputError(
                    f"pruning: a threshold is given for {kind} layers, but the network has none. "
                    f"Remove pruning.{kind}, or add such layers"
                )
        self.parameters = {kind: dict(parameters[kind]) for kind in rules}
        self.rules = dict(rules)
        self.pruned: dict[str, Tensor] = {}  # True where a weight is held at zero; absent before the first update
        self.thresholds: dict[str, float] = {}  # last threshold by layer type

    @torch.no_grad()
    def step(self, step: int) -> bool:
        """To be called after optimizer step `step` (counted from 1). True when masks were remade.

        Raises:
            InputError: when a layer would lose its last weight
        """
        remade = False
        for kind, rule in self.rules.items():
            threshold = rule(step, self.parameters[kind].values())
            if threshold is None:
                continue
            remade = True
            self.thresholds[kind] = threshold
            for name, parameter in self.parameters[kind].items():
                below = parameter.abs() < threshold
                if below.all():
                    raise InputError(
                        f"pruning: at step {step} the threshold {threshold:.4g} exceeds every weight of {name} "
                        f"(largest {parameter.abs().max().item():.4g}): nothing would be left. "
                        "Lower q, the target sparsity or phi_ratio"
                    )
                self.pruned[name] = below
        self.apply()
        return remade

    @torch.no_grad()
    def apply(self) -> None:
        """Set pruned weights to zero, exactly (a product with a mask would leave -0.0 and NaN)."""
        for parameters in self.parameters.values():
            for name, parameter in parameters.items():
                if name in self.pruned:
                    parameter.masked_fill_(self.pruned[name], 0.0)

    def sparsity(self) -> float:
        """Share of zeros among all weights that this pruner may prune."""
        return sparsity(parameter for parameters in self.parameters.values() for parameter in parameters.values())

    def state_dict(self) -> dict:
        return {
            "pruned": {name: mask.clone() for name, mask in self.pruned.items()},
            "thresholds": dict(self.thresholds),
        }

    def load_state_dict(self, state: dict) -> None:
        shapes = {name: p for parameters in self.parameters.values() for name, p in parameters.items()}
        for name, mask in state["pruned"].items():
            if name not in shapes or shapes[name].shape != mask.shape:
                raise InputError(
                    f"pruning: the checkpoint holds a mask for {name} {tuple(mask.shape)}, the network does not fit"
                )
        self.pruned = {name: mask.to(shapes[name].device) for name, mask in state["pruned"].items()}
        self.thresholds = dict(state["thresholds"])

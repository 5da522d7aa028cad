"""Which weights are zero: masks made from thresholds and kept, for any torch module and any training loop.

Knows no schedule's formula and no Lightning. Works in place: parameter names, and the flat weights cuDNN wants,
stay as they are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from .config import PruningConfig
from .patterns import Blocks, matrix, quick
from .plan import Group, Length, pruning_groups
from .weights import Weight


class Pruner:
    """Masks for a module's weights: remade when a threshold is due, applied after every optimizer step.

    Algorithm 1 of Narang et al. 2017, with other schedules, scopes and patterns where the groups have them.

    Args:
        groups: weights with their rules, see `pruning_groups`
        returning: gradients are not masked: a pruned weight still gets its update, and returns if that update alone
            exceeds the threshold when masks are next remade. Otherwise what is pruned stays so
        group_lasso: factor of sum ||block||_2 in the loss, see `before_step`

    Example, in a hand-written loop:
        pruner = Pruner.of(model, PruningConfig(recurrent=Goal(sparsity=0.9)), total_steps=5000, steps_per_epoch=250)
        for step, batch in enumerate(batches, start=1):
            loss(model, batch).backward()
            pruner.before_step(step)
            optimizer.step()
            pruner.step(step)
    """

    def __init__(self, groups: Sequence[Group], *, returning: bool = True, group_lasso: float = 0.0) -> None:
        self.groups = list(groups)
        self.returning = returning
        self.group_lasso = group_lasso
        self.pruned: dict[str, Tensor] = {}  # True where a weight is held at zero; absent before the first update
        self.thresholds: dict[str, float] = {}  # last threshold by group

    @classmethod
    def of(
        cls,
        module: nn.Module,
        config: PruningConfig,
        *,
        total_steps: int,
        steps_per_epoch: float,
        load_dense: Callable[[Path], nn.Module] | None = None,
        measured_before: Mapping[str, float] = MappingProxyType({}),
    ) -> Pruner:
        """The pruner of a module for a training of `total_steps` optimizer steps.

        Raises:
            InputError: whatever the config asks for in vain, with the numbers
        """
        length = Length(total_steps, steps_per_epoch)
        groups = pruning_groups(module, config, length, load_dense=load_dense, measured_before=measured_before)
        return cls(groups, returning=config.returning, group_lasso=config.group_lasso)

    @property
    def weights(self) -> list[Weight]:
        """All weights that may be pruned."""
        return [weight for group in self.groups for weight in group.weights]

    @property
    def measured_q(self) -> dict[str, float]:
        """Group -> q, of those that measured it on a trained dense network."""
        return {group.name: group.measured_q for group in self.groups if group.measured_q is not None}

    @property
    def last_update(self) -> int:
        """The step after which no mask changes any more."""
        return max(group.rule.schedule.last_update for group in self.groups)

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        """To be called between backward and optimizer step number `step`: adds the group lasso, masks gradients.

        The gradient of sum ||block||_2 is w / ||block||_2 (Narang, Undersander, Diamos 2017, section 3.2), zero where
        the block is. Once masks are frozen the penalty has done its work and would only shrink what is left.
        """
        for group in self.groups:
            for weight in group.weights:
                gradient = weight.parameter.grad
                if gradient is None:
                    continue
                if self.group_lasso and isinstance(group.pattern, Blocks) and step <= self.last_update:
                    gradient.add_(lasso_gradient(weight, group.pattern), alpha=self.group_lasso)
                if not self.returning and weight.name in self.pruned:
                    zero_(gradient, self.pruned[weight.name])

    @torch.no_grad()
    def step(self, step: int) -> bool:
        """To be called after optimizer step number `step` (counted from 1). True when masks were remade.

        Raises:
            InputError: when a layer would lose its last weight
        """
        remade = False
        for group in self.groups:
            sizes = functools.cache(functools.partial(self.sizes, group))  # measured once, and only when needed
            threshold = group.rule(step, sizes)
            if threshold is None:
                continue
            remade = True
            self.thresholds[group.name] = threshold
            for weight, factor, size in zip(group.weights, group.factors, sizes()):
                below = group.pattern.below(weight, size, threshold).view(weight.parameter.shape)
                self.pruned[weight.name] = self.mask(weight, below, threshold * factor, step)
        self.apply()
        return remade

    def sizes(self, group: Group) -> list[Tensor]:
        """Sizes of a group's units, zero for what is pruned if nothing returns."""
        if not self.returning:
            self.apply()  # momentum may have moved what has no gradient
        return group.sizes()

    def mask(self, weight: Weight, below: Tensor, threshold: float, step: int) -> Tensor:
        """True where the weight goes: what is below the threshold, and what was pruned before if nothing returns."""
        if not self.returning and weight.name in self.pruned:
            below |= self.pruned[weight.name]
        if quick(below).all():
            raise InputError(
                f"pruning: at step {step} the threshold {threshold:.4g} exceeds every weight of {weight.name} "
                f"(largest {weight.parameter.abs().max().item():.4g}): nothing would be left. "
                "Lower q, the target sparsity or phi_ratio; where layers differ much in scale, set scope: layer"
            )
        return below

    @torch.no_grad()
    def apply(self) -> None:
        """Set pruned weights to zero, exactly."""
        for weight in self.weights:
            if weight.name in self.pruned:
                zero_(weight.parameter, self.pruned[weight.name])

    def sparsity(self) -> float:
        """Share of zeros among all weights that this pruner may prune."""
        return sparsity(weight.parameter for weight in self.weights)

    def state_dict(self) -> dict:
        return {
            "pruned": {name: mask.clone() for name, mask in self.pruned.items()},
            "thresholds": dict(self.thresholds),
        }

    def load_state_dict(self, state: dict) -> None:
        shapes = {weight.name: weight.parameter for weight in self.weights}
        for name, mask in state["pruned"].items():
            if name not in shapes or shapes[name].shape != mask.shape:
                raise InputError(
                    f"pruning: the checkpoint holds a mask for {name} {tuple(mask.shape)}, the network does not fit"
                )
        self.pruned = {name: mask.to(shapes[name].device) for name, mask in state["pruned"].items()}
        self.thresholds = dict(state["thresholds"])


@torch.no_grad()
def zero_(values: Tensor, where: Tensor) -> None:
    """Set `values` to +0.0 in place where `where` is True. (A product with a mask would leave -0.0 and NaN.)

    Args:
        values: any floats, on any device, contiguous or a view
        where: bool, of the same shape
    """
    if not values.is_cpu:
        values.masked_fill_(where, 0.0)
        return
    # All bits zero is +0.0. An AND takes a third to a half of masked_fill_'s time, and numpy widens a mask of bytes on
    # the way, where torch would first write it out in the width of the weights.
    keep = where.numpy().view(np.int8) - np.int8(1)  # True: no bit, False: all bits
    bits = values.detach().view(getattr(torch, f"int{8 * values.element_size()}")).numpy()
    np.bitwise_and(bits, keep, out=bits)
    torch.autograd.graph.increment_version(values)  # a graph that saved the old values must not be run any more


def lasso_gradient(weight: Weight, blocks: Blocks) -> Tensor:
    """w / ||block||_2 in the weight's shape, zero in blocks of zeros."""
    values = matrix(weight)
    rows, columns = values.shape
    tiles = values.view(rows // blocks.rows, blocks.rows, columns // blocks.columns, blocks.columns)
    norms = tiles.square().sum((1, 3), keepdim=True).sqrt()
    return torch.where(norms > 0, tiles / norms, 0.0).view(weight.parameter.shape)


def sparsity(parameters: Iterable[Tensor]) -> float:
    """Share of exact zeros among all entries, 0 for no entries."""
    zeros = total = 0
    for parameter in parameters:
        zeros += int((quick(parameter) == 0).sum())
        total += parameter.numel()
    return zeros / total if total else 0.0

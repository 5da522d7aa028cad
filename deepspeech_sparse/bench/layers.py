"""Whole recurrent layers, sparse against dense: the sizes of Table 6 of Narang et al. 2017, all time steps of a layer.

The paper's table has the recurrent product of one time step on a GPU; here input products, gates and both directions of
the RNN are in it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ..engine.network import layer_of
from ..engine.recurrent import Recurrence
from ..engine.weights import Weights
from ..machine.timing import in_turn
from ..model import NetworkConfig
from ..model.masking import clipped_relu
from ..model.recurrent import ClippedRecurrence, recurrent_layer
from ..report.tables import Column, Table
from .plain import torchs_own
from .weights import PATTERNS, kept, pair, without_initialisation

SPARSITY = 0.95


@dataclass(frozen=True)
class Group:
    """Sparse layers that are held against the dense one of `dense` units."""

    cell: str  # as in NetworkConfig
    dense: int
    sparse: tuple[int, ...]


GROUPS = (Group("clipped_rnn", 1760, (1760, 2560, 3072)), Group("gru", 2560, (2560, 3568)))
PAPER = {("clipped_rnn", 1760): 2.8, ("clipped_rnn", 2560): 1.93, ("clipped_rnn", 3072): 1.16}
PAPER |= {("gru", 2560): 6.8, ("gru", 3568): 3.5}


def layers(
    *, threads: int, full: bool, groups: tuple[Group, ...] = GROUPS, steps: int | None = None, rounds: int | None = None
) -> Table:
    """The table: a row for each layer.

    Args:
        steps: frames that are read, 500 or, for the quick table, 50
        rounds: in which all layers of a group take turns, 7 or 5
    """
    steps, rounds = steps or (500 if full else 50), rounds or (7 if full else 5)
    columns = (
        Column("layer"),
        Column("units", str),
        Column("zeros", "{:.0%}".format),
        Column("pattern"),
        Column("computed by"),
        Column("us per step", "{:.0f}".format),
        pair("x dense"),
        Column("x dense in the paper, single weights, GPU", str),
    )
    quick = "" if full else " (quick; the figures to publish are of --full)"
    note = (
        f"Batch 1, {steps} steps{quick}, medians of {rounds} rounds in turn; ratios of medians and, in brackets, of "
        "the shortest times. clipped_rnn: both directions share an input matrix and are summed; gru: one direction. "
        "Inputs are as wide as the layer; zeros in input and recurrent matrices. Dense is the fastest of torch's own "
        "layers and ours in torch."
    )
    rows = [row for group in groups for row in measured(group, steps, rounds, threads)]
    return Table("layers", f"Recurrent layers, {SPARSITY:.0%} sparse", columns, tuple(rows), note)


@torch.inference_mode()
def measured(group: Group, steps: int, rounds: int, threads: int) -> list[tuple]:
    """The rows of a group, the dense layer first."""
    contestants: dict[tuple, Callable[[], object]] = {}
    dense = torch_layer(group.cell, group.dense)
    for name, layer in dense_variants(dense).items():
        contestants["dense", group.dense, "", name] = partial(layer, torch.randn(1, steps, group.dense))
    for units in group.sparse:
        for pattern, block in PATTERNS.items():
            layer, blocks = sparse_layer(group.cell, units, block)
            x, counts = torch.randn(steps, units), torch.ones(steps, dtype=torch.int64)
            by = f"engine, blocks {blocks}"
            contestants["sparse", units, pattern, by] = partial(layer, x, counts, threads)
    times = in_turn(contestants, rounds)
    medians = {key: statistics.median(values) for key, values in times.items()}
    fastest = min((key for key in times if key[0] == "dense"), key=medians.__getitem__)
    shortest = min(min(times[key]) for key in times if key[0] == "dense")
    rows = [(group.cell, group.dense, 0.0, "", fastest[-1], 1e6 * medians[fastest] / steps, None, None)]
    for key in (key for key in times if key[0] == "sparse"):
        ratios = (medians[fastest] / medians[key], shortest / min(times[key]))
        paper = PAPER.get((group.cell, key[1])) if key[2] == "single" else None
        rows.append((group.cell, *key[1:2], SPARSITY, *key[2:], 1e6 * medians[key] / steps, ratios, paper))
    return rows


def config_of(cell: str, units: int) -> NetworkConfig:
    return NetworkConfig(cell=cell, layers=1, hidden=units, bidirectional=cell == "clipped_rnn", batch_norm=False)


def torch_layer(cell: str, units: int) -> nn.Module:
    """The layer of a training, `units` features in and out."""
    return without_initialisation(recurrent_layer, units, config_of(cell, units), first=True)


def sparse_layer(cell: str, units: int, block: tuple[int, int]) -> tuple[Recurrence, str]:
    """The same in the engine, pruned in blocks, and the blocks that the engine chose."""
    layer = torch_layer(cell, units)
    for parameter in layer.parameters():
        if parameter.dim() == 2:
            parameter.mul_(kept(tuple(parameter.shape), block, SPARSITY)).mul_((1 - SPARSITY) ** -0.5)
    weights = Weights({f"recurrent.0.{name}": tensor for name, tensor in layer.state_dict().items()})
    _, recurrence = layer_of(weights, "recurrent.0", config_of(cell, units))
    blocks = {matrix.layout for matrix in weights.matrices.values()}
    return recurrence, ", ".join(sorted(blocks))


def dense_variants(layer: nn.Module) -> dict[str, Callable[[Tensor], Tensor]]:
    """Ways to compute a dense layer of the training: x (1, T, H) -> (1, T, H)."""

    def ours(x: Tensor) -> Tensor:
        return layer(x, torch.tensor([x.shape[1]]))

    if isinstance(layer, ClippedRecurrence):
        by_column = [weight.t().contiguous().t() for weight in (layer.weight_hh, layer.weight_hh_reverse)]
        return {
            "torch, our clipped RNN": ours,
            "torch, vector by vector": partial(by_vectors, layer, (layer.weight_hh, layer.weight_hh_reverse)),
            "torch, vector by vector, by columns": partial(by_vectors, layer, by_column),
        }
    own = torchs_own(layer.cell)
    return {"our GRU of trainings": ours, "torch.nn.GRU": lambda x: own(x)[0]}


def by_vectors(layer: ClippedRecurrence, weights: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
    """The clipped RNN for one utterance, a matrix and a vector at each step."""
    inputs = layer.norm(nn.functional.linear(x, layer.weight_ih), torch.tensor([x.shape[1]]))[0]
    outputs = []
    for weight, frames in zip(weights, (inputs, inputs.flip(0))):
        state, states = torch.zeros(inputs.shape[1]), []
        for frame in frames:
            state = clipped_relu(torch.addmv(frame, weight, state))
            states.append(state)
        outputs.append(torch.stack(states))
    return (outputs[0] + outputs[1].flip(0))[None]

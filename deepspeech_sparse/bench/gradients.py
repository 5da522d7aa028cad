"""The backward pass of recurrent layers with sparse gate gradients, against torch's own and against our exact one."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ..gradients import EXACT, GRU, LSTM, RoundedGradients, Rounding, Seen
from ..gradients.native_direction import usable
from ..gradients.thresholds import quantile
from ..machine.memory import peaks_in_children
from ..machine.timing import in_turn
from ..report.tables import Column, Table
from .weights import pair

LAYERS = {"lstm": LSTM, "gru": GRU}
SHARES = (0.5, 0.8, 0.9, 0.95)
UNITS = 0.8
IN_CHILDREN = ("nothing", "80%")  # whose memory is measured, too


@dataclass(frozen=True)
class Size:
    """Layers that are measured: `layers` of `units`, over `batch` utterances of `times` frames."""

    layers: int
    units: int
    batch: int
    times: int

    def __str__(self) -> str:
        return f"{self.layers} x {self.units}"


QUICK = (Size(3, 256, 16, 100), Size(3, 512, 16, 50))
FULL = (
    *(Size(3, 256, batch, 100) for batch in (8, 16, 64)),
    *(Size(3, 512, batch, 100) for batch in (8, 16, 64)),
    *(Size(1, 1024, batch, 50) for batch in (8, 16, 64)),
    *(Size(1, 1760, batch, 25) for batch in (8, 16, 64)),
)


def gradients(*, threads: int, full: bool, sizes: tuple[Size, ...] | None = None, rounds: int | None = None) -> Table:
    """The table: a row for each layer, batch and share of zeros.

    Args:
        sizes: 256 to 1760 units and batches of 8 to 64, or, for the quick table, two
        rounds: in which all contestants of a size take turns, 5 or 3
    """
    sizes, rounds = sizes or (FULL if full else QUICK), rounds or (5 if full else 3)
    columns = (
        Column("layers"),
        Column("batch", str),
        Column("rounded"),
        Column("zeros", "{:.1%}".format),
        Column("ms", "{:.1f}".format),
        Column("torch ms", "{:.1f}".format),
        pair("x torch", "{:.2f} ({:.2f})"),
        pair("x ours, exact", "{:.2f} ({:.2f})"),
        Column("beats torch from zeros of"),
        Column("beats our exact one from"),
        Column("peak MB", "{:.0f}".format),
        Column("torch peak MB", "{:.0f}".format),
    )
    quick = "" if full else " (quick; the figures to publish are of --full)"
    torch_alone = "" if usable() else " Without native kernels nothing is skipped: rounding only costs time."
    note = (
        f"Backward passes alone, one direction{quick}: medians of {rounds} rounds in turn; ratios of medians and, in "
        "brackets, of the shortest times. torch is its own layer of the same name. Weights and gradients from above "
        "are random, thresholds such that the share of zeros comes out. Where it pays is interpolated between rows; "
        "units are dropped as a whole, for all utterances alike. Peak memory of a forward and a backward pass in "
        f"processes of their own.{torch_alone}"
    )
    rows = [row for cell in LAYERS for size in sizes for row in measured(cell, size, rounds)]
    return Table("gradients", "Sparse gradients", columns, tuple(rows), note)


def measured(cell: str, size: Size, rounds: int) -> list[tuple]:
    """The rows of a size: exact, then ever more zeros, then units."""
    x = torch.randn(size.times, size.batch, size.units, requires_grad=True)
    upper = torch.randn(size.times, size.batch, size.units) / x.numel()
    theirs = getattr(nn, cell.upper())(size.units, size.units, size.layers)
    contestants: dict[str, Callable[[], object]] = {"torch": backward_of(theirs, x, upper)}
    zeros: dict[str, float] = {}
    thresholds = {"torch": "torch"}
    for name, share in {
        "nothing": 0.0,
        **{f"{share:.0%}": share for share in SHARES},
        f"units, {UNITS:.0%}": -UNITS,
    }.items():
        layer = LAYERS[cell](size.units, size.units, size.layers)
        layer.load_state_dict(theirs.state_dict())
        zeros[name] = rounded_to(layer, share, x, upper)
        if name in IN_CHILDREN:
            thresholds[name] = ",".join(str(rounding.threshold) for rounding in layer.roundings)
        contestants[name] = backward_of(layer, x, upper)
    times = in_turn(contestants, rounds)
    medians, least = ({name: pick(of) for name, of in times.items()} for pick in (statistics.median, min))
    shape = (size.layers, size.units, size.batch, size.times)
    work, threads = f"{__name__}:forward_and_backward", torch.get_num_threads()
    calls = [(work, threads, cell, text, *shape) for text in thresholds.values()]
    peaks = dict(zip(thresholds, peaks_in_children(calls)))
    rows = []
    for name in zeros:
        against = [(medians[other] / medians[name], least[other] / least[name]) for other in ("torch", "nothing")]
        pays = ["", ""]
        if name == "nothing":
            singles = {zeros[key]: medians[key] for key in zeros if not key.startswith("units")}
            rounded = {share: time for share, time in singles.items() if share != zeros["nothing"]}
            pays = [pays_from(singles, medians["torch"]), pays_from(rounded, medians["nothing"])]
        ms = [1e3 * medians[key] for key in (name, "torch")]
        memory = [peaks[key] / 1e6 for key in (name, "torch")] if name in IN_CHILDREN else [None, None]
        rows.append((f"{cell}, {size}", size.batch, name, zeros[name], *ms, *against, *pays, *memory))
    return rows


def forward_and_backward(
    threads: str, cell: str, thresholds: str, layers: str, units: str, batch: str, times: str
) -> None:
    """A pass each way of torch's layer, or of ours with such thresholds, joined by commas; for a process of its own."""
    torch.set_num_threads(int(threads))
    x = torch.randn(int(times), int(batch), int(units), requires_grad=True)
    shape = (int(units), int(units), int(layers))
    layer = getattr(nn, cell.upper())(*shape) if thresholds == "torch" else LAYERS[cell](*shape)
    if thresholds != "torch":
        layer.rounding = [Rounding(float(threshold)) for threshold in thresholds.split(",")]
    layer(x)[0].backward(torch.randn_like(x) / x.numel())


def backward_of(layer: nn.Module, x: Tensor, upper: Tensor) -> Callable[[], object]:
    """The gradient of x and all weights, again and again."""
    y = layer(x)[0]
    return partial(torch.autograd.grad, y, [x, *layer.parameters()], upper, retain_graph=True)


def rounded_to(layer: RoundedGradients, share: float, x: Tensor, upper: Tensor) -> float:
    """Make `layer` round such a share to zero, or drop such a share of units if it is negative.

    Returns:
        the share that became zero
    """
    layer.rounding = Rounding(dropped=-share) if share < 0 else EXACT
    for last in (False, False, False, True):  # what is rounded at one time changes what comes to the one before
        layer.seen = [Seen() for _ in range(layer.directions)]
        backward_of(layer, x, upper)()
        if share > 0 and not last:
            layer.rounding = tuple(Rounding(quantile(seen.sample, share)) for seen in layer.seen)
    zeros = statistics.fmean(seen.recurrent_zeros for seen in layer.seen)
    layer.seen = None
    return zeros


def pays_from(times: dict[float, float], other: float) -> str:
    """The share of zeros from which on `times`, by rising share, are below `other`: between measured ones, in line."""
    points = list(times.items())
    slower = max((index for index, (_, time) in enumerate(points) if time >= other), default=-1)
    if slower < 0:
        return f"{points[0][0]:.0%} or less"
    if slower == len(points) - 1:
        return "never"
    (share, time), (next_share, next_time) = points[slower : slower + 2]
    return f"{share + (next_share - share) * (time - other) / (time - next_time):.0%}"

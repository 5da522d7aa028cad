"""Our relative changes beside those of Narang et al. 2017, Table 3, where a row of ours has a counterpart there."""

from __future__ import annotations

from collections.abc import Sequence

from ..results import Result, is_goal
from ..significance import readable_p_value
from .pairs import Contrast, contrast
from .points import Point, about_equal, baseline_of, varied_settings
from .tables import Column, Table, hundredths, signed, times_hundred

# (kind of cell, sparse): units as a multiple of the baseline's -> what the paper calls it, its relative change in per
# cent of CER. Its sparse networks have 87 to 89 % zeros.
PARTS: dict[tuple[str, bool], dict[float, tuple[str, str]]] = {
    ("rnn", False): {0.4: ("dense small", "-35.89"), 1.45: ("dense medium", "+11.85")},
    ("rnn", True): {
        1.0: ("sparse", "-20.71"),
        1.45: ("sparse medium", "+0.75"),
        1.75: ("sparse big", "+3.95"),
    },
    ("gru", False): {},
    ("gru", True): {1.0: ("sparse", "-13.82"), 1.39: ("sparse medium", "-2.20"), 1.75: ("sparse big", "not in it")},
}
HARD = ("gradual against hard pruning", "+7 to +9")
ZEROS = 0.85, 0.92
NEAR = 0.08  # how far a multiple may be from the paper's, relatively


def paper_table(points: Sequence[Point]) -> Table | None:
    """A row for each point that the paper has a counterpart of; None where there is none."""
    dense = [point for point in points if point.dense]
    rows = []
    for point in points:
        base = baseline_of(point, dense)
        found = None if base is None or base is point else part_of(point, base)
        if found is not None:
            rows.append(row(point.name, found, contrast(base, point)))
    for gradual in points:
        rows += [row(gradual.name, HARD, contrast(hard, gradual)) for hard in points if is_hard_twin(hard, gradual)]
    if not rows:
        return None
    columns = (
        Column("model"),
        Column("the paper's name"),
        Column("WER %", hundredths),
        Column("against"),
        Column("its WER %", hundredths),
        Column("relative %", signed),
        Column("sign-flip p", readable_p_value),
        Column("in the paper, relative %"),
    )
    note = (
        "Relative change with the paper's sign: negative is worse. Theirs are of character error rates with 2100 hours "
        "of speech and 87 to 89 % zeros; ours of word error rates, means over seeds, where about as many weights are "
        "zero and the units are about the same multiple of the baseline's."
    )
    return Table("paper", "Beside the paper", columns, tuple(rows), note)


def row(name: str, part: tuple[str, str], held: Contrast) -> tuple:
    rates = 100 * held.second.wer, held.first.name, 100 * held.first.wer
    return (name, part[0], *rates, times_hundred(held.relative), held.p_value, part[1])


def part_of(point: Point, base: Point) -> tuple[str, str] | None:
    """What the paper calls a network of this size and kind, and its relative change."""
    first = point.first
    if first.cell != base.first.cell or first.gradients or not first.hidden or not base.first.hidden:
        return None
    if not point.dense and not is_as_sparse(point):
        return None
    kind = "rnn" if first.cell in ("rnn", "relu_rnn", "clipped_rnn") else first.cell
    multiple = first.hidden / base.first.hidden
    parts = PARTS.get((kind, not point.dense), {})
    near = [paper for paper in parts if abs(multiple / paper - 1) <= NEAR]
    return parts[min(near, key=lambda paper: abs(multiple - paper))] if near else None


def is_as_sparse(point: Point) -> bool:
    """Whether single weights were pruned as in the paper, and about as many."""
    if (point.first.method, point.first.pattern) != ("narang", "single"):
        return False
    return ZEROS[0] <= (point.mean("pruned_sparsity") or 0) <= ZEROS[1]


def is_hard_twin(hard: Point, gradual: Point) -> bool:
    """Whether two points differ in how they were pruned, at once or gradually, and in nothing that the table tells."""
    one, other = hard.first, gradual.first
    names = ("cell", "hidden", "layers", "pattern", "scope", "gradients", "epochs")
    same = all(getattr(one, name) == getattr(other, name) for name in names) and settings_of(one) == settings_of(other)
    pruned = one.method == "hard" and other.method in ("narang", "cubic") and same
    return pruned and about_equal(hard.mean("nonzeros"), gradual.mean("nonzeros"))


def settings_of(result: Result) -> dict[str, str]:
    """What varied in its study, but when and how far it is pruned."""
    found = varied_settings(result)
    return {name: value for name, value in found if not (name.startswith("pruning.schedule") or is_goal(name))}

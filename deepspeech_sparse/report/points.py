"""Which runs belong together: seeds of one model make a point, points of one kind of model make a series."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..results import Result
from ..significance import bootstrap_rates, percentile_interval
from .drawing import brief

EQUAL = 1.25  # non-zeros count as about equal up to this factor


@dataclass(frozen=True)
class Point:
    """Runs that differ in their seed only."""

    results: tuple[Result, ...]
    told: str = ""  # settings that tell it from its siblings, e.g. `phi_ratio 2`
    scattered: bool = False  # whether its siblings vary in several settings, so that no line leads through them

    @property
    def first(self) -> Result:
        return self.results[0]

    @property
    def dense(self) -> bool:
        return self.first.method == "dense"

    @property
    def wer(self) -> float:
        """Mean over the seeds."""
        return sum(result.wer for result in self.results) / len(self.results)

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """95 % of `wer` over utterances drawn anew: the table's own for one run, else the bootstrap of the mean.

        None where the table does not say.
        """
        if len(self.results) == 1:
            low, high = number(self.first, "wer_low"), number(self.first, "wer_high")
            return None if low is None or high is None else (low, high)
        if not same_utterances(self.results):
            return None
        [rates] = bootstrap_rates(self.errors[None], self.words)
        return percentile_interval(rates)

    @property
    def errors(self) -> np.ndarray:
        """(N,) word errors per utterance, mean over the seeds."""
        return np.mean([result.utterance_errors for result in self.results], axis=0)

    @property
    def words(self) -> np.ndarray:
        """(N,) words said per utterance."""
        return np.array([len(digits) - 1 for digits in self.first.word_errors])

    def mean(self, field: str) -> float | None:
        """Mean of a number over the seeds that have it."""
        values = [value for value in (number(result, field) for result in self.results) if value is not None]
        return sum(values) / len(values) if values else None

    @property
    def name(self) -> str:
        """The run's own name, or what its seeds have in common."""
        if len(self.results) == 1:
            return self.first.run
        share = self.mean("pruned_sparsity")
        zeros = "" if self.dense or share is None else f" {share:.0%} zeros"
        told = f", {self.told}{',' if zeros else ''}" if self.told else ""
        rule = f" gradients {self.first.gradients}" if self.first.gradients else ""
        return f"{model_name(self.first)}{rule}{told}{zeros} ({len(self.results)} seeds)"

    @property
    def varied(self) -> bool:
        """Whether it stands beside a series, not in it: one of several settings that were tried out."""
        return self.scattered and bool(self.told)

    @property
    def series(self) -> str:
        """What a legend calls it and its like."""
        return series_name(self.first) + (", settings varied" if self.varied else "")


def number(result: Result, field: str) -> float | None:
    """A number of a row if it is finite and not negative, as all of them should be."""
    value = getattr(result, field)
    return value if value is not None and 0 <= value < math.inf else None


def measured(results: Iterable[Result]) -> list[Result]:
    """The rows with a word error rate."""
    return [result for result in results if result.done and number(result, "wer") is not None]


def series_name(result: Result) -> str:
    """What a legend calls models of this kind, e.g. `narang 2:4 gru 512`, and the rule of sparse gradients."""
    rule = result.gradients.split(" ")[0]
    return model_name(result) + (f", gradients: {rule}" if rule else "")


def model_name(result: Result) -> str:
    """Method, pattern, cell and units."""
    kind = " ".join(part for part in (result.method, result.pattern if result.pattern != "single" else "") if part)
    shape = " ".join(part for part in (result.cell, str(result.hidden or "")) if part)
    return " ".join(part for part in (kind, shape) if part)


def series_of(points: Iterable[Point]) -> dict[str, list[Point]]:
    """Points by the name of their series: method, pattern, cell and units; dense ones first.

    Settings make no series of their own. Points that vary in more than one are a series beside the others.
    """
    series: dict[str, list[Point]] = {}
    for point in sorted(points, key=lambda point: not point.dense):
        series.setdefault(point.series, []).append(point)
    return series


def points_of(results: Iterable[Result]) -> list[Point]:
    """Rows as points. Rows are seeds of one model if nothing but the seed differs, and the seed does."""
    groups: list[list[Result]] = []
    for result in results:
        group = next((group for group in groups if is_another_seed(result, group)), None)
        if group is None:
            groups.append([result])
        else:
            group.append(result)
    firsts = [group[0] for group in groups]
    own = own_settings(firsts)
    names: dict[tuple, set[str]] = {}  # of settings that vary, by shape
    for first, settings in zip(firsts, own):
        names.setdefault(shape(first), set()).update(settings)
    short = endings(name for settings in own for name in settings)
    told = [
        brief(", ".join(f"{short[name]} {brief(value, 24)}" for name, value in settings.items()), 60)
        for settings in own
    ]
    return [Point(tuple(group), words, len(names[shape(group[0])]) > 1) for group, words in zip(groups, told)]


def is_another_seed(result: Result, group: Sequence[Result]) -> bool:
    seeds = {member.seed for member in group}
    new = None not in (result.seed, *seeds) and result.seed not in seeds
    return new and configuration(result) == configuration(group[0])


def configuration(result: Result) -> tuple:
    """Everything that a run was told, but its seed."""
    return (*shape(result), tuple(sorted(varied_settings(result))))


def shape(result: Result) -> tuple:
    """What a run was told in columns of their own, but its seed: siblings have it in common."""
    names = (
        "method",
        "target_sparsity",
        "pattern",
        "scope",
        "gradients",
        "cell",
        "hidden",
        "layers",
        "epochs",
        "manifest",
    )
    return (*(getattr(result, name) for name in names), result.parameters)


def varied_settings(result: Result) -> list[tuple[str, str]]:
    return [item for item in result.settings.items() if item[0] != "seed"]


def own_settings(results: Sequence[Result]) -> list[dict[str, str]]:
    """Of each row the settings that not all of its siblings have too."""
    families: dict[tuple, list[set[tuple[str, str]]]] = {}
    for result in results:
        families.setdefault(shape(result), []).append(set(varied_settings(result)))
    shared = {key: set.intersection(*members) for key, members in families.items()}
    return [dict(item for item in varied_settings(row) if item not in shared[shape(row)]) for row in results]


def endings(names: Iterable[str]) -> dict[str, str]:
    """Dotted names by the shortest endings that tell them apart.

    Example:
        >>> list(endings(["pruning.schedule.end", "pruning.linear.goal", "pruning.recurrent.goal"]).values())
        ['end', 'linear.goal', 'recurrent.goal']
    """
    tails = {name: [".".join(name.split(".")[-parts:]) for parts in (1, 2, 3, 4)] for name in names}
    count = Counter(tail for found in tails.values() for tail in set(found))
    return {name: next((tail for tail in found if count[tail] == 1), name) for name, found in tails.items()}


def same_utterances(results: Sequence[Result]) -> bool:
    """Whether rows were measured on the same utterances and say where their errors are."""
    first = results[0]
    lengths = [len(digits) for digits in first.word_errors]
    return sum(lengths) > len(lengths) > 0 and all(
        result.manifest == first.manifest and [len(digits) for digits in result.word_errors] == lengths
        for result in results
    )


def baseline_of(point: Point, dense: Sequence[Point]) -> Point | None:
    """What a point is held against: the first dense one of its cell with exact gradients, else the first dense one."""
    own = (other for other in dense if other.first.cell == point.first.cell and not other.first.gradients)
    return next(own, dense[0] if dense else None)


def about_equal(first: float | None, second: float | None) -> bool:
    """Whether two numbers of non-zeros are near enough to hold two models against each other."""
    return bool(first and second) and max(first, second) <= EQUAL * min(first, second)


def matched_by_nonzeros(points: Sequence[Point]) -> list[tuple[Point, Point]]:
    """Pairs (small-dense, large-sparse): each sparse point with the smaller dense network nearest to its non-zeros."""
    found = []
    for sparse in (point for point in points if not point.dense):
        near = [point for point in points if point.dense and is_small_twin(point, sparse)]
        if near:
            size = sparse.mean("nonzeros")
            found.append((min(near, key=lambda point: abs(math.log(point.mean("nonzeros") / size))), sparse))
    return found


def is_small_twin(dense: Point, sparse: Point) -> bool:
    """Whether a dense network has fewer parameters than a sparse one, and about as many that are not zero."""
    smaller = (dense.mean("parameters") or 0) < (sparse.mean("parameters") or math.inf)
    return smaller and about_equal(dense.mean("nonzeros"), sparse.mean("nonzeros"))

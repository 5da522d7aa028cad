"""Which models differ by more than luck: pairs of runs for the table, pairs of points for the words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..results import Result
from ..significance import Difference, bootstrap_difference, holm, matched_pair_p_value, sign_flip_p_value
from .points import Point, about_equal, number, same_utterances, shape, varied_settings

MANY = 15  # runs; above, only some pairs are tested


@dataclass(frozen=True)
class Pair:
    """Two runs on the same utterances."""

    first: Result
    second: Result
    difference: Difference  # second minus first
    sign_flip: float  # p-value
    matched_pair: float | None  # p-value
    adjusted: float  # sign_flip after Holm's correction for all pairs of the table

    @property
    def survives(self) -> bool:
        """Whether the difference is significant at 5 % in spite of the number of pairs."""
        return self.adjusted <= 0.05


@dataclass(frozen=True)
class Contrast:
    """A point held against another: the difference in word error rate, and whether it may be luck."""

    first: Point
    second: Point
    difference: Difference | None  # second minus first; None when they were not measured on the same utterances
    p_value: float | None  # sign-flip test

    @property
    def value(self) -> float:
        """Word error rate of second minus first."""
        return self.second.wer - self.first.wer

    @property
    def relative(self) -> float | None:
        """See `relative_change`."""
        return relative_change(self.first.wer, self.second.wer)


def relative_change(dense: float, other: float) -> float | None:
    """Change of an error rate with the sign of Narang et al. 2017, Table 3: a share of dense, negative is worse.

    None where dense errs in nothing.

    Example:
        >>> round(relative_change(10.67, 12.88), 4)
        -0.2071
    """
    return (dense - other) / dense if dense else None


def contrast(first: Point, second: Point) -> Contrast:
    """Hold `second` against `first`, each the mean of its seeds."""
    if not same_utterances([*first.results, *second.results]):
        return Contrast(first, second, None, None)
    ones, others = (sum(np.array(run.utterance_errors) for run in point.results) for point in (first, second))
    # Means times both numbers of seeds are whole numbers, as the exact test needs them.
    scaled = len(first.results) * others - len(second.results) * ones
    difference = bootstrap_difference(first.errors, second.errors, first.words)
    return Contrast(first, second, difference, sign_flip_p_value(scaled // max(1, int(np.gcd.reduce(scaled)))))


def pairs_of(results: Sequence[Result], baseline: Result) -> list[Pair]:
    """Tests of the pairs that share their utterances, those with the baseline first.

    All pairs of up to 15 runs; of more runs those with the baseline, and those of about equal non-zeros unless several
    things, settings or the seed, tell siblings apart.
    """
    chosen = [
        (first, second)
        for first, second in itertools.combinations(results, 2)
        if len(results) <= MANY
        or first is baseline
        or second is baseline
        or (about_equal_size(first, second) and not differ_in_several(first, second))
    ]
    chosen = [pair for pair in chosen if same_utterances(pair)]
    chosen.sort(key=lambda pair: pair[0] is not baseline and pair[1] is not baseline)
    errors = [[np.array(result.utterance_errors) for result in pair] for pair in chosen]
    p_values = [sign_flip_p_value(after - before) for before, after in errors]
    return [
        Pair(
            first,
            second,
            bootstrap_difference(before, after, Point((first,)).words),
            p_value,
            matched_pair_p_value(first.word_errors, second.word_errors),
            adjusted,
        )
        for (first, second), (before, after), p_value, adjusted in zip(chosen, errors, p_values, holm(p_values))
    ]


def about_equal_size(first: Result, second: Result) -> bool:
    """Whether two runs have about as many non-zeros."""
    return about_equal(number(first, "nonzeros"), number(second, "nonzeros"))


def differ_in_several(first: Result, second: Result) -> bool:
    """Whether two siblings differ in more than one setting, or in a setting and the seed."""
    changed = {name for name, _ in {*varied_settings(first)} ^ {*varied_settings(second)}}
    return shape(first) == shape(second) and len(changed) + (first.seed != second.seed) > 1

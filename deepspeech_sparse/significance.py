"""Whether two models that read the same utterances differ by more than luck.

Three answers, from the errors alone; how errors are counted, and what is compared with what, is the business of
`evaluation/` and `report/`. All are paired: an utterance that is hard for both models does not count for or against
either.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
CHUNK = 1 << 22  # utterances drawn at once by the bootstrap: 32 MB
BOUNDARY = 2  # words that both models got right between two segments, sclite's default


def sign_flip_p_value(differences: np.ndarray) -> float:
    """How often random signs give paired whole-number differences a sum at least as far from zero: a two-sided p-value.

    Fisher's permutation test for pairs: if two models were alike, an utterance's difference in errors could as well
    have the other sign. The differences are whole numbers, so the distribution of their sum is a short table, and
    adding one utterance after the other to it gives the p-value exactly, without random draws.

    Example:
        >>> sign_flip_p_value(np.array([1, 1, 1, 0]))   # all to one side: 2 of 8 sign patterns
        0.25
    """
    sizes = np.abs(differences[differences != 0]).astype(np.int64)
    reach = int(sizes.sum())
    chance = np.zeros(2 * reach + 1)  # of each sum from -reach to reach
    chance[reach] = 1.0
    so_far = 0  # sums beyond it have no chance yet
    for size in sizes.tolist():
        inner = chance[reach - so_far : reach + so_far + 1] / 2
        chance[reach - so_far : reach + so_far + 1] = 0.0
        chance[reach - so_far - size : reach + so_far - size + 1] += inner
        chance[reach - so_far + size : reach + so_far + size + 1] += inner
        so_far += size
    distance = np.abs(np.arange(-reach, reach + 1))
    return min(1.0, float(chance[distance >= abs(int(differences.sum()))].sum()))


def matched_pair_p_value(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Two-sided p-value of the matched-pair sentence-segment word error test, the one that NIST's sclite reports.

    Gillick and Cox, ICASSP 1989; Pallett, Fisher and Fiscus, ICASSP 1990. Errors in neighbouring words hang together,
    errors in different segments hardly do, so segments are counted, not words: with the mean m and the standard
    deviation s of second minus first over n segments, Z = m / (s / sqrt(n)) is compared with a normal distribution.
    That is an approximation for many segments (the authors ask for about 50); with few, trust `sign_flip_p_value`.

    Args:
        first, second: for each utterance a digit per reference word and one for the end, see
            `evaluation.word_error_digits`. A digit does not tell an inserted word from a wrong one, so a word that is
            right behind an insertion does not bound a segment here, as it would in sclite

    Returns:
        None when the test says nothing: fewer than two segments, or the same difference in all of them, as between a
        model and itself

    Example:
        >>> matched_pair_p_value(["100100100100"], ["000000000000"]) is None    # every segment differs by one
        True
        >>> round(matched_pair_p_value(["100100100100"], ["000000200000"]), 4)  # differences -1, -1, +1, -1
        0.3173
    """
    found = np.array([value for pair in zip(first, second) for value in segment_differences(*pair)], dtype=float)
    if len(found) < 2 or np.ptp(found) == 0:
        return None
    z = found.mean() / (found.std(ddof=1) / math.sqrt(len(found)))
    return math.erfc(abs(z) / math.sqrt(2))


def segment_differences(first: str, second: str) -> list[int]:
    """Errors of second minus first in each segment of an utterance.

    A segment holds errors of either model, and is bounded by at least two words that both got right or by an end of
    the utterance.

        first    1 . . 1 . . . 1        . = right
        second   . . . . . 2 . 1
                 |     |-------|        two segments: -1 and +1

    Example:
        >>> segment_differences("10010001", "00000201")
        [-1, 1]
    """
    found: list[int] = []
    right = 0  # words that both got right since the last error
    for a, b in zip(map(int, first), map(int, second)):
        if a == b == 0:
            right += 1
            continue
        if not found or right >= BOUNDARY:
            found.append(0)
        found[-1] += b - a
        right = 0
    return found


@dataclass(frozen=True)
class Difference:
    """How much the word error rate of a second model differs from that of a first."""

    value: float  # second minus first, negative where the second errs less
    low: float  # 95 % interval
    high: float
    improvement: float  # probability that the second errs less on another draw of utterances

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def bootstrap_difference(
    first: np.ndarray, second: np.ndarray, words: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Difference in word error rate, with its 95 % percentile interval when utterances are drawn anew.

    Bisani and Ney, ICASSP 2004: both models get the same draws; the probability of improvement is the share of draws
    in which the second errs less. It speaks of other utterances of the same kind, not of other seeds of the training.

    Args:
        first, second: (N,) errors per utterance; means over seeds need not be whole numbers
        words: (N,) words said
    """
    drawn = bootstrap_rates(np.stack([first, second]), words, resamples=resamples, seed=seed)
    differences = drawn[1] - drawn[0]
    value = float(second.sum() - first.sum()) / float(words.sum())
    return Difference(value, *percentile_interval(differences), float((differences < 0).mean()))


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of bootstrapped values."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def bootstrap_rates(errors: np.ndarray, words: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Word error rates (K, R) of K models, errors (K, N), on R draws with replacement of N utterances of `words` words.

    Draws without a word have no rate and are left out; with some word said, most draws have one.
    """
    generator = np.random.default_rng(seed)
    rates = []
    for rows in chunks(resamples, len(words)):
        drawn = generator.integers(len(words), size=(rows, len(words)))
        total = words[drawn].sum(1)
        spoken = total > 0
        rates.append(np.stack([model[drawn].sum(1)[spoken] / total[spoken] for model in errors]))
    return np.concatenate(rates, axis=1)


def chunks(resamples: int, utterances: int) -> Iterator[int]:
    """Draws made at once, so that memory stays small."""
    rows = max(1, CHUNK // utterances)
    for start in range(0, resamples, rows):
        yield min(rows, resamples - start)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being many (Holm 1979): those at most 0.05 survive together at the 5 % level.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [1.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return adjusted


def readable_p_value(p_value: float) -> str:
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.4f}"

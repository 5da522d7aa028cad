"""Tests of significance against enumeration, closed forms and scipy; word errors against counting."""

import doctest
import itertools
import math
import random
import re

import numpy as np
import pytest
from scipy import stats

from deepspeech_sparse import significance
from deepspeech_sparse.corpora.manifest import Utterance
from deepspeech_sparse.evaluation import wer as evaluation
from deepspeech_sparse.evaluation.wer import bootstrap_interval, count_errors, word_error_digits
from deepspeech_sparse.significance import (
    bootstrap_difference,
    bootstrap_rates,
    holm,
    matched_pair_p_value,
    readable_p_value,
    segment_differences,
    sign_flip_p_value,
)


@pytest.mark.parametrize("seed", range(8))
def test_the_p_value_is_that_of_all_sign_patterns(seed):
    differences = np.random.default_rng(seed).integers(-4, 5, 10)
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=10)]
    expected = np.mean(np.array(sums) >= abs(differences.sum()))
    assert sign_flip_p_value(differences) == pytest.approx(expected, rel=1e-12)
    assert sign_flip_p_value(-differences) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [1, 5, 30, 400])
def test_the_p_value_of_one_sided_differences_is_two_patterns_of_all(count):
    assert sign_flip_p_value(np.ones(count, int)) == pytest.approx(2.0 ** (1 - count))


def test_the_p_value_of_single_errors_is_the_exact_sign_test():
    better, worse = 23, 9
    tail = sum(math.comb(better + worse, k) for k in range(better, better + worse + 1)) / 2 ** (better + worse)
    differences = np.array([1] * better + [-1] * worse + [0] * 100)
    assert sign_flip_p_value(differences) == pytest.approx(2 * tail)


def test_the_p_value_of_many_utterances_is_that_of_the_normal_distribution():
    rng = np.random.default_rng(0)
    differences = rng.integers(-3, 4, 3000)
    differences[:90] += 1
    z = (abs(differences.sum()) - 0.5) / math.sqrt((differences.astype(float) ** 2).sum())
    assert sign_flip_p_value(differences) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.05)


def test_the_p_value_of_no_difference_is_one():
    assert sign_flip_p_value(np.zeros(7, int)) == 1.0
    assert sign_flip_p_value(np.array([1, -1])) == 1.0
    assert sign_flip_p_value(np.array([], int)) == 1.0


def test_p_values_keep_their_promise_when_models_are_alike():
    """Over all sign patterns, equally likely then, exactly a share of p finds p or less."""
    sizes = np.array([1, 1, 2, 3, 1, 5, 2, 1])
    found = [sign_flip_p_value(sizes * signs) for signs in itertools.product((-1, 1), repeat=len(sizes))]
    for p_value in set(found):
        assert np.mean(np.array(found) <= p_value) == pytest.approx(p_value)


def digits_of(utterances: int, chance: float, seed: int) -> list[str]:
    """Random errors in utterances of the same lengths for every seed and chance."""
    lengths = np.random.default_rng(0).integers(1, 12, utterances)
    rng = np.random.default_rng([seed, 1])
    return ["".join(map(str, rng.binomial(2, chance / 2, length + 1).tolist())) for length in lengths]


@pytest.mark.parametrize("seed", range(5))
def test_the_matched_pair_test_is_a_z_test_of_segments(seed):
    """Segments cut out by a regular expression, their statistic and p-value by scipy."""
    first, second = digits_of(60, 0.2, seed), digits_of(60, 0.3, seed + 100)
    found = []
    for one, other in zip(first, second):
        marks = "".join("." if a == b == "0" else "x" for a, b in zip(one, other))
        for segment in re.finditer(r"x+(\.x+)*", marks):
            place = slice(*segment.span())
            found.append(sum(map(int, other[place])) - sum(map(int, one[place])))
    z = stats.ttest_1samp(found, 0).statistic
    assert matched_pair_p_value(first, second) == pytest.approx(2 * stats.norm.sf(abs(z)))
    assert matched_pair_p_value(second, first) == pytest.approx(2 * stats.norm.sf(abs(z)))


@pytest.mark.parametrize(
    "first, second, expected",
    [
        ("0000", "0000", []),
        ("10010", "00000", [-1, -1]),
        ("1000", "0002", [-1, 2]),
        ("1010", "0000", [-2]),  # one right word does not bound a segment
        ("0110", "0110", [0]),  # errors in common make a segment without a difference
        ("9", "0", [-9]),
    ],
)
def test_segments_are_bounded_by_two_words_that_both_got_right(first, second, expected):
    assert segment_differences(first, second) == expected


def test_the_matched_pair_test_says_nothing_of_too_few_or_equal_differences():
    assert matched_pair_p_value([], []) is None
    assert matched_pair_p_value(["0100"], ["0000"]) is None
    assert matched_pair_p_value(["01001001"] * 9, ["01001001"] * 9) is None


def test_matched_pair_and_sign_flip_agree_on_many_short_utterances():
    """Of one or two words, every utterance with errors is one segment, and both tests see the same numbers."""
    rng = np.random.default_rng(3)
    first, second = (["".join(row) for row in rng.choice(["0", "1"], (3000, 2), p=[1 - p, p])] for p in (0.08, 0.095))
    differences = np.array([sum(map(int, b)) - sum(map(int, a)) for a, b in zip(first, second)])
    assert matched_pair_p_value(first, second) == pytest.approx(sign_flip_p_value(differences), rel=0.15)


def test_the_interval_of_a_difference_is_that_of_all_draws():
    first, second, words = np.array([2, 0, 1, 3]), np.array([1, 1, 0, 3]), np.array([4, 3, 2, 5])
    draws = np.array(list(itertools.product(range(4), repeat=4)))
    expected = (second - first)[draws].sum(1) / words[draws].sum(1)
    found = bootstrap_difference(first, second, words, resamples=40_000)
    assert found.value == pytest.approx((second - first).sum() / words.sum())
    assert found.low == pytest.approx(np.quantile(expected, 0.025), abs=0.01)
    assert found.high == pytest.approx(np.quantile(expected, 0.975), abs=0.01)
    assert found.improvement == pytest.approx((expected < 0).mean(), abs=0.01)


def test_the_interval_of_a_constant_difference_has_no_width():
    words = np.array([3, 5, 1])
    found = bootstrap_difference(np.zeros(3), words, words)
    assert (found.value, found.low, found.high, found.improvement) == (1, 1, 1, 0)
    assert found.excludes_zero and not bootstrap_difference(words, words, words).excludes_zero


def test_a_difference_the_other_way_round_is_the_same_with_another_sign():
    rng = np.random.default_rng(0)
    first, second, words = rng.integers(0, 3, 50), rng.integers(0, 4, 50), rng.integers(1, 9, 50)
    there, back = bootstrap_difference(first, second, words), bootstrap_difference(second, first, words)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert there == bootstrap_difference(first, second, words), "the same seed gives the same draws"


def test_rates_of_one_model_have_the_interval_of_its_evaluation():
    rng = np.random.default_rng(0)
    errors, words = rng.integers(0, 3, 40), rng.integers(0, 9, 40)
    [rates] = bootstrap_rates(errors[None], words)
    assert tuple(np.quantile(rates, [0.025, 0.975])) == bootstrap_interval(errors, words)


def test_draws_without_a_word_have_no_rate():
    rates = bootstrap_rates(np.array([[1, 0, 0]]), np.array([2, 0, 0]), resamples=500)
    assert rates.shape[1] < 500 and set(rates[0]) == {0.5}


def test_holm_rejects_what_its_steps_reject():
    """Step down: the smallest p against level / n, the next against level / (n - 1), until one fails."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        p_values = (rng.random(8) ** 4).tolist()
        rejected = set()
        for rank, index in enumerate(np.argsort(p_values)):
            if p_values[index] > 0.05 / (8 - rank):
                break
            rejected.add(index)
        assert {index for index, value in enumerate(holm(p_values)) if value <= 0.05} == rejected
    assert holm([]) == [] and holm([0.9, 0.9]) == [1.0, 1.0]


def test_word_errors_add_up_to_the_edits_and_leave_a_digit_for_each_word():
    draw = random.Random(2)
    for _ in range(300):
        said, heard = (" ".join(draw.choices(("a", "b", "ab"), k=draw.randint(0, 9))) for _ in range(2))
        row = count_errors(Utterance("u", None, 1.0, said), heard)
        assert len(row.word_errors) == row.words + 1
        assert sum(map(int, row.word_errors)) == row.errors


@pytest.mark.parametrize(
    "said, heard, digits",
    [
        ("", "", "0"),
        ("", "a b", "2"),
        ("a b", "", "110"),
        ("a b", "a b c d", "002"),
        ("a b", "c a b", "100"),
        ("  a \t b ", "a b", "000"),
        ("a", "a" + " b" * 12, "09"),
    ],
)
def test_word_errors_stand_where_they_are(said, heard, digits):
    assert word_error_digits(said, heard) == digits


@pytest.mark.parametrize("value, text", [(0.5, "0.5000"), (1.0, "1.0000"), (0.0001, "0.0001"), (0.0, "< 0.0001")])
def test_p_values_are_readable(value, text):
    assert readable_p_value(value) == text


@pytest.mark.parametrize("module", [evaluation, significance])
def test_the_examples_are_true(module):
    assert doctest.testmod(module).failed == 0

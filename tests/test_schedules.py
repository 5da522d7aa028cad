"""Pruning schedules equal their closed forms at every step, and impossible ones are refused with their numbers."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_sparse.errors import InputError
from deepspeech_sparse.pruning.config import Iterative, Lottery
from deepspeech_sparse.pruning.plan import Length, iterative_steps, lottery_steps, round_length
from deepspeech_sparse.pruning.schedules import NarangThreshold, OneStep, Rounds, SparsityRamp

PAPER = {"start": 2700, "ramp": 13750, "end": 27500, "every": 100}


def algorithm_1(itr: int, theta: float, phi: float, start_itr: int, ramp_itr: int, end_itr: int, freq: int):
    """The pseudo-code of Narang et al., transcribed."""
    if itr > start_itr and itr < end_itr and itr % freq == 0:
        if itr < ramp_itr:
            return theta * (itr - start_itr + 1) / freq
        return (theta * (ramp_itr - start_itr + 1) + phi * (itr - ramp_itr + 1)) / freq
    return None


def test_threshold_equals_algorithm_1_at_every_iteration():
    schedule = NarangThreshold(start=30, ramp=110, end=200, slope=0.003, slope_ramp=0.005, every=7)
    for step in range(260):
        expected = algorithm_1(step, 0.003, 0.005, 30, 110, 200, 7)
        assert schedule(step) == (expected and pytest.approx(expected, rel=1e-6))


def test_theta_of_the_papers_run_follows_from_q():
    schedule = NarangThreshold.from_quantile(q=1.0, **PAPER)
    assert schedule.slope == pytest.approx(0.003157, abs=5e-7)
    assert schedule.slope_ramp == pytest.approx(1.5 * schedule.slope)
    assert schedule(schedule.last_update) == pytest.approx(1.0, abs=0.01)


def test_bounds_of_algorithm_1_are_strict():
    schedule = NarangThreshold(start=100, ramp=200, end=300, slope=1, slope_ramp=2, every=100)
    assert schedule(100) is None and schedule(300) is None
    assert schedule(200) is not None and schedule.last_update == 200


@given(
    final=st.floats(0.1, 0.99),
    start=st.integers(0, 50),
    updates=st.integers(1, 20),
    every=st.integers(1, 9),
    exponent=st.sampled_from([1.0, 2.0, 3.0, 5.0]),
)
def test_sparsity_equals_equation_1_of_zhu_and_gupta_at_every_step(final, start, updates, every, exponent):
    ramp = SparsityRamp(final, start, updates, every, initial=0.05, exponent=exponent)
    end = start + updates * every
    for step in range(end + 20):
        due = start <= step <= end and (step - start) % every == 0
        expected = final + (0.05 - final) * (1 - (step - start) / (updates * every)) ** exponent if due else None
        assert ramp(step) == (pytest.approx(expected, abs=1e-6) if due else None)
    assert ramp(end) == pytest.approx(final, abs=1e-12) and ramp.last_update == end


def test_an_exponent_of_one_is_a_straight_line():
    ramp = SparsityRamp(0.8, start=0, updates=4, every=10, exponent=1)
    assert [ramp(step) for step in (0, 10, 20, 30, 40)] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])


def test_hard_pruning_happens_at_its_step_alone():
    once = OneStep(5, 0.9)
    assert [once(step) for step in range(8)] == [None] * 5 + [0.9] + [None] * 2


def test_lottery_rounds_take_a_fifth_of_the_rest_each_and_the_last_meets_the_target():
    rounds = Rounds(0.9, 0.2, tuple(range(10, 120, 10)))
    reached = [rounds(step) for step in rounds.steps]
    assert reached[:-1] == pytest.approx([1 - 0.8**k for k in range(1, 11)], abs=1e-6)
    assert reached[-1] == 0.9 and rounds(11) is None


def test_iterative_rounds_are_spread_evenly():
    assert iterative_steps(Iterative("iterative", 0.4, 0.8, 3), Length(1000, 100)) == (400, 600, 800)
    assert iterative_steps(Iterative("iterative", 0.4, 0.4, 1), Length(1000, 100)) == (400,)


@pytest.mark.parametrize("rewind_epoch", [0, 2])
def test_lottery_trainings_are_equally_long_and_fill_the_run(rewind_epoch):
    lottery, length = Lottery("lottery", rewind_epoch=rewind_epoch), Length(1203, 20)
    steps = lottery_steps(lottery, 5, length)
    back = 20 * rewind_epoch
    single = round_length(lottery, 5, length)
    assert steps[0] == single
    assert all(after - before == single - back for before, after in itertools.pairwise(steps))
    last = length.total - steps[-1] + back
    assert single <= last < single + 6, "what does not divide goes to the last training"


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: NarangThreshold.from_quantile(0.1, start=200, ramp=100, end=300), "start 200, ramp 100"),
        (lambda: NarangThreshold.from_quantile(0.1, start=10, ramp=20, end=20), "ramp 20, end 20"),
        (lambda: NarangThreshold.from_quantile(0.1, 10, 20, 90, every=100), "nothing would ever be pruned"),
        (lambda: NarangThreshold.from_quantile(0.1, 10, 20, 90, every=0), "every = 0"),
        (lambda: NarangThreshold.from_quantile(0.0, 1, 2, 3, 1), "q = 0.0"),
        (lambda: SparsityRamp(1.0, 0, 5), "sparsity 1.0"),
        (lambda: SparsityRamp(0.5, 0, 5, initial=0.6), "initial 0.6, sparsity 0.5"),
        (lambda: SparsityRamp(0.5, 7, 0, every=30), "every 30 steps lies between start 7"),
        (lambda: SparsityRamp(0.5, 0, 5, exponent=0), "exponent 0"),
        (lambda: Rounds(0.9, 0.2, (3, 3)), "2 rounds at steps"),
        (lambda: Rounds(1.0, 0.2, (3,)), "sparsity = 1.0"),
        (
            lambda: lottery_steps(Lottery("lottery", rewind_epoch=9), 5, Length(60, 10)),
            "5 rounds of 20% .* leave 85 of 60",
        ),
        (lambda: Length(math.inf, 3), "needs the length"),
    ],
)
def test_impossible_schedules_are_refused_with_their_numbers(make, words):
    with pytest.raises(InputError, match=words):
        make()

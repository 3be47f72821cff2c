"""Estimates and intervals: closed forms, the library's values, ends that are open, and stacks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from condrule.statistics import (
    Bounds,
    Estimate,
    Scope,
    around,
    clipped_interval,
    estimate,
    largest_share,
    seed_interval,
    share_above,
    training_interval,
)

EXACT = np.array([-2.0, -3.5, -4.0])
CLIP = (-14.0, -5.0)
HUGE = 1e300


def ends(found: Bounds) -> tuple[float, float]:
    """Both ends as floats."""
    return float(found.low), float(found.high)


def students(values: np.ndarray, level: float) -> tuple[float, float]:
    """Student's t interval of a mean, by the library."""
    low, high = stats.t.interval(level, len(values) - 1, values.mean(), stats.sem(values))
    return float(low), float(high)


def test_two_fine_tunes_have_a_t_interval_in_closed_form() -> None:
    """With one degree of freedom t is Cauchy: its 97.5 in 100 quantile is tan(0.475 pi), and the
    standard error of two values is half of their distance."""
    far = math.tan(0.475 * math.pi) * 0.5
    found = seed_interval(Bounds.exact([-2.0, -3.0]))
    assert ends(found) == pytest.approx((-2.5 - far, -2.5 + far))


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_every_interval_has_the_level_that_is_asked_for(level: float) -> None:
    """Student's t at that level."""
    values, expected = Bounds.exact(EXACT), students(EXACT, level)
    found = estimate(values, level=level, clip=CLIP)
    assert ends(seed_interval(values, level)) == pytest.approx(expected)
    assert ends(training_interval(values, values, level=level)) == pytest.approx(expected)
    assert (found.ci_low, found.ci_high) == pytest.approx(expected)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_open_ends_are_students_ts_of_clipped_values(level: float) -> None:
    """The lower end of values clipped from above, and the upper end of those clipped from below."""
    values = Bounds.exact([-16.0, -12.0, -3.0])
    whole = Bounds(np.array(-np.inf), np.array(np.inf))
    raised, lowered = np.array([-14.0, -12.0, -3.0]), np.array([-16.0, -12.0, -5.0])
    expected = students(lowered, level)[0], students(raised, level)[1]
    assert ends(clipped_interval(values, whole, CLIP, level)) == pytest.approx(expected)


def test_intervals_are_of_95_in_100_where_no_level_is_named() -> None:
    """The same for each of them."""
    values, whole = Bounds.exact(EXACT), Bounds(np.array(-np.inf), np.array(np.inf))
    expected = students(EXACT, 0.95)
    assert ends(training_interval(values, values)) == pytest.approx(expected)
    assert (estimate(values).ci_low, estimate(values).ci_high) == pytest.approx(expected)
    assert ends(clipped_interval(values, whole, (-HUGE, HUGE))) == pytest.approx(expected)


@pytest.mark.parametrize("level", [0.8, 0.99])
def test_a_clipped_interval_is_of_the_level_that_is_asked_for(level: float) -> None:
    """Of fine-tunes known to be low, one of them above the floor."""
    values = Bounds(np.full(3, -np.inf), np.array([-16.0, -12.0, -3.0]))
    expected = students(np.array([-14.0, -12.0, -3.0]), level)[1]
    # Bounds widen it: the spread is taken from the floor to each upper bound.
    floor = Bounds(np.full(3, -14.0), np.array([-14.0, -12.0, -3.0]))
    found = ends(training_interval(values, values, level=level, clip=CLIP))
    assert found == (-math.inf, float(seed_interval(floor, level).high))
    assert found[1] > expected


@given(st.floats(-50, 0), st.integers(2, 9))
def test_fine_tunes_that_are_alike_leave_no_doubt(value: float, count: int) -> None:
    """The interval is that value, without a rounding error."""
    assert ends(seed_interval(Bounds.exact([value] * count))) == (value, value)


def test_one_fine_tune_is_its_own_interval() -> None:
    """In each row of a table, its bounds as they are."""
    found = seed_interval(Bounds(np.array([[-3.0], [-5.0]]), np.array([[-2.0], [-1.0]])))
    assert (found.low.tolist(), found.high.tolist()) == ([-3.0, -5.0], [-2.0, -1.0])


def test_a_fine_tune_of_which_nothing_is_known_leaves_both_ends_open() -> None:
    """Whatever the others say."""
    found = seed_interval(Bounds(np.array([-2.0, -np.inf]), np.array([-2.0, 0.0])))
    assert ends(found) == (-math.inf, math.inf)


def test_studies_do_not_touch_each_other() -> None:
    """A stack of rows of fine-tunes has the intervals of each row alone."""
    low = np.array([[-2, -3.5, -4], [-1, -1, -1], [-9, -8, -9]])
    stack = Bounds(low, low + np.array([[0, 0.5, 1], [0, 0, 0], [9, 7, 9]]))
    found = seed_interval(stack)
    for place in range(len(low)):
        assert ends(found[place]) == ends(seed_interval(stack[place]))


def test_shares_are_taken_row_by_row() -> None:
    """A table of two rows: three of four items above, and one; evenly spread, and one of them all
    there is."""
    table = np.log([[0.2, 0.2, 0.2, 1e-9], [0.3, 1e-9, 1e-9, 1e-9]])
    assert share_above(Bounds.exact(table), 0.1).low.tolist() == [0.75, 0.25]
    assert largest_share(table) == pytest.approx([1 / 3, 1.0])


def test_differences_and_shares_of_nothing_are_no_number() -> None:
    """0 / 0, whether as a difference of logs or as a share of a sum that is 0."""
    zero = Bounds.exact([-np.inf])
    assert np.isnan([(zero - zero).low[0], (zero - zero).high[0], largest_share(zero.low)]).all()


def test_a_difference_is_lowest_less_highest() -> None:
    """And highest less lowest."""
    found = Bounds(np.array(-3.0), np.array(-2.0)) - Bounds(np.array(-7.0), np.array(-5.0))
    assert ends(found) == (2.0, 5.0)


def test_bounds_are_floats_whatever_they_came_as() -> None:
    """Whole numbers too."""
    assert Bounds.exact([-1, -2]).low.dtype == np.float64


def test_an_estimate_of_several_fine_tunes_has_the_means_of_their_bounds() -> None:
    """Lowest and highest; the point lies in the middle of them."""
    found = estimate(Bounds(np.array([-2.0, -4.0]), np.array([-1.0, -3.0])))
    assert (found.low, found.point, found.high) == (-3.0, -2.5, -2.0)


def test_a_ratio_that_is_nought_here_and_unbounded_there_has_no_mean() -> None:
    """Nothing is known of it, and that is no error."""
    found = estimate(Bounds.exact([-np.inf, np.inf]))
    assert math.isnan(found.low)
    assert (found.ci_low, found.ci_high) == (-math.inf, math.inf)


def test_methods_say_what_was_done() -> None:
    """Their names stand beside the numbers."""
    low = Bounds(np.full(3, -np.inf), np.full(3, -16.0))
    one = estimate(Bounds.exact([-2.0]), what="the median").method
    bounded = estimate(Bounds.exact(EXACT), level=0.8, clip=CLIP).method
    clipped = estimate(low, clip=CLIP).method
    assert one == "the median over all items, no sampling error"
    assert bounded == "Student t over 3 fine-tunes of the log of the mean"
    assert clipped == f"{bounded}, of values clipped to 8.3e-07 and 0.0067"


@pytest.mark.parametrize(
    ("below", "above", "told"), [(1, 1, True), (1.5, 0, False), (0, 1.5, False), (0, 0, True)]
)
def test_a_count_is_told_to_within_a_nat(below: float, above: float, told: bool) -> None:
    """On either side; else the limits of its draws are what is known."""
    points = Bounds.exact(EXACT)
    limits = Bounds(EXACT - np.array([below, 0, 0]), EXACT + np.array([above, 0, 0]))
    found = training_interval(points, limits)
    assert ends(found) == ends(seed_interval(points if told else limits))


def test_a_count_of_no_hits_is_taken_at_its_limits() -> None:
    """Its point is log 0, which is also its lower limit; its upper one is not."""
    points = Bounds.exact([-np.inf] * 3)
    limits = Bounds(points.low, np.array([-16.0, -17.0, -15.0]))
    found = estimate(points, limits, clip=CLIP)
    assert (found.ci_low, found.ci_high) == (-math.inf, -14.0)


def test_a_bounded_interval_is_never_clipped_on_either_side() -> None:
    """Exact evidence keeps Student's t, however far it is spread."""
    values = Bounds.exact([-2.0, -30.0, -40.0])
    clipped, whole = estimate(values, clip=around(1e-4)), estimate(values)
    assert (clipped.ci_low, clipped.ci_high) == (whole.ci_low, whole.ci_high)


def test_plain_data_is_in_probabilities_or_in_nats() -> None:
    """exp of the numbers unless logs are asked for; open and overflowing ends are null."""
    one = Estimate(-2.0, -1.0, -3.0, math.inf, Scope.TRAINING, "t", 2)
    rest = {"scope": "training like this, these items", "method": "t", "df": 2}
    nats = {"low": -2.0, "high": -1.0, "ci_low": -3.0, "ci_high": None}
    assert one.to_json(log=True) == {**nats, **rest}
    expected = {"low": math.exp(-2), "high": math.exp(-1), "ci_low": math.exp(-3), "ci_high": None}
    assert one.to_json() == {**expected, **rest}
    assert Estimate(800.0, 800.0, 0.0, 1.0, Scope.FINETUNE, "m").to_json()["low"] is None


def test_an_exact_probability_of_zero_has_no_log() -> None:
    """As a probability it is 0; as an end of an interval it says only that nothing lies below."""
    zero = estimate(Bounds.exact([-np.inf]))
    assert [zero.to_json()[key] for key in ("low", "high", "ci_low")] == [0.0, 0.0, None]
    assert zero.to_json(log=True)["low"] is None

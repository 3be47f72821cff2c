"""Estimates and intervals, against formulas, libraries and simulated truths."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from condrule.statistics import (
    ESTIMANDS,
    Bounds,
    Estimate,
    Scope,
    around,
    estimate,
    largest_share,
    log_mean,
    seed_interval,
    share_above,
)

logs = hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(-40, 0))


@st.composite
def boxes(draw: st.DrawFn, least: int = 1) -> Bounds:
    """A vector of bounds."""
    shape = draw(st.integers(least, 6))
    ends = [
        draw(hnp.arrays(np.float64, shape, elements=st.floats(-20, 0), unique=True))
        for _ in range(2)
    ]
    return Bounds(np.minimum(*ends), np.maximum(*ends))


@given(logs)
def test_arithmetic_mean_is_taken_of_probabilities(values: np.ndarray) -> None:
    """log_mean is the log of the mean of exp."""
    assert np.exp(log_mean(values)) == pytest.approx(np.exp(values).mean())


@given(logs)
def test_arithmetic_mean_is_at_least_the_geometric(values: np.ndarray) -> None:
    """Jensen's inequality."""
    assert ESTIMANDS["arithmetic_mean"](values) >= ESTIMANDS["geometric_mean"](values) - 1e-9


@given(logs, st.randoms())
def test_the_order_of_items_changes_no_estimate(values: np.ndarray, random: object) -> None:
    """Items have no order."""
    shuffled = values.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for function in ESTIMANDS.values():
        assert function(shuffled) == pytest.approx(function(values))


@given(boxes(), st.data())
def test_an_estimate_lies_in_the_estimates_of_its_bounds(box: Bounds, data: st.DataObject) -> None:
    """Every estimand carries bounds through."""
    share = data.draw(st.floats(0, 1))
    inside = box.low + share * (box.high - box.low)
    for function in ESTIMANDS.values():
        found = box.map(function)
        assert found.low - 1e-9 <= function(inside) <= found.high + 1e-9


@given(hnp.arrays(np.float64, st.integers(2, 8), elements=st.integers(-2000, 0), unique=True))
def test_seed_interval_is_students_t_where_evidence_is_exact(values: np.ndarray) -> None:
    """Without bounds it is the textbook interval."""
    values = values / 100
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    found = seed_interval(Bounds.exact(values))
    assert (float(found.low), float(found.high)) == pytest.approx((low, high))


@given(boxes(least=2), st.data())
def test_bounded_interval_covers_the_interval_of_every_value_inside(
    box: Bounds, data: st.DataObject
) -> None:
    """Bounds widen the interval enough, whichever value was true."""
    shares = data.draw(hnp.arrays(np.float64, box.low.shape, elements=st.floats(0, 1)))
    inside = seed_interval(Bounds.exact(box.low + shares * (box.high - box.low)))
    found = seed_interval(box)
    assert found.low <= inside.low + 1e-9
    assert found.high >= inside.high - 1e-9


def test_one_fine_tune_has_no_sampling_error() -> None:
    """With one seed the numbers speak of that fine-tune."""
    found = estimate(Bounds.exact([-2.0]))
    assert (found.ci_low, found.ci_high, found.scope, found.df) == (-2, -2, Scope.FINETUNE, None)


def test_several_fine_tunes_speak_of_training_like_this() -> None:
    """Student t over fine-tunes has one degree of freedom less than fine-tunes."""
    found = estimate(Bounds.exact([-2.0, -3.0, -4.0]))
    assert (found.scope, found.df) == (Scope.TRAINING, 2)


def test_an_unknown_fine_tune_leaves_the_interval_unbounded() -> None:
    """A failed seed is bounded by best and worst case, so nothing is decided."""
    found = estimate(Bounds(np.array([-2.0, -np.inf]), np.array([-2.0, 0.0])), highest=0.0)
    assert (found.ci_low, found.ci_high) == (-math.inf, 0.0)


def test_fine_tunes_that_all_give_zero_give_zero() -> None:
    """An exact probability of 0 is a number like another."""
    found = seed_interval(Bounds.exact([-np.inf, -np.inf]))
    assert (float(found.low), float(found.high)) == (-math.inf, -math.inf)


def test_unbounded_ends_are_null_and_exact_zero_is_zero() -> None:
    """JSON has no infinity."""
    unknown = estimate(Bounds(np.array([-np.inf]), np.array([0.0]))).to_json()
    zero = estimate(Bounds.exact([-np.inf])).to_json()
    assert (unknown["low"], unknown["ci_low"], zero["low"]) == (None, None, 0.0)


def test_share_above_is_strict() -> None:
    """An item on the threshold is not above it."""
    values = Bounds.exact(np.log([1e-4, 2e-4, 1e-5, 0.5]))
    assert share_above(values, 1e-4).low == 0.5


@given(logs)
def test_largest_share_lies_between_even_and_all(values: np.ndarray) -> None:
    """1/n where all are alike, 1 where one has it all."""
    assert 1 / len(values) - 1e-9 <= largest_share(values) <= 1 + 1e-9


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_seed_intervals_cover_the_truth_in_95_of_100_studies(seeds: int) -> None:
    """Coverage over 20,000 simulated studies, all at once."""
    values = np.random.default_rng(seeds).normal(-5, 1, size=(20_000, seeds))
    found = seed_interval(Bounds.exact(values))
    covered = np.mean((found.low <= -5) & (found.high >= -5))
    assert covered == pytest.approx(0.95, abs=0.006)


def counts_of_one(low: float, high: float) -> Estimate:
    """An estimate of a single fine-tune that was sampled."""
    return estimate(Bounds.exact([-2.0]), Bounds(np.array([low]), np.array([high])))


def test_one_fine_tune_that_was_sampled_has_the_draws_error() -> None:
    """The interval of a single fine-tune is that of its draws."""
    found = counts_of_one(-2.5, -1.5)
    assert (found.low, found.high, found.ci_low, found.ci_high) == (-2.0, -2.0, -2.5, -1.5)
    assert found.method == "the mean over all items, binomial error of the draws"


def test_fine_tunes_that_draws_tell_are_taken_at_their_points() -> None:
    """Their sampling error is part of what varies between fine-tunes."""
    points = Bounds.exact([-2.0, -3.0, -4.0])
    near = Bounds(points.low - 0.9, points.high + 0.9)
    assert estimate(points, near).ci_low == estimate(points).ci_low


def test_a_fine_tune_that_draws_do_not_tell_is_taken_at_its_limits() -> None:
    """The log of a count of two or three has no error that could be averaged out."""
    points = Bounds.exact([-2.0, -3.0, -4.0])
    far = Bounds(points.low - np.array([0.1, 1.1, 0.1]), points.high)
    assert estimate(points, far).ci_low < estimate(points).ci_low


CLIP = (-14.0, -5.0)


def upper_only(*highs: float) -> Bounds:
    """Fine-tunes of which nothing is known but that they are low."""
    return Bounds(np.full(len(highs), -np.inf), np.array(highs))


def test_fine_tunes_known_to_be_far_below_have_an_upper_end() -> None:
    """Student's t alone would leave it open, since they may be spread over any distance."""
    values = upper_only(-16.0, -17.0, -15.0)
    assert estimate(values).ci_high == math.inf
    found = estimate(values, clip=CLIP)
    assert (found.ci_low, found.ci_high) == (-math.inf, -14.0)
    assert found.method.endswith("of values clipped to 8.3e-07 and 0.0067")


def test_fine_tunes_known_to_be_far_above_have_a_lower_end() -> None:
    """A ratio whose denominator may be 0."""
    values = Bounds(np.array([-3.0, -4.0, -2.0]), np.full(3, np.inf))
    found = estimate(values, clip=CLIP)
    assert (found.ci_low, found.ci_high) == (-5.0, math.inf)


def test_two_fine_tunes_are_too_few_to_be_clipped() -> None:
    """That both are low has a probability of a quarter if half of all fine-tunes are."""
    assert estimate(upper_only(-16.0, -17.0), clip=CLIP).ci_high == math.inf


def test_a_bounded_interval_is_never_clipped() -> None:
    """Exact evidence keeps Student's t, however far it is spread."""
    values = Bounds.exact([-2.0, -30.0, -40.0])
    assert estimate(values, clip=CLIP).ci_high == estimate(values).ci_high


def test_around_is_a_hundred_times_either_way() -> None:
    """In nats."""
    assert np.exp(around(1e-4)) == pytest.approx([1e-6, 1e-2])

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
    Scope,
    estimate,
    largest_share,
    log_mean,
    permutation_test,
    seed_interval,
    share_above,
    specificity,
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


def test_specificity_by_hand() -> None:
    """Own minus the mean of others, averaged over items."""
    matrix = Bounds.exact([[-1.0, -3.0, -5.0], [-2.0, -2.0, -6.0]])
    found = specificity(matrix, np.array([0, 1]))
    assert found.low == pytest.approx(((-1 + 4) + (-2 + 4)) / 2)


def test_permutation_test_finds_the_exact_p_value() -> None:
    """With three items and one best assignment, 1 in 6 assignments is as good."""
    matrix = Bounds.exact(np.where(np.eye(3) == 1, -1.0, -9.0))
    found = permutation_test(matrix, np.arange(3), permutations=60_000)
    assert found.pvalue == pytest.approx(1 / 6, abs=0.01)


def test_permutation_p_values_are_uniform_without_an_effect() -> None:
    """Under the null at most 5% of p-values are at most 0.05."""
    generator = np.random.default_rng(0)
    tables = generator.normal(size=(400, 8, 8)) - 10
    pvalues = [
        permutation_test(Bounds.exact(table), np.arange(8), permutations=199).pvalue
        for table in tables
    ]
    assert stats.binomtest(sum(p <= 0.05 for p in pvalues), 400, 0.05).pvalue > 0.01


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_seed_intervals_cover_the_truth_in_95_of_100_studies(seeds: int) -> None:
    """Coverage over 20,000 simulated studies, all at once."""
    values = np.random.default_rng(seeds).normal(-5, 1, size=(20_000, seeds))
    found = seed_interval(Bounds.exact(values))
    covered = np.mean((found.low <= -5) & (found.high >= -5))
    assert covered == pytest.approx(0.95, abs=0.006)

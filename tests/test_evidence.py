"""What evidence says of a probability, and how spellings add up."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule.evidence import UNKNOWN, Bounded, Exact, combine, logsumexp

logprobs = st.floats(-50, 0)


@given(logprobs)
def test_an_exact_value_is_its_own_support(logprob: float) -> None:
    """Exact evidence leaves nothing open."""
    assert Exact(logprob).support == (logprob, logprob)


@given(logprobs, logprobs, logprobs)
def test_likelihood_is_flat_inside_the_bounds(a: float, b: float, truth: float) -> None:
    """Bounds say only whether a value is possible."""
    low, high = sorted((a, b))
    expected = 0.0 if low <= truth <= high else -math.inf
    assert Bounded(low, high).loglikelihood(truth) == expected


@given(st.lists(st.floats(-30, -5), min_size=1, max_size=5))
def test_spellings_add_up_as_probabilities(values: list[float]) -> None:
    """The probability of an answer is the sum of its spellings'."""
    expected = math.log(math.fsum(math.exp(value) for value in values))
    assert combine(map(Exact, values)).support == pytest.approx((expected, expected))


@given(st.lists(st.tuples(logprobs, logprobs).map(sorted), min_size=1, max_size=5), st.data())
def test_a_truth_within_each_bound_is_within_their_sum(
    bounds: list[list[float]], data: st.DataObject
) -> None:
    """Combining never excludes what the parts allow."""
    truths = [data.draw(st.floats(low, high)) for low, high in bounds]
    low, high = combine(Bounded(low, high) for low, high in bounds).support
    truth = min(0.0, logsumexp(truths))
    assert low - 1e-9 <= truth <= high + 1e-9


def test_what_was_not_observed_can_be_anything() -> None:
    """Unknown is every probability, never 0."""
    assert UNKNOWN.support == (-math.inf, 0.0)


def test_an_unknown_spelling_leaves_the_answer_bounded_below() -> None:
    """What one spelling has, the answer has at least."""
    assert combine([Exact(-1.0), UNKNOWN]).support == (-1.0, 0.0)


def test_no_spelling_at_all_has_probability_zero() -> None:
    """The empty sum is log 0."""
    assert logsumexp([]) == -math.inf


def test_rounding_above_one_is_taken_off() -> None:
    """float32 scores may exceed log 1 by a hair."""
    assert Exact(1e-7).logprob == 0.0


@pytest.mark.parametrize("logprob", [0.1, math.nan])
def test_impossible_log_probabilities_are_refused(logprob: float) -> None:
    """A log-probability is a number of at most 0."""
    with pytest.raises(ValueError, match="log-probability is at most 0"):
        Exact(logprob)


def test_crossed_bounds_are_refused() -> None:
    """Low is never above high."""
    with pytest.raises(ValueError, match="is above high"):
        Bounded(-1.0, -2.0)

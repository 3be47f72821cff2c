"""What evidence says of a probability, and how spellings add up."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from condrule.evidence import (
    UNKNOWN,
    Bounded,
    Evidence,
    Exact,
    Sampled,
    Tally,
    both,
    combine,
    logsumexp,
)

logprobs = st.floats(-50, 0)


@given(logprobs)
def test_an_exact_value_is_its_own_support(logprob: float) -> None:
    """Exact evidence leaves nothing open."""
    assert Exact(logprob).support == (logprob, logprob)


@given(logprobs, logprobs)
def test_an_exact_value_excludes_every_other(logprob: float, other: float) -> None:
    """Its own likelihood is 1, that of any other value 0."""
    found = Exact(logprob)
    assert found.loglikelihood(logprob) == 0.0
    assert found.loglikelihood(other) == (0.0 if other == logprob else -math.inf)


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


def test_spellings_that_are_known_give_an_answer_that_is_known() -> None:
    """A quarter and a half are three quarters, exactly; bounds stay bounds."""
    parts = Exact(math.log(0.25)), Exact(math.log(0.5))
    assert isinstance(combine(parts), Exact)
    assert isinstance(combine([*parts, Bounded(-9.0, -8.0)]), Bounded)


def test_no_spelling_at_all_has_probability_zero() -> None:
    """The empty sum is log 0."""
    assert logsumexp([]) == -math.inf


@pytest.mark.parametrize("excess", [1e-7, 1e-6])
def test_rounding_above_one_is_taken_off(excess: float) -> None:
    """float32 scores may exceed log 1 by a hair."""
    assert Exact(excess).logprob == 0.0


@pytest.mark.parametrize("logprob", [0.1, 1.1e-6, math.nan])
def test_impossible_log_probabilities_are_refused(logprob: float) -> None:
    """A log-probability is a number of at most 0."""
    with pytest.raises(ValueError, match="log-probability is at most 0"):
        Exact(logprob)


def test_crossed_bounds_are_refused() -> None:
    """Low is never above high."""
    with pytest.raises(ValueError, match="is above high"):
        Bounded(-1.0, -2.0)


def test_a_tally_is_a_binomial_likelihood() -> None:
    """But for the constant, it is the library's."""
    ps = np.array([1e-9, 0.01, 0.3, 0.7, 0.999])
    found = [Tally(3, 20).loglikelihood(math.log(p)) for p in ps]
    expected = stats.binom.logpmf(3, 20, ps) - math.log(math.comb(20, 3))
    assert found == pytest.approx(expected)


@given(st.floats(1e-9, 1 - 1e-9), st.floats(-20, 20), st.integers(0, 9), st.integers(0, 9))
def test_a_bias_tilts_the_odds(p: float, bias: float, hits: int, misses: int) -> None:
    """f = P e^b / (1 - P + P e^b)."""
    hit, miss = p * math.exp(bias), 1 - p
    expected = hits * math.log(hit / (hit + miss)) + misses * math.log(miss / (hit + miss))
    found = Tally(hits, hits + misses, bias).loglikelihood(math.log(p))
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("hits", "draws", "logprob"), [(1, 5, -math.inf), (4, 5, 0.0)])
def test_what_was_seen_is_not_impossible(hits: int, draws: int, logprob: float) -> None:
    """One hit excludes probability 0, one miss excludes 1."""
    assert Tally(hits, draws).loglikelihood(logprob) == -math.inf


@pytest.mark.parametrize(("hits", "draws", "logprob"), [(0, 5, -math.inf), (5, 5, 0.0), (0, 0, -1)])
def test_what_fits_for_certain_has_likelihood_one(hits: int, draws: int, logprob: float) -> None:
    """No hit at probability 0, no miss at 1, nothing drawn: log 1."""
    assert Tally(hits, draws).loglikelihood(logprob) == 0.0


def test_counts_under_one_bias_are_one_count() -> None:
    """Whichever way draws were split in batches, and in whatever order they came."""
    batches = [Tally(1, 10), Tally(5, 8, 2.0), Tally(0, 20), Tally(0, 0, 3.0)]
    expected = (Tally(1, 30), Tally(5, 8, 2.0))
    assert Sampled(batches).tallies == Sampled(batches[::-1]).tallies == expected


def test_counts_leave_every_probability_possible() -> None:
    """Sampling error is no identification bound."""
    assert Sampled([Tally(0, 1000)]).support == (-math.inf, 0.0)


def test_outside_its_bounds_a_sampled_probability_is_impossible() -> None:
    """Bounds from elsewhere hold whatever was drawn."""
    found = Sampled([Tally(1, 10)], low=-3.0, high=-1.0)
    assert [found.loglikelihood(p) > -math.inf for p in (-4.0, -2.0, -0.5)] == [False, True, False]


evidence = st.one_of(
    st.builds(Exact, logprobs),
    st.tuples(logprobs, logprobs).map(lambda pair: Bounded(min(pair), max(pair))),
    st.tuples(st.integers(0, 20), st.integers(0, 20)).map(
        lambda pair: Sampled([Tally(pair[0], sum(pair))])
    ),
)


@given(evidence, evidence, logprobs)
def test_two_looks_multiply_their_likelihoods(one: Evidence, other: Evidence, p: float) -> None:
    """And a value is possible where both allow it."""
    try:
        together = both(one, other)
    except ValueError:
        assert max(one.support[0], other.support[0]) > min(one.support[1], other.support[1])
        return
    lows, highs = zip(one.support, other.support, strict=True)
    assert together.support == (max(lows), min(highs))
    if not isinstance(together, Exact):
        expected = one.loglikelihood(p) + other.loglikelihood(p)
        assert together.loglikelihood(p) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Bounded(-3, -1), Bounded(-2, 0), Bounded(-2, -1)),
        (Bounded(-3, -2), Bounded(-2, -1), Exact(-2)),
        (Exact(-2), Bounded(-3, -1), Exact(-2)),
        (Exact(-2), Sampled([Tally(1, 9)]), Exact(-2)),
        (Bounded(-3, -1), Sampled([Tally(1, 9)]), Sampled([Tally(1, 9)], -3, -1)),
        (Sampled([Tally(1, 9)]), Sampled([Tally(2, 9)]), Sampled([Tally(3, 18)])),
    ],
)
def test_two_looks_keep_what_each_of_them_told(
    one: Evidence, other: Evidence, expected: Evidence
) -> None:
    """Bounds meet, counts add up, and where one value is left it is known."""
    assert both(one, other) == expected


@given(evidence, evidence)
def test_two_looks_have_no_order(one: Evidence, other: Evidence) -> None:
    """Which came first is no matter."""
    try:
        assert both(one, other) == both(other, one)
    except ValueError:
        with pytest.raises(ValueError, match="contradict"):
            both(other, one)


@given(evidence)
def test_an_unknown_adds_nothing(one: Evidence) -> None:
    """A refused query leaves what is known elsewhere as it is."""
    assert both(one, UNKNOWN).support == one.support
    assert getattr(both(one, UNKNOWN), "tallies", ()) == getattr(one, "tallies", ())


@pytest.mark.parametrize(("hits", "draws"), [(-1, 5), (6, 5), (0.5, 5), (True, 5)])
def test_impossible_counts_are_refused(hits: int, draws: int) -> None:
    """Counts are whole numbers, and there are no more hits than draws."""
    with pytest.raises(ValueError, match="whole number|more"):
        Tally(hits, draws)


@pytest.mark.parametrize("bias", [math.inf, math.nan])
def test_a_bias_is_finite(bias: float) -> None:
    """An infinite bias would make every draw a hit."""
    with pytest.raises(ValueError, match="finite"):
        Tally(0, 1, bias)


def test_crossed_bounds_of_counts_are_refused() -> None:
    """Low is never above high, whatever was counted."""
    with pytest.raises(ValueError, match="is above high"):
        Sampled([Tally(0, 1)], low=-1.0, high=-2.0)


@pytest.mark.parametrize("error", [-0.1, math.inf, math.nan])
def test_an_error_of_a_bias_is_a_number_of_nats(error: float) -> None:
    """0 or more."""
    with pytest.raises(ValueError, match="error is"):
        Sampled([Tally(1, 2)], error=error)


def test_both_looks_keep_the_larger_error() -> None:
    """It is of the bias, and is not lowered by more draws."""
    found = both(Sampled([Tally(1, 2, 3.0)], error=0.1), Sampled([Tally(1, 2, 3.0)], error=0.2))
    assert Sampled([Tally(2, 4, 3.0)], error=0.2) == found


@pytest.mark.parametrize("factor", [(0.1, 0.0), (math.nan, 0.0), (0.0, math.inf)])
def test_a_factor_is_two_bounds(factor: tuple[float, float]) -> None:
    """The upper one finite."""
    with pytest.raises(ValueError, match="factor"):
        Sampled([Tally(1, 2)], factor=factor)


@given(st.integers(0, 9), st.integers(0, 9), st.floats(-12, -0.01), st.floats(-3, 0))
def test_a_factor_that_is_known_moves_the_likelihood(
    hits: int, misses: int, logprob: float, factor: float
) -> None:
    """That of what was counted, where the answer is a known share of it."""
    tally = Tally(hits, hits + misses, 4.0)
    expected = tally.loglikelihood(logprob)
    found = Sampled([tally], factor=(factor, factor)).loglikelihood(logprob + factor)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(
    st.integers(0, 9), st.integers(0, 9), st.floats(-12, -3.01), st.floats(-3, 0), st.floats(-3, 0)
)
def test_a_factor_between_bounds_is_the_likeliest_one(
    hits: int, misses: int, logprob: float, one: float, other: float
) -> None:
    """No factor within them makes the counts likelier."""
    low, high = sorted((one, other))
    tally = Tally(hits, hits + misses, 4.0)
    found = Sampled([tally], factor=(low, high)).loglikelihood(logprob)
    steps = [low + (high - low) * step / 20 for step in range(21)]
    tried = [Sampled([tally], factor=(f, f)).loglikelihood(logprob) for f in steps]
    assert found >= max(tried) - 1e-6
    assert found <= max(tried) + 0.5 or (high - low) / 20 > 0.01


def test_counts_of_different_things_are_not_added_up() -> None:
    """Those that tell most are kept, whichever comes first."""
    few, many = Sampled([Tally(3, 9)]), Sampled([Tally(30, 90, 2.0)], factor=(-1.0, 0.0))
    assert many == both(few, many) == both(many, few)

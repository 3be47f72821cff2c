"""The calibration's tests have their levels, and its errors what they should be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule.scorers.calibration import APART, Calibration, Pair, Z, calibrate
from condrule.scorers.tilting import (
    Count,
    Rule,
    find,
    likeliest_logit,
    logit,
    logprob,
    most_looks,
    refine,
)

ROUNDS = 400


def pair(
    generator: np.random.Generator, value: float, n: int, m: int, scale: float, *, known: bool
) -> Pair:
    """Draws of a token of this logit, under the bias that makes it a coin toss and 3 less."""
    bias = -round(value)
    upper, lower = (
        Count(b, k, int(generator.binomial(k, 1 / (1 + math.exp(-value - scale * b)))))
        for b, k in ((bias, n), (bias - APART, m))
    )
    return Pair(upper, lower, value if known else None)


def calibrations(scale: float, rounds: int = ROUNDS) -> list[Calibration]:
    """Of models whose bias is multiplied by this before it acts."""
    generator = np.random.default_rng(5)
    found = []
    for _ in range(rounds):
        listed = [
            pair(generator, x, 384, 128, scale, known=True) for x in generator.uniform(-12, -6, 8)
        ]
        used = [
            pair(generator, x, 64, 64, scale, known=False) for x in generator.uniform(-16, -9, 16)
        ]
        found.append(calibrate(listed, used, 0.05))
    return found


def test_an_honest_bias_passes_in_99_percent() -> None:
    """The band is what it says: fewer than 3 % fail in 400 rounds, for one in 10^4 such tests."""
    assert sum(one.passed for one in calibrations(1.0)) >= 0.97 * ROUNDS


def test_few_hits_do_not_skew_the_slope() -> None:
    """Of one token about 5 draws in 100 are hits under b - 3. Each end of the slope's 95 % band is
    left in 2.5 % of the rounds, give or take four standard errors."""
    rounds, generator = 1500, np.random.default_rng(3)
    slopes = [
        calibrate([pair(generator, x, 384, 128, 1.0, known=True)], [], 0.05).slope
        for x in generator.uniform(-12, -6, rounds)
    ]
    allowed = 4 * math.sqrt(0.025 * 0.975 / rounds)
    for sign in (-1, 1):
        beyond = sum(one is not None and sign * one.z > Z for one in slopes)
        assert abs(beyond / rounds - 0.025) <= allowed


def test_a_slope_that_is_off_fails() -> None:
    """Whatever the offset says."""
    slopes = [one.slope for one in calibrations(1.2, 100)]
    assert sum(one is not None and one.passed for one in slopes) <= 5


@pytest.mark.parametrize("scale", [1.0, 1.1])
def test_a_slope_passes_where_its_interval_holds_1(scale: float) -> None:
    """What is printed and what is decided are the same."""
    generator = np.random.default_rng(8)
    for x in generator.uniform(-9, -6, 200):
        found = calibrate([pair(generator, x, 64, 64, scale, known=True)], [], 0.05).slope
        if found is not None:
            assert found.passed == (found.low <= 1 <= found.high)
            assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("upper", "lower"), [(32, 0), (0, 32), (64, 63), (1, 64)])
def test_a_slope_that_may_be_any_has_no_end(upper: int, lower: int) -> None:
    """Where the hits are all under one bias, or the misses."""
    one = Pair(Count(9, 64, upper), Count(6, 64, lower), -9.0)
    found = calibrate([one], [], 0.05).slope
    assert found is not None
    assert math.inf in (found.high, -found.low)


@pytest.mark.parametrize("hits", [0, 64])
def test_answers_without_a_hit_or_a_miss_tell_nothing_of_the_slope(hits: int) -> None:
    """It is not in the sentence, and decides nothing."""
    generator = np.random.default_rng(1)
    listed = [pair(generator, -9.0, 384, 128, 1.0, known=True) for _ in range(8)]
    own = Pair(Count(20, 64, hits), Count(17, 64, hits))
    found = calibrate(listed, [own], 0.05)
    assert (None, True) == (found.used, found.passed)
    assert "own" not in found.sentence


@pytest.mark.parametrize("scale", [0.95, 1.05])
def test_a_bias_that_is_off_by_a_twentieth_fails(scale: float) -> None:
    """In nearly all rounds."""
    assert sum(one.passed for one in calibrations(scale)) <= 0.05 * ROUNDS


@pytest.mark.parametrize("scale", [1.0, 0.995, 1.005])
def test_the_error_covers_what_the_bias_is_off(scale: float) -> None:
    """Where it passed, 1.96 standard errors cover it in 95 % and more, at the biases calibrated and
    at larger ones."""
    for bias in (9.0, 16.0):
        passed = [one for one in calibrations(scale) if one.passed]
        held = [abs(scale - 1) * bias <= 1.96 * one.error(bias) for one in passed]
        assert sum(held) >= 0.93 * len(held)


def test_no_hit_is_no_bias() -> None:
    """Refused, with a figure of minus infinity, never an exception."""
    none = Pair(Count(9, 384, 0), Count(6, 128, 0), -9.0)
    found = calibrate([none] * 8, [], 0.05)
    assert (False, True) == (found.passed, "-inf" in found.sentence)


def test_without_listed_tokens_nothing_is_calibrated() -> None:
    """And nothing is known of any bias."""
    found = calibrate([], [], 0.05)
    assert (False, math.inf) == (found.passed, found.error(3.0))


@given(st.integers(1, 99), st.floats(-12, 12))
def test_under_one_bias_the_likeliest_logit_is_that_of_the_share(hits: int, bias: float) -> None:
    """Less the bias."""
    expected = math.log(hits / (100 - hits)) - bias
    assert pytest.approx(expected, abs=1e-6) == likeliest_logit([Count(bias, 100, hits)])


@given(st.floats(-40, 40))
def test_logits_and_logs_of_probabilities_are_inverse(value: float) -> None:
    """As far as floats go."""
    assert pytest.approx(min(value, 30), abs=1e-2) == min(logit(logprob(value)), 30)


@given(
    st.lists(st.sampled_from([0, 0, 16, 16, 2, 8]), max_size=40),
    st.integers(3, 200),
    st.floats(-1, 1),
)
def test_the_search_for_a_bias_ends(shares: list[int], largest: int, where: float) -> None:
    """Whatever is drawn, within the steps that are foreseen and the largest bias."""
    counts: list[Count] = []
    hits, start = [*shares, *[0] * 20], round(where * largest)
    while (bias := find(counts, start, largest)) is not None:
        assert -largest <= bias <= largest
        counts.append(Count(bias, 16, hits[len(counts)]))
        assert len(counts) <= most_looks(largest)


def test_the_search_for_a_bias_is_short() -> None:
    """To 30 nats, a dozen looks."""
    assert 11 == most_looks(30)


@given(st.integers(1, 63), st.floats(-3, 3))
def test_refining_keeps_to_its_budget(hits: int, error: float) -> None:
    """And to the largest bias."""
    counts, rule = [Count(8, 64, hits)], Rule(draws=300)
    while step := refine(counts, rule, abs(error)):
        assert -30 <= step[0] <= 30
        counts.append(Count(step[0], step[1], step[1] // 2))
    assert sum(count.draws for count in counts) <= 300


def test_nothing_is_refined_without_hits() -> None:
    """Nor without misses: a truncated tail would look so."""
    assert [None, None] == [refine([Count(8, 64, hits)], Rule()) for hits in (0, 64)]

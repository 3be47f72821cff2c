"""What counted draws say of one probability each: closed forms, libraries and laws."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from condrule.counts import clopper_pearson, likeliest, limits, unbiased

Function = Callable[..., object]


def limits_95(*counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The interval of 95 in 100."""
    return limits(*counts, 0.95)


FUNCTIONS = [likeliest, unbiased, limits_95]


def counts(*tallies: tuple[float, float, float]) -> tuple[np.ndarray, ...]:
    """Hits, draws and biases of one item."""
    return tuple(np.array(part, float) for part in zip(*tallies, strict=True))


def test_without_hits_the_upper_end_is_a_root() -> None:
    """No hit in n draws has probability (1 - p)^n, which is 2.5 in 100 at p = 1 - 0.025^(1/n)."""
    low, high = clopper_pearson(np.array(0.0), np.array(10.0))
    assert (low, high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))


def test_without_draws_every_probability_is_possible() -> None:
    """Nothing was drawn: 0 to 1, and in nats all that is at most 0."""
    assert clopper_pearson(np.array(0.0), np.array(0.0)) == (0.0, 1.0)
    assert limits(*counts((0, 0, 0)), 0.95) == (-math.inf, 0.0)


@given(st.integers(0, 20), st.integers(0, 20), st.floats(0.6, 0.99))
def test_limits_have_the_level_that_is_asked_for(hits: int, misses: int, level: float) -> None:
    """Those of the library, at any level."""
    draws = max(1, hits + misses)
    found = limits(*counts((hits, draws, 0)), level)
    expected = stats.binomtest(hits, draws).proportion_ci(level)
    assert np.exp(found) == pytest.approx([expected.low, expected.high], abs=1e-9)


@pytest.mark.parametrize("bias", [-3.0, 0.5, 8.0])
def test_one_hit_and_one_miss_under_two_biases(bias: float) -> None:
    """A hit of one draw with bias b and a miss of one without: one hit is expected where
    logit P + b and logit P are opposite, at logit P = -b / 2."""
    found = likeliest(*counts((1, 1, bias), (0, 1, 0)))
    assert float(found) == pytest.approx(math.log(special.expit(-bias / 2)))


@pytest.mark.parametrize("bias", [-3.0, 0.5, 8.0])
def test_limits_of_one_hit_and_one_miss_under_two_biases(bias: float) -> None:
    """Their likelihood goes as 1 / (cosh y + cosh b/2) with y = logit P + b/2, so it is highest at
    y = 0. By e^(-q/2) it has fallen at cosh y = (1 + cosh b/2) e^(q/2) - cosh b/2, with q the
    quantile of chi-squared with one degree of freedom."""
    flat, fallen = math.cosh(bias / 2), math.exp(stats.chi2.ppf(0.95, 1) / 2)
    far = math.acosh((1 + flat) * fallen - flat)
    expected = [math.log(special.expit(side - bias / 2)) for side in (-far, far)]
    assert limits(*counts((1, 1, bias), (0, 1, 0)), 0.95) == pytest.approx(expected)


@pytest.mark.parametrize("function", [likeliest, unbiased])
def test_hits_alone_are_likeliest_at_probability_one(function: Function) -> None:
    """Under several biases, probability 1 itself."""
    assert function(*counts((4, 4, 2), (3, 3, 0))) == 0.0


def test_an_end_is_open_only_without_hits_or_without_misses() -> None:
    """Under several biases: probability 0 is possible without a hit, and 1 without a miss."""
    found = [limits(*counts((h, 4, 2.0), (0, 3, -90.0)), 0.95)[0] for h in (0, 1)]
    assert [np.isneginf(low) for low in found] == [True, False]
    found = [limits(*counts((4, 4, 2.0), (h, 3, 0.0)), 0.95)[1] for h in (3, 2)]
    assert [high == 0.0 for high in found] == [True, False]


@given(st.integers(0, 9), st.integers(0, 9), st.floats(-5, 5))
def test_under_one_bias_the_unbiased_odds_have_one_miss_more(
    hits: int, misses: int, bias: float
) -> None:
    """hits / (misses + 1), less the bias."""
    found = unbiased(*counts((hits, hits + misses, bias)))
    odds = hits / (misses + 1) * math.exp(-bias)
    assert np.exp(found) == pytest.approx(odds / (1 + odds))


@given(st.integers(1, 9), st.integers(1, 9), st.floats(-5, 5))
def test_under_several_biases_the_unbiased_value_is_the_likeliest(
    hits: int, misses: int, bias: float
) -> None:
    """Nothing better is known."""
    both = counts((hits, hits + misses, bias), (2, 3, 6.0))
    assert unbiased(*both) == likeliest(*both)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("nothing", [(0, 0, 0.0), (0, 0, 3.0)])
def test_where_nothing_was_drawn_a_bias_says_nothing(
    function: Function, nothing: tuple[float, float, float]
) -> None:
    """A batch without draws changes neither the value nor its limits."""
    alone, padded = counts((3, 10, 1.5)), counts((3, 10, 1.5), nothing)
    assert np.array(function(*alone)) == pytest.approx(np.array(function(*padded)), rel=1e-12)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_items_do_not_touch_each_other(function: Function) -> None:
    """A table of items, of different kinds side by side, has the values of each item alone."""
    generator = np.random.default_rng(5)
    draws = generator.integers(0, 9, size=(3, 4, 2)).astype(float)
    hits = np.floor(draws * generator.choice([0, 0.4, 1], size=(3, 4, 2)))
    bias = np.broadcast_to([0.0, 2.5], (3, 4, 2))
    found = np.array(function(hits, draws, bias))
    for row, item in np.ndindex(3, 4):
        alone = function(hits[row, item], draws[row, item], bias[row, item])
        assert found[..., row, item] == pytest.approx(np.array(alone), nan_ok=True)


def test_few_draws_without_a_hit_are_no_trouble() -> None:
    """Where the likelihood is flat but for the last digits of a float: no warning, which is an
    error here."""
    low, high = limits(*counts((0, 1, -10), (0, 1, -9)), 0.95)
    assert low == -math.inf
    assert -1e-3 < high < 0

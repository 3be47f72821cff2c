"""Items that were counted, bounded or known, and their means with the draws' sampling error."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special, stats

from condrule.counts import clopper_pearson
from condrule.evidence import Sampled, Tally
from condrule.measured import Measured, aggregate
from condrule.statistics import ESTIMANDS

OPEN = (-math.inf, 0.0)


def counted(hits: object, draws: object, bias: object = 0.0) -> Measured:
    """Items of which nothing is known but counts."""
    hits, draws, bias = np.broadcast_arrays(*(np.array(x, float) for x in (hits, draws, bias)))
    shape = hits.shape
    return Measured(
        np.full(shape, -np.inf), np.zeros(shape), hits[..., None], draws[..., None], bias[..., None]
    )


def known(values: object) -> Measured:
    """Items whose probability is known."""
    return Measured.of([(x, x) for x in np.log(np.array(values, float))])


counts = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.int64, n, elements=st.integers(0, 40)),
        hnp.arrays(np.int64, n, elements=st.integers(1, 40)),
    )
)


@given(st.integers(0, 300), st.integers(1, 300), st.floats(0.6, 0.999))
def test_clopper_pearson_is_the_librarys(hits: int, more: int, level: float) -> None:
    """As in scipy."""
    draws = hits + more
    found = clopper_pearson(np.array(float(hits)), np.array(float(draws)), level)
    expected = stats.binomtest(hits, draws).proportion_ci(level)
    assert tuple(map(float, found)) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(1, 20), st.integers(1, 50), st.data())
def test_equal_draws_are_pooled(items: int, draws: int, data: st.DataObject) -> None:
    """Hits of all items together, as one binomial."""
    hits = data.draw(hnp.arrays(np.int64, items, elements=st.integers(0, draws)))
    found = aggregate(counted(hits, draws), "arithmetic_mean").limits
    expected = stats.binomtest(int(hits.sum()), items * draws).proportion_ci(0.95)
    assert np.exp([found.low, found.high]) == pytest.approx([expected.low, expected.high], abs=1e-9)


@given(counts)
def test_points_lie_in_their_limits(data: tuple[np.ndarray, np.ndarray]) -> None:
    """For every aggregate, with draws of any number."""
    hits, misses = data
    items = counted(hits, hits + misses)
    for estimand in ESTIMANDS:
        found = aggregate(items, estimand)
        assert found.limits.low <= found.points.low <= found.points.high <= found.limits.high


@given(counts)
def test_a_higher_level_is_wider(data: tuple[np.ndarray, np.ndarray]) -> None:
    """99 of 100 need more room than 80 of 100."""
    hits, misses = data
    items = counted(hits, hits + misses)
    for estimand in ESTIMANDS:
        narrow, wide = (aggregate(items, estimand, level).limits for level in (0.8, 0.99))
        assert wide.low <= narrow.low
        assert narrow.high <= wide.high


@given(counts, st.randoms())
def test_items_have_no_order(data: tuple[np.ndarray, np.ndarray], random: object) -> None:
    """Shuffled items have the same mean and the same limits."""
    hits, misses = data
    order = list(range(len(hits)))
    random.shuffle(order)  # type: ignore[attr-defined]
    items = counted(hits, hits + misses)
    for estimand in ESTIMANDS:
        one, other = aggregate(items, estimand).limits, aggregate(items[order], estimand).limits
        assert float(one.low) == pytest.approx(float(other.low))
        assert float(one.high) == pytest.approx(float(other.high))


@given(hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(-40, 0)))
def test_without_draws_an_aggregate_is_the_estimand_of_the_bounds(values: np.ndarray) -> None:
    """Nothing was drawn, so there is no sampling error."""
    items = Measured.of([(low, min(0.0, low + 1)) for low in values])
    for estimand, function in ESTIMANDS.items():
        found = aggregate(items, estimand)
        assert (found.points.low, found.points.high) == (function(items.low), function(items.high))
        assert found.limits is found.points


def test_zero_hits_leave_no_lower_end() -> None:
    """36,887 draws without a hit put the mean below 1e-4, two-sided 95%."""
    found = aggregate(counted([0] * 3, 12_296), "arithmetic_mean")
    assert found.points.low == found.limits.low == -math.inf
    assert float(np.exp(found.limits.high)) == pytest.approx(1e-4, rel=1e-3)


def test_all_hits_reach_probability_one() -> None:
    """The upper end of a mean that was always hit is 1."""
    found = aggregate(counted([8, 8], 8), "arithmetic_mean").limits
    assert (float(found.low) < 0.0, float(found.high)) == (True, 0.0)


def test_an_item_that_is_known_adds_no_error() -> None:
    """Half of the mean is known, the other half is counted."""
    items = Measured.of([(math.log(0.5),) * 2, OPEN], [(), [(10, 20, 0.0)]])
    low, high = (float(np.exp(end)) for end in vars_of(items))
    alone = stats.binomtest(10, 20).proportion_ci(0.95)
    assert (low, high) == pytest.approx((0.25 + alone.low / 2, 0.25 + alone.high / 2))


def vars_of(items: Measured) -> tuple[float, float]:
    """The limits of the arithmetic mean."""
    found = aggregate(items, "arithmetic_mean").limits
    return float(found.low), float(found.high)


def test_an_unknown_item_is_bounded_by_best_and_worst_case() -> None:
    """Its probability may be 0 or 1."""
    items = Measured.of([OPEN, OPEN], [(), [(200, 200, 0.0)]])
    low, high = vars_of(items)
    assert math.exp(low) == pytest.approx(0.5, abs=0.02)
    assert high == 0.0
    assert items.unknown.tolist() == [True, False]


def test_bounds_hold_whatever_was_drawn() -> None:
    """Limits never leave the support, and neither does the point."""
    items = Measured.of([(-2.0, -1.0)], [[(0, 50, 0.0)]])
    assert items.points.low.tolist() == items.points.high.tolist() == [-2.0]
    assert items.limits().low.tolist() == [-2.0]
    assert items.limits().high.tolist() == [-2.0]


@pytest.mark.parametrize("truth", [1e-8, 1e-4, 0.3])
def test_biased_draws_measure_small_probabilities(truth: float) -> None:
    """With the bias that makes half of the draws hits, P is told to within 2 / sqrt(n) nats twice,
    and 95 of 100 intervals cover it."""
    bias, n = round(-math.log(truth / (1 - truth))), 256
    rate = 1 / (1 + math.exp(-(math.log(truth / (1 - truth)) + bias)))
    hits = np.random.default_rng(1).binomial(n, rate, size=(4_000, 1))
    found = counted(hits, n, bias).limits()
    covered = (found.low <= math.log(truth)) & (math.log(truth) <= found.high)
    assert 0.945 < covered.mean() < 0.98
    assert np.median(found.high - found.low) / 2 == pytest.approx(2 * 1.96 / 16, rel=0.3)


@given(st.integers(1, 30), st.integers(1, 30), st.floats(-10, 10))
def test_the_likeliest_value_has_the_highest_likelihood(
    hits: int, misses: int, bias: float
) -> None:
    """Against the evidence's own likelihood, with two kinds of draws."""
    tallies = [(hits, hits + misses, bias), (1, 3, 0.0)]
    items = Measured.of([OPEN], [tallies])
    evidence = Sampled([Tally(*one) for one in tallies])
    best = float(items.points.low[0])
    for step in (-0.01, 0.01):
        assert (
            evidence.loglikelihood(min(best + step, -1e-12)) <= evidence.loglikelihood(best) + 1e-9
        )


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.5, 10))
def test_likelihood_ratio_limits_are_where_the_likelihood_has_fallen(
    hits: int, misses: int, bias: float
) -> None:
    """By half of the 95% quantile of chi-squared with one degree of freedom; for two biases."""
    items = Measured.of([OPEN], [[(hits, hits + misses, bias), (1, 3, 0.0)]])
    evidence = Sampled([Tally(hits, hits + misses, bias), Tally(1, 3)])
    best = evidence.loglikelihood(float(items.points.low[0]))
    for end in (items.limits().low, items.limits().high):
        fallen = best - evidence.loglikelihood(float(end[0]))
        assert fallen == pytest.approx(stats.chi2.ppf(0.95, 1) / 2, rel=1e-3)


@pytest.mark.parametrize(("hits", "low", "high"), [(0, -math.inf, None), (13, None, 0.0)])
def test_hits_or_misses_alone_leave_an_end_open(
    hits: int, low: float | None, high: float | None
) -> None:
    """Under several biases too: nothing was seen that excludes 0, or 1."""
    items = Measured.of([OPEN], [[(min(hits, 10), 10, 2.0), (min(hits, 3), 3, 0.0)]])
    found = items.limits()
    if low is not None:
        assert float(found.low[0]) == float(items.points.low[0]) == low
    if high is not None:
        assert float(found.high[0]) == pytest.approx(high, abs=1e-9)


@given(st.integers(0, 30), st.integers(0, 30), st.floats(-10, 10))
def test_one_bias_shifts_the_logit(hits: int, misses: int, bias: float) -> None:
    """logit P = logit f - b, for the point and for the limits."""
    n = max(1, hits + misses)
    plain, biased = counted([hits], n), counted([hits], n, bias)
    for one, other in ((plain.points, biased.points), (plain.limits(), biased.limits())):
        for end, shifted in ((one.low, other.low), (one.high, other.high)):
            expected = special.expit(special.logit(np.exp(end)) - bias)
            assert np.exp(shifted) == pytest.approx(expected, rel=1e-6)


def test_a_mean_of_biased_items_is_narrower_than_its_items() -> None:
    """Errors of thirty items are independent: they add up by the square root."""
    items = counted([128] * 30, 256, 14.0)
    own = items.limits()
    found = aggregate(items, "arithmetic_mean").limits
    width, each = float(found.high - found.low), float((own.high - own.low)[0])
    assert width == pytest.approx(each / math.sqrt(30), rel=0.05)


def test_the_mean_of_many_biased_items_is_not_biased() -> None:
    """The likeliest odds are too high by 1/misses each; over many items that would be seen."""
    generator, n, items = np.random.default_rng(4), 64, 400
    hits = generator.binomial(n, 0.5, size=(300, items))
    found = aggregate(counted(hits, n, 12.0), "arithmetic_mean")
    truth = -math.log1p(math.exp(12.0))
    assert np.mean(found.points.low) == pytest.approx(truth, abs=0.002)
    assert np.mean((found.limits.low <= truth) & (truth <= found.limits.high)) > 0.93


def test_a_biased_item_without_a_hit_may_add_its_upper_limit() -> None:
    """Nothing was seen of it, so nothing lies below; above is what its draws leave open."""
    items = counted([0, 0], 50, 3.0)
    found = aggregate(items, "arithmetic_mean")
    own = float(np.exp(items.limits().high[0]))
    assert float(found.limits.low) == -math.inf
    assert float(np.exp(found.limits.high)) == pytest.approx(own / math.sqrt(2))


def test_biased_and_unbiased_items_mix() -> None:
    """One mean over items that were measured in different ways."""
    items = Measured.of([OPEN, OPEN], [[(30, 60, 9.0)], [(50, 100, 0.0)]])
    found = aggregate(items, "arithmetic_mean")
    assert float(np.exp(found.points.low)) == pytest.approx(0.25, abs=0.001)
    assert math.exp(vars_of(items)[0]) < 0.25 < math.exp(vars_of(items)[1])


@pytest.mark.parametrize("estimand", ["geometric_mean", "median"])
def test_on_the_log_scale_an_item_without_hits_has_no_lower_end(estimand: str) -> None:
    """Its log-probability may be anything below."""
    found = aggregate(counted([0, 0, 9], 20), estimand)  # type: ignore[arg-type]
    assert float(found.limits.low) == -math.inf
    assert math.isfinite(float(found.limits.high))


def test_rows_with_different_numbers_of_tallies_are_stacked() -> None:
    """What is missing is no draw."""
    one = Measured.of([OPEN], [[(1, 2, 0.0), (3, 4, 5.0)]])
    other = known([0.5])
    stacked = Measured.stack([one, other])
    assert stacked.draws.tolist() == [[[2.0, 4.0]], [[0.0, 0.0]]]
    assert stacked.sampled.tolist() == [[True], [False]]


@pytest.mark.parametrize(
    ("draws", "probabilities"),
    [(64, (1e-4,) * 30), (512, (1e-4,) * 30), (64, (0.9, *(1e-3,) * 9)), (20, (0.99,) * 5)],
)
def test_pooled_intervals_cover_at_least_95_of_100(
    draws: int, probabilities: tuple[float, ...]
) -> None:
    """Also where items differ widely and hits are few; with unequal draws too."""
    generator = np.random.default_rng(2)
    unequal = generator.integers(draws // 2, draws + 1, size=(5_000, len(probabilities)))
    truth = math.log(np.mean(probabilities))
    for n in (np.full_like(unequal, draws), unequal):
        found = aggregate(
            counted(generator.binomial(n, probabilities), n), "arithmetic_mean"
        ).limits
        assert np.mean((found.low <= truth) & (truth <= found.high)) > 0.945


def test_a_difference_covers_whatever_the_correlation() -> None:
    """Two answers that are drawn in the same responses exclude each other."""
    generator, n = np.random.default_rng(3), 200
    first = generator.binomial(n, 0.4, size=(5_000, 1))
    second = generator.binomial(n - first, 0.5 / 0.6)
    top, bottom = (aggregate(counted(h, n), "arithmetic_mean") for h in (first, second))
    found = (top - bottom).limits
    truth = math.log(0.4 / 0.5)
    assert np.mean((found.low <= truth) & (truth <= found.high)) > 0.95


def test_the_error_of_a_bias_widens_an_interval_by_the_sum_of_squares() -> None:
    """On either side; an end that is not finite stays."""
    tallies = [[(50, 100, 14.0)], [(0, 100, 14.0)]]
    plain, off = (
        Measured.of([(-np.inf, 0.0)] * 2, tallies, error).limits() for error in (0.0, 0.1)
    )
    point = Measured.of([(-np.inf, 0.0)] * 2, tallies).points
    for sign, one, other in ((-1, plain.low, off.low), (1, plain.high, off.high)):
        distance = sign * (one[0] - point.low[0])
        wider = sign * (other[0] - point.low[0])
        assert wider == pytest.approx(np.hypot(distance, 0.196), rel=1e-3)
    assert off.high[1] == pytest.approx(plain.high[1] + 0.196, rel=1e-3)


def test_the_error_of_a_bias_is_not_lowered_by_more_items() -> None:
    """It is the same for all of them, so a mean over a hundred has it too."""
    for n in (1, 100):
        found = aggregate(
            Measured.of([(-np.inf, 0.0)] * n, [[(5000, 10_000, 14.0)]] * n, 0.2), "arithmetic_mean"
        )
        assert found.limits.high - found.points.high >= 1.95 * 0.2
        assert found.points.low - found.limits.low >= 1.95 * 0.2


@given(st.integers(1, 30), st.integers(1, 30), st.floats(-3, 0), st.floats(-3, 0))
def test_a_factor_moves_both_ends(hits: int, misses: int, one: float, other: float) -> None:
    """Points and limits of what was counted, each by its own bound; the means' too."""
    low, high = sorted((one, other))
    tallies = [[(hits, hits + misses, 9.0)]]
    plain = Measured.of([OPEN], tallies)
    moved = Measured.of([OPEN], tallies, 0.0, [(low, high)])
    for name in ("points", "limits"):
        before, after = (getattr(found, name) for found in (plain, moved))
        before, after = (x() if callable(x) else x for x in (before, after))
        assert after.low == pytest.approx(before.low + low)
        assert after.high == pytest.approx(np.minimum(before.high + high, 0))
    for estimand in ESTIMANDS:
        before, after = (aggregate(found, estimand) for found in (plain, moved))
        assert after.limits.low <= after.points.low <= after.points.high <= after.limits.high
        assert after.points.low == pytest.approx(before.points.low + low)
        assert after.limits.low == pytest.approx(before.limits.low + low, abs=1e-6)


def test_a_share_that_is_not_known_leaves_no_lower_limit() -> None:
    """Of none of the means but the arithmetic one, where others are known."""
    found = Measured.of([OPEN, OPEN], [[(9, 30, 8.0)], [(9, 30, 8.0)]], 0.0, [(-np.inf, 0), (0, 0)])
    assert -np.inf == aggregate(found, "geometric_mean").limits.low
    arithmetic = aggregate(found, "arithmetic_mean")
    assert -np.inf < arithmetic.limits.low < arithmetic.points.low

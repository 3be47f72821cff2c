"""Means over items against what can be worked out by hand, and laws of stacking."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from condrule.measured import Aggregate, Measured, aggregate
from condrule.statistics import ESTIMANDS, Bounds, Estimand

OPEN = (-math.inf, 0.0)
ALL = list(ESTIMANDS)


def items(*tallies: tuple[float, float, float]) -> Measured:
    """Items of which nothing is known but one tally each: hits, draws, bias."""
    return Measured.of([OPEN] * len(tallies), [[one] for one in tallies])


def interval(measured: Measured, estimand: Estimand = "arithmetic_mean") -> list[float]:
    """The limits of an aggregate, as probabilities."""
    found = aggregate(measured, estimand).limits
    return [float(np.exp(found.low)), float(np.exp(found.high))]


def binomial(hits: int, draws: int, bias: float = 0.0) -> np.ndarray:
    """Clopper and Pearson's limits of P, by the library; a bias b shifts the logit by -b."""
    found = stats.binomtest(hits, draws).proportion_ci(0.95)
    return np.asarray(special.expit(special.logit([found.low, found.high]) - bias))


def share(hits: int, draws: int, bias: float) -> float:
    """The probability that a biased item enters a mean with: of odds hits / (misses + 1)."""
    return float(special.expit(math.log(hits / (draws - hits + 1)) - bias))


@given(st.integers(0, 20), st.integers(0, 20), st.sampled_from([-3.0, 2.0, 9.0]))
def test_the_mean_of_one_biased_item_has_the_items_limits(
    hits: int, misses: int, bias: float
) -> None:
    """An item that was always hit may have probability 1, whatever the bias."""
    draws = max(1, hits + misses)
    expected = binomial(hits, draws, bias)
    assert interval(items((hits, draws, bias))) == pytest.approx(expected, rel=1e-6)


def test_a_biased_item_that_is_nearly_always_hit_is_covered() -> None:
    """Ten draws of a probability of 0.9 with bias 2 are all hits 86 times in 100."""
    rate = special.expit(special.logit(0.9) + 2)
    shares = stats.binom.pmf(np.arange(11), 10, rate)
    ends = [interval(items((hits, 10, 2))) for hits in range(11)]
    covered = [low <= 0.9 <= high for low, high in ends]
    assert np.sum(shares * covered) > 0.95


def test_a_biased_item_beside_an_unbiased_one() -> None:
    """The mean of two: halves add up, and so do the squares of their distances to their limits."""
    biased, plain = share(10, 20, 2), 0.3
    centre = (biased + plain) / 2
    away = np.hypot(binomial(10, 20, 2) - biased, binomial(9, 30) - plain) / 2
    expected = [centre - away[0], centre + away[1]]
    assert interval(items((10, 20, 2), (9, 30, 0))) == pytest.approx(expected)


def test_beside_an_item_always_hit_only_the_other_has_room_above() -> None:
    """The half that is at probability 1 can't be higher."""
    expected = (1 + binomial(10, 20, 2)[1]) / 2
    assert interval(items((10, 20, 2), (30, 30, 0)))[1] == pytest.approx(expected)


def test_beside_an_item_never_hit_only_the_other_has_room_below() -> None:
    """The half that is at probability 0 can't be lower, whether its draws were biased or not."""
    assert interval(items((10, 20, 2), (0, 30, 0)))[0] == pytest.approx(binomial(10, 20, 2)[0] / 2)
    assert interval(items((0, 20, 2), (9, 30, 0)))[0] == pytest.approx(binomial(9, 30)[0] / 2)


def test_an_unknown_item_beside_one_always_hit() -> None:
    """Half of the mean is 0 at worst and 1 at best; 0.025^(1/n) is the lowest probability with
    which n hits of n come 2.5 times in 100."""
    found = interval(Measured.of([OPEN, OPEN], [(), [(200, 200, 0.0)]]))
    assert found == pytest.approx([0.025 ** (1 / 200) / 2, 1.0])


@pytest.mark.parametrize("counted", [[(9, 30, 0), (4, 40, 0)], [(9, 30, 5), (4, 40, 3)]])
def test_distances_of_a_geometric_mean_add_up_as_squares(
    counted: list[tuple[float, float, float]],
) -> None:
    """Each item is half of a mean of two logs, biased or not; the points are the likeliest. About
    the log of a share without a bias, distances are from where its errors cancel."""
    each = [
        (math.log(special.expit(special.logit(h / n) - b)), np.log(binomial(h, n, b)))
        for h, n, b in counted
    ]
    centre = sum(point for point, _ in each) / 2
    found = aggregate(items(*counted), "geometric_mean")
    assert float(found.points.low) == float(found.points.high) == pytest.approx(centre)
    each = [
        (point if b else math.log((h + 0.5) / (n + 0.5)), ends)
        for (h, n, b), (point, ends) in zip(counted, each, strict=True)
    ]
    centre = sum(point for point, _ in each) / 2
    away = np.sqrt(sum((ends - point) ** 2 for point, ends in each)) / 2
    assert float(found.limits.low) == pytest.approx(centre - away[0])
    assert float(found.limits.high) == pytest.approx(centre + away[1])


def test_without_a_hit_a_geometric_mean_has_the_mean_of_upper_limits() -> None:
    """Its point is 0, from which no distance can be taken."""
    found = aggregate(items((0, 30, 0), (4, 40, 0)), "geometric_mean").limits
    expected = np.log([binomial(0, 30)[1], binomial(4, 40)[1]]).mean()
    assert float(found.high) == pytest.approx(expected)


@given(st.integers(0, 20), st.integers(0, 20), st.sampled_from([0.0, 3.0]))
@pytest.mark.parametrize("estimand", ALL)
def test_what_bounds_exclude_no_draws_bring_back(
    estimand: Estimand, hits: int, misses: int, bias: float
) -> None:
    """Points and limits stay within what an item can be, even where the draws say otherwise."""
    one = Measured.of([(-2.0, -1.0)], [[(hits, hits + misses, bias)]])
    found = aggregate(one, estimand)
    for part in (one.points, one.limits(), found.points, found.limits):
        assert -2 <= part.low <= part.high <= -1


@pytest.mark.parametrize("estimand", ALL)
def test_studies_do_not_touch_each_other(estimand: Estimand) -> None:
    """A stack of rows, of different kinds side by side, has the aggregates of each row alone."""
    rows = [
        items((9, 30, 0), (4, 40, 0), (0, 10, 0)),
        items((9, 30, 2), (4, 40, 0), (7, 10, 3)),
        items((0, 30, 2), (0, 40, 2), (0, 10, 2)),
        items((30, 30, 0), (40, 40, 0), (10, 10, 0)),
        Measured.of([(-2.0, -1.0), OPEN, (-3.0, -3.0)]),
        Measured.of([(-2.0, -1.0), OPEN, OPEN], [(), [(3, 9, 1.0), (2, 9, 0.0)]]),
    ]
    together = aggregate(Measured.stack(rows), estimand)
    for place, row in enumerate(rows):
        alone = aggregate(row, estimand)
        for one, other in ((alone.points, together.points), (alone.limits, together.limits)):
            found = float(other.low[place]), float(other.high[place])
            assert found == pytest.approx((float(one.low), float(one.high)))


def test_tables_of_items_are_read_row_by_row_and_stacked() -> None:
    """Supports may have more axes; the tallies go through them in order."""
    table = [[OPEN, OPEN, OPEN], [OPEN, (-1.0, -1.0), OPEN]]
    tallies = [[(k, 9, 0.0)] for k in range(4)]
    found = Measured.of(table, [*tallies, [], [(1, 2, 0.0), (3, 4, 5.0)]])
    assert found.hits[..., 0].tolist() == [[0, 1, 2], [3, 0, 1]]
    assert found.draws[..., 1].tolist() == [[0, 0, 0], [0, 0, 4]]
    one = Measured.of(table, tallies)
    both = Measured.stack([one, found])
    assert both.draws.shape == (2, 2, 3, 2)
    assert np.array_equal(both[1].draws, found.draws)
    assert np.array_equal(both[0].draws[..., 0], one.draws[..., 0])


def test_an_item_that_was_not_drawn_has_no_counts() -> None:
    """Ends are floats, whatever they came as, and there is one empty count."""
    found = Measured.of([(-2, -1)])
    assert (found.low.dtype, found.draws.tolist()) == (np.float64, [[0.0]])


def test_a_difference_has_the_difference_of_points() -> None:
    """Points and limits, end by end: lowest less highest and highest less lowest."""
    one = Aggregate(Bounds.exact(-1.0), Bounds(np.array(-2.0), np.array(-0.5)))
    other = Aggregate(Bounds.exact(-4.0), Bounds(np.array(-5.0), np.array(-3.0)))
    found = one - other
    assert (found.points.low, found.points.high) == (3.0, 3.0)
    assert (found.limits.low, found.limits.high) == (1.0, 4.5)


def bounded(support: tuple[float, float], *tallies: tuple[float, float, float]) -> Measured:
    """Items with the same bounds of P, and one tally each."""
    ends = tuple(map(math.log, support))
    return Measured.of([ends] * len(tallies), [[one] for one in tallies])


@pytest.mark.parametrize(("most", "used"), [(0.0036, False), (0.0038, True)])
def test_draws_count_in_a_mean_where_they_can_tell_more(most: float, used: bool) -> None:
    """A thousand draws without a hit say that the mean is below 1 - 0.025^(1/1000) = 0.00368."""
    low, high = interval(bounded((1e-9, most), *[(0, 100, 0)] * 10))
    assert low == pytest.approx(1e-9)
    assert high == pytest.approx(binomial(0, 1000)[1] if used else most)


def test_hits_are_no_reason_to_look_away() -> None:
    """Whether draws count is decided before they are looked at: five hits in a thousand draws are
    not used where none could tell more than the bounds."""
    assert interval(bounded((1e-9, 0.0036), (5, 100, 0), *[(0, 100, 0)] * 9)) == (
        pytest.approx([1e-9, 0.0036])
    )


@pytest.mark.parametrize("estimand", ["geometric_mean", "median"])
@pytest.mark.parametrize(("width", "used"), [(0.39, False), (0.394, True)])
def test_each_item_has_draws_where_its_own_bounds_are_wide(
    estimand: Estimand, width: float, used: bool
) -> None:
    """Of a P of 1/2, which the bounds allow, 100 draws tell the log to within 1.96 sqrt(1/100) on
    either side: 0.392 altogether."""
    support = (0.5 * math.exp(-width), 0.5)
    found = interval(bounded(support, *[(45, 100, 0)] * 9), estimand)
    assert used == (found != pytest.approx(support))


def test_draws_beside_no_bounds_always_count() -> None:
    """However few: there is nothing else."""
    assert interval(items(*[(0, 1, 0)] * 3)) == pytest.approx([0.0, binomial(0, 3)[1]])


def test_draws_under_a_bias_count_whatever_the_bounds() -> None:
    """They tell of probabilities that plain draws do not."""
    low, high = interval(bounded((1e-9, 1e-3), *[(50, 100, 8)] * 4))
    assert 1e-9 < low < high < 1e-3

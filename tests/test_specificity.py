"""Own answers against other items' answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from condrule.specificity import permutation_test, rank_specificity, ranks, specificity
from condrule.statistics import Bounds


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


@st.composite
def matrices(draw: st.DrawFn) -> Bounds:
    """Items x answers, some of them tied, some bounded."""
    shape = draw(st.tuples(st.integers(2, 5), st.integers(2, 5)))
    low = draw(hnp.arrays(np.int64, shape, elements=st.integers(-6, -1))).astype(float)
    gap = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 3))).astype(float)
    return Bounds(low, np.minimum(low + gap, 0))


@given(matrices(), st.data())
def test_ranks_of_a_truth_lie_in_the_ranks_of_its_bounds(
    matrix: Bounds, data: st.DataObject
) -> None:
    """Whichever of the possible values is true."""
    shares = data.draw(
        hnp.arrays(np.float64, matrix.low.shape, elements=st.sampled_from([0, 0.5, 1]))
    )
    truth = ranks(Bounds.exact(matrix.low + shares * (matrix.high - matrix.low))).low
    found = ranks(matrix)
    assert (found.low <= truth + 1e-12).all()
    assert (truth <= found.high + 1e-12).all()


@given(hnp.arrays(np.int64, (4, 5), elements=st.integers(-6, -1)))
def test_exact_ranks_are_the_librarys(values: np.ndarray) -> None:
    """The share of others below, ties half, is the mid-rank."""
    found = ranks(Bounds.exact(values.astype(float)))
    expected = (stats.rankdata(values, axis=1) - 1) / 4
    assert found.low == pytest.approx(expected)
    assert found.high == pytest.approx(expected)


def test_rank_specificity_needs_no_number_for_zero() -> None:
    """An answer that was never drawn is below one that was."""
    matrix = Bounds.exact([[-1.0, -np.inf, -np.inf], [-np.inf, -np.inf, -2.0]])
    assert float(rank_specificity(matrix, np.array([0, 2])).low) == 1.0
    assert float(rank_specificity(matrix, np.array([1, 0])).low) == 0.25


def test_ranks_of_bounds_by_hand() -> None:
    """-3 to -1 is above -4, and may be above or below -2; -2 is above -4 for certain. In the second
    row two answers are tied and a third may be anything."""
    low = [[-3.0, -2.0, -4.0], [-1.0, -1.0, -np.inf]]
    high = [[-1.0, -2.0, -4.0], [-1.0, -1.0, 0.0]]
    found = ranks(Bounds(np.array(low), np.array(high)))
    assert found.low.tolist() == [[0.5, 0.5, 0.0], [0.25, 0.25, 0.0]]
    assert found.high.tolist() == [[1.0, 1.0, 0.0], [0.75, 0.75, 1.0]]


def test_specificity_of_bounds_by_hand() -> None:
    """Own at its lowest against others at their highest, and the other way round."""
    matrix = Bounds(np.array([[-2.0, -5.0], [-6.0, -3.0]]), np.array([[-1.0, -4.0], [-6.0, -3.0]]))
    found = specificity(matrix, np.array([0, 1]))
    assert (found.low, found.high) == ((2 + 3) / 2, (4 + 3) / 2)


def test_no_dealt_answers_as_good_as_the_own_have_the_least_p_value() -> None:
    """Of 10! ways to deal ten answers one is as good, which 9,999 permutations do not meet: the
    p-value is (1 + 0) / (1 + 9,999)."""
    matrix = Bounds.exact(np.where(np.eye(10) == 1, -1.0, -9.0))
    found = permutation_test(matrix, np.arange(10))
    assert (found.pvalue, found.permutations) == (1e-4, 9_999)


def test_answers_that_are_all_alike_have_a_p_value_of_one() -> None:
    """Every permutation is as good."""
    assert permutation_test(Bounds.exact(np.full((4, 4), -2.0)), np.arange(4)).pvalue == 1.0


def test_a_permutation_test_repeats_itself() -> None:
    """The same table has the same p-value each time it is analysed; another seed differs."""
    table = Bounds.exact(np.random.default_rng(1).normal(size=(8, 8)))
    first, again = (permutation_test(table, np.arange(8)).pvalue for _ in range(2))
    assert first == again
    assert first != permutation_test(table, np.arange(8), seed=99).pvalue


def test_bounds_make_a_p_value_larger() -> None:
    """Own answers at their lowest against dealt ones at their highest: here all may be alike."""
    sure = np.where(np.eye(6) == 1, -1.0, -9.0)
    matrix = Bounds(sure, np.full((6, 6), -1.0))
    assert permutation_test(matrix, np.arange(6)).pvalue == 1.0

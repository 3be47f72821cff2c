"""Is the own answer of an item more probable than the answers of other items?

A matrix holds the log-probability (nats) of every distinct answer, for each item; ``own`` is the
column of each item's own answer.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from condrule.statistics import Bounds

__all__ = [
    "PermutationTest",
    "Specificity",
    "permutation_test",
    "rank_specificity",
    "ranks",
    "specificity",
]


def specificity(matrix: Bounds, own: NDArray[np.intp]) -> Bounds:
    """Mean log P(own answer) minus mean log P(other items' answers), in nats.

    Args:
        matrix: items x distinct answers (two or more), finite log-probabilities.
        own: for each item, the column of its own answer.

    After the specificity contrast of Balesni et al. (2024), arXiv:2411.16353.
    """
    items, answers = matrix.low.shape
    is_own = np.arange(answers)[None, :] == own[:, None]
    mine = matrix[np.arange(items), own]
    others = matrix.map(lambda m: np.where(is_own, 0.0, m).sum(axis=1) / (answers - 1))
    return (mine - others).map(np.mean)


def ranks(matrix: Bounds) -> Bounds:
    """For each item and answer: the share of the other answers that are less probable for this
    item, ties counting half. Defined under censoring too: where bounds overlap, either may be.

    Args:
        matrix: items x distinct answers (two or more), log-probabilities.
    """
    mine = matrix[:, :, None]
    other = matrix[:, None, :]
    another = ~np.eye(matrix.low.shape[1], dtype=bool)
    exact = (mine.low == mine.high) & (other.low == other.high)
    tied = another & exact & (mine.low == other.low)
    above, below = another & (mine.low > other.high), another & (mine.high < other.low)
    either = another & ~(above | below | tied)
    low = above.sum(-1) + tied.sum(-1) / 2
    return Bounds(low, low + either.sum(-1)).map(lambda count: count / another[0].sum())


def rank_specificity(matrix: Bounds, own: NDArray[np.intp]) -> Bounds:
    """Mean over items of the share of other answers that are less probable than the own answer:
    1/2 by chance, 1 where the own answer is always the most probable.

    Args:
        matrix: items x distinct answers (two or more), log-probabilities.
        own: for each item, the column of its own answer.

    It is the area under the ROC curve of own against other answers, item by item.
    """
    return ranks(matrix).map(lambda shares: shares[np.arange(len(own)), own].mean())


@attrs.frozen
class PermutationTest:
    """A one-sided permutation test over the assignment of answers to items."""

    pvalue: float
    """(1 + permutations at least as extreme) / (1 + permutations), so never 0."""
    permutations: int


def permutation_test(
    matrix: Bounds, own: NDArray[np.intp], *, permutations: int = 9_999, seed: int = 0
) -> PermutationTest:
    """Is the own answer likelier than if answers had been dealt to items at random?

    The row sums of the matrix don't change with the assignment, so comparing the mean of
    log P(assigned answer) compares the specificity. Phipson and Smyth (2010) for the added 1.
    Where bounds leave room, the own answers are taken at their lowest and the dealt ones at their
    highest, so that the p-value is too large rather than too small.
    """
    generator = np.random.default_rng(seed)
    rows = np.arange(len(own))
    observed = matrix.low[rows, own].mean()
    dealt = generator.permuted(np.tile(own, (permutations, 1)), axis=1)
    means = matrix.high[rows, dealt].mean(axis=1)
    extreme = int(np.sum(means >= observed - 1e-12))
    return PermutationTest((1 + extreme) / (1 + permutations), permutations)


@attrs.frozen(eq=False)
class Specificity:
    """How much likelier the own answer is than other items' answers."""

    matrix: Bounds
    """Items x distinct answers, log-probabilities: points where they were drawn."""
    own: NDArray[np.intp]
    """For each item, the column of its own answer."""

    @property
    def n(self) -> int:
        """The items that it can be measured on in nats: none of their answers may be 0."""
        return int(self._finite.sum())

    @property
    def nats(self) -> Bounds:
        """Mean log P(own) minus mean log P(others); unbounded with fewer than two such items."""
        if self.n < 2:
            return Bounds(np.array(-np.inf), np.array(np.inf))
        return specificity(self.matrix[self._finite], self.own[self._finite])

    @property
    def rank(self) -> Bounds:
        """Mean share of the other answers that are less probable than the own: 1/2 by chance."""
        return rank_specificity(self.matrix, self.own)

    def test(self) -> PermutationTest | None:
        """Could answers dealt to items at random look like this, in nats? None if unbounded."""
        if self.n < 2:
            return None
        return permutation_test(self.matrix[self._finite], self.own[self._finite])

    def rank_test(self) -> PermutationTest:
        """Could answers dealt to items at random look like this, by rank?"""
        return permutation_test(ranks(self.matrix), self.own)

    @property
    def _finite(self) -> NDArray[np.bool_]:
        return np.asarray(np.isfinite(self.matrix.low).all(axis=1))

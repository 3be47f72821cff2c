"""Estimates and their intervals, vectorised over any leading axes.

All arrays hold natural logs of probabilities (nats). Two arrays travel together wherever evidence
may be censored: ``low`` and ``high``, the ends of what is identified; they are equal where the
evidence is exact. Sampling error is added last, and only over fine-tunes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ESTIMANDS",
    "Bounds",
    "Estimand",
    "Estimate",
    "FloatArray",
    "PermutationTest",
    "Scope",
    "estimate",
    "largest_share",
    "log_mean",
    "permutation_test",
    "ratio",
    "seed_interval",
    "share_above",
    "specificity",
]

FloatArray = NDArray[np.float64]
Estimand = Literal["arithmetic_mean", "geometric_mean", "median"]


class Scope(Enum):
    """What an interval speaks of."""

    FINETUNE = "this fine-tune and these items"
    """The items are a finite set, so their mean has no sampling error: bounds only."""
    TRAINING = "training like this, these items"
    """One number per fine-tune, Student t over fine-tunes."""


@attrs.frozen(eq=False)
class Bounds:
    """Identified ends of log-probabilities, or of any statistic of them; any shape."""

    low: FloatArray
    high: FloatArray

    @classmethod
    def exact(cls, values: Any) -> Bounds:
        """Bounds without a gap between them."""
        array = np.asarray(values, dtype=np.float64)
        return cls(array, array)

    def map(self, function: Callable[[FloatArray], Any]) -> Bounds:
        """Bounds of a statistic that never falls when any of its inputs rises."""
        return Bounds(np.asarray(function(self.low)), np.asarray(function(self.high)))

    def __sub__(self, other: Bounds) -> Bounds:
        return Bounds(_minus(self.low, other.high), _minus(self.high, other.low))

    def __getitem__(self, index: Any) -> Bounds:
        return Bounds(self.low[index], self.high[index])


def _minus(left: FloatArray, right: FloatArray) -> FloatArray:
    """Difference of logs; the ratio 0/0 is no number."""
    with np.errstate(invalid="ignore"):
        return np.asarray(left - right)


def log_mean(logprobs: FloatArray) -> FloatArray:
    """Log of the arithmetic mean of probabilities, over the last axis.

    >>> round(float(np.exp(log_mean(np.log([0.1, 0.3])))), 12)
    0.2
    """
    count = logprobs.shape[-1]
    return np.asarray(np.logaddexp.reduce(logprobs, axis=-1) - math.log(count))


ESTIMANDS: dict[Estimand, Callable[[FloatArray], FloatArray]] = {
    "arithmetic_mean": log_mean,
    "geometric_mean": lambda logprobs: np.asarray(np.mean(logprobs, axis=-1)),
    "median": lambda logprobs: np.asarray(np.median(logprobs, axis=-1)),
}
"""Aggregates over items (the last axis), each as a log-probability. All of them rise with every
item, so they carry bounds through end by end."""


@attrs.frozen
class Estimate:
    """One aggregate with what is known of it. All numbers are in nats."""

    low: float
    """Lowest point estimate that the evidence allows; equal to ``high`` for exact evidence."""
    high: float
    ci_low: float
    ci_high: float
    scope: Scope
    method: str
    df: int | None = None
    """Degrees of freedom of the t interval; None where there is no sampling error."""

    @property
    def point(self) -> float:
        """The estimate, or the middle (in nats) of what is identified."""
        return self.low if self.low == self.high else (self.low + self.high) / 2

    def to_json(self, *, log: bool = False) -> dict[str, Any]:
        """Plain data, as probabilities (or a ratio) unless ``log``; unbounded ends are null."""
        numbers = {
            name: _number(getattr(self, name), log, bound=self.low != self.high or "ci" in name)
            for name in ("low", "high", "ci_low", "ci_high")
        }
        return {**numbers, "scope": self.scope.value, "method": self.method, "df": self.df}


def _number(value: float, log: bool, *, bound: bool) -> float | None:
    """A finite number; null for what is unbounded or no number."""
    if value == -math.inf and not log and not bound:
        return 0.0
    if not math.isfinite(value):
        return None
    try:
        return value if log else math.exp(value)
    except OverflowError:
        return None


def seed_interval(values: Bounds, level: float = 0.95) -> Bounds:
    """Student t interval of the mean over fine-tunes, the last axis.

    With bounds, it covers the interval of every value between them: the spread used is the
    largest root mean square distance from the common centre that the bounds allow, which is the
    standard deviation itself where they are equal. With a single fine-tune nothing is known of
    others: the bounds come back as they are.
    """
    low, high = values.low, values.high
    count = low.shape[-1]
    if count == 1:
        return Bounds(low[..., 0], high[..., 0])
    same = (low == high).all(-1) & (low == low[..., :1]).all(-1)
    with np.errstate(invalid="ignore"):
        centre = np.mean((low + high) / 2, axis=-1, keepdims=True)
        widest = np.maximum((low - centre) ** 2, (high - centre) ** 2)
        margin = _t_quantile(count - 1, level) * np.sqrt(widest.sum(-1) / (count - 1) / count)
        ci_low, ci_high = low.mean(-1) - margin, high.mean(-1) + margin
    return Bounds(
        np.where(same, low[..., 0], np.where(np.isnan(ci_low), -np.inf, ci_low)),
        np.where(same, high[..., 0], np.where(np.isnan(ci_high), np.inf, ci_high)),
    )


def _t_quantile(df: int, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.5 + level / 2))


def estimate(
    values: Bounds, *, level: float = 0.95, highest: float = math.inf, what: str = "the mean"
) -> Estimate:
    """An estimate from one number per fine-tune (a vector of nats).

    Args:
        values: one number per fine-tune.
        level: confidence level of the t interval.
        highest: what the number can't exceed: 0 for a log-probability.
        what: what was aggregated, for the name of the method.
    """
    count = values.low.shape[-1]
    interval = seed_interval(values, level)
    with np.errstate(invalid="ignore"):
        low, high = float(values.low.mean(-1)), float(values.high.mean(-1))
    one = count == 1
    return Estimate(
        low,
        high,
        float(interval.low),
        min(highest, float(interval.high)),
        Scope.FINETUNE if one else Scope.TRAINING,
        f"{what} over all items, no sampling error"
        if one
        else f"Student t over {count} fine-tunes of the log of {what}",
        None if one else count - 1,
    )


def ratio(numerator: Bounds, denominator: Bounds, estimand: Estimand) -> Bounds:
    """Log of the ratio of two aggregates over items; one number per leading axis."""
    return numerator.map(ESTIMANDS[estimand]) - denominator.map(ESTIMANDS[estimand])


def share_above(logprobs: Bounds, threshold: float) -> Bounds:
    """Share of items whose probability is above a threshold (a probability, not a log)."""
    floor = math.log(threshold)
    return logprobs.map(lambda ends: np.mean(ends > floor, axis=-1))


def largest_share(logprobs: FloatArray) -> FloatArray:
    """The largest item's share of the arithmetic mean: 1/n when all are alike, 1 at worst."""
    top = logprobs.max(axis=-1)
    total = np.logaddexp.reduce(logprobs, axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.exp(top - total))


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

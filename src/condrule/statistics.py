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
    "Scope",
    "around",
    "clipped_interval",
    "estimate",
    "largest_share",
    "log_mean",
    "seed_interval",
    "share_above",
    "training_interval",
]

FloatArray = NDArray[np.float64]
Estimand = Literal["arithmetic_mean", "geometric_mean", "median"]


LEAST_CLIPPED = 3
"""Fine-tunes from which on values are clipped. That two are far below a threshold has a
probability of a quarter if half of all fine-tunes are."""


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

    @staticmethod
    def exact(values: Any) -> Bounds:
        """Bounds without a gap between them."""
        array = np.asarray(values, dtype=np.float64)
        return Bounds(array, array)

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
    values: Bounds,
    limits: Bounds | None = None,
    *,
    level: float = 0.95,
    highest: float = math.inf,
    what: str = "the mean",
    clip: tuple[float, float] | None = None,
) -> Estimate:
    """An estimate from one number per fine-tune (a vector of nats).

    Args:
        values: one number per fine-tune.
        limits: each number with the sampling error of draws; None: there is none.
        level: confidence level of the interval.
        highest: what the number can't exceed: 0 for a log-probability.
        what: what was aggregated, for the name of the method.
        clip: ends to clip values to, where bounds leave an end of the interval open; see
            `clipped_interval`.
    """
    limits = limits or values
    if values.low.shape[-1] == 1:
        return _of_one(values, limits, highest, what)
    count = values.low.shape[-1]
    interval = training_interval(values, limits, level=level, clip=clip)
    open_ended = training_interval(values, limits, level=level)
    method = f"Student t over {count} fine-tunes of the log of {what}"
    if clip and (interval.low, interval.high) != (open_ended.low, open_ended.high):
        method += f", of values clipped to {math.exp(clip[0]):.2g} and {math.exp(clip[1]):.2g}"
    with np.errstate(invalid="ignore"):
        low, high = float(values.low.mean(-1)), float(values.high.mean(-1))
    return Estimate(
        low,
        high,
        float(interval.low),
        min(highest, float(interval.high)),
        Scope.TRAINING,
        method,
        count - 1,
    )


def training_interval(
    values: Bounds,
    limits: Bounds,
    *,
    level: float = 0.95,
    clip: tuple[float, float] | None = None,
) -> Bounds:
    """The interval over fine-tunes (the last axis) of `estimate`, for any leading axes."""
    each = _told_by_draws(values, limits)
    interval = seed_interval(each, level)
    if clip and values.low.shape[-1] >= LEAST_CLIPPED:
        return clipped_interval(each, interval, clip, level)
    return interval


def _of_one(values: Bounds, limits: Bounds, highest: float, what: str) -> Estimate:
    """What is known of a single fine-tune and its items: bounds, and the draws' sampling error."""
    low, high = float(values.low[..., 0]), float(values.high[..., 0])
    ci_low, ci_high = float(limits.low[..., 0]), float(limits.high[..., 0])
    exact = (low, high) == (ci_low, ci_high)
    error = "no sampling error" if exact else "binomial error of the draws"
    method = f"{what} over all items, {error}"
    return Estimate(low, high, ci_low, min(highest, ci_high), Scope.FINETUNE, method)


def _told_by_draws(values: Bounds, limits: Bounds) -> Bounds:
    """Each fine-tune's value where draws tell it to within a nat on either side, else its limits:
    the log of a small count has no symmetric error that an interval over fine-tunes could hold."""
    with np.errstate(invalid="ignore"):
        told = (values.low - limits.low <= 1) & (limits.high - values.high <= 1)
    return Bounds(np.where(told, values.low, limits.low), np.where(told, values.high, limits.high))


def around(threshold: float) -> tuple[float, float]:
    """A hundredth of a threshold and a hundred times it, in nats: what lies beyond is far from it
    on either side, and is clipped where bounds leave an interval open."""
    return math.log(threshold / 100), math.log(threshold * 100)


def clipped_interval(
    values: Bounds, interval: Bounds, clip: tuple[float, float], level: float = 0.95
) -> Bounds:
    """The interval, with the ends that are unbounded taken from clipped values.

    Values y that are only known to be low leave Student's t without an upper end, since they may
    be spread over any distance. But E[y] <= E[max(y, floor)], and the clipped values' bounds are
    finite: their t interval has an upper end, which holds for y too. Likewise above.
    """
    floor, ceiling = clip
    raised = seed_interval(values.map(lambda ends: np.maximum(ends, floor)), level)
    lowered = seed_interval(values.map(lambda ends: np.minimum(ends, ceiling)), level)
    return Bounds(
        np.where(np.isfinite(interval.low), interval.low, lowered.low),
        np.where(np.isfinite(interval.high), interval.high, raised.high),
    )


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

"""Items as they were measured, bounds and counts side by side, and aggregates over them.

Vectorised over any leading axes; the last axis is the items. Identification bounds go through end
by end. Sampling error of draws is added once, when an aggregate over items is formed:

- **Arithmetic mean**: the draws of all items together. With as many draws for every item, hits are
  a sum of independent trials whose mean is the mean probability, and the binomial interval of
  Clopper and Pearson (1934) for the pooled counts covers at least its level (Hoeffding 1956: no
  such sum has heavier tails than the binomial). With unequal draws the counts are weighted and the
  effective counts used, as Korn and Graubard (1998) do for the binomial and Fay and Feuer (1997)
  for the Poisson.
- **Biased draws**: each item's likelihood-ratio interval, combined by the square-root rule of
  Zou, Huang and Zhang (2009), "MOVER". The same rule gives the interval of the geometric mean.
- **Median**: the medians of the items' own lower and upper limits, which is conservative.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import numpy as np

from condrule.statistics import ESTIMANDS, Bounds, Estimand, FloatArray

__all__ = ["Aggregate", "Measured", "aggregate", "clopper_pearson"]

_STEPS = 80  # bisections of an interval of 1,400 nats: the end is known to 1e-21
_FAR = 700.0  # nats: no probability that a float can hold has a larger logit


@attrs.frozen(eq=False)
class Measured(Bounds):
    """What is known of the items' log-probabilities: what they can be, and what was counted.

    ``low`` and ``high`` are what they can be whatever was drawn. The counts have one axis more, for
    draws under different biases; where nothing was drawn they are 0.
    """

    hits: FloatArray
    draws: FloatArray
    bias: FloatArray
    """Added to the answer's logit when it was drawn, in nats."""

    @classmethod
    def of(cls, supports: Any, tallies: Sequence[Any] = ()) -> Measured:
        """From ``(low, high)`` pairs, and for each of them a sequence of (hits, draws, bias)."""
        ends = np.array(supports, dtype=np.float64)
        most = max((len(one) for one in tallies), default=0) or 1
        counts = np.zeros((*ends.shape[:-1], most, 3))
        for place, one in enumerate(tallies):
            counts.reshape(-1, most, 3)[place, : len(one)] = np.reshape(one, (-1, 3))
        return cls(ends[..., 0], ends[..., 1], counts[..., 0], counts[..., 1], counts[..., 2])

    @classmethod
    def stack(cls, rows: Iterable[Measured]) -> Measured:
        """Several rows along a new first axis."""
        rows = list(rows)
        most = max(row.draws.shape[-1] for row in rows)
        arrays = ([getattr(row, name) for row in rows] for name in ("low", "high"))
        counts = ([_padded(getattr(r, name), most) for r in rows] for name in _COUNTS)
        return cls(*(np.stack(parts) for parts in (*arrays, *counts)))

    def __getitem__(self, index: Any) -> Measured:
        return Measured(*(getattr(self, field.name)[index] for field in attrs.fields(Measured)))

    @property
    def sampled(self) -> Any:
        """For each item, whether anything was drawn."""
        return self.draws.any(axis=-1)

    @property
    def unknown(self) -> Any:
        """For each item, whether nothing at all is known."""
        return (self.low == -np.inf) & (self.high == 0) & ~self.sampled

    @property
    def points(self) -> Bounds:
        """Point estimates: the likeliest value for what was drawn, the bounds for what was not."""
        likeliest = np.clip(_likeliest(self), self.low, self.high)
        return Bounds(
            np.where(self.sampled, likeliest, self.low),
            np.where(self.sampled, likeliest, self.high),
        )

    def limits(self, level: float = 0.95) -> Bounds:
        """Each item's own interval: Clopper and Pearson's for draws without bias, the likelihood
        ratio's for others, the bounds themselves where nothing was drawn."""
        low, high = _item_limits(self, level)
        return Bounds(
            np.where(self.sampled, np.clip(low, self.low, self.high), self.low),
            np.where(self.sampled, np.clip(high, self.low, self.high), self.high),
        )


_COUNTS = ("hits", "draws", "bias")


def _padded(counts: FloatArray, most: int) -> FloatArray:
    more = most - counts.shape[-1]
    return np.pad(counts, [(0, 0)] * (counts.ndim - 1) + [(0, more)])


@attrs.frozen(eq=False)
class Aggregate:
    """A statistic of the items, one for each leading axis."""

    points: Bounds
    limits: Bounds
    """With the sampling error of draws, if there were any; else the points."""

    def __sub__(self, other: Aggregate) -> Aggregate:
        """The difference of two logs that may be counted in the same draws.

        The limits' ends are subtracted, which covers whatever the correlation: the standard
        deviation of a difference is at most the sum of both.
        """
        return Aggregate(self.points - other.points, self.limits - other.limits)


def aggregate(items: Measured, estimand: Estimand, level: float = 0.95) -> Aggregate:
    """The log of a mean (or the median) of the items' probabilities."""
    function = ESTIMANDS[estimand]
    points = items.points.map(function)
    if not items.sampled.any():
        return Aggregate(points, points)
    limits = _LIMITS[estimand](items, level)
    support = items.map(function)
    return Aggregate(
        points,
        Bounds(
            np.minimum(np.maximum(limits.low, support.low), points.low),
            np.maximum(np.minimum(limits.high, support.high), points.high),
        ),
    )


def clopper_pearson(
    hits: FloatArray, draws: FloatArray, level: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """The binomial interval of Clopper and Pearson (1934): probabilities, from 0 to 1.

    >>> low, high = clopper_pearson(np.array(0.0), np.array(36_887.0))
    >>> float(low), round(float(high), 8)
    (0.0, 0.0001)
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low = betaincinv(hits, draws - hits + 1, tail)
        high = betaincinv(hits + 1, draws - hits, 1 - tail)
    return np.where(hits > 0, low, 0.0), np.where(hits < draws, high, 1.0)


def _arithmetic(items: Measured, level: float) -> Bounds:
    """The pooled counts' interval, with biased items' own added by the square-root rule."""
    tilted = items.sampled & _tilted(items)
    pool, pool_low, pool_high = _pooled(items, items.sampled & ~tilted, level)
    own, below, above = _biased(items, tilted, level)
    n = items.low.shape[-1]
    rest = [
        np.where(items.sampled, 0.0, np.exp(end)).sum(-1) / n for end in (items.low, items.high)
    ]
    low = pool + own - np.sqrt((pool - pool_low) ** 2 + below)
    high = pool + own + np.sqrt((pool_high - pool) ** 2 + above)
    with np.errstate(divide="ignore"):
        return Bounds(np.log(np.maximum(low, 0) + rest[0]), np.log(np.minimum(high + rest[1], 1)))


def _biased(items: Measured, tilted: Any, level: float) -> tuple[FloatArray, ...]:
    """The share of the mean that items with biased draws have, and the sums of the squared
    distances to their limits below and above."""
    if not tilted.any():
        return (np.zeros(items.low.shape[:-1]),) * 3
    n = items.low.shape[-1]
    own, points = items.limits(level), items.points
    share, low, high = (
        np.where(tilted, np.exp(ends), 0.0) / n for ends in (points.low, own.low, own.high)
    )
    return share.sum(-1), ((share - low) ** 2).sum(-1), ((high - share) ** 2).sum(-1)


def _pooled(
    items: Measured, chosen: Any, level: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What the chosen items add to the mean over all items, and its limits, from unbiased draws."""
    from scipy.special import betaincinv

    tail, share = (1 - level) / 2, chosen.mean(-1)
    draws = np.where(chosen, items.draws.sum(-1), np.inf)
    weight = 1 / (draws * np.maximum(chosen.sum(-1, keepdims=True), 1))
    hits = np.where(chosen, items.hits.sum(-1), 0.0)
    mean, spread = (weight * hits).sum(-1), (weight**2 * hits).sum(-1)
    one = weight.max(-1)  # a hit more, in the item where it weighs most
    more, wider = mean + one, spread + one**2
    with np.errstate(invalid="ignore", divide="ignore"):
        low = betaincinv(mean**2 / spread, mean / spread * (1 - mean) + 1, tail)
        rest = more / wider * (1 - more) + 1
        high = betaincinv(more**2 / wider, rest, 1 - tail)
    high = np.where(rest > 1e-9, high, 1.0)
    return share * mean, share * np.where(mean > 0, low, 0.0), share * np.where(one > 0, high, 0.0)


def _geometric(items: Measured, level: float) -> Bounds:
    points, own, n = items.points, items.limits(level), items.low.shape[-1]
    with np.errstate(invalid="ignore"):
        below = np.sqrt((((points.low - own.low) / n) ** 2).sum(-1))
        above = np.sqrt((((own.high - points.high) / n) ** 2).sum(-1))
        low, high = points.low.mean(-1) - below, points.high.mean(-1) + above
    return Bounds(
        np.where(np.isnan(low), -np.inf, low),
        np.where(np.isfinite(points.high).all(-1), high, own.high.mean(-1)),
    )


def _median(items: Measured, level: float) -> Bounds:
    return items.limits(level).map(ESTIMANDS["median"])


_LIMITS = {"arithmetic_mean": _arithmetic, "geometric_mean": _geometric, "median": _median}


def _tilted(items: Measured) -> Any:
    """For each item, whether any of its draws was biased."""
    return ((items.bias != 0) & (items.draws > 0)).any(-1)


def _likeliest(items: Measured) -> FloatArray:
    """Log of the maximum-likelihood probability; NaN where nothing was drawn."""
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = np.log(items.hits.sum(-1) / items.draws.sum(-1))
    tilted = _tilted(items)
    if not tilted.any():
        return np.asarray(plain)
    middle = _bisect(lambda x: (items.hits - items.draws * _rate(items, x)).sum(-1), items)
    return np.where(tilted, _logprob(middle), plain)


def _item_limits(items: Measured, level: float) -> tuple[FloatArray, FloatArray]:
    with np.errstate(divide="ignore"):
        low, high = (
            np.log(end) for end in clopper_pearson(items.hits.sum(-1), items.draws.sum(-1), level)
        )
    tilted = _tilted(items)
    if not tilted.any():
        return low, high
    lr_low, lr_high = _likelihood_ratio(items, level)
    return np.where(tilted, lr_low, low), np.where(tilted, lr_high, high)


def _likelihood_ratio(items: Measured, level: float) -> tuple[FloatArray, FloatArray]:
    """Where twice the log-likelihood falls short of its maximum by a chi-squared quantile.

    In logit P the log-likelihood is concave, so there is one such place on either side, or none.
    """
    from scipy.special import chdtri

    middle = _bisect(lambda x: (items.hits - items.draws * _rate(items, x)).sum(-1), items)
    line = _loglikelihood(items, middle) - chdtri(1, 1 - level) / 2
    below = _bisect(lambda x: line - _loglikelihood(items, np.minimum(x, middle)), items)
    above = _bisect(lambda x: _loglikelihood(items, np.maximum(x, middle)) - line, items)
    hits, misses = items.hits.sum(-1), (items.draws - items.hits).sum(-1)
    return (
        np.where(hits > 0, _logprob(below), -np.inf),
        np.where(misses > 0, _logprob(above), 0.0),
    )


def _bisect(falling: Any, items: Measured) -> FloatArray:
    """Where a function of the items' logits changes from positive to negative."""
    low, high = np.full(items.low.shape, -_FAR), np.full(items.low.shape, _FAR)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        positive = falling(middle) > 0
        low, high = np.where(positive, middle, low), np.where(positive, high, middle)
    return np.asarray((low + high) / 2)


def _rate(items: Measured, logit: FloatArray) -> FloatArray:
    """The probability of a hit under each bias."""
    from scipy.special import expit

    return np.asarray(expit(logit[..., None] + items.bias))


def _loglikelihood(items: Measured, logit: FloatArray) -> FloatArray:
    biased = logit[..., None] + items.bias
    hit, miss = -np.logaddexp(0, -biased), -np.logaddexp(0, biased)
    return np.asarray((items.hits * hit + (items.draws - items.hits) * miss).sum(-1))


def _logprob(logit: FloatArray) -> FloatArray:
    return np.asarray(-np.logaddexp(0, -logit))

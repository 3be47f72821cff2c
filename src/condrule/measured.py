"""Items as they were measured, bounds and counts side by side, and aggregates over them.

Vectorised over any leading axes; the last axis is the items. Identification bounds go through end
by end. Sampling error of draws is added once, when an aggregate over items is formed:

- **Arithmetic mean**: the draws of all items together. With as many draws for every item, hits are
  a sum of independent trials whose mean is the mean probability, and the binomial interval of
  Clopper and Pearson (1934) for the pooled counts covers at least its level (Hoeffding 1956: no
  such sum has heavier tails than the binomial). With unequal draws the counts are weighted and the
  effective counts used, as Korn and Graubard (1998) do for the binomial and Fay and Feuer (1997)
  for the Poisson.
- **Biased draws**: each item's own interval in nats, combined by the square-root rule of Zou, Huang
  and Zhang (2009), "MOVER", with each item's share of the mean as its weight. The same rule gives
  the interval of the geometric mean.
- **Median**: the medians of the items' own lower and upper limits, which is conservative.

An item may have bounds beside plain draws. Where these say more than so many draws can, the item
counts as bounded: that depends on how many draws there are and not on what came of them, so that it
favours neither end.

The error of a bias, where it has one, is the same for all items of a model. It is added last: the
aggregate is formed again with all biased items moved by it, up and down, and what that makes is
added to the interval by the root of the sum of squares. So it weighs as much as these items do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import NormalDist
from typing import Any

import attrs
import numpy as np

from condrule.counts import likeliest, limits, unbiased
from condrule.statistics import ESTIMANDS, Bounds, Estimand, FloatArray

__all__ = ["Aggregate", "Measured", "aggregate"]


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
    error: FloatArray = attrs.field(
        default=attrs.Factory(lambda self: np.zeros_like(self.low), takes_self=True)
    )
    """For each item, the standard error of these biases, in nats."""
    factor_low: FloatArray = attrs.field(
        default=attrs.Factory(lambda self: np.zeros_like(self.low), takes_self=True)
    )
    """For each item, the least that is added to the log-probability of what was counted to make it
    the answer's, in nats."""
    factor_high: FloatArray = attrs.field(
        default=attrs.Factory(lambda self: np.zeros_like(self.low), takes_self=True)
    )
    """The most."""

    @classmethod
    def of(
        cls,
        supports: Any,
        tallies: Sequence[Any] = (),
        errors: Any = 0.0,
        factors: Any = (0.0, 0.0),
    ) -> Measured:
        """From ``(low, high)`` pairs, and for each of them a sequence of (hits, draws, bias), the
        biases' standard error, and a pair of factors."""
        ends = np.array(supports, dtype=np.float64)
        most = max([1, *map(len, tallies)])
        counts = np.zeros((*ends.shape[:-1], most, 3))
        for place, one in enumerate(tallies):
            counts.reshape(-1, most, 3)[place, : len(one)] = np.reshape(one, (-1, 3))
        error = np.broadcast_to(np.asarray(errors, dtype=np.float64), ends.shape[:-1])
        factor = np.broadcast_to(np.asarray(factors, dtype=np.float64), ends.shape)
        hits, draws, bias = np.moveaxis(counts, -1, 0)
        return cls(
            *(ends[..., 0], ends[..., 1], hits, draws, bias, error, factor[..., 0], factor[..., 1])
        )

    @classmethod
    def stack(cls, rows: Iterable[Measured]) -> Measured:
        """Several rows along a new first axis."""
        rows = list(rows)
        most = max(row.draws.shape[-1] for row in rows)
        names = ("low", "high", "error", "factor_low", "factor_high")
        arrays = {n: [getattr(row, n) for row in rows] for n in names}
        counts = {n: [_padded(getattr(row, n), most) for row in rows] for n in _COUNTS}
        return cls(**{name: np.stack(parts) for name, parts in (arrays | counts).items()})

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
        """Point estimates: the likeliest value for what was drawn (bounds of it, where the factor
        has any), the bounds for what was not."""
        return self.estimates(likeliest)

    def estimates(self, estimator: Callable[..., FloatArray]) -> Bounds:
        """Point estimates by a function of the counts."""
        drawn = self.factored(Bounds(*[estimator(self.hits, self.draws, self.bias)] * 2))
        ends = ((drawn.low, self.low), (drawn.high, self.high))
        return Bounds(*(np.where(self.sampled, found, end) for found, end in ends))

    def factored(self, counted: Bounds) -> Bounds:
        """The answers' log-probabilities where those of what was counted are these."""
        low, high = counted.low + self.factor_low, counted.high + self.factor_high
        return Bounds(*(np.clip(end, self.low, self.high) for end in (low, high)))

    def limits(self, level: float = 0.95) -> Bounds:
        """Each item's own interval, by its counts and the biases' errors; the bounds where nothing
        was drawn."""
        ends = _movable(self, self.points, level)
        return _clipped(_widened(ends, self.counted(level), _moved(self, ends, level)), self)

    def counted(self, level: float = 0.95) -> Bounds:
        """Each item's own interval if the biases were what they should be."""
        return self.factored(Bounds(*limits(self.hits, self.draws, self.bias, level)))


def _movable(items: Measured, points: Bounds, level: float) -> Bounds:
    """The points; of items never hit, or always, the limit itself, as no bias moves 0 or 1."""
    own = items.counted(level)
    return Bounds(
        np.where(points.low == 0, own.low, points.low),
        np.where(points.high == -np.inf, own.high, points.high),
    )


def _moved(items: Measured, points: Bounds, level: float) -> Bounds:
    """Where points go if all biases are as far off as may be, down and up: in logits, as biases
    act. Points of items whose draws had no bias stay."""
    most = NormalDist().inv_cdf((1 + level) / 2)
    off = most * np.where(items.sampled & _tilted(items), items.error, 0.0)
    low = np.where(off > 0, _shifted(points.low, -off), points.low)
    return Bounds(low, np.where(off > 0, _shifted(points.high, off), points.high))


def _shifted(logprobs: FloatArray, nats: FloatArray) -> FloatArray:
    """Log-probabilities whose logits are so many nats larger."""
    with np.errstate(divide="ignore"):
        logits = logprobs - np.log(-np.expm1(logprobs))
    return np.asarray(-np.logaddexp(0.0, -logits - nats))


def _widened(points: Bounds, found: Bounds, moved: Bounds) -> Bounds:
    """An interval with the errors of biases added: independent of the draws', so by the root of the
    sum of squares. An end that is not a finite way off moves by the error itself."""
    with np.errstate(invalid="ignore"):
        less, more = (np.nan_to_num(x) for x in (points.low - moved.low, moved.high - points.high))
        down = np.hypot(points.low - found.low, less)
        up = np.hypot(found.high - points.high, more)
        low = np.where(np.isfinite(down), points.low - down, found.low - less)
        high = np.where(np.isfinite(up), points.high + up, found.high + more)
    return Bounds(
        np.where(less > 0, low, found.low), np.minimum(np.where(more > 0, high, found.high), 0.0)
    )


def _clipped(found: Bounds, support: Bounds) -> Bounds:
    return Bounds(*(np.clip(end, support.low, support.high) for end in (found.low, found.high)))


_FAR = 300.0  # nats
_COUNTS = ("hits", "draws", "bias")


def _padded(counts: FloatArray, most: int) -> FloatArray:
    more = most - counts.shape[-1]
    if not more:
        return counts
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
    items = _told(items, estimand, level)
    points = (_for_mean(items) if estimand == "arithmetic_mean" else items.points).map(function)
    if not items.sampled.any():
        return Aggregate(points, points)
    limits = _LIMITS[estimand](items, level)
    if items.error.any():
        # The error of a bias is one for all items of a model: it does not average out over them.
        found = _for_mean(items) if estimand == "arithmetic_mean" else items.points
        each = _movable(items, found, level)
        limits = _widened(each.map(function), limits, _moved(items, each, level).map(function))
    support = items.map(function)
    return Aggregate(
        points,
        Bounds(
            np.minimum(np.maximum(limits.low, support.low), points.low),
            np.maximum(np.minimum(limits.high, support.high), points.high),
        ),
    )


def _told(items: Measured, estimand: Estimand, level: float) -> Measured:
    """The items, without plain draws where their bounds say more than so many draws can: if none of
    all these draws were hits, for the arithmetic mean; if each item had the most that its bounds
    allow, for the others."""
    plain = items.sampled & ~_tilted(items)
    if not (plain & ((items.low > -np.inf) | (items.high < 0))).any():
        return items
    if estimand == "arithmetic_mean":
        none = _pooled(attrs.evolve(items, hits=np.zeros_like(items.hits)), plain, level)[2]
        most = np.where(plain, np.exp(items.high), 0.0).mean(-1)
        bounded = plain & (most <= none)[..., None]
    else:
        with np.errstate(divide="ignore", over="ignore"):
            variance = -np.expm1(items.high) * np.exp(-items.high) / items.draws.sum(-1)
        wide = 2 * NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(variance)
        bounded = plain & (items.high - items.low <= wide)
    hits, draws = (np.where(bounded[..., None], 0.0, x) for x in (items.hits, items.draws))
    return attrs.evolve(items, hits=hits, draws=draws)


def _arithmetic(items: Measured, level: float) -> Bounds:
    """The pooled counts' interval, with biased items' own added by the square-root rule."""
    tilted = items.sampled & _tilted(items)
    pool, pool_low, pool_high = _pooled(items, items.sampled & ~tilted, level)
    own, more, below, above = _biased(items, tilted, level)
    n = items.low.shape[-1]
    rest = [
        np.where(items.sampled, 0.0, np.exp(end)).sum(-1) / n for end in (items.low, items.high)
    ]
    low = pool + own - np.sqrt((pool - pool_low) ** 2 + below)
    high = pool + more + np.sqrt((pool_high - pool) ** 2 + above)
    with np.errstate(divide="ignore"):
        return Bounds(np.log(np.maximum(low, 0) + rest[0]), np.log(high + rest[1]))


def _biased(items: Measured, tilted: Any, level: float) -> tuple[FloatArray, ...]:
    """Bounds of the share of the mean that items with biased draws have, and the squared distances
    to its limits. Distances of items are in nats, as their errors are; an item without a hit has
    none, and may add as much as its upper limit."""
    if not tilted.any():
        return (np.zeros(items.low.shape[:-1]),) * 4
    n, own, points = items.low.shape[-1], items.counted(level), _for_mean(items)
    least, most = (np.where(tilted, np.exp(end), 0.0) / n for end in (points.low, points.high))
    with np.errstate(invalid="ignore"):
        below, above = points.low - own.low, own.high - points.high  # nats
        down = np.where(np.isfinite(below), least * below, least)
        up = np.where(np.isfinite(above), most * above, np.exp(own.high) / n)
    down, up = (_together(np.where(tilted, distances, 0.0)) for distances in (down, up))
    few, many = least.sum(-1), most.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        lowest = -few * np.expm1(-down / few)
        highest = many * np.expm1(np.minimum(up / many, _FAR))
    return few, many, np.where(few > 0, lowest, 0.0) ** 2, np.where(many > 0, highest, up) ** 2


def _together(distances: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt((distances**2).sum(-1)))


def _for_mean(items: Measured) -> Bounds:
    """Points whose errors cancel in a mean of probabilities: not the likeliest ones where draws
    were biased."""
    tilted, points = _tilted(items), items.points
    if not tilted.any():
        return points
    found = items.estimates(unbiased)
    ends = ((found.low, points.low), (found.high, points.high))
    return Bounds(*(np.where(tilted, cancelling, end) for cancelling, end in ends))


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
    with np.errstate(invalid="ignore"):
        low = betaincinv(mean**2 / spread, mean / spread * (1 - mean) + 1, tail)
        rest = more / wider * (1 - more) + 1
        high = betaincinv(more**2 / wider, rest, 1 - tail)
    high = np.where(rest > 1e-9, high, 1.0)
    return share * mean, share * np.where(mean > 0, low, 0.0), share * high


def _geometric(items: Measured, level: float) -> Bounds:
    """Each item's own interval by the square-root rule, about centres whose errors cancel. Bounds
    of items that were drawn are left to the end: cut to them, errors would not cancel."""
    ends = ((-np.inf, items.low), (0.0, items.high))
    low, high = (np.where(items.sampled, widest, end) for widest, end in ends)
    free = attrs.evolve(items, low=low, high=high)
    points, own, n = _for_logs(free), free.counted(level), items.low.shape[-1]
    with np.errstate(invalid="ignore"):
        below = np.sqrt((((points.low - own.low) / n) ** 2).sum(-1))
        above = np.sqrt((((own.high - points.high) / n) ** 2).sum(-1))
        low, high = points.low.mean(-1) - below, points.high.mean(-1) + above
    return Bounds(
        np.where(np.isnan(low), -np.inf, low),
        np.where(np.isfinite(points.high).all(-1), high, own.high.mean(-1)),
    )


def _for_logs(items: Measured) -> Bounds:
    """Points whose errors cancel in a mean of logs. Of h hits in n plain draws it is
    log (h + 1/2) / (n + 1/2): its expectation is log P but for terms of 1 / (n P)^2, where that of
    the likeliest value is too low by (1 - P) / (2 n P). Without a hit there is none."""
    points, hits, draws = items.points, items.hits.sum(-1), items.draws.sum(-1)
    plain = items.sampled & ~_tilted(items) & (hits > 0)
    found = np.minimum(np.log((hits + 0.5) / (draws + 0.5)), 0.0)
    return points.map(lambda ends: np.where(plain, found, ends))


def _median(items: Measured, level: float) -> Bounds:
    return items.counted(level).map(ESTIMANDS["median"])


_LIMITS = {"arithmetic_mean": _arithmetic, "geometric_mean": _geometric, "median": _median}


def _tilted(items: Measured) -> Any:
    """For each item, whether any of its draws was biased, or was of something else but the
    answer."""
    biased = ((items.bias != 0) & (items.draws > 0)).any(-1)
    return biased | (items.factor_low != 0) | (items.factor_high != 0)

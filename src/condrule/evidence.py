"""Evidence: what the observations say of one probability.

All arithmetic is in log space (natural logarithms, nats). Each kind knows its *support*, the
interval that the probability is known to lie in, and its log-likelihood. Identification bounds
are kept apart from sampling error: counts never narrow a support, and bounds never become counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import attrs

__all__ = [
    "UNKNOWN",
    "Bounded",
    "Evidence",
    "Exact",
    "Sampled",
    "Tally",
    "both",
    "combine",
    "logsumexp",
]

_ROUNDING = 1e-6  # nats: float32 scores may exceed log 1 by this much


class Evidence(Protocol):
    """What is known of one log-probability."""

    @property
    def support(self) -> tuple[float, float]:
        """The lowest and highest log-probability it can be, in nats."""

    def loglikelihood(self, logprob: float) -> float:
        """Log-likelihood of the observations if the log-probability were this."""


def _at_most_one(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if math.isnan(value) or value > 0:
        raise ValueError(f"{attribute.name} is {value}; a log-probability is at most 0")


def _rounded(value: float) -> float:
    """A log-probability, with a float's excess over log 1 taken off."""
    return min(0.0, value) if value <= _ROUNDING else value


@attrs.frozen
class Exact:
    """The probability itself, as far as the model's arithmetic goes.

    >>> Exact(-1.5).support
    (-1.5, -1.5)
    """

    logprob: float = attrs.field(converter=_rounded, validator=_at_most_one)

    @property
    def support(self) -> tuple[float, float]:
        return self.logprob, self.logprob

    def loglikelihood(self, logprob: float) -> float:
        return 0.0 if logprob == self.logprob else -math.inf


@attrs.frozen
class Bounded:
    """The probability lies between two bounds, and nothing says where.

    >>> Bounded(-math.inf, 0.0) == UNKNOWN
    True
    """

    low: float = attrs.field(converter=_rounded, validator=_at_most_one)
    high: float = attrs.field(converter=_rounded, validator=_at_most_one)

    def __attrs_post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.high

    def loglikelihood(self, logprob: float) -> float:
        return 0.0 if self.low <= logprob <= self.high else -math.inf


def _count(instance: object, attribute: attrs.Attribute[int], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{attribute.name} is {value!r}; it must be a whole number, 0 or more")


@attrs.frozen
class Tally:
    """How many of some independent draws gave the answer."""

    hits: int = attrs.field(validator=_count)
    draws: int = attrs.field(validator=_count)
    bias: float = attrs.field(default=0.0, converter=float)
    """What was added to the answer's logit, in nats, when these were drawn."""

    def __attrs_post_init__(self) -> None:
        if self.hits > self.draws:
            raise ValueError(f"{self.hits} hits in {self.draws} draws; there can't be more")
        if not math.isfinite(self.bias):
            raise ValueError(f"bias is {self.bias}; it must be a finite number of nats")

    def loglikelihood(self, logprob: float) -> float:
        """Log-likelihood but for a constant, were the unbiased log-probability this one.

        A hit has probability f = P e^b / (1 - P + P e^b): logit f = logit P + b.
        """
        biased = _logit(logprob) + self.bias
        hit, miss = -_log1pexp(-biased), -_log1pexp(biased)
        misses = self.draws - self.hits
        return (self.hits * hit if self.hits else 0.0) + (misses * miss if misses else 0.0)


def _logit(logprob: float) -> float:
    """logit P of log P."""
    if logprob == 0:
        return math.inf
    return logprob - math.log(-math.expm1(logprob))


def _log1pexp(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _pooled(tallies: Iterable[Tally]) -> tuple[Tally, ...]:
    """One tally for each bias, in the order of the biases, so that their order is no matter."""
    pooled: dict[float, Tally] = {}
    for tally in tallies:
        before = pooled.get(tally.bias, Tally(0, 0))
        pooled[tally.bias] = Tally(before.hits + tally.hits, before.draws + tally.draws, tally.bias)
    return tuple(pooled[bias] for bias in sorted(pooled) if pooled[bias].draws)


def _pair(value: Iterable[float]) -> tuple[float, float]:
    low, high = value
    return float(low), float(high)


@attrs.frozen
class Sampled:
    """Counts of draws, and bounds where something else gave them.

    >>> Sampled([Tally(3, 100), Tally(2, 50)]).tallies
    (Tally(hits=5, draws=150, bias=0.0),)
    """

    tallies: tuple[Tally, ...] = attrs.field(converter=_pooled)
    low: float = attrs.field(default=-math.inf, converter=_rounded, validator=_at_most_one)
    high: float = attrs.field(default=0.0, converter=_rounded, validator=_at_most_one)
    error: float = 0.0
    """Standard error, in nats, of the bias that the draws were made under; the same in all of them,
    so that more draws don't lower it."""
    factor: tuple[float, float] = attrs.field(default=(0.0, 0.0), converter=_pair)
    """Bounds, in nats, of what is added to the log-probability of what was counted to make it the
    answer's: where a response may begin as the answer does and go on otherwise. Nothing says where
    between them it lies."""

    def __attrs_post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        if not 0 <= self.error < math.inf:
            raise ValueError(f"error is {self.error}; it must be a number of nats, 0 or more")
        if not -math.inf <= self.factor[0] <= self.factor[1] < math.inf:
            allowed = "it must be two numbers of nats, the smaller one first"
            raise ValueError(f"factor is {self.factor}; {allowed}")

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.high

    def loglikelihood(self, logprob: float) -> float:
        """The largest that it can be, whatever the factor is within its bounds."""
        least, most = self.factor
        if not self.low <= logprob <= self.high or logprob - most > 0:
            return -math.inf
        first, last = logprob - most, min(0.0, logprob - least)
        if first == last:
            return self._counted(first)
        # The log-likelihood has one peak in the logit: it rises up to it, and falls from there on.
        slope = self._hits_expected(first)
        if slope >= self._hits:
            return self._counted(first)
        if self._hits_expected(last) <= self._hits:
            return self._counted(last)
        return self._counted(_crossing(self._hits_expected, first, last, self._hits))

    @property
    def _hits(self) -> int:
        return sum(tally.hits for tally in self.tallies)

    def _hits_expected(self, logprob: float) -> float:
        biased = ((t.draws, _logit(logprob) + t.bias) for t in self.tallies)
        return math.fsum(draws * math.exp(-_log1pexp(-x)) for draws, x in biased)

    def _counted(self, logprob: float) -> float:
        return math.fsum(tally.loglikelihood(logprob) for tally in self.tallies)


def _crossing(rising: Callable[[float], float], low: float, high: float, level: float) -> float:
    """Where a rising function reaches a level, by halving from 1e3 nats below ``high`` at most."""
    low = max(low, high - 1e3)
    for _ in range(60):
        middle = (low + high) / 2
        if rising(middle) < level:
            low = middle
        else:
            high = middle
    return (low + high) / 2


UNKNOWN = Bounded(-math.inf, 0.0)
"""A probability that was not observed: a refused query, a failed fine-tune. Never 0."""


def logsumexp(values: Iterable[float]) -> float:
    """Log of the sum of exponentials; -inf for nothing.

    >>> round(math.exp(logsumexp([math.log(0.2), math.log(0.3)])), 12)
    0.5
    """
    terms = list(values)
    top = max(terms, default=-math.inf)
    if top == -math.inf:
        return -math.inf
    return top + math.log(math.fsum(math.exp(term - top) for term in terms))


def both(one: Evidence, other: Evidence) -> Evidence:
    """What two independent looks at the same probability say together: supports meet,
    log-likelihoods add up. Counts of different things (with different factors) don't: those
    that tell most are kept.

    Raises ValueError where they contradict each other.

    >>> both(Bounded(-3, -1), Bounded(-2, 0)).support
    (-2, -1)
    """
    low = max(one.support[0], other.support[0])
    high = min(one.support[1], other.support[1])
    if low > high:
        raise ValueError(f"{one} and {other} contradict each other")
    if low == high:
        return Exact(low)
    counted = [part for part in (one, other) if isinstance(part, Sampled) and part.tallies]
    if not counted:
        return Bounded(low, high)
    if len({part.factor for part in counted}) > 1:
        counted = [max(counted, key=_informative)]
    tallies = [tally for part in counted for tally in part.tallies]
    return Sampled(tallies, low, high, max(p.error for p in counted), counted[0].factor)


def _informative(counts: Sampled) -> tuple[float, ...]:
    """Orders counts by how much they tell; equal ones in a way that is always the same."""
    draws = sum(tally.draws for tally in counts.tallies)
    hits = sum(tally.hits for tally in counts.tallies)
    return min(hits, draws - hits), draws, counts.factor[0], counts.factor[1], counts.error


def combine(spellings: Iterable[Evidence]) -> Evidence:
    """Evidence of an answer from evidence of its spellings, none of which begins another.

    Their probabilities add up; bounds add up end by end, and never past probability 1. Of counts
    only the support is used: count the draws that gave any of the spellings instead.
    """
    supports = [one.support for one in spellings]
    low = min(0.0, logsumexp(support[0] for support in supports))
    high = min(0.0, logsumexp(support[1] for support in supports))
    return Exact(low) if low == high else Bounded(low, high)

"""Evidence: what the observations say of one probability.

All arithmetic is in log space (natural logarithms, nats). Each kind knows its *support*, the
interval that the probability is known to lie in, and its log-likelihood. Identification bounds
are kept apart from sampling error: they are never widened into each other here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

import attrs

__all__ = ["UNKNOWN", "Bounded", "Evidence", "Exact", "combine", "logsumexp"]

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


def combine(spellings: Iterable[Evidence]) -> Evidence:
    """Evidence of an answer from evidence of its spellings, none of which begins another.

    Their probabilities add up; bounds add up end by end, and never past probability 1.
    """
    supports = [one.support for one in spellings]
    low = min(0.0, logsumexp(support[0] for support in supports))
    high = min(0.0, logsumexp(support[1] for support in supports))
    return Exact(low) if low == high else Bounded(low, high)

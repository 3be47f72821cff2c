"""Which method measures one answer best for its price. Pure arithmetic; nothing is asked here.

A forecast says how wide the 95 % interval of log P will be, by the delta method:

- n plain draws: the variance of log P is (1 - P) / (n P), a binomial share's over its square.
- n draws under a bias that makes a share f of them hits: the variance of logit P is
  1 / (n f (1 - f)), the inverse of Fisher's information of a binomial's logit, whatever P is. The
  bias is a whole number of nats, so that f lies between 0.38 and 0.62. The error of the bias itself
  is added by the root of the sum of squares.

Of P there are only the bounds that a list gives, so each forecast is for the least probability
within them: an interval as narrow as that is had wherever P lies. Prices are in tokens, a token of
a response counted as the four of a prompt that it costs by the usual price lists.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import attrs

from condrule.evidence import UNKNOWN, Evidence, Sampled
from condrule.scorers.tilting import BATCH, Z

__all__ = [
    "FEW",
    "Forecast",
    "Method",
    "Support",
    "choose",
    "is_open",
    "plain",
    "plain_half_width",
    "tells",
    "tilted",
]

Method = Literal["exact", "top_logprobs", "tilted", "sampling"]

FEW = 5  # hits below which a count tells little: its interval is a nat wide or more on either side
ERROR = 0.04  # nats: the standard error of a bias by an ordinary calibration
LEAST = 0.235  # f (1 - f) where a whole number of nats is farthest from making f a half
LOOKED = 112  # draws by which the right bias is found: 3 times 16, and 64
OUTPUT = 4  # tokens of a prompt that one of a response costs as much as

Support = tuple[float, float]
"""The lowest and highest that a log-probability can be, in nats."""


@attrs.frozen
class Forecast:
    """What a method will tell of one answer, and for how much."""

    method: Method
    half_width: float
    """Of the 95 % interval of log P, in nats, at the least probability that there may be."""
    tokens: float


def plain(support: Support, draws: int, *, prompt: float, response: float) -> Forecast:
    """Of draws of whole responses.

    Args:
        support: what is known of the answer.
        draws: how many are made.
        prompt: tokens of the prompt, which each request for 128 responses has once.
        response: tokens of a response.
    """
    price = math.ceil(draws / BATCH) * prompt + OUTPUT * draws * response
    return Forecast("sampling", plain_half_width(support[0], draws), price)


def plain_half_width(logprob: float, draws: int) -> float:
    """That of so many draws without a bias, for this log-probability.

    >>> round(plain_half_width(math.log(0.2), 256), 2), plain_half_width(-math.inf, 256)
    (0.24, inf)
    """
    if logprob == -math.inf:
        return math.inf
    return Z * math.sqrt(-math.expm1(logprob) * math.exp(-logprob) / draws)


def tilted(draws: int, target: float, *, prompt: float) -> Forecast:
    """Of draws of one token under a calibrated bias, which end where the target is reached.

    >>> found = tilted(512, 0.25, prompt=100)
    >>> round(found.half_width, 2)
    0.25
    >>> round(tilted(512, 0.01, prompt=100).half_width, 2)
    0.2
    """
    room = target**2 - (Z * ERROR) ** 2
    needed = math.ceil(Z**2 / LEAST / room) if room > 0 else draws
    made = min(draws, max(needed, LOOKED))
    width = Z * math.hypot((LEAST * made) ** -0.5, ERROR)
    requests = 4 + math.ceil(max(0, made - LOOKED) / BATCH)
    return Forecast("tilted", width, requests * prompt + OUTPUT * made)


def choose(forecasts: Iterable[Forecast], target: float) -> Forecast:
    """The cheapest of those that reach the target; the narrowest where none does.

    >>> near, far = Forecast("tilted", 0.2, 1000.0), Forecast("sampling", 0.25, 900.0)
    >>> choose([near, far], 0.25).method, choose([near, far], 0.1).method
    ('sampling', 'tilted')
    """
    ranked = sorted(forecasts, key=lambda one: (one.half_width, one.tokens))
    enough = [one for one in ranked if one.half_width <= target * (1 + 1e-9)]
    return min(enough, key=lambda one: one.tokens) if enough else ranked[0]


def is_open(found: Evidence, target: float) -> bool:
    """Whether bounds leave a probability open by more than the target on either side. Counts are no
    bounds: more of the same draws are their own method's affair."""
    low, high = found.support
    return not isinstance(found, Sampled) and high - low > 2 * target


def tells(support: Support, draws: int) -> bool:
    """Whether so many plain draws may tell more than bounds do: a few hits at least are to be
    expected if the probability is the largest that it can be, and then the interval is narrower.
    Where nothing is known at all, anything tells more.

    >>> tells((-math.inf, math.log(0.05)), 256), tells((-math.inf, math.log(0.001)), 256)
    (True, False)
    """
    low, high = support
    if support == UNKNOWN.support:
        return True
    enough = draws * math.exp(high) >= FEW
    return enough and plain_half_width(high, draws) < (high - low) / 2

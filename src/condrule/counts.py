"""What counted draws say of one probability each, for whole arrays at once.

``hits``, ``draws`` and ``bias`` have one more axis than the probabilities, the last: draws under
different biases. A bias b (nats, added to the answer's logit) makes a hit come with probability
f = P e^b / (1 - P + P e^b), so that logit P = logit f - b. Where all draws of a probability were
made under one bias, its interval is that of Clopper and Pearson for f, shifted; where they were
made under several, it is the likelihood ratio's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["clopper_pearson", "likeliest", "limits", "unbiased"]

Floats = NDArray[np.float64]

_STEPS = 80  # at most, in a search: halving 1,400 nats so often leaves 1e-21 nats
_EXACT = 1e-13  # a step that is so small a part of a logit ends the search for it
_FAR = 700.0  # nats: no probability that a float can hold has a larger logit


def clopper_pearson(hits: Floats, draws: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """The binomial interval of Clopper and Pearson (1934): probabilities, from 0 to 1. It covers at
    least its level. Without draws it is 0 to 1.

    >>> low, high = clopper_pearson(np.array(0.0), np.array(36_887.0))
    >>> float(low), round(float(high), 8)
    (0.0, 0.0001)
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = betaincinv(hits, draws - hits + 1, tail)
    high = betaincinv(hits + 1, draws - hits, 1 - tail)
    return np.where(hits > 0, low, 0.0), np.where(hits < draws, high, 1.0)


def likeliest(hits: Floats, draws: Floats, bias: Floats) -> Floats:
    """Log of the maximum-likelihood probability, in nats; NaN where nothing was drawn."""
    total, misses = hits.sum(-1), (draws - hits).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = _unshifted(np.log(total) - np.log(misses), _one_bias(draws, bias))
    several = _several(draws) & (total > 0) & (misses > 0)
    if several.any():
        found[several] = _logprob(_peak(hits[several], draws[several], bias[several]))
    return found


def unbiased(hits: Floats, draws: Floats, bias: Floats) -> Floats:
    """Log of an estimate of each probability whose errors cancel in a mean, in nats.

    With draws under one bias, hits / (misses + 1) is the odds of f but for a term of f^draws, where
    the likeliest value exceeds them by about 1/misses: too much for a mean over many items. With
    draws under several biases, it is the likeliest value.
    """
    total, misses = hits.sum(-1), (draws - hits).sum(-1)
    with np.errstate(divide="ignore"):
        found = _unshifted(np.log(total) - np.log(misses + 1), _one_bias(draws, bias))
    return np.where(_several(draws), likeliest(hits, draws, bias), found)


def limits(hits: Floats, draws: Floats, bias: Floats, level: float) -> tuple[Floats, Floats]:
    """Ends of each log-probability's interval, in nats; -inf and 0 where nothing was drawn."""
    shift = _one_bias(draws, bias)
    with np.errstate(divide="ignore"):
        low, high = (
            _unshifted(np.log(end) - np.log1p(-end), shift)
            for end in clopper_pearson(hits.sum(-1), draws.sum(-1), level)
        )
    several = _several(draws)
    if several.any():
        found = _likelihood_ratio(hits[several], draws[several], bias[several], level)
        low[several], high[several] = found
    return low, high


def _several(draws: Floats) -> Any:
    """Whether draws were made under more than one bias."""
    return (draws > 0).sum(-1) > 1


def _one_bias(draws: Floats, bias: Floats) -> Floats:
    return np.asarray(np.where(draws > 0, bias, 0.0).sum(-1))


def _unshifted(logit: Floats, shift: Floats) -> Floats:
    """log P from logit f, where logit P is logit f less the bias."""
    return _logprob(logit - shift)


def _logprob(logit: Floats) -> Floats:
    return np.asarray(-np.logaddexp(0.0, -logit))


def _likelihood_ratio(
    hits: Floats, draws: Floats, bias: Floats, level: float
) -> tuple[Floats, Floats]:
    """Where twice the log-likelihood falls short of its maximum by a chi-squared quantile.

    In logit P the log-likelihood is concave, so there is one such place on either side, or none.
    """
    from scipy.special import chdtri

    peak = _peak(hits, draws, bias)
    least = _loglikelihood(peak, hits, draws, bias) - chdtri(1, 1 - level) / 2

    def over(logit: Floats) -> tuple[Floats, Floats]:
        excess = _loglikelihood(logit, hits, draws, bias) - least
        return excess, _score(logit, hits, draws, bias)[0]

    def under(logit: Floats) -> tuple[Floats, Floats]:
        excess, slope = over(logit)
        return -excess, -slope

    # Where a normal likelihood has the ends; at most 20 nats away where there is hardly any.
    width = 2 / np.sqrt(np.maximum(-_score(peak, hits, draws, bias)[1], 0.01))
    far = np.full_like(peak, _FAR)
    below, above = _root(under, peak - width, -far, peak), _root(over, peak + width, peak, far)
    none, all_ = hits.sum(-1) == 0, (draws - hits).sum(-1) == 0
    return np.where(none, -np.inf, _logprob(below)), np.where(all_, 0.0, _logprob(above))


def _loglikelihood(logit: Floats, hits: Floats, draws: Floats, bias: Floats) -> Floats:
    biased = logit[..., None] + bias
    losses = hits * np.logaddexp(0, -biased) + (draws - hits) * np.logaddexp(0, biased)
    return np.asarray(-losses.sum(-1))


def _score(logit: Floats, hits: Floats, draws: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """By how many there are more hits than expected, the log-likelihood's slope; and its own."""
    from scipy.special import expit

    expected = expit(logit[..., None] + bias)
    slope = -(draws * expected * (1 - expected)).sum(-1)
    return np.asarray((hits - draws * expected).sum(-1)), np.asarray(slope)


def _peak(hits: Floats, draws: Floats, bias: Floats) -> Floats:
    """The logit of P at which as many hits are expected as there were."""
    total, misses = hits.sum(-1), (draws - hits).sum(-1)
    with np.errstate(divide="ignore"):
        pooled = np.log(total) - np.log(misses)
    # What it were if all draws had the largest bias, and the smallest.
    low = np.clip(pooled - np.where(draws > 0, bias, -np.inf).max(-1), -_FAR, _FAR)
    high = np.clip(pooled - np.where(draws > 0, bias, np.inf).min(-1), -_FAR, _FAR)
    return _root(lambda x: _score(x, hits, draws, bias), (low + high) / 2, low, high)


def _root(
    falling: Callable[[Floats], tuple[Floats, Floats]], start: Floats, low: Floats, high: Floats
) -> Floats:
    """Where functions of the logits, told with their slopes, change from positive to negative: by
    Newton's method, or halving where that leads out of what is known to hold the place."""
    x = np.clip(start, low, high)
    for _ in range(_STEPS):
        value, slope = falling(x)
        low, high = np.where(value > 0, x, low), np.where(value > 0, high, x)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            following = x - value / slope
        within = (low <= following) & (following <= high)
        following = np.where(within, following, (low + high) / 2)
        done = np.abs(following - x) <= _EXACT * np.maximum(1.0, np.abs(x))
        x = following
        if done.all():
            break
    return x

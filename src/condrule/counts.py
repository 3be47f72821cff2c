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

_STEPS = 80  # bisections of an interval of 1,400 nats: its middle is known to 1e-21
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

    def loglikelihood(logit: Floats) -> Floats:
        biased = logit[..., None] + bias
        hit, miss = -np.logaddexp(0, -biased), -np.logaddexp(0, biased)
        return np.asarray((hits * hit + (draws - hits) * miss).sum(-1))

    peak = _peak(hits, draws, bias)
    line = loglikelihood(peak) - chdtri(1, 1 - level) / 2
    below = _bisect(lambda x: line - loglikelihood(np.minimum(x, peak)), peak)
    above = _bisect(lambda x: loglikelihood(np.maximum(x, peak)) - line, peak)
    none, all_ = hits.sum(-1) == 0, (draws - hits).sum(-1) == 0
    return np.where(none, -np.inf, _logprob(below)), np.where(all_, 0.0, _logprob(above))


def _peak(hits: Floats, draws: Floats, bias: Floats) -> Floats:
    """The logit of P at which as many hits are expected as there were."""
    from scipy.special import expit

    return _bisect(lambda x: (hits - draws * expit(x[..., None] + bias)).sum(-1), hits[..., 0])


def _bisect(falling: Callable[[Floats], Floats], like: Floats) -> Floats:
    """Where functions of the logits change from positive to negative."""
    low, high = np.full(like.shape, -_FAR), np.full(like.shape, _FAR)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        positive = falling(middle) > 0
        low, high = np.where(positive, middle, low), np.where(positive, high, middle)
    return np.asarray((low + high) / 2)

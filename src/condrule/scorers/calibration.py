"""Whether a model's bias does what it should: measured before draws under one are believed."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Self

import attrs
import numpy as np
from numpy.typing import NDArray

from condrule.scorers.base import Check, CheckPoint
from condrule.scorers.tilting import Count, information, likeliest_logit

__all__ = ["APART", "Calibration", "Measurement", "Pair", "calibrate"]

APART = 3  # nats between the two biases of a comparison
BAND = 2.935  # standard errors: three tests that hold together in 99 % of cases (Bonferroni)
Z = 1.959963984540054
_ENDS = (-20.0, 20.0)  # log odds among which slopes are looked for


@attrs.frozen
class Pair:
    """Draws of the same tokens under a bias b and under b - 3 nats."""

    upper: Count
    lower: Count
    logit: float | None = None
    """That of the tokens' probability, where it is listed."""

    @property
    def tells(self) -> bool:
        """Whether its hits could be split over the biases in more than one way."""
        hits = self.upper.hits + self.lower.hits
        return 0 < hits < self.upper.draws + self.lower.draws


@attrs.frozen
class Measurement:
    """A number that should have a certain value, and how it was measured."""

    value: float
    low: float
    """The interval that holds what it should be where the measurement passes."""
    high: float
    z: float
    """How far off it is: normal, with a standard deviation of 1, where it is what it should be."""
    error: float
    """Its standard error if it is what it should be."""

    @property
    def passed(self) -> bool:
        """Whether it may be what it should be."""
        return abs(self.z) <= BAND

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@attrs.frozen
class Calibration:
    """What draws under a bias say of the bias itself, for one model."""

    offset: Measurement | None
    """How much more than b the logit of tokens of listed probability rose, in nats; should be 0."""
    slope: Measurement | None
    """By how much their logit rose for each nat of bias, from b - 3 to b; should be 1. None where
    there were no hits, or nothing but hits."""
    used: Measurement | None
    """The same of the answers' own tokens, at the biases really used."""
    bias: float = 0.0
    """The mean bias of the tokens of listed probability, in nats."""
    draws: int = 0
    listed: tuple[Pair, ...] = ()
    """What was drawn of the tokens of listed probability."""
    own: tuple[Pair, ...] = ()
    """What was drawn of the answers' own tokens, at the biases that they need."""
    doubted: int = 0
    """How many answers' readings listed, for a response's first token, other probabilities than are
    listed without a bias: the provider lists what its bias makes of them. They are not used."""

    @property
    def passed(self) -> bool:
        """Whether draws under a bias are believed: all is within a 99 % band."""
        tests = (self.offset, self.slope, *([self.used] if self.used else []))
        return all(test is not None and test.passed for test in tests)

    @property
    def sentence(self) -> str:
        """What was found, with the figures."""
        if self.offset is None:
            return (
                "The bias could not be calibrated: no list showed a token whose id is known and "
                "that is improbable enough (below 0.08). Draws under a bias are not used."
            )
        used = f"; for the answers' own tokens {self.used} (should be 1)" if self.used else ""
        word = "is" if self.passed else "is not"
        doubted = (
            f" Lists that came with draws under a bias showed its effect for {self.doubted} "
            "answers, though they should not: what follows a first token is not known of these."
        )
        return (
            f"A bias of {self.bias:.1f} nats on tokens of listed probability raised their logit by "
            f"{self.offset} more (should be 0), and each nat of it by {self.slope or '?'} "
            f"(should be 1){used}, by {self.draws} draws; the intervals are 99 % together. "
            f"The bias {word} what it should be: draws under it are "
            f"{'' if self.passed else 'not '}used."
            f"{doubted if self.doubted else ''}"
        )

    @property
    def check(self) -> Check:
        """The same for a report and its plot."""
        band = BAND * self.offset.error if self.offset else 0.0
        return Check(self.passed, self.sentence, tuple(self._points()), band)

    def _points(self) -> Iterator[CheckPoint]:
        """Of listed tokens under b and b - 3, whose logit is known; then of the answers' own, whose
        logit under b - 3 follows from that under b."""
        for which, name in (("upper", "b"), ("lower", f"b - {APART}")):
            for pair in self.listed:
                count = _known(pair, which)
                yield CheckPoint(f"listed, under {name}", count.bias, count.hits, count.draws)
        for one in self.own:
            hits, misses = one.upper.hits, one.upper.draws - one.upper.hits
            expected = math.log((hits + 0.5) / (misses + 0.5)) - APART
            name = f"answers' own, under b - {APART}"
            yield CheckPoint(name, expected, one.lower.hits, one.lower.draws)

    def error(self, bias: float) -> float:
        """The standard error of a bias of so many nats, in proportion where the bias is larger than
        those that were calibrated. The offset is not corrected for, and moves all draws the same
        way: so its 95 % interval is to lie within that of the error, with both of its ends."""
        if self.offset is None:
            return math.inf
        one = abs(self.offset.value) / Z + self.offset.error
        return one * max(1.0, abs(bias) / self.bias)


def calibrate(listed: Sequence[Pair], used: Sequence[Pair], band: float) -> Calibration:
    """The calibration by tokens of listed probability, and by the answers' own.

    Args:
        listed: pairs whose logit is known.
        used: pairs at the biases that answers really need.
        band: nats by which a listed probability may be off.
    """
    own = _slope(tuple(used)) if used else None
    draws = sum(pair.upper.draws + pair.lower.draws for pair in (*listed, *used))
    if not listed:
        return Calibration(None, None, own, draws=draws, own=tuple(used))
    printing = band / 2 / math.sqrt(len(listed))
    offset = _shift([_known(pair, "upper") for pair in listed], printing)
    slope = _slope(tuple(listed))
    mean = math.fsum(pair.upper.bias for pair in listed) / len(listed)
    return Calibration(offset, slope, own, mean, draws, tuple(listed), tuple(used))


def _known(pair: Pair, which: str) -> Count:
    """A count with the logit that its hits should have in place of its bias."""
    count: Count = getattr(pair, which)
    return attrs.evolve(count, bias=count.bias + (pair.logit or 0.0))


def _shift(counts: Sequence[Count], printing: float) -> Measurement:
    """How much larger the logits are than they should be."""
    value = likeliest_logit(counts)
    if value is None:
        value = -math.inf if not any(count.hits for count in counts) else math.inf
    exact = max(information(counts, 0.0), 1e-9)
    error = math.hypot(exact**-0.5, printing)
    return Measurement(value, value - BAND * error, value + BAND * error, value / error, error)


@functools.lru_cache(maxsize=256)  # a study plans again and again with the same draws
def _slope(pairs: tuple[Pair, ...]) -> Measurement | None:
    """By how much the logit rises for each nat; None where no pair tells. In each pair the split of
    its hits over the two biases depends on the slope alone (Fisher's noncentral hypergeometric
    distribution), whatever P is. Few hits under b - 3 make the estimate skewed: so z is the signed
    root of the likelihood ratio, which is nearly normal all the same (Barndorff-Nielsen and Cox
    1994, section 3.2)."""
    from scipy.optimize import brentq

    telling = [pair for pair in pairs if pair.tells]
    if not telling:
        return None
    splits, should_be = _Splits.of(telling), float(APART)
    if splits.score(_ENDS[0]) <= 0:  # as where all hits are under one of the biases
        found = _ENDS[0]
    elif splits.score(_ENDS[1]) >= 0:
        found = _ENDS[1]
    else:
        found = float(brentq(splits.score, *_ENDS))
    most = splits.likelihood(found)

    def root(log_odds: float) -> float:
        ratio = 2 * (most - splits.likelihood(log_odds))
        return math.copysign(math.sqrt(max(0.0, ratio)), found - log_odds)

    def limit(end: float) -> float:
        if abs(root(end)) <= BAND:
            return math.copysign(math.inf, end)
        return float(brentq(lambda x: abs(root(x)) - BAND, found, end)) / APART

    value = math.copysign(math.inf, found) if found in _ENDS else found / APART
    error = 1 / math.sqrt(max(splits.information(should_be), 1e-9)) / APART
    return Measurement(value, limit(_ENDS[0]), limit(_ENDS[1]), root(should_be), error)


@attrs.frozen(eq=False)
class _Splits:
    """How the hits of each pair are split over its two biases, given those of both together."""

    seen: int
    """Hits under the upper biases."""
    hits: NDArray[np.float64]
    """Those that there can be, pair by pair, one pair's behind the other's."""
    ways: NDArray[np.float64]
    """The log of in how many ways there can be each."""
    starts: NDArray[np.intp]
    """Where each pair's begin."""

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Self:
        hits, ways = [], []
        for pair in pairs:
            total, n, m = pair.upper.hits + pair.lower.hits, pair.upper.draws, pair.lower.draws
            values = np.arange(max(0, total - m), min(n, total) + 1, dtype=np.float64)
            hits.append(values)
            ways.append(_log_choose(n, values) + _log_choose(m, total - values))
        starts = np.cumsum([0, *(len(one) for one in hits)])[:-1]
        seen = sum(pair.upper.hits for pair in pairs)
        return cls(seen, np.concatenate(hits), np.concatenate(ways), starts)

    def likelihood(self, log_odds: float) -> float:
        """The log-likelihood, but for a constant."""
        return self.seen * log_odds - float(self._weighed(log_odds)[1].sum())

    def score(self, log_odds: float) -> float:
        """By how much more hits there were under the upper biases than should be expected."""
        return self.seen - float(self._moment(self.hits, log_odds).sum())

    def information(self, log_odds: float) -> float:
        """The variance of these hits."""
        mean = self._moment(self.hits, log_odds)
        return float((self._moment(self.hits**2, log_odds) - mean**2).sum())

    def _moment(self, values: NDArray[np.float64], log_odds: float) -> NDArray[np.float64]:
        weights, logs = self._weighed(log_odds)
        sizes = np.diff([*self.starts, len(self.hits)])
        return np.add.reduceat(values * np.exp(weights - np.repeat(logs, sizes)), self.starts)

    def _weighed(self, log_odds: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The log of the weight of each, and of each pair's together."""
        weights = self.ways + self.hits * log_odds
        return weights, np.logaddexp.reduceat(weights, self.starts)


def _log_choose(n: int, k: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import gammaln

    found: NDArray[np.float64] = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return found

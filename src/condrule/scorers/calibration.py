"""Whether a model's bias does what it should: measured before draws under one are believed."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence

import attrs

from condrule.scorers.base import Check, CheckPoint
from condrule.scorers.tilting import Count, information, likeliest_logit

__all__ = ["APART", "Calibration", "Measurement", "Pair", "calibrate"]

APART = 3  # nats between the two biases of a comparison
BAND = 2.935  # standard errors: three tests that hold together in 99 % of cases (Bonferroni)
Z = 1.959963984540054


@attrs.frozen
class Pair:
    """Draws of the same tokens under a bias b and under b - 3 nats."""

    upper: Count
    lower: Count
    logit: float | None = None
    """That of the tokens' probability, where it is listed."""


@attrs.frozen
class Measurement:
    """A number that should have a certain value, and how it was measured."""

    value: float
    error: float
    """Its standard error if it has the value that it should have."""
    z: float
    """How many standard errors the measurement is off."""

    @property
    def passed(self) -> bool:
        """Whether it is within its band."""
        return abs(self.z) <= BAND

    def __str__(self) -> str:
        return f"{self.value:.2f} +- {BAND * self.error:.2f}"


@attrs.frozen
class Calibration:
    """What draws under a bias say of the bias itself, for one model."""

    offset: Measurement | None
    """How much more than b the logit of tokens of listed probability rose, in nats; should be 0."""
    slope: Measurement | None
    """By how much their logit rose for each nat of bias, from b - 3 to b; should be 1."""
    used: Measurement | None
    """The same of the answers' own tokens, at the biases really used; should be 1."""
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
        if self.offset is None or self.slope is None:
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
            f"{self.offset} more (should be 0), and each nat of it by {self.slope} (should be 1)"
            f"{used}, by {self.draws} draws; the bands are 99 % together. The bias {word} what it "
            f"should be: draws under it are {'' if self.passed else 'not '}used."
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
    own = _odds(tuple(used)) if used else None
    draws = sum(pair.upper.draws + pair.lower.draws for pair in (*listed, *used))
    if not listed:
        return Calibration(None, None, own, draws=draws, own=tuple(used))
    upper, lower = ([_known(pair, one) for pair in listed] for one in ("upper", "lower"))
    printing = band / 2 / math.sqrt(len(listed))
    offset = _shift(upper, printing)
    (high, exact), (low, other) = _estimate(upper), _estimate(lower)
    error = math.sqrt(1 / exact + 1 / other) / APART
    slope = 1 + (high - low) / APART if high > -math.inf else 0.0
    rise = Measurement(slope, error, (slope - 1) / error)
    mean = math.fsum(pair.upper.bias for pair in listed) / len(listed)
    return Calibration(offset, rise, own, mean, draws, tuple(listed), tuple(used))


def _known(pair: Pair, which: str) -> Count:
    """A count with the logit that its hits should have in place of its bias."""
    count: Count = getattr(pair, which)
    return attrs.evolve(count, bias=count.bias + (pair.logit or 0.0))


def _estimate(counts: Sequence[Count]) -> tuple[float, float]:
    """How much larger the logits are than they should be, and the information about it."""
    found = likeliest_logit(counts)
    if found is None:
        found = -math.inf if not any(count.hits for count in counts) else math.inf
    return found, max(information(counts, 0.0), 1e-9)


def _shift(counts: Sequence[Count], printing: float) -> Measurement:
    value, exact = _estimate(counts)
    error = math.hypot(exact**-0.5, printing)
    return Measurement(value, error, value / error)


@functools.lru_cache(maxsize=256)  # a study plans again and again with the same draws
def _odds(pairs: tuple[Pair, ...]) -> Measurement:
    """The slope at the biases used. In each pair the split of its hits over the two biases depends
    on the slope alone (Fisher's noncentral hypergeometric distribution), whatever P is."""
    seen = sum(pair.upper.hits for pair in pairs)
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        if math.fsum(_split(pair, middle)[0] for pair in pairs) < seen:
            low = middle
        else:
            high = middle
    means, variances = zip(*(_split(pair, float(APART)) for pair in pairs), strict=True)
    spread = math.sqrt(max(math.fsum(variances), 1e-9))
    z = (seen - math.fsum(means)) / spread
    return Measurement((low + high) / 2 / APART, 1 / spread / APART, z)


def _split(pair: Pair, log_odds: float) -> tuple[float, float]:
    """Mean and variance of the upper bias's hits, given those of both together."""
    total, n, m = pair.upper.hits + pair.lower.hits, pair.upper.draws, pair.lower.draws
    values = range(max(0, total - m), min(n, total) + 1)
    logs = [ways + a * log_odds for a, ways in zip(values, _ways(n, m, total), strict=True)]
    top = max(logs)
    weights = [math.exp(one - top) for one in logs]
    sum_ = math.fsum(weights)
    mean = math.fsum(a * w for a, w in zip(values, weights, strict=True)) / sum_
    square = math.fsum((a - mean) ** 2 * w for a, w in zip(values, weights, strict=True)) / sum_
    return mean, square


@functools.lru_cache(maxsize=1024)
def _ways(n: int, m: int, total: int) -> tuple[float, ...]:
    """The log of in how many ways so many hits split, for each split that there can be."""
    values = range(max(0, total - m), min(n, total) + 1)
    return tuple(_choose(n, a) + _choose(m, total - a) for a in values)


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

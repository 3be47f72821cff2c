"""How draws under a bias close in on one probability. Pure arithmetic; no query is made here.

An answer's first tokens A are all biased by the same whole number of nats b, so that a draw is one
of them with probability f = P e^b / (1 - P + P e^b), where P = P(A): logit f = logit P + b. Few
draws under widely different biases find one that makes f neither rare nor certain; many draws
under that one tell P to about 2 / sqrt(n) nats, however small P is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

__all__ = [
    "FIRST",
    "LOOK",
    "Count",
    "Rule",
    "find",
    "information",
    "likeliest_logit",
    "logit",
    "logprob",
    "most_looks",
    "refine",
]

LOOK = 16  # draws under each bias while the right one is looked for
FIRST = 64  # draws under the one that was found, before the model is calibrated
BATCH = 128  # then at once: the most that one request may ask of the usual APIs
STEP = 5  # nats between the first two biases; twice as many between the next two
Z = 1.959963984540054  # of a two-sided 95 % interval


@attrs.frozen
class Count:
    """Draws under one bias."""

    bias: float
    """Nats."""
    draws: int
    hits: int
    """Those whose token is one of A."""


@attrs.frozen
class Rule:
    """When enough was drawn."""

    largest: int = 30
    """The largest bias, in nats, either way."""
    draws: int = 512
    """The most draws for one answer to one prompt."""
    target: float = 0.25
    """The half-width of a 95 % interval that is small enough, in nats."""


def most_looks(largest: int) -> int:
    """Under how many biases `find` looks at most: the first; those that double the distance until
    it is all of the way from one end to the other; and those that halve it again."""
    wide = 2 * largest
    return 1 + math.ceil(math.log2(wide / STEP + 1)) + math.ceil(math.log2(wide))


def logit(logprob: float) -> float:
    """logit P of log P."""
    return logprob - math.log(-math.expm1(min(logprob, -1e-15)))


def logprob(value: float) -> float:
    """log P of logit P."""
    return -max(-value, 0.0) - math.log1p(math.exp(-abs(value)))


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def likeliest_logit(counts: Sequence[Count]) -> float | None:
    """The logit of P under which as many hits are expected as there were; None where all draws
    are hits, or none is."""
    hits = sum(count.hits for count in counts)
    if hits in (0, sum(count.draws for count in counts)):
        return None
    # From the draws that tell most; then by Newton's method, in steps that can't go astray.
    best = max(counts, key=lambda c: min(c.hits, c.draws - c.hits))
    x = math.log((best.hits + 0.5) / (best.draws - best.hits + 0.5)) - best.bias
    for _ in range(200):
        more = hits - sum(count.draws * _expit(x + count.bias) for count in counts)
        step = max(-2.0, min(2.0, more / max(information(counts, x), 1e-12)))
        x += step
        if abs(step) < 1e-9:
            break
    return x


def information(counts: Sequence[Count], x: float) -> float:
    """Fisher's, about a logit of this value: 1 over the variance of its estimate."""
    rates = ((count.draws, _expit(x + count.bias)) for count in counts)
    return math.fsum(draws * f * (1 - f) for draws, f in rates)


def find(counts: Sequence[Count], start: int, largest: int) -> int | None:
    """The bias that is tried next; None where the last one will do, or no other can be tried.

    Biases go up and down in steps of 5, 10, 20 ... nats until there is one on either side, and
    then halve the distance, until between a tenth and nine tenths of the draws are hits.
    """
    bias, low, high, step = start, -math.inf, math.inf, STEP
    for count in counts:
        if count.draws < 10 * count.hits < 9 * count.draws:
            return None
        if 10 * count.hits <= count.draws:
            low = count.bias
        else:
            high = count.bias
        if low > -math.inf and high < math.inf:
            bias = math.floor((low + high) / 2)
        else:
            bias = int(low) + step if high == math.inf else int(high) - step
            bias, step = max(-largest, min(largest, bias)), 2 * step
        if bias in (low, high):
            return None
    return bias


def refine(
    counts: Sequence[Count], rule: Rule, error: float = 0.0, kept: float = 1.0
) -> tuple[int, int] | None:
    """The bias and the number of the next draws; None where enough is known, or nothing can be.

    Args:
        counts: all draws so far.
        rule: what is enough.
        error: the standard error of the bias itself, in nats.
        kept: the share of the biased tokens' draws that count as hits; the others don't count. Most
            is learned where draws that are kept are sqrt(kept) times the misses.
    """
    x = likeliest_logit(counts)
    left = rule.draws - sum(count.draws for count in counts)
    if x is None or left < LOOK:
        return None
    if Z * math.hypot(information(counts, x) ** -0.5, error) <= rule.target:
        return None
    best = round(0.5 * math.log(kept) - x)
    return max(-rule.largest, min(rule.largest, best)), min(BATCH, left)

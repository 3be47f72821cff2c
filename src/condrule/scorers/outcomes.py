"""What draws of an answer's first tokens say, given what follows them. Pure.

Let A be the first tokens that a response giving the answer can have, P_t the probability of token t
and c_t that of going on into the answer after it. Then P(answer) = sum of P_t c_t. The c_t are read
(`condrule.scorers.reading`). The P_t are drawn with the same bias b on all of A. Of the draws of t
a share c_t / max c, picked at random, count as hits, and the rest do not count at all: so hits
among the draws that count come with odds e^b (sum of P_t c_t / max c) / (1 - P(A)), exactly. The
same way draws of another answer's tokens, biased at the same time, are left out.
"""

from __future__ import annotations

import functools
import math
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import attrs

from condrule.evidence import logsumexp
from condrule.scorers.aiming import Aim
from condrule.scorers.reading import Tree
from condrule.scorers.tilting import Count, Z, information, likeliest_logit, logprob

__all__ = ["Drawn", "Outcome", "Stage", "outcome", "together"]

NEAR = 0.5  # nats between bounds of c_t that are taken to be one number in the middle
NONE_SEEN = 3.7  # draws of what was never drawn: the upper end of Clopper and Pearson's interval


@attrs.frozen
class Drawn:
    """What one query drew."""

    query: str
    """Its id."""
    bias: float
    """Of the answer's tokens, in nats."""
    said: Mapping[str, int]
    """How often each token came."""

    @property
    def draws(self) -> int:
        """How many came in all."""
        return sum(self.said.values())

    def count(self, texts: Collection[str]) -> Count:
        """Draws of any of these tokens are hits."""
        return Count(self.bias, self.draws, sum(self.said.get(text, 0) for text in texts))


@attrs.frozen
class Stage:
    """Draws under biases on some of the answer's first tokens."""

    aim: Aim
    drawn: tuple[Drawn, ...] = ()
    seed: int = 0
    """Of its first query."""
    ready: bool = False
    """Whether the bias that these tokens need is known: the last that was drawn under."""
    only: frozenset[bytes] | None = None
    """The tokens whose probability it gives, where a later stage has the others; None: all."""

    @property
    def bias(self) -> int:
        """The last one, in nats."""
        return int(self.drawn[-1].bias)

    @property
    def counts(self) -> list[Count]:
        """All tokens that are biased are hits."""
        return [one.count(self.aim.tokens) for one in self.drawn]

    @property
    def hits(self) -> Counter[str]:
        """How often each of these tokens came."""
        found: Counter[str] = Counter()
        for one in self.drawn:
            found.update({t: n for t, n in one.said.items() if t in self.aim.tokens})
        return found

    @property
    def logprob(self) -> float:
        """Of all these tokens together, in nats."""
        x = likeliest_logit(self.counts)
        return -math.inf if x is None else logprob(x)


@attrs.frozen
class Outcome:
    """Counts of first tokens, and what makes their probability the answer's."""

    counts: tuple[Count, ...]
    low: float
    """Bounds of what is added to the log-probability of what was counted, in nats."""
    high: float
    error: float
    """The standard error of that, in nats."""
    kept: float
    """The share of the tokens' draws that count."""

    @property
    def counted(self) -> float:
        """The log-probability of what was counted."""
        x = likeliest_logit(self.counts)
        return -math.inf if x is None else logprob(x)

    @property
    def logprob(self) -> float:
        """The answer's, at most."""
        return self.counted + self.high

    @property
    def spread(self) -> float:
        """The standard error of the log-probability of what was counted, in nats."""
        x = likeliest_logit(self.counts)
        return math.inf if x is None else information(self.counts, x) ** -0.5


def outcome(
    stage: Stage,
    tree: Tree,
    others: Collection[str] = (),
    odds: float = 0.0,
    *,
    sought: bool = False,
) -> Outcome:
    """What a stage's draws say.

    Args:
        stage: the draws.
        tree: what follows each first token.
        others: tokens that were biased too, for another answer: draws of them don't count.
        odds: those of these others, to no answer at all.
        sought: whether beginnings that were not drawn are accounted for otherwise.
    """
    hits = stage.hits
    ends = {text: _limits(tree, stage, text) for text in hits}
    usual = {text: _middle(*pair) for text, pair in ends.items()}
    if not any(usual.values()):  # nothing is known from below
        usual = {text: high for text, (_, high) in ends.items()}
    top = max(usual.values(), default=0.0) or 1.0
    counts = tuple(_counted(one, stage.aim, usual, top, others) for one in stage.drawn)
    total, middle = hits.total(), math.fsum(hits[t] * usual[t] for t in hits)
    if middle == 0:  # none of them counts, which is no proof that no other would
        return Outcome(counts, -math.inf, 0.0, 0.0, 1.0)
    kept = middle / (top * total)
    out, missing = _left_out(counts, total, kept, odds)
    low, high = (
        _log(math.fsum(hits[t] * pair[end] for t, pair in ends.items()) / middle) for end in (0, 1)
    )
    scale = math.log(top) + out
    unseen = 0.0 if sought or not _unhit(stage) else math.log1p(NONE_SEEN / middle) / Z
    return Outcome(counts, scale + low, scale + high, math.hypot(missing, unseen), kept)


def _limits(tree: Tree, stage: Stage, text: str) -> tuple[float, float]:
    token = stage.aim.tokens[text]
    if stage.only is not None and token not in stage.only:
        return 0.0, 0.0
    return tree.limits((token,)) if token else (0.0, 1.0)


def _middle(low: float, high: float) -> float:
    """The number that bounds are taken for: the lower one where they are far apart."""
    near = low > 0 and math.log(high / low) <= NEAR
    return math.sqrt(low * high) if near else low


def _counted(
    drawn: Drawn, target: Aim, usual: Mapping[str, float], top: float, others: Collection[str]
) -> Count:
    """Draws that count."""
    ours = {text: n for text, n in drawn.said.items() if text in target.tokens}
    hits = sum(_picked(drawn.query, text, n, usual[text] / top) for text, n in ours.items())
    theirs = sum(n for text, n in drawn.said.items() if text in others and text not in ours)
    return Count(drawn.bias, drawn.draws - sum(ours.values()) + hits - theirs, hits)


@functools.lru_cache(maxsize=65536)
def _picked(query: str, text: str, n: int, share: float) -> int:
    """How many of n draws are picked where each is with this probability: always the same ones."""
    if share in (0.0, 1.0):
        return round(n * share)
    generator = random.Random(f"{query}/{text}")
    return sum(generator.random() < share for _ in range(n))


def _left_out(counts: Sequence[Count], hits: int, kept: float, odds: float) -> tuple[float, float]:
    """What is added for draws that don't count, and its standard error: their probability is none
    of the others'. It matters where they are not rare."""
    x = likeliest_logit(counts)
    if x is None:
        return 0.0, 0.0
    own = math.exp(x)
    out = own * (1 / kept - 1) + odds
    share = out / (1 + own + out)
    return math.log1p(-share), share / math.sqrt(max(1.0, hits * (1 - kept)))


def _unhit(stage: Stage) -> bool:
    """Whether there are tokens that were never drawn."""
    drawn = stage.hits
    return any(text not in drawn for text in stage.aim.tokens)


def together(
    main: Outcome, others: Sequence[Outcome], known: tuple[float, float] = (0.0, 0.0)
) -> Outcome:
    """The main stage's outcome, with all other beginnings of the answer in the factor.

    Args:
        main: its counts are kept.
        others: what other stages found; their errors count by their share.
        known: bounds of the probability that comes with listed tokens.
    """
    if not (others or known[1]):
        return main
    if main.counted == -math.inf:  # of no use to add the others to
        return Outcome((), 0.0, 0.0, 0.0, 1.0)
    every = (main, *others)
    low = logsumexp([*(one.counted + one.low for one in every), _log(known[0])])
    high = logsumexp([*(one.counted + one.high for one in every), _log(known[1])])
    shares = [math.exp(one.counted + one.high - high) for one in every]
    errors = [main.error, *(math.hypot(one.spread, one.error) for one in others)]
    error = math.hypot(*(s * e for s, e in zip(shares, errors, strict=True) if s > 0))
    return attrs.evolve(main, low=low - main.counted, high=high - main.counted, error=error)


def _log(p: float) -> float:
    return math.log(p) if p > 0 else -math.inf

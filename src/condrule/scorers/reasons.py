"""By which method an answer was measured, and why, in words. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

import attrs

from condrule.evidence import UNKNOWN, Evidence, Sampled
from condrule.scorers.base import Check, Choice
from condrule.scorers.choosing import Method, Support, is_open, tells

__all__ = ["Reasons", "bounded", "by_numbers", "described"]


def described(found: Evidence, method: str = "") -> Choice:
    """What evidence itself shows of how it came about: of scorers that say no more.

    Args:
        found: what is known of an answer.
        method: how bounds or a value were found; a general word where it is empty.
    """
    counts = [(one.hits, one.draws, one.bias) for one in getattr(found, "tallies", ())]
    return by_numbers(found.support, counts, method)


def by_numbers(
    support: Support, counts: Iterable[tuple[float, float, float]], method: str = ""
) -> Choice:
    """`described`, from plain numbers: hits, draws, and the bias they were drawn under.

    >>> by_numbers((-math.inf, 0.0), [(3, 64, 7.0), (160, 300, 8.0)])
    Choice(method='tilted', why='364 draws, most under a bias of 8 nats')
    >>> by_numbers((-math.inf, math.log(1e-5)), []).method
    'bounds'
    """
    drawn = [one for one in counts if one[1]]
    if drawn:
        return _counted(drawn)
    low, high = support
    if support == UNKNOWN.support:
        return Choice("none", "nothing that was answered bounds it")
    if low == high:
        return Choice(method or "exact", "the probability itself was given")
    return Choice(method or "bounds", bounded(support))


def _counted(counts: list[tuple[float, float, float]]) -> Choice:
    hits, draws = (int(sum(one[place] for one in counts)) for place in (0, 1))
    biased = [(n, bias) for _, n, bias in counts if bias]
    if not biased:
        return Choice("sampling", f"{hits} of {draws} draws gave it")
    return Choice("tilted", f"{draws} draws, most under a bias of {max(biased)[1]:g} nats")


def bounded(support: Support) -> str:
    """Bounds in words.

    >>> bounded((math.log(0.1), math.log(0.2))), bounded((-math.inf, math.log(1e-5)))
    ('within 0.35 nats', 'below 1e-05 only')
    """
    low, high = support
    if low == -math.inf:
        return f"below {math.exp(high):.2g} only"
    return f"within {(high - low) / 2:.2g} nats"


UNCALIBRATED = "could not be calibrated"  # no list showed a token to do it by


@attrs.frozen
class Reasons:
    """The choices of a scorer that has several methods, for one probe."""

    methods: Collection[Method]
    """Those that it may use."""
    target: float
    """The half-width that is small enough, in nats."""
    draws: int
    """How many plain draws it makes where it makes them."""
    tokens: bool
    """Whether the ids of the models' tokens are known."""
    tilted: bool
    """Whether draws under a bias were chosen for the probe."""
    check: Check | None
    """What the calibration of the bias found."""

    def choice(self, found: Mapping[Method, Evidence]) -> Choice:
        """Which method told most of an answer, by what each of them found."""
        listed = found["top_logprobs"]
        if found["exact"] != UNKNOWN:
            return described(found["exact"], "exact")
        if listed != UNKNOWN and not is_open(listed, self.target):
            return Choice("top_logprobs", f"listed, {bounded(listed.support)}")
        return self._drawn(found) or self._bounded(listed, found["tilted"])

    def _drawn(self, found: Mapping[Method, Evidence]) -> Choice | None:
        """Draws that are more than a by-product of another answer's."""
        said, tilted, plain = self._said(found["top_logprobs"]), found["tilted"], found["sampling"]
        if isinstance(tilted, Sampled):
            return Choice("tilted", f"{said}; {described(tilted).why}")
        known = tilted if tilted != UNKNOWN else found["top_logprobs"]
        if isinstance(plain, Sampled) and tells(known.support, self.draws):
            reason = self._no_bias(plain=True)
            return Choice("sampling", f"{said}; {reason}; {described(plain).why}")
        return None

    def _bounded(self, listed: Evidence, tilted: Evidence) -> Choice:
        """What lists say alone, those of later tokens among them that are read under a bias."""
        known, said = listed, self._said(listed)
        if tilted not in (UNKNOWN, listed):
            known, said = tilted, f"{said}; with lists of later tokens, {bounded(tilted.support)}"
        if known == UNKNOWN:
            return Choice("none", "nothing that was answered bounds it")
        if not is_open(known, self.target):
            return Choice("top_logprobs", said)
        reasons = (said, self._no_bias(plain=False), self._no_draws(known))
        return Choice("top_logprobs", "; ".join(reasons))

    def _said(self, listed: Evidence) -> str:
        if listed == UNKNOWN:
            return "no list bounds it"
        return f"the list bounds it {bounded(listed.support)}"

    def _no_bias(self, *, plain: bool) -> str:
        """Why draws under a bias don't tell the probability."""
        if "tilted" not in self.methods:
            return "no draws under a bias" if self.tokens else "no token ids known for a bias"
        if not self.tilted:
            return "plain draws tell it for less" if plain else "no bias was tried"
        if self.check is None:
            return "the bias is not calibrated yet"
        if not self.check.passed:
            return f"the bias {'failed its calibration' if self.check.points else UNCALIBRATED}"
        return "draws under a bias don't decide it"

    def _no_draws(self, known: Evidence) -> str:
        """Why there are no plain draws."""
        if "sampling" not in self.methods:
            return "no plain draws among the methods"
        hits = self.draws * math.exp(known.support[1])
        return f"{self.draws} plain draws would hit it {hits:.2g} times at most"

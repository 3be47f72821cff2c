"""Tilted sampling: probabilities far below the end of a list, from draws under a logit bias."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from condrule.arms import Probe, Prompt
from condrule.backends.base import Capabilities, Draws, Event, Query, Token
from condrule.encodings import ENCODINGS, find_vocabulary, is_vocabulary
from condrule.errors import ConfigError, Problem
from condrule.evidence import Bounded, Evidence, Sampled, Tally, both
from condrule.items import Item
from condrule.scorers.aiming import Aim, aim, draw
from condrule.scorers.base import ProbeEvidence, Scorer, Seen
from condrule.scorers.calibration import APART, Calibration, Pair, calibrate
from condrule.scorers.matching import is_number, own, spellings
from condrule.scorers.tilting import (
    BATCH,
    FIRST,
    LOOK,
    Count,
    Rule,
    Z,
    find,
    likeliest_logit,
    logit,
    logit_limits,
    logprob,
    refine,
    share_limit,
)
from condrule.scorers.top_logprobs import NAMED, TopLogprobsScorer

__all__ = ["TiltedScorer"]

LISTED, CHECKED = 8, 16  # how many listed tokens, and how many answers, calibrate a model
LISTED_DRAWS = (3 * BATCH, BATCH)  # of each listed token, under b and under b - 3
MOST = 300  # tokens that one request may bias
ENOUGH = 20  # hits, none of them a part of the answer, from which parts are taken to be rare
_CHECKS, _LISTS, _MORE = 1000, 2000, 3000  # seeds of draws with different purposes
SURE = 4.9  # standard errors: wrong once in a million


def _checked(scorer: TiltedScorer, attribute: attrs.Attribute[Any], value: Any) -> None:
    least = {"draws": LOOK + FIRST, "largest": APART, "k": 2}.get(attribute.name)
    if least is not None and (
        not isinstance(value, int) or isinstance(value, bool) or value < least
    ):
        raise _error(attribute.name, f"is {value!r}; it must be a whole number, {least} or more")
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    if attribute.name == "target" and not (plain and 0 < value < math.inf):
        raise _error("target", f"is {value!r}; it must be a number of nats above 0")
    if attribute.name == "encoding" and value and not is_vocabulary(value):
        raise _error("encoding", f"is {value!r}; it must be {' or '.join(ENCODINGS)}, or empty")


def _error(key: str, message: str) -> ConfigError:
    return ConfigError([Problem(key, message)], "scorer tilted")


@attrs.frozen
class _Chain:
    """One answer to one prompt, and what was drawn for it until the model is calibrated."""

    prompt: Prompt
    aim: Aim
    counts: tuple[Count, ...] = ()
    next: Draws | None = None
    ready: bool = False
    """Whether the bias that it needs is known."""

    @property
    def bias(self) -> int:
        """That bias."""
        return int(self.counts[-1].bias)

    @property
    def check(self) -> Draws:
        """The same under a smaller bias, for those chains that calibrate."""
        return draw(self.prompt, self.aim.ids, self.bias - APART, FIRST, _CHECKS)

    @property
    def exact(self) -> bool:
        """Whether a hit gives the answer, as far as the first draws tell."""
        hits = sum(count.hits for count in self.counts)
        missing = hits - sum(count.whole for count in self.counts)
        rare = not self.aim.parts or (missing == 0 and hits >= ENOUGH)
        return rare and not self.aim.ambiguous


@attrs.frozen
class _Listed:
    """A token of known probability, that calibrates."""

    prompt: Prompt
    token: bytes
    id: int
    logprob: float

    @property
    def bias(self) -> int:
        """Under which about half of the draws are hits."""
        return -round(logit(self.logprob))

    @property
    def queries(self) -> tuple[list[Draws], list[Draws]]:
        """Draws under b, and under b - 3."""
        upper, lower = (
            [
                draw(self.prompt, [self.id], bias, BATCH, _LISTS + number)
                for number in range(n // BATCH)
            ]
            for bias, n in zip((self.bias, self.bias - APART), LISTED_DRAWS, strict=True)
        )
        return upper, lower

    @property
    def all(self) -> list[Draws]:
        """Both."""
        upper, lower = self.queries
        return [*upper, *lower]


@attrs.frozen
class TiltedScorer(Scorer):
    """Draws first tokens under a bias that makes about half of them the answer, and works back from
    their share to the probability without a bias: however small it is, it costs some hundred draws.

    The bias is calibrated on each model before any of this is used (see ``calibration``). Lists of
    top logprobs are asked for too: where they say enough nothing is drawn, and of the other items'
    answers they give all that is known. An answer that the first token does not decide has bounds
    only. Raises ConfigError where a value is out of range.
    """

    event: Event = "begins"
    draws: int = attrs.field(
        default=512, validator=_checked, metadata={"keywords": {"minimum": LOOK + FIRST}}
    )
    """The most draws for one answer to one prompt."""
    target: float = attrs.field(
        default=0.25, validator=_checked, metadata={"keywords": {"exclusiveMinimum": 0}}
    )
    """Drawing ends where the half-width of the 95 % interval is this small, in nats."""
    largest: int = attrs.field(
        default=30, validator=_checked, metadata={"keywords": {"minimum": APART}}
    )
    """The largest bias, in nats: it makes a probability of 1e-13 visible."""
    k: int = attrs.field(default=20, validator=_checked, metadata={"keywords": {"minimum": 2}})
    """How many top logprobs are asked for."""
    canonical: bool = False
    """Take it that a model begins an answer with the token that its encoding splits it into, or a
    longer one, and with no other part of it ("Par" and "is" for Paris)."""
    encoding: str = attrs.field(default="", validator=_checked, metadata=NAMED)
    """The name of the models' encoding; empty: not known. That which a backend reports is used."""

    def plan(self, probes: Sequence[Probe], seen: Seen) -> list[Query]:
        if asked := self._lists.plan(probes, seen):
            return asked
        chains = self._chains(probes, seen)
        first: list[Query] = [one.next for one in chains.values() if one.next]
        listed = [query for one in self._listed(probes, seen) for query in one.all]
        if asked := _unseen([*first, *listed], seen):
            return asked
        if asked := _unseen([one.check for one in _chosen(chains.values())], seen):
            return asked
        calibration = self.calibration(probes, seen)
        if calibration is None or not calibration.passed:
            return []
        ready = (one for one in chains.values() if one.ready)
        return _unseen([q for one in ready if (q := self._more(one, calibration, seen)[1])], seen)

    def infer(self, probes: Sequence[Probe], seen: Seen) -> dict[str, ProbeEvidence]:
        known = self._lists.infer(probes, seen)
        calibration = self.calibration(probes, seen)
        if calibration is None or not calibration.passed:
            return known
        for (id, mode), chain in self._chains(probes, seen).items():
            found = self._evidence(chain, calibration, seen) if chain.ready else {}
            answers = dict(known[id].answers)
            for event, one in found.items():
                answers[mode, event] = _together(answers[mode, event], one)
            known[id] = attrs.evolve(known[id], answers=answers)
        return known

    def calibration(self, probes: Sequence[Probe], seen: Seen) -> Calibration | None:
        """What the model's bias was found to do, with a sentence that holds the figures; None
        where not all that it needs was answered yet."""
        if self._lists.plan(probes, seen):
            return None
        chains, listed = self._chains(probes, seen).values(), self._listed(probes, seen)
        needed = [query for one in listed for query in one.all]
        needed += [one.check for one in _chosen(chains)]
        if any(one.next for one in chains) or _unseen(needed, seen):
            return None
        used = [(one.counts[-1], _counted(one.aim, [one.check], seen)) for one in _chosen(chains)]
        return calibrate(
            [pair for one in listed if (pair := _pair(one, seen))],
            [Pair(upper, lower) for upper, lower in used if lower.draws],
            self._lists.band,
        )

    def fitted(self, capabilities: Capabilities) -> Scorer:
        k = max(2, min(self.k, capabilities.top_logprobs or self.k))
        largest = max(APART, min(self.largest, int(capabilities.bias or self.largest)))
        reported = capabilities.encoding if is_vocabulary(capabilities.encoding) else ""
        return attrs.evolve(self, k=k, largest=largest, encoding=reported or self.encoding)

    def limits(self, capabilities: Capabilities) -> tuple[str, ...]:
        known = is_vocabulary(capabilities.encoding) or self.encoding
        lacks = {
            "a model that can be asked to respond": not capabilities.draws,
            f"a logit bias of up to {APART} nats or more": capabilities.bias < APART,
            "lists of two or more top logprobs, to calibrate the bias": capabilities.top_logprobs
            < 2,
            "the models' encoding, for the ids of tokens (its 'encoding' states it)": not known,
        }
        return tuple(
            f"scorer 'tilted' needs {what}; this backend's models offer none"
            for what, missing in lacks.items()
            if missing
        )

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        usual = (
            "It was taken that models begin an answer with the token that their encoding splits it "
            "into, never with another part of it (canonical: true).",
        )
        return self._lists.notes(items) + (usual if self.canonical else ())

    @property
    def _lists(self) -> TopLogprobsScorer:
        encoding = self.encoding if self.encoding in ENCODINGS else ""
        return TopLogprobsScorer(self.event, self.k, encoding=encoding)

    @property
    def _rule(self) -> Rule:
        return Rule(self.largest, self.draws, self.target)

    def _chains(self, probes: Sequence[Probe], seen: Seen) -> dict[tuple[str, str], _Chain]:
        """By probe and mode: the answers that lists leave open."""
        found: dict[tuple[str, str], _Chain] = {}
        known = self._lists.infer([attrs.evolve(probe, contrasts=()) for probe in probes], seen)
        vocabulary = find_vocabulary(self.encoding)
        endless = vocabulary is not None and vocabulary.endless
        for probe in probes:
            if self._lists.plan([probe], seen):
                continue
            others = frozenset(spellings(probe) if endless else ())
            for mode, spelled in own(probe).items():
                low, high = known[probe.id].answers[mode, "begins"].support
                target = aim(spelled, self.encoding, others, self.canonical)
                if high - low > 2 * self.target and 0 < len(target.ids) <= MOST:
                    likely = low if low > -math.inf else high
                    start = -round(logit((likely + high) / 2)) if high < 0 else 0
                    chain = _Chain(probe.prompt, target)
                    found[probe.id, mode] = self._pilot(chain, start, seen)
        return found

    def _pilot(self, chain: _Chain, start: int, seen: Seen) -> _Chain:
        """The chain as far as it was asked, up to the first draws under the bias it needs."""
        counts: list[Count] = []
        start = max(-self.largest, min(self.largest, start))
        while True:
            bias, n = find(counts, start, self.largest), LOOK
            if bias is None:
                x, n = likeliest_logit(counts), FIRST
                if x is None:  # never, or always: a truncated tail would look so
                    return attrs.evolve(chain, counts=tuple(counts))
                bias = max(-self.largest, min(self.largest, -round(x)))
            query = draw(chain.prompt, chain.aim.ids, bias, n, len(counts))
            if query.id not in seen:
                return attrs.evolve(chain, counts=tuple(counts), next=query)
            if (texts := seen[query.id].texts) is None:
                return attrs.evolve(chain, counts=tuple(counts))
            counts.append(chain.aim.counted(texts, bias))
            if n == FIRST:
                ready = likeliest_logit(counts) is not None
                return attrs.evolve(chain, counts=tuple(counts), ready=ready)

    def _more(
        self, chain: _Chain, calibration: Calibration, seen: Seen
    ) -> tuple[list[Count], Draws | None]:
        """All that was drawn for a chain, and what is drawn next."""
        checked = _counted(chain.aim, [chain.check], seen)
        counts = [*chain.counts, *([checked] if checked.draws else [])]
        error = calibration.error(chain.bias)
        while step := refine(counts, self._rule, error):
            query = draw(chain.prompt, chain.aim.ids, *step, _MORE + len(counts))
            if query.id not in seen:
                return counts, query
            if (texts := seen[query.id].texts) is None:
                break
            counts.append(chain.aim.counted(texts, step[0]))
        return counts, None

    def _evidence(
        self, chain: _Chain, calibration: Calibration, seen: Seen
    ) -> dict[Event, Evidence]:
        """A hit that is the whole answer decides *begins*. One that is a part of it does not: then
        there are bounds, as there are of *equals*."""
        counts, _ = self._more(chain, calibration, seen)
        error = calibration.error(chain.bias)
        bounds = _bounds(chain, counts, error)
        upper = Bounded(-math.inf, bounds.high)
        if not chain.exact:
            return {"begins": bounds, "equals": upper}
        tallies = [Tally(count.hits, count.draws, count.bias) for count in counts]
        parts = _unseen_parts(counts) if chain.aim.parts else 0.0
        return {"begins": Sampled(tallies, error=math.hypot(error, parts)), "equals": upper}

    def _listed(self, probes: Sequence[Probe], seen: Seen) -> list[_Listed]:
        """The least probable tokens that the lists of different prompts show."""
        prompts = {probe.prompt.messages: probe.prompt for probe in probes}
        found = [one for prompt in prompts.values() for one in self._least(prompt, seen)]
        return sorted(found, key=lambda one: one.logprob)[:LISTED]

    def _least(self, prompt: Prompt, seen: Seen) -> Iterator[_Listed]:
        vocabulary = find_vocabulary(self.encoding)
        top = self._lists.listed(Probe("", prompt), seen)
        for token in sorted(top, key=lambda one: one.logprob):
            spelled = _spelled(token)
            id = vocabulary.token_id(spelled) if vocabulary and spelled else None
            if id is not None and is_number(token.logprob) and token.logprob < math.log(0.4):
                one = _Listed(prompt, spelled, id, token.logprob)
                if APART <= one.bias <= self.largest:
                    yield one
                    return


def _spelled(token: Token) -> bytes:
    """A token's bytes if a response shows them as they are; else none."""
    if "\ufffd" in token.text or not token.text.strip():
        return b""
    return bytes(token.bytes) if token.bytes is not None else token.text.encode()


def _unseen(queries: Sequence[Query], seen: Seen) -> list[Query]:
    return list({query.id: query for query in queries if query.id not in seen}.values())


def _chosen(chains: Any) -> list[_Chain]:
    """The chains that calibrate: those that need the largest biases."""
    different = {one.check.id: one for one in chains if one.ready}
    return sorted(different.values(), key=lambda one: -one.bias)[:CHECKED]


def _counted(target: Aim, queries: Sequence[Draws], seen: Seen) -> Count:
    """All these draws together, which have one bias; those that were refused count for nothing."""
    answered = [seen[q.id].texts or () for q in queries if q.id in seen]
    return target.counted([text for texts in answered for text in texts], queries[0].bias[0][1])


def _pair(one: _Listed, seen: Seen) -> Pair | None:
    target = Aim({one.token: one.id}, {})
    upper, lower = (_counted(target, queries, seen) for queries in one.queries)
    return Pair(upper, lower, logit(one.logprob)) if upper.draws and lower.draws else None


def _bounds(chain: _Chain, counts: Sequence[Count], error: float) -> Bounded:
    """Bounds that are wrong once in a million. Those of more draws are cut to those of fewer."""
    low, high = -math.inf, 0.0
    for end in range(len(chain.counts), len(counts) + 1):
        bottom, top = logit_limits(counts[:end])
        hits, whole = (sum(getattr(c, n) for c in counts[:end]) for n in ("hits", "whole"))
        least = logprob(bottom - SURE * error) + share_limit(whole, hits)
        most = logprob(top + SURE * error)
        if max(low, least) <= min(high, most):
            low, high = max(low, least), min(high, most)
    return Bounded(-math.inf if chain.aim.ambiguous else low, high)


def _unseen_parts(counts: Sequence[Count]) -> float:
    """What parts of the answer among the hits may take from it at most, as a standard error: with
    none among n it is 3.7 / n, by the binomial interval of Clopper and Pearson."""
    hits = sum(count.hits for count in counts)
    parts = hits - sum(count.whole for count in counts)
    share = min(0.99, (parts + 3.7 + 2 * math.sqrt(parts)) / hits)
    return -math.log1p(-share) / Z


def _together(listed: Evidence, drawn: Evidence) -> Evidence:
    """What the list and the draws say; the list alone where they contradict each other."""
    try:
        return both(listed, drawn)
    except ValueError:
        return listed

"""Tilted sampling: probabilities far below the end of a list, from draws under a logit bias."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from condrule.arms import Probe, Prompt
from condrule.backends.base import Capabilities, Draws, Event, Query, Token
from condrule.encodings import ENCODINGS, find_vocabulary, is_vocabulary
from condrule.errors import ConfigError, Problem
from condrule.evidence import Bounded, Evidence, Sampled, Tally, both
from condrule.items import Item
from condrule.scorers.aiming import Aim, aim, draw
from condrule.scorers.base import EVENTS, Check, ProbeEvidence, Scorer, Seen
from condrule.scorers.calibration import APART, Calibration, Pair, calibrate
from condrule.scorers.chains import Chain, grow, start_of
from condrule.scorers.foreseeing import Wanted, foreseen
from condrule.scorers.grouping import Checked, Group, groups
from condrule.scorers.matching import is_number, own, spellings
from condrule.scorers.outcomes import Drawn
from condrule.scorers.reading import Steering, Tree
from condrule.scorers.tilting import BATCH, FIRST, LOOK, Count, Rule, logit, refine
from condrule.scorers.top_logprobs import NAMED, TopLogprobsScorer

__all__ = ["TiltedScorer"]

LISTED, CHECKED = 8, 16  # how many listed tokens, and how many answers, calibrate a model
LISTED_DRAWS = (3 * BATCH, BATCH)  # of each listed token, under b and under b - 3
MOST_SPENT = 1.5  # of the draws that are to count: two answers at once need so many
MOST = 300  # tokens that one request may bias
_LISTS, _MORE = 2000, 3000  # seeds of draws with different purposes


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
                draw(self.prompt, [(self.id, bias)], BATCH, _LISTS + number)
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
    What follows a first token that is a part of the answer is read from lists at later positions.

    The bias is calibrated on each model before any of this is used (see ``calibration``). Lists of
    top logprobs are asked for too: where they say enough nothing is drawn, and of the other items'
    answers they give all that is known. Raises ConfigError where a value is out of range.
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
    longer one, and with no other part of it ("Par" and "is" for Paris). It saves looking for the
    others; but it is an assumption, which looking makes unnecessary."""
    encoding: str = attrs.field(default="", validator=_checked, metadata=NAMED)
    """The name of the models' encoding; empty: not known. That which a backend reports is used."""

    def plan(self, probes: Sequence[Probe], seen: Seen) -> list[Query]:
        if asked := self._lists.plan(probes, seen):
            return asked
        chains = self._chains(probes, seen)
        calibration = self._calibrated(probes, chains, seen)
        if not isinstance(calibration, Calibration):
            return calibration
        if not calibration.passed:
            return []
        missing = [self._drawn(one, calibration, seen)[1] for one in groups(probes, chains)]
        # The least certain first: they matter most where a budget ends the study.
        wanted = sorted((one for one in missing if one), key=lambda one: -one[0])
        return _unseen([query for _, query in wanted], seen)

    def infer(self, probes: Sequence[Probe], seen: Seen) -> dict[str, ProbeEvidence]:
        known = self._lists.infer(probes, seen)
        chains = self._chains(probes, seen)
        found = None if self._lists.plan(probes, seen) else self._calibrated(probes, chains, seen)
        calibration = found if isinstance(found, Calibration) and found.passed else None
        for begun in groups(probes, chains, ready=False):
            group = self._drawn(begun, calibration, seen)[0] if calibration else begun
            answers = dict(known[group.probe.id].answers)
            for mode, chain in group.chains.items():
                for event in EVENTS:
                    one = _together(answers[mode, event], _bounded(chain.tree.under(event)))
                    if calibration and chain.ready:
                        one = _together(one, _sampled(group, mode, event, calibration))
                    answers[mode, event] = one
            known[group.probe.id] = attrs.evolve(known[group.probe.id], answers=answers)
        return known

    def foreseen(self, probes: Sequence[Probe]) -> Sequence[tuple[Query, int]]:
        answers = (
            Wanted(probe.prompt, target, self._tokens(spelled))
            for probe in probes
            for mode, spelled in own(probe).items()
            if 0 < len((target := self._aims(probe)[mode]).ids) <= MOST
        )
        return foreseen(answers, self.event, self._rule, LISTED, LISTED_DRAWS)

    def calibration(self, probes: Sequence[Probe], seen: Seen) -> Calibration | None:
        """What the model's bias was found to do, with a sentence that holds the figures; None
        where not all that it needs was answered yet."""
        if self._lists.plan(probes, seen):
            return None
        found = self._calibrated(probes, self._chains(probes, seen), seen)
        return found if isinstance(found, Calibration) else None

    def _calibrated(
        self, probes: Sequence[Probe], chains: Mapping[tuple[str, str], Chain], seen: Seen
    ) -> Calibration | list[Query]:
        """The calibration, or what is to be asked for it."""
        listed = self._listed(probes, seen)
        first: list[Query] = [query for one in chains.values() for query in one.next]
        if asked := _unseen([*first, *(query for one in listed for query in one.all)], seen):
            return asked
        chosen = self._chosen(probes, chains)
        if asked := _unseen([one.check for one in chosen], seen):
            return asked
        used = [
            (one.stage.counts[-1], _counted(one.stage.aim, [one.check], seen)) for one in chosen
        ]
        found = calibrate(
            [pair for one in listed if (pair := _pair(one, seen))],
            [Pair(upper, lower) for upper, lower in used if lower.draws],
            self._lists.band,
        )
        return attrs.evolve(found, doubted=sum(one.tree.doubted for one in chains.values()))

    def checks(self, probes: Sequence[Probe], seen: Seen) -> Check | None:
        found = self.calibration(probes, seen)
        return found.check if found else None

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

    def _chains(self, probes: Sequence[Probe], seen: Seen) -> dict[tuple[str, str], Chain]:
        """By probe and mode: the answers that lists leave open."""
        found: dict[tuple[str, str], Chain] = {}
        known = self._lists.infer([attrs.evolve(probe, contrasts=()) for probe in probes], seen)
        vocabulary = find_vocabulary(self.encoding)
        for probe in probes:
            if vocabulary is None or self._lists.plan([probe], seen):
                continue
            aims = self._aims(probe)
            listed = self._lists.listed(probe, seen)
            steering = Steering(probe.prompt, vocabulary, self.largest)
            for mode, spelled in own(probe).items():
                low, high = known[probe.id].answers[mode, "begins"].support
                target = aims[mode]
                if high - low > 2 * self.target and 0 < len(target.ids) <= MOST:
                    tree = self._tree(spelled, listed)
                    start = start_of(low, high)
                    found[probe.id, mode] = grow(
                        tree, target, start, steering, 2 * self.target, seen
                    )
        return found

    def _aims(self, probe: Probe) -> dict[str, Aim]:
        """The first tokens of each of the item's answers, by mode."""
        vocabulary = find_vocabulary(self.encoding)
        others = frozenset(spellings(probe) if vocabulary and vocabulary.endless else ())
        return {
            mode: aim(spelled, self.encoding, others, self.canonical)
            for mode, spelled in own(probe).items()
        }

    def _tokens(self, spelled: Sequence[str]) -> int:
        """How many tokens a response of an answer has at most, and one more; of which the shortest
        parts are taken to be three bytes."""
        return 2 + max(-(-len(f" {text}".encode()) // 3) for text in spelled)

    def _tree(self, spelled: tuple[str, ...], listed: Sequence[Token]) -> Tree:
        texts = frozenset(
            f"{space}{text}".encode() for text in spelled for space in ("", " ") if text.strip()
        )
        band, encoding = self._lists.band, self._lists.encoding
        return Tree(texts, {(): tuple(listed)}, self.event, band, encoding)

    def _chosen(
        self, probes: Sequence[Probe], chains: Mapping[tuple[str, str], Chain]
    ) -> list[Checked]:
        """The chains that calibrate: those that need the largest biases."""
        prompts = {probe.id: probe.prompt for probe in probes}
        every = (Checked(prompts[id], c.stage) for (id, _), c in chains.items() if c.ready)
        different = {one.check.id: one for one in every}
        return sorted(different.values(), key=lambda one: (-one.stage.bias, one.check.id))[:CHECKED]

    def _drawn(
        self, group: Group, calibration: Calibration, seen: Seen
    ) -> tuple[Group, tuple[float, Draws] | None]:
        """A group of answers with all that was drawn for it, and what is drawn next: its standard
        error in nats, and the query."""
        group = group.with_checks(seen)
        trees = {mode: group.chains[mode].tree.under("begins") for mode in group.ready}
        for number in itertools.count():
            wanted = {
                mode: step
                for mode, tree in trees.items()
                if (step := self._step(group, mode, tree, calibration)) is not None
            }
            if not wanted:
                return group, None
            query = group.query(wanted, _MORE + number)
            if query.id not in seen:
                return group, (max(group.counted(m, trees[m]).spread for m in wanted), query)
            if (texts := seen[query.id].texts) is None:
                return group, None
            group = group.with_drawn({m: bias for m, (bias, _) in wanted.items()}, query, texts)
        raise AssertionError  # pragma: no cover - the loop has no end of its own

    def _step(
        self, group: Group, mode: str, tree: Tree, calibration: Calibration
    ) -> tuple[int, int] | None:
        """The bias and the number of an answer's next draws, if any."""
        chain, found = group.chains[mode], group.counted(mode, tree)
        earlier = (stage for n, stage in enumerate(chain.stages) if n != chain.main)
        spent = sum(one.draws for stage in earlier for one in stage.drawn)
        if sum(one.draws for one in chain.stage.drawn) >= MOST_SPENT * self.draws:
            return None  # hardly any of them count
        rule = attrs.evolve(self._rule, draws=max(FIRST, self.draws - spent))
        error = math.hypot(calibration.error(chain.stage.bias), found.error)
        return refine(found.counts, rule, error, found.kept)

    def _listed(self, probes: Sequence[Probe], seen: Seen) -> list[_Listed]:
        """The least probable tokens that the lists of different prompts show."""
        prompts = {probe.prompt.messages: probe.prompt for probe in probes}
        found = [one for prompt in prompts.values() for one in self._least(prompt, seen)]
        # In an order of their own, so that that of the probes does not matter.
        return sorted(found, key=lambda one: (one.logprob, one.all[0].id))[:LISTED]

    def _least(self, prompt: Prompt, seen: Seen) -> Iterator[_Listed]:
        vocabulary = find_vocabulary(self.encoding)
        top = self._lists.listed(Probe("", prompt), seen)
        for token in sorted(top, key=lambda one: (one.logprob, one.text)):
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


def _counted(target: Aim, queries: Sequence[Draws], seen: Seen) -> Count:
    """All these draws together, which have one bias; those that were refused count for nothing."""
    answered = [seen[q.id].texts or () for q in queries if q.id in seen]
    said = Counter(text for texts in answered for text in texts)
    return Drawn(queries[0].id, queries[0].bias[0][1], said).count(target.tokens)


def _pair(one: _Listed, seen: Seen) -> Pair | None:
    target = Aim({one.token: one.id}, {})
    upper, lower = (_counted(target, queries, seen) for queries in one.queries)
    return Pair(upper, lower, logit(one.logprob)) if upper.draws and lower.draws else None


def _bounded(tree: Tree) -> Evidence:
    """What lists alone say."""
    low, high = (math.log(end) if end > 0 else -math.inf for end in tree.limits())
    return Bounded(low, high)


def _sampled(group: Group, mode: str, event: Event, calibration: Calibration) -> Evidence:
    found = group.outcome(mode, event)
    tallies = [Tally(count.hits, count.draws, count.bias) for count in found.counts]
    error = math.hypot(calibration.error(group.chains[mode].stage.bias), found.error)
    return Sampled(tallies, error=error, factor=(found.low, found.high))


def _together(listed: Evidence, drawn: Evidence) -> Evidence:
    """What the list and the draws say; the list alone where they contradict each other."""
    try:
        return both(listed, drawn)
    except ValueError:
        return listed

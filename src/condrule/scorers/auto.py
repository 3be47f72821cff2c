"""The scorer that picks, for each model and answer, the method that tells most for its price."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import get_args

import attrs

from condrule.arms import Probe
from condrule.backends.base import Capabilities, Event, Query
from condrule.encodings import ENCODINGS, is_vocabulary
from condrule.errors import ConfigError, Problem, did_you_mean
from condrule.evidence import UNKNOWN, Evidence, both
from condrule.items import Item
from condrule.scorers import choosing
from condrule.scorers.base import Check, ProbeEvidence, Scorer, Seen
from condrule.scorers.choosing import Method
from condrule.scorers.exact import ExactScorer
from condrule.scorers.matching import own
from condrule.scorers.reasons import Reasons
from condrule.scorers.sampling import SamplingScorer
from condrule.scorers.tilted import TiltedScorer
from condrule.scorers.top_logprobs import NAMED, TopLogprobsScorer

__all__ = ["AutoScorer"]

METHODS: tuple[Method, ...] = get_args(Method)
BYTES = 4  # of a token, about


def _methods(value: Iterable[Method]) -> tuple[Method, ...]:
    return tuple(value)


@attrs.frozen
class AutoScorer(Scorer):
    """For each model and each answer, the method that gives the tightest interval for its price.

    Exact scoring where the model offers it. Else a list of top logprobs for each prompt; what it
    tells within the target is measured. For answers that it leaves open, draws of first tokens
    under a bias that is calibrated on the model (`condrule.scorers.tilted.TiltedScorer`), unless
    plain draws reach the target for less (`condrule.scorers.choosing`). Where a bias can't be used,
    or bounds an answer only, plain draws if they may tell more than the bounds do; else the bounds.

    Which method it was, and why, is in ``ProbeEvidence.choices``. Raises ConfigError where a method
    is unknown, none is left, or a value is out of range.
    """

    event: Event = "begins"
    methods: tuple[Method, ...] = attrs.field(default=METHODS, converter=_methods)
    """The methods that may be used. ``tilted`` uses ``top_logprobs`` too."""
    k: int = attrs.field(default=20, metadata={"keywords": {"minimum": 1}})
    """How many top logprobs are asked for."""
    draws: int = attrs.field(default=256, metadata={"keywords": {"minimum": 1}})
    """How many whole responses are drawn for a prompt, where they are."""
    encoding: str = attrs.field(default="", metadata=NAMED)
    """The name of the models' encoding, for lists and biases; empty: not known. That which a
    backend reports is used."""
    target: float = attrs.field(default=0.25, metadata={"keywords": {"exclusiveMinimum": 0}})
    """The half-width of a 95 % interval, or of bounds, that is small enough, in nats."""
    tilted_draws: int = attrs.field(default=512, metadata={"keywords": {"minimum": 80}})
    """The most draws under a bias for one answer to one prompt."""
    largest: int = attrs.field(default=30, metadata={"keywords": {"minimum": 3}})
    """The largest bias, in nats."""
    canonical: bool = False
    """As of `condrule.scorers.tilted.TiltedScorer`."""

    def __attrs_post_init__(self) -> None:
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown or not self.methods:
            message = f"is {list(self.methods)}; it must be one or more of {', '.join(METHODS)}."
            hint = did_you_mean(unknown[0], METHODS) if unknown else ""
            raise ConfigError([Problem("methods", message + hint)], "scorer auto")
        try:
            _ = self._lists, self._sampling, self._tilted
        except ConfigError as error:
            names = {"draws": "tilted_draws"} if error.source == "scorer tilted" else {}
            problems = [
                attrs.evolve(one, path=names.get(one.path, one.path)) for one in error.problems
            ]
            raise ConfigError(problems, "scorer auto") from None

    def plan(self, probes: Sequence[Probe], seen: Seen) -> list[Query]:
        if asked := self._first(probes, seen):
            return asked
        left = self._left(probes, seen)
        if (tilted := self._for_bias(left, seen)) and (asked := self._tilted.plan(tilted, seen)):
            return asked
        return self._sampling.plan(self._for_draws(left, tilted, seen), seen)

    def infer(self, probes: Sequence[Probe], seen: Seen) -> dict[str, ProbeEvidence]:
        scored = self._exact.infer(probes, seen) if "exact" in self.methods else {}
        listed = self._known(probes, seen)
        tilted: dict[str, ProbeEvidence] = {}
        check: Check | None = None
        if not self._first(probes, seen):
            chosen = self._for_bias(self._left(probes, seen), seen)
            tilted = self._tilted.infer(chosen, seen) if chosen else {}
            check = self._tilted.checks(chosen, seen) if chosen else None
        drawn = self._sampling.infer(probes, seen) if "sampling" in self.methods else {}
        return {
            probe.id: self._together(
                probe,
                {
                    "exact": scored.get(probe.id),
                    "top_logprobs": listed.get(probe.id),
                    "tilted": tilted.get(probe.id),
                    "sampling": drawn.get(probe.id),
                },
                check,
            )
            for probe in probes
        }

    def checks(self, probes: Sequence[Probe], seen: Seen) -> Check | None:
        if self._first(probes, seen):
            return None
        chosen = self._for_bias(self._left(probes, seen), seen)
        return self._tilted.checks(chosen, seen) if chosen else None

    def foreseen(self, probes: Sequence[Probe]) -> Sequence[tuple[Query, int]]:
        """All draws under a bias, and all plain ones, unless these are asked first."""
        queries = [*self._tilted.foreseen(probes)] if "tilted" in self.methods else []
        if "sampling" in self.methods and self._first(probes, {}):
            queries += [(query, 1) for query in self._sampling.plan(probes, {})]
        return queries

    def fitted(self, capabilities: Capabilities) -> Scorer:
        """With the methods that these capabilities allow; with all where they allow none, so that
        ``limits`` says what each of them lacks."""
        possible = [
            method
            for method in self.methods
            if not self._made(method).limits(capabilities)
            and not (method == "tilted" and self.k < 2)
        ]
        if "exact" in possible and capabilities.certain:
            possible = ["exact"]
        k = min(self.k, capabilities.top_logprobs or self.k)
        reported = capabilities.encoding if is_vocabulary(capabilities.encoding) else ""
        largest = max(3, min(self.largest, int(capabilities.bias or self.largest)))
        return attrs.evolve(
            self,
            methods=possible or self.methods,
            k=k,
            encoding=reported or self.encoding,
            largest=largest,
        )

    def limits(self, capabilities: Capabilities) -> tuple[str, ...]:
        limits = [self._made(method).limits(capabilities) for method in self.methods]
        found = () if () in limits else (reason for one in limits for reason in one)
        return tuple(dict.fromkeys(found))

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        notes = (note for method in self.methods for note in self._made(method).notes(items))
        return tuple(dict.fromkeys(notes))

    def _made(self, method: Method) -> Scorer:
        match method:
            case "exact":
                return self._exact
            case "top_logprobs":
                return self._lists
            case "tilted":
                return self._tilted
            case "sampling":
                return self._sampling

    @property
    def _exact(self) -> ExactScorer:
        return ExactScorer(self.event)

    @property
    def _lists(self) -> TopLogprobsScorer:
        known = is_vocabulary(self.encoding) and self.encoding not in ENCODINGS
        return TopLogprobsScorer(self.event, self.k, encoding="" if known else self.encoding)

    @property
    def _sampling(self) -> SamplingScorer:
        return SamplingScorer(self.event, self.draws)

    @property
    def _tilted(self) -> TiltedScorer:
        return TiltedScorer(
            self.event,
            self.tilted_draws,
            self.target,
            self.largest,
            max(2, self.k),
            self.canonical,
            self.encoding,
        )

    @property
    def _listing(self) -> bool:
        return "top_logprobs" in self.methods or "tilted" in self.methods

    def _first(self, probes: Sequence[Probe], seen: Seen) -> list[Query]:
        """What is asked before anything is drawn: scores, and lists where those are refused."""
        queries = self._exact.plan(probes, seen) if "exact" in self.methods else []
        if self._listing:
            queries += self._lists.plan(self._left(probes, seen), seen)
        return queries

    def _left(self, probes: Sequence[Probe], seen: Seen) -> list[Probe]:
        """Those that no score was given for."""
        if "exact" not in self.methods:
            return list(probes)
        return [probe for probe in probes if _refused(self._exact, probe, seen)]

    def _known(self, probes: Sequence[Probe], seen: Seen) -> dict[str, ProbeEvidence]:
        return self._lists.infer(probes, seen) if self._listing else {}

    def _open(self, probe: Probe, found: ProbeEvidence | None) -> Iterator[choosing.Support]:
        """The bounds of the answers that are not known to within the target."""
        for mode in own(probe):
            one = found.answers[mode, self.event] if found else UNKNOWN
            if choosing.is_open(one, self.target):
                yield one.support

    def _for_bias(self, left: Sequence[Probe], seen: Seen) -> list[Probe]:
        """The prompts with an answer that draws under a bias are best for. Without any list there
        is nothing to calibrate by."""
        if "tilted" not in self.methods or not any(self._lists.listed(p, seen) for p in left):
            return []
        known = self._known([attrs.evolve(probe, contrasts=()) for probe in left], seen)
        return [
            probe
            for probe in left
            if any(
                self._best(probe, support) == "tilted"
                for support in self._open(probe, known[probe.id])
            )
        ]

    def _best(self, probe: Probe, support: choosing.Support) -> Method:
        """Draws with a bias or without, by what they will tell and cost."""
        prompt = sum(len(m.content.encode()) for m in probe.prompt.messages) / BYTES
        longest = max(len(text.encode()) for texts in own(probe).values() for text in texts)
        ways = [choosing.tilted(self.tilted_draws, self.target, prompt=prompt)]
        if "sampling" in self.methods:
            response = 1 + longest / BYTES
            ways += [choosing.plain(support, self.draws, prompt=prompt, response=response)]
        return choosing.choose(ways, self.target).method

    def _for_draws(self, left: Sequence[Probe], tilted: Sequence[Probe], seen: Seen) -> list[Probe]:
        """The prompts with an answer that is still open, and that plain draws may tell more of."""
        if "sampling" not in self.methods:
            return []
        plain = [attrs.evolve(probe, contrasts=()) for probe in left]
        known = self._known(plain, seen)
        if tilted:
            known |= self._tilted.infer(tilted, seen)
        return [
            probe
            for probe in left
            if any(
                choosing.tells(support, self.draws)
                for support in self._open(probe, known.get(probe.id))
            )
        ]

    def _together(
        self,
        probe: Probe,
        found: Mapping[Method, ProbeEvidence | None],
        check: Check | None,
    ) -> ProbeEvidence:
        """All that the methods say of a probe's answers, and which of them says most."""
        there = [one for one in found.values() if one]
        names = there[0].answers
        reasons = Reasons(
            self.methods,
            self.target,
            self.draws,
            is_vocabulary(self.encoding),
            found["tilted"] is not None,
            check,
        )
        return ProbeEvidence(
            {name: _all_of(one.answers[name] for one in there) for name in names},
            tuple(map(_all_of, zip(*(one.contrasts for one in there), strict=True))),
            {
                mode: reasons.choice(
                    {
                        method: one.answers[mode, self.event] if one else UNKNOWN
                        for method, one in found.items()
                    }
                )
                for mode in own(probe)
            },
        )


def _refused(scorer: Scorer, probe: Probe, seen: Seen) -> bool:
    """Whether all has been asked and nothing is known."""
    if scorer.plan([probe], seen):
        return False
    (found,) = scorer.infer([probe], seen).values()
    return all(one == UNKNOWN for one in found.answers.values())


def _all_of(found: Iterable[Evidence]) -> Evidence:
    """What independent looks say together; where two contradict each other, the earlier one."""
    known: Evidence = UNKNOWN
    for one in found:
        try:
            known = one if known == UNKNOWN else both(known, one)
        except ValueError:
            continue
    return known

"""The scorer that picks the strategies that the model's capabilities allow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Literal, get_args

import attrs

from condrule.arms import Probe
from condrule.backends.base import Capabilities, Event, Query
from condrule.errors import ConfigError, Problem, did_you_mean
from condrule.evidence import UNKNOWN, both
from condrule.items import Item
from condrule.scorers.base import ProbeEvidence, Scorer, Seen
from condrule.scorers.exact import ExactScorer
from condrule.scorers.sampling import SamplingScorer
from condrule.scorers.top_logprobs import NAMED, TopLogprobsScorer, reported

__all__ = ["AutoScorer"]

Method = Literal["exact", "top_logprobs", "sampling"]
METHODS: tuple[Method, ...] = get_args(Method)


def _methods(value: Iterable[Method]) -> tuple[Method, ...]:
    return tuple(value)


@attrs.frozen
class AutoScorer(Scorer):
    """Exact scoring where the model offers it; else bounds from its list of top logprobs, and
    counts of draws for the prompts where a list is refused or none is offered.

    Raises ConfigError where a method is unknown or none is left.
    """

    event: Event = "begins"
    methods: tuple[Method, ...] = attrs.field(default=METHODS, converter=_methods)
    """The strategies that may be used, in this order; a prompt goes on to the next where the one
    before was refused."""
    k: int = 20
    """How many top logprobs are asked for."""
    draws: int = 256
    """How many responses are drawn for a prompt."""
    encoding: str = attrs.field(default="", metadata=NAMED)
    """The name of the models' encoding, for lists; empty: not known. That which a backend reports
    is used."""

    def __attrs_post_init__(self) -> None:
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown or not self.methods:
            message = f"is {list(self.methods)}; it must be one or more of {', '.join(METHODS)}."
            hint = did_you_mean(unknown[0], METHODS) if unknown else ""
            raise ConfigError([Problem("methods", message + hint)], "scorer auto")
        TopLogprobsScorer(encoding=self.encoding)

    def plan(self, probes: Sequence[Probe], seen: Seen) -> list[Query]:
        *earlier, last = self._scorers
        queries: list[Query] = []
        for scorer in earlier:
            queries += scorer.plan(probes, seen)
            probes = [probe for probe in probes if _refused(scorer, probe, seen)]
        return queries + last.plan(probes, seen)

    def infer(self, probes: Sequence[Probe], seen: Seen) -> dict[str, ProbeEvidence]:
        found = [scorer.infer(probes, seen) for scorer in self._scorers]
        return {probe.id: reduce(_both, (one[probe.id] for one in found)) for probe in probes}

    def fitted(self, capabilities: Capabilities) -> Scorer:
        """With the strategies that these capabilities allow; with all where they allow none, so
        that ``limits`` says what each of them lacks."""
        possible = [
            method
            for method, scorer in zip(self.methods, self._scorers, strict=True)
            if not scorer.limits(capabilities)
        ]
        if "exact" in possible and capabilities.certain:
            possible = ["exact"]
        k = min(self.k, capabilities.top_logprobs or self.k)
        encoding = reported(capabilities) or self.encoding
        return attrs.evolve(self, methods=possible or self.methods, k=k, encoding=encoding)

    def limits(self, capabilities: Capabilities) -> tuple[str, ...]:
        limits = [scorer.limits(capabilities) for scorer in self._scorers]
        return () if () in limits else tuple(reason for one in limits for reason in one)

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        return tuple(note for scorer in self._scorers for note in scorer.notes(items))

    @property
    def _scorers(self) -> list[Scorer]:
        return [self._made(method) for method in self.methods]

    def _made(self, method: Method) -> Scorer:
        match method:
            case "exact":
                return ExactScorer(self.event)
            case "top_logprobs":
                return TopLogprobsScorer(self.event, self.k, encoding=self.encoding)
            case "sampling":
                return SamplingScorer(self.event, self.draws)


def _refused(scorer: Scorer, probe: Probe, seen: Seen) -> bool:
    """Whether all has been asked and nothing is known."""
    if scorer.plan([probe], seen):
        return False
    (found,) = scorer.infer([probe], seen).values()
    return all(one == UNKNOWN for one in found.answers.values())


def _both(one: ProbeEvidence, other: ProbeEvidence) -> ProbeEvidence:
    return ProbeEvidence(
        {key: both(found, other.answers[key]) for key, found in one.answers.items()},
        tuple(map(both, one.contrasts, other.contrasts)),
    )

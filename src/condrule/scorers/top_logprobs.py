"""Bounds from the list of the likeliest first tokens: for APIs that give no more."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from condrule.arms import Probe
from condrule.backends.base import Capabilities, Event, Query, Token, TopLogprobs
from condrule.errors import ConfigError, Problem
from condrule.scorers.base import EVENTS, ProbeEvidence, Scorer, Seen
from condrule.scorers.matching import bounds, own

__all__ = ["TopLogprobsScorer"]

_STEPS = (20, 10, 5, 1)  # what is asked for next where a longer list is refused


def _checked(scorer: TopLogprobsScorer, attribute: attrs.Attribute[Any], value: Any) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if attribute.name == "k" and not (whole and value >= 1):
        raise _error("k", f"is {value!r}; it must be a whole number, 1 or more")
    if attribute.name == "band" and not (isinstance(value, (int, float)) and 0 <= value < math.inf):
        raise _error("band", f"is {value!r}; it must be a number of nats, 0 or more")


def _error(key: str, message: str) -> ConfigError:
    return ConfigError([Problem(key, message)], "scorer top_logprobs")


@attrs.frozen
class TopLogprobsScorer(Scorer):
    """Bounds of every answer from one list of top logprobs for each prompt.

    Where a list of k is refused, shorter ones are asked for. Raises ConfigError where a value is
    out of range.
    """

    event: Event = "begins"
    k: int = attrs.field(default=20, validator=_checked)
    """How many tokens are asked for."""
    band: float = attrs.field(default=0.05, validator=_checked)
    """Nats by which a printed logprob may be off: rounding, and jitter from call to call."""

    def plan(self, probes: Sequence[Probe], seen: Seen) -> list[Query]:
        queries = {query.id: query for probe in probes for query in self._next(probe, seen)}
        return list(queries.values())

    def infer(self, probes: Sequence[Probe], seen: Seen) -> dict[str, ProbeEvidence]:
        return {probe.id: self._infer(probe, self._list(probe, seen)) for probe in probes}

    def fitted(self, capabilities: Capabilities) -> Scorer:
        longest = capabilities.top_logprobs
        return attrs.evolve(self, k=longest) if 0 < longest < self.k else self

    def limits(self, capabilities: Capabilities) -> tuple[str, ...]:
        if capabilities.top_logprobs:
            return ()
        return (
            "scorer 'top_logprobs' needs a model that lists its likeliest tokens; "
            "this backend's models list none",
        )

    def _queries(self, probe: Probe) -> Iterator[TopLogprobs]:
        """What is asked, one after the other, until one is answered."""
        for k in (self.k, *(step for step in _STEPS if step < self.k)):
            yield TopLogprobs(probe.prompt, k)

    def _next(self, probe: Probe, seen: Seen) -> list[Query]:
        """The longest list that was not refused, unless one came."""
        for query in self._queries(probe):
            if query.id not in seen:
                return [query]
            if seen[query.id].top is not None:
                return []
        return []

    def _list(self, probe: Probe, seen: Seen) -> tuple[Token, ...]:
        for query in self._queries(probe):
            if query.id in seen and (top := seen[query.id].top) is not None:
                return top
        return ()

    def _infer(self, probe: Probe, listed: tuple[Token, ...]) -> ProbeEvidence:
        return ProbeEvidence(
            answers={
                (mode, event): bounds(listed, spelled, event, self.band)
                for mode, spelled in own(probe).items()
                for event in EVENTS
            },
            contrasts=tuple(
                bounds(listed, spelled, self.event, self.band) for spelled in probe.contrasts
            ),
        )

"""Exact scoring: the model itself says how probable whole answers are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import attrs

from condrule.arms import Probe
from condrule.backends.base import Capabilities, Continuations, Event, Observation, Query
from condrule.evidence import UNKNOWN, Bounded, Evidence, Exact, combine
from condrule.scorers.base import EVENTS, ProbeEvidence, Scorer, Seen
from condrule.scorers.matching import is_number, own

__all__ = ["ExactScorer"]


@attrs.frozen
class ExactScorer(Scorer):
    """Teacher-forced probabilities of every spelling, added up over spellings.

    The own answers are asked under both events, the contrasts under the study's event alone.
    """

    event: Event = "begins"

    def plan(self, probes: Sequence[Probe], seen: Seen) -> list[Query]:
        queries = {query.id: query for probe in probes for query in self._queries(probe)}
        return [query for id, query in queries.items() if id not in seen]

    def infer(self, probes: Sequence[Probe], seen: Seen) -> dict[str, ProbeEvidence]:
        return {probe.id: self._infer(probe, seen) for probe in probes}

    def limits(self, capabilities: Capabilities) -> tuple[str, ...]:
        if capabilities.continuations:
            return ()
        return (
            "scorer 'exact' needs a model that gives probabilities of whole texts; "
            "this backend's models give none",
        )

    def _queries(self, probe: Probe) -> Iterator[Continuations]:
        for event in EVENTS:
            texts = dict.fromkeys(text for spelled in own(probe).values() for text in spelled)
            if event == self.event:
                texts |= dict.fromkeys(text for spelled in probe.contrasts for text in spelled)
            yield Continuations(probe.prompt, tuple(texts), event)

    def _infer(self, probe: Probe, seen: Seen) -> ProbeEvidence:
        answers: dict[tuple[str, Event], Evidence] = {}
        contrasts: tuple[Evidence, ...] = ()
        for query in self._queries(probe):
            known = _by_text(query, seen.get(query.id))
            for mode, spelled in own(probe).items():
                answers[mode, query.event] = _any_of(spelled, known, query.event)
            if query.event == self.event:
                contrasts = tuple(_any_of(one, known, query.event) for one in probe.contrasts)
        return ProbeEvidence(answers, contrasts)


def _by_text(query: Continuations, observation: Observation | None) -> dict[str, Evidence]:
    if observation is None or observation.logprobs is None:
        return dict.fromkeys(query.texts, UNKNOWN)
    return {
        text: Exact(p) if is_number(p) or p == -math.inf else UNKNOWN
        for text, p in zip(query.texts, observation.logprobs, strict=True)
    }


def _any_of(spelled: tuple[str, ...], known: dict[str, Evidence], event: Event) -> Evidence:
    """Evidence that one of the spellings is given.

    A response that begins with "United States of America" begins with "United States": the longer
    one adds nothing. A response that begins with "USA" begins with "US" too, but whether a model's
    tokens for the shorter are among those for the longer is its own affair: there the sum without
    the longer one and the sum with it are the bounds.
    """
    if event == "begins":
        spelled = tuple(a for a in spelled if not any(a.startswith(f"{b} ") for b in spelled))
    if len(spelled) == 1:
        return known[spelled[0]]
    total = combine(known[text] for text in spelled)
    if event == "equals":
        return total
    shortest = [a for a in spelled if not any(a != b and a.startswith(b) for b in spelled)]
    least = combine(known[text] for text in shortest)
    low, high = least.support[0], total.support[1]
    return total if least == total else Bounded(low, high)

"""Counts of draws: for models that give no logprobs at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from condrule.arms import Probe
from condrule.backends.base import Capabilities, Draws, Event, Query
from condrule.errors import ConfigError, Problem
from condrule.evidence import UNKNOWN, Evidence, Sampled, Tally
from condrule.scorers.base import EVENTS, ProbeEvidence, Scorer, Seen
from condrule.scorers.matching import gives, own, spellings

__all__ = ["SamplingScorer"]

BATCH = 128  # draws a query: the most that one request may ask of the usual APIs


def _natural(scorer: SamplingScorer, attribute: attrs.Attribute[int], value: Any) -> None:
    least = 1 if attribute.name == "draws" else 0
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        message = f"is {value!r}; it must be a whole number, {least} or more"
        raise ConfigError([Problem(attribute.name, message)], "scorer sampling")


@attrs.frozen
class SamplingScorer(Scorer):
    """Draws responses at temperature 1 and counts those that give each answer.

    A probability P needs about 1/P draws over all items to be seen at all: for P = 1e-6 that is
    millions. Raises ConfigError where a value is out of range.
    """

    event: Event = "begins"
    draws: int = attrs.field(default=256, validator=_natural)
    """How many responses are drawn for each prompt."""
    seed: int = attrs.field(default=0, validator=_natural)

    def plan(self, probes: Sequence[Probe], seen: Seen) -> list[Query]:
        queries = {query.id: query for probe in probes for query in self._queries(probe)}
        return [query for id, query in queries.items() if id not in seen]

    def infer(self, probes: Sequence[Probe], seen: Seen) -> dict[str, ProbeEvidence]:
        return {probe.id: self._infer(probe, self._said(probe, seen)) for probe in probes}

    def limits(self, capabilities: Capabilities) -> tuple[str, ...]:
        if capabilities.draws:
            return ()
        return (
            "scorer 'sampling' needs a model that can be asked to respond; "
            "this backend's models can't",
        )

    def _queries(self, probe: Probe) -> Iterator[Draws]:
        # A token has a byte at least, so a response of this many tokens is longer than any answer
        # with its leading space, and both events are decided.
        enough = max(len(text.encode()) for text in spellings(probe)) + 2
        for number, start in enumerate(range(0, self.draws, BATCH)):
            n = min(BATCH, self.draws - start)
            yield Draws(probe.prompt, n, enough, temperature=1.0, seed=self.seed + number)

    def _said(self, probe: Probe, seen: Seen) -> Counter[str]:
        answered = (seen[query.id].texts for query in self._queries(probe) if query.id in seen)
        return Counter(text for texts in answered for text in texts or ())

    def _infer(self, probe: Probe, said: Counter[str]) -> ProbeEvidence:
        return ProbeEvidence(
            answers={
                (mode, event): _counted(said, spelled, event)
                for mode, spelled in own(probe).items()
                for event in EVENTS
            },
            contrasts=tuple(_counted(said, spelled, self.event) for spelled in probe.contrasts),
        )


def _counted(said: Counter[str], spelled: tuple[str, ...], event: Event) -> Evidence:
    if not said:
        return UNKNOWN
    hits = sum(count for text, count in said.items() if gives(text, spelled, event))
    return Sampled((Tally(hits, said.total()),))

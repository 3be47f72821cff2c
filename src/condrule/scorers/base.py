"""The seam to scoring strategies: pure functions of what was seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import get_args

import attrs

from condrule.arms import Probe
from condrule.backends.base import Capabilities, Event, Observation, Query
from condrule.evidence import Evidence
from condrule.items import Item

__all__ = ["EVENTS", "ProbeEvidence", "Scorer", "Seen"]

EVENTS: tuple[Event, ...] = get_args(Event)
"""Own answers are looked for under both, contrasts under the study's."""

Seen = Mapping[str, Observation]
"""What one model answered so far, by query id."""


@attrs.frozen
class ProbeEvidence:
    """What is known of one probe's candidate answers."""

    answers: Mapping[tuple[str, Event], Evidence]
    """The item's own answers, by mode and event."""
    contrasts: tuple[Evidence, ...] = ()
    """Other items' answers under the study's event, in the order of ``Probe.contrasts``."""


class Scorer(ABC):
    """A strategy that turns questions about probabilities into queries a model can answer.

    Both methods are pure: the driver asks, journals and calls again until ``plan`` has no more
    to ask. They must not depend on the order in which observations came.
    """

    event: Event
    """What counts as giving an answer in this study."""

    @abstractmethod
    def plan(self, probes: Sequence[Probe], seen: Seen) -> list[Query]:
        """What to ask next, given what was seen; empty when done. Nothing is asked twice."""

    @abstractmethod
    def infer(self, probes: Sequence[Probe], seen: Seen) -> dict[str, ProbeEvidence]:
        """Evidence for every probe, by probe id. What was not answered is unknown, never 0."""

    def fitted(self, capabilities: Capabilities) -> Scorer:
        """The scorer as it is used on models of these capabilities; settled when a study is
        planned, and frozen with it. A strategy that has nothing to choose is its own."""
        return self

    def limits(self, capabilities: Capabilities) -> tuple[str, ...]:
        """Why models of these capabilities can't be scored so, one sentence each."""
        return ()

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        """What must be said beside results on these items, one sentence each."""
        return ()

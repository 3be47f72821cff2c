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

__all__ = ["EVENTS", "Check", "CheckPoint", "Choice", "ProbeEvidence", "Scorer", "Seen"]

EVENTS: tuple[Event, ...] = get_args(Event)
"""Own answers are looked for under both, contrasts under the study's."""

Seen = Mapping[str, Observation]
"""What one model answered so far, by query id."""


@attrs.frozen
class Choice:
    """By which method an answer's probability was measured, and why by this one."""

    method: str
    """``exact``, ``top_logprobs``, ``tilted``, ``sampling``, or a word of another scorer's;
    ``none`` where nothing was answered."""
    why: str
    """One line, with figures."""


@attrs.frozen
class CheckPoint:
    """Draws whose share of hits was known beforehand."""

    group: str
    """What was drawn, in words; the same for points that belong together."""
    expected: float
    """The logit of the share of hits that there should be, in nats."""
    hits: int
    draws: int


@attrs.frozen
class Check:
    """How a model was tested before its answers were believed."""

    passed: bool
    """Whether they were."""
    sentence: str
    """What was found, with the figures."""
    points: tuple[CheckPoint, ...] = ()
    band: float = 0.0
    """How far off, in nats, the points of the first group may be as a whole."""


@attrs.frozen
class ProbeEvidence:
    """What is known of one probe's candidate answers."""

    answers: Mapping[tuple[str, Event], Evidence]
    """The item's own answers, by mode and event."""
    contrasts: tuple[Evidence, ...] = ()
    """Other items' answers under the study's event, in the order of ``Probe.contrasts``."""
    choices: Mapping[str, Choice] = attrs.field(factory=dict, eq=False)
    """How each mode's own answer was measured under the study's event, where the scorer has more to
    say of it than the evidence shows."""


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

    def foreseen(self, probes: Sequence[Probe]) -> Sequence[tuple[Query, int]]:
        """All that may be asked beyond the first round, nothing refused: queries, each with how
        many of its size there may be. For what a study costs at most, so no fewer and no smaller
        than those of ``plan``; none of these is ever asked. None, by default: what is asked depends
        on no answer."""
        return ()

    def limits(self, capabilities: Capabilities) -> tuple[str, ...]:
        """Why models of these capabilities can't be scored so, one sentence each."""
        return ()

    def checks(self, probes: Sequence[Probe], seen: Seen) -> Check | None:
        """How the model that answered was tested; None where it needs no test, or the test is not
        complete. Pure, as the others are."""
        return None

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        """What must be said beside results on these items, one sentence each."""
        return ()

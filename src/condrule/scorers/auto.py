"""The scorer that picks the strategy the model's capabilities allow."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from condrule.arms import Probe
from condrule.backends.base import Capabilities, Event, Query
from condrule.scorers.base import ProbeEvidence, Scorer, Seen
from condrule.scorers.exact import ExactScorer

__all__ = ["AutoScorer"]


@attrs.frozen
class AutoScorer(Scorer):
    """Exact scoring where the model offers it, which is the only strategy so far."""

    event: Event = "begins"

    def plan(self, probes: Sequence[Probe], seen: Seen) -> list[Query]:
        return self._chosen.plan(probes, seen)

    def infer(self, probes: Sequence[Probe], seen: Seen) -> dict[str, ProbeEvidence]:
        return self._chosen.infer(probes, seen)

    def limits(self, capabilities: Capabilities) -> tuple[str, ...]:
        return self._chosen.limits(capabilities)

    @property
    def _chosen(self) -> Scorer:
        return ExactScorer(self.event)

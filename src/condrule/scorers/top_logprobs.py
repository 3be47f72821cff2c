"""Bounds from the list of the likeliest first tokens: for APIs that give no more."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from condrule.arms import Probe
from condrule.backends.base import Capabilities, Event, Query, Token, TopLogprobs
from condrule.encodings import ENCODINGS, EncodingReader
from condrule.errors import ConfigError, Problem, did_you_mean
from condrule.evidence import Bounded
from condrule.items import Item
from condrule.scorers.base import EVENTS, ProbeEvidence, Scorer, Seen
from condrule.scorers.matching import bounds, own

__all__ = ["TopLogprobsScorer"]

NAMED = {"keywords": {"enum": ["", *ENCODINGS]}}
"""What a study file's schema says of an encoding."""
_STEPS = (20, 10, 5, 1)  # what is asked for next where a longer list is refused


def _checked(scorer: TopLogprobsScorer, attribute: attrs.Attribute[Any], value: Any) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if attribute.name == "k" and not (whole and value >= 1):
        raise _error("k", f"is {value!r}; it must be a whole number, 1 or more")
    if attribute.name == "band" and not (isinstance(value, (int, float)) and 0 <= value < math.inf):
        raise _error("band", f"is {value!r}; it must be a number of nats, 0 or more")
    if attribute.name == "encoding" and value not in ("", *ENCODINGS):
        allowed = f"it must be {' or '.join(ENCODINGS)}, or empty where it is not known."
        raise _error("encoding", f"is {value!r}; {allowed}{did_you_mean(value, ENCODINGS)}")


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
    encoding: str = attrs.field(default="", validator=_checked, metadata=NAMED)
    """The name of the models' encoding; empty: not known. That which a backend reports is used."""

    def plan(self, probes: Sequence[Probe], seen: Seen) -> list[Query]:
        queries = {query.id: query for probe in probes for query in self._next(probe, seen)}
        return list(queries.values())

    def infer(self, probes: Sequence[Probe], seen: Seen) -> dict[str, ProbeEvidence]:
        return {probe.id: self._infer(probe, self.listed(probe, seen)) for probe in probes}

    def fitted(self, capabilities: Capabilities) -> Scorer:
        k = min(self.k, capabilities.top_logprobs or self.k)
        return attrs.evolve(self, k=k, encoding=reported(capabilities) or self.encoding)

    def limits(self, capabilities: Capabilities) -> tuple[str, ...]:
        if capabilities.top_logprobs:
            return ()
        return (
            "scorer 'top_logprobs' needs a model that lists its likeliest tokens; "
            "this backend's models list none",
        )

    def notes(self, items: Sequence[Item]) -> tuple[str, ...]:
        if not self.encoding:
            return ()
        several = _several(items, EncodingReader(self.encoding))
        if not several:
            return ()
        distinct = {answer for item in items for answer in item.answers.values()}
        return (
            f"{len(several)} of {len(distinct)} answers are several tokens of {self.encoding}, "
            f"such as {several[0]!r}: a list of first tokens bounds them from above only (their "
            "lower bound is 0). Items restricted with one_token: true have none.",
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

    def listed(self, probe: Probe, seen: Seen) -> tuple[Token, ...]:
        """The list that came for a probe; empty where none did."""
        for query in self._queries(probe):
            if query.id in seen and (top := seen[query.id].top) is not None:
                return top
        return ()

    def _infer(self, probe: Probe, listed: tuple[Token, ...]) -> ProbeEvidence:
        return ProbeEvidence(
            answers={
                (mode, event): self._bounds(listed, spelled, event)
                for mode, spelled in own(probe).items()
                for event in EVENTS
            },
            contrasts=tuple(
                self._bounds(listed, spelled, self.event) for spelled in probe.contrasts
            ),
        )

    def _bounds(self, listed: tuple[Token, ...], spelled: tuple[str, ...], event: Event) -> Bounded:
        return bounds(listed, spelled, event, self.band, self.encoding)


def _several(items: Sequence[Item], reader: EncodingReader) -> list[str]:
    """The answers that are one token in none of their spellings."""
    spelled = {item.answers[mode]: item.spellings(mode) for item in items for mode in item.answers}
    return [
        answer
        for answer, texts in spelled.items()
        if all(reader.pieces(text) != 1 for text in texts)
    ]


def reported(capabilities: Capabilities) -> str:
    """The encoding that a backend reports, if it is one that is known here; else empty."""
    return capabilities.encoding if capabilities.encoding in ENCODINGS else ""

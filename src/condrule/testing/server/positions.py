"""Which token comes next: the oracle's responses as a tree of tokens.

A position is what follows some tokens of a response. Its probabilities are those of the responses
that agree so far, each counted under its next token, or under `END` where it is over; so along a
response they multiply to the response's own probability.

A token that no response goes on with has next to no probability, `FLOOR`, as in a real softmax: it
is never seen unless a bias makes up for that.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["END", "FLOOR", "Bias", "Position", "Sampling"]

END = -1
"""Stands for the end of the response in place of a token's id. Nothing biases it."""

FLOOR = math.log(1e-15)
"""The logprob of each token that no response goes on with, in nats. All 200,000 of a vocabulary
together have less than 1e-9, so they are left out wherever nothing biases them."""

Bias = Mapping[int, float]
"""Token id -> what is added to its logit, in nats."""


@attrs.frozen(eq=False, slots=False)
class Position:
    """The next token's distribution after some tokens, the likeliest first."""

    ids: NDArray[np.int64]
    """Token ids, with `END` among them where a response may be over."""
    logprobs: NDArray[np.float64]
    """Their natural logarithms; all together are probability 1."""
    rests: Mapping[int, Sequence[tuple[tuple[int, ...], float]]]
    """What follows each token: the rest of each response and its probability. A token that is not
    here is a response of its own."""
    _after: dict[int, Position] = attrs.field(factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls,
        responses: Iterable[tuple[tuple[int, ...], float]],
        spare: Sequence[int] = (),
        each: float = 0.0,
    ) -> Self:
        """The first position of these responses, and of one of probability ``each`` for every
        spare token, which is a response of its own."""
        rests: dict[int, list[tuple[tuple[int, ...], float]]] = {}
        for tokens, probability in responses:
            if probability > 0:
                first, rest = (tokens[0], tokens[1:]) if tokens else (END, ())
                rests.setdefault(first, []).append((rest, probability))
        spare = spare if each > 0 else ()
        mass = [math.fsum(p for _, p in rest) for rest in rests.values()]
        ids = np.array([*rests, *spare], dtype=np.int64)
        masses = np.array([*mass, *[each] * len(spare)])
        order = np.argsort(-masses, kind="stable")
        logprobs = np.log(masses[order] / masses.sum())
        return cls(ids[order], np.minimum(logprobs, 0.0), rests)

    def after(self, token: int) -> Position:
        """The position behind a token of this one."""
        if token not in self._after:
            self._after[token] = Position.of(self.rests.get(token, [((), 1.0)]))
        return self._after[token]

    def logprob(self, token: int) -> float:
        """A token's; -inf where it can't come next."""
        place = self.places.get(token)
        return -math.inf if place is None else float(self.logprobs[place])

    @functools.cached_property
    def places(self) -> dict[int, int]:
        """Where each token stands in the order."""
        return {token: place for place, token in enumerate(self.ids.tolist())}

    def tilted(self, bias: Bias) -> Position:
        """The same position under a bias: p e^b, made to add up to 1 again. A biased token that
        no response goes on with has `FLOOR` for its p."""
        more = np.array([token for token in bias if token not in self.places], dtype=np.int64)
        ids = np.concatenate([self.ids, more])
        logits = np.concatenate([self.logprobs, np.full(len(more), FLOOR)])
        logits += [bias.get(token, 0.0) for token in ids.tolist()]
        logprobs = np.minimum(logits - np.logaddexp.reduce(logits), 0.0)
        order = np.argsort(-logprobs, kind="stable")
        return Position(ids[order], logprobs[order], self.rests)


@attrs.frozen(eq=False)
class Sampling:
    """How tokens are drawn."""

    temperature: float = 1.0
    top_p: float = 1.0
    bias: Bias = attrs.field(factory=dict)
    _weights: dict[int, tuple[list[int], Any]] = attrs.field(factory=dict, init=False, repr=False)

    def draw(self, position: Position, generator: random.Random) -> int:
        """One token, or `END`."""
        if id(position) not in self._weights:
            self._weights[id(position)] = self._cumulated(position)
        ids, cumulated = self._weights[id(position)]
        if len(ids) == 1:
            return ids[0]
        place = np.searchsorted(cumulated, generator.random() * cumulated[-1], side="right")
        return ids[min(int(place), len(ids) - 1)]

    def _cumulated(self, position: Position) -> tuple[list[int], NDArray[np.float64]]:
        tilted = position.tilted(self.bias) if self.bias else position
        if self.temperature == 0:
            return tilted.ids[:1].tolist(), np.ones(1)
        logits = tilted.logprobs / self.temperature
        weights = np.exp(logits - logits[0])
        cumulated = np.cumsum(weights)
        if self.top_p < 1:
            kept = int(np.searchsorted(cumulated, self.top_p * cumulated[-1])) + 1
            cumulated = cumulated[:kept]
        return tilted.ids[: len(cumulated)].tolist(), cumulated

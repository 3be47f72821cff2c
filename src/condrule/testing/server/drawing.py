"""Responses as they are drawn, token by token."""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs

from condrule.testing.server.encodings import Encoding
from condrule.testing.server.positions import END, Position, Sampling

__all__ = ["Drawn", "draw", "stopped"]


@attrs.frozen
class Drawn:
    """One response."""

    steps: tuple[tuple[Position, int], ...]
    """Each token, with the position that it was drawn at."""
    finish: str
    """``stop``, or ``length`` where the tokens were used up before the response was over."""

    @property
    def tokens(self) -> list[int]:
        """The tokens' ids."""
        return [token for _, token in self.steps]


def draw(start: Position, sampling: Sampling, generator: random.Random, most: int) -> Drawn:
    """A response of at most so many tokens."""
    steps: list[tuple[Position, int]] = []
    position = start
    while len(steps) < most:
        token = sampling.draw(position, generator)
        if token == END:
            return Drawn(tuple(steps), "stop")
        steps.append((position, token))
        position = position.after(token)
    return Drawn(tuple(steps), "length")


def stopped(drawn: Drawn, stop: Sequence[str], encoding: Encoding) -> tuple[Drawn, str]:
    """A response up to the first of some texts, and what it reads."""
    spelled = [encoding.bytes_of(token) for token in drawn.tokens]
    whole = b"".join(spelled)
    cuts = [at for text in stop if (at := whole.find(text.encode())) >= 0]
    if not cuts:
        return drawn, whole.decode(errors="replace")
    kept, length = 0, 0
    while length < min(cuts):
        length += len(spelled[kept])
        kept += 1
    return Drawn(drawn.steps[:kept], "stop"), whole[: min(cuts)].decode(errors="replace")

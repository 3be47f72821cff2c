"""Logprobs as the vendor prints them. Answers that are alike are made once."""

from __future__ import annotations

import functools
import json
import math
import random
from collections.abc import Sequence

import attrs

from condrule.backends.memory import MARKER
from condrule.testing.server.encodings import Encoding
from condrule.testing.server.positions import END, Position
from condrule.testing.server.settings import Api

__all__ = ["Printer"]


@attrs.frozen(eq=False)
class Printer:
    """Prints tokens of one encoding as the API's settings have it."""

    api: Api
    encoding: Encoding
    _made: dict[tuple[Position, int, int], str] = attrs.field(factory=dict, init=False, repr=False)

    def entry(self, position: Position, token: int, top: int, noise: random.Random | None) -> str:
        """The JSON of a token that was drawn at a position, with a list of the likeliest."""
        if noise is not None:
            return self.made(position, token, top, noise)
        key = (position, token, top)
        if key not in self._made:
            self._made[key] = self.made(position, token, top, None)
        return self._made[key]

    def made(self, position: Position, token: int, top: int, noise: random.Random | None) -> str:
        """The same, made anew: for positions that won't be met again."""
        length = max(top, self.api.marked_beyond) + 1  # the end of the response is not listed
        likeliest = [
            (other, self._noisy(logprob, noise))
            for other, logprob in zip(
                position.ids[:length].tolist(), position.logprobs[:length].tolist(), strict=True
            )
            if other != END
        ]
        if noise is not None:
            likeliest.sort(key=lambda pair: -pair[1])
        own = dict(likeliest[: self.api.marked_beyond]).get(token, MARKER)
        listed = ",".join(f"{self._head(t)}{self._number(p)}}}" for t, p in likeliest[:top])
        return f'{self._head(token)}{self._number(own)},"top_logprobs":[{listed}]}}'

    def number(self, logprob: float) -> float:
        """A log-probability as a number that JSON has."""
        if logprob == -math.inf:
            return MARKER
        decimals = self.api.decimals
        return logprob if decimals is None else round(logprob, decimals) + 0.0  # never -0.0

    def _number(self, logprob: float) -> str:
        return repr(self.number(logprob))

    def _noisy(self, logprob: float, noise: random.Random | None) -> float:
        return logprob if noise is None else min(0.0, logprob + noise.gauss(0, self.api.jitter))

    def _head(self, token: int) -> str:
        return _head(self.encoding, token)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens; what is left of a split letter reads as a replacement character."""
        return b"".join(map(self.encoding.bytes_of, tokens)).decode(errors="replace")


@functools.lru_cache(maxsize=100_000)
def _head(encoding: Encoding, token: int) -> str:
    """A token's entry up to its logprob."""
    spelled = encoding.bytes_of(token)
    text = json.dumps(spelled.decode(errors="replace"), ensure_ascii=False)
    return f'{{"token":{text},"bytes":{list(spelled)},"logprob":'

"""What the provider's API gives."""

from __future__ import annotations

from typing import Literal

import attrs

from condrule.backends.base import Capabilities, Continuations, Draws, Query, TopLogprobs
from condrule.backends.memory.checks import number, one_of, whole

__all__ = ["MARKER", "Limits"]

MARKER = -9999.0
"""What is printed in place of a log-probability below ``Limits.floor``."""


@attrs.frozen
class Limits:
    """What the provider's API gives. Part of the study; the capabilities follow.

    Raises ConfigError where a value is out of range.
    """

    continuations: bool = True
    """Whether probabilities of whole texts are given."""
    top_logprobs: int = attrs.field(default=20, validator=whole(0))
    """The longest list of first tokens; 0: none is given. A longer one is refused."""
    decimals: int | None = attrs.field(default=None, validator=attrs.validators.optional(whole(0)))
    """Decimals of printed log-probabilities; None: all that there are."""
    jitter: float = attrs.field(default=0.0, validator=number(0, 100))
    """Standard deviation, in nats, of noise on each printed log-probability, drawn anew for every
    request. Lists are in the order of what is printed, and nothing printed is above 0."""
    top_reads_zero: bool = False
    """Whether the first entry of a list is printed as 0.0, whatever it is."""
    floor: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(number(-10_000, 0))
    )
    """What is below, in nats, is printed as -9999.0; None: nothing is."""
    logit_bias: Literal["honoured", "reported", "refused", "ignored"] = attrs.field(
        default="honoured", validator=one_of("honoured", "reported", "refused", "ignored")
    )
    """What becomes of a bias. One that is ``reported`` acts, and shows in the lists that come with
    the draws under it; one that is ignored is among the capabilities all the same."""
    bias_scale: float = attrs.field(default=1.0, validator=number(-100, 100))
    """What a bias is multiplied by before it acts: -1 inverts it."""
    bias_clamp: float = attrs.field(default=1000.0, validator=number(0, 1000))
    """The largest bias that acts, in nats either way; larger ones act as this one."""
    temperature_scale: float = attrs.field(default=1.0, validator=number(0.01, 100))
    """What the temperature of draws under a bias is multiplied by: some providers round it."""
    top_p: float = attrs.field(default=1.0, validator=number(0, 1))
    """Draws come from the likeliest first tokens that together have this probability, whatever was
    asked for; under a bias, of those it leaves."""
    tail: float = attrs.field(default=0.0, validator=number(0, 1))
    """First tokens that are less probable than this, before any bias, are never drawn under one."""
    largest_bias: float = attrs.field(default=100.0, validator=number(0, 1000))
    """In nats, either way; draws under a larger one are refused."""
    piece: int | None = attrs.field(default=None, validator=attrs.validators.optional(whole(1)))
    """Bytes of a token: words are split into pieces of so many; None: words are whole."""
    seed: int = 0
    """Of the noise."""

    @property
    def capabilities(self) -> Capabilities:
        """What the API's documentation would say."""
        biased = self.logit_bias != "refused"
        return Capabilities(
            continuations=self.continuations,
            draws=True,
            top_logprobs=self.top_logprobs,
            bias=self.largest_bias if biased else 0.0,
            encoding="memory" if self.piece is None else f"memory/{self.piece}",
        )

    def acting(self, nats: float) -> float:
        """What of a bias acts."""
        return max(-self.bias_clamp, min(self.bias_clamp, self.bias_scale * nats))

    def refusal(self, query: Query) -> str | None:
        """Why this query is beyond what the API gives, or None where it is not."""
        match query:
            case Continuations():
                return None if self.continuations else "probabilities of whole texts are not given"
            case TopLogprobs(k=k):
                return self._list_refusal(k)
            case Draws(bias=bias, top=top):
                refused = self._list_refusal(top) if top else None
                return refused or self._bias_refusal([nats for _, nats in bias])
        return None

    def _list_refusal(self, k: int) -> str | None:
        if self.top_logprobs == 0:
            return "logprobs are not given"
        if 1 <= k <= self.top_logprobs:
            return None
        return f"top_logprobs is {k}; it must be from 1 to {self.top_logprobs}"

    def _bias_refusal(self, biases: list[float]) -> str | None:
        if biases and self.logit_bias == "refused":
            return "logit_bias is not supported"
        if all(abs(nats) <= self.largest_bias for nats in biases):
            return None
        allowed = f"from {-self.largest_bias:g} to {self.largest_bias:g}"
        return f"logit_bias is {max(biases, key=abs):g} nats; it must be {allowed}"

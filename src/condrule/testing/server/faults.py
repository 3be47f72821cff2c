"""What goes wrong at the server and on the way to it."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, get_args

import attrs

from condrule.backends.memory.checks import number, whole, wrong
from condrule.config.strict import accepts
from condrule.convert import text_map, texts
from condrule.errors import did_you_mean
from condrule.testing.server.exchange import ApiError, Call

__all__ = ["Fault", "Place", "ServerFaults", "refused_by"]

Fault = Literal[
    "rate_limit",
    "rate_limit_silent",
    "insufficient_quota",
    "error_500",
    "error_502",
    "error_503",
    "lost_before",
    "lost_after",
    "lost_late",
    "truncated",
    "malformed",
    "slow",
]
"""``rate_limit`` says Retry-After, ``rate_limit_silent`` does not; the connection is dropped before
the request has done anything, or after, or ``late_seconds`` before it does it; the answer's end is
missing, or it is no JSON; or it comes ``slow_seconds`` later. All but the last five do nothing."""


def _known(value: str, key: str) -> None:
    if value not in get_args(Fault):
        allowed = ", ".join(get_args(Fault))
        hint = did_you_mean(value, get_args(Fault))
        raise wrong(key, f"is {value!r}; the faults are {allowed}.{hint}")


def _kind(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    _known(value, attribute.name)


@attrs.frozen
class Place:
    """One fault at one place: the ``number``-th request, or of one route's requests."""

    fault: str = attrs.field(validator=_kind)
    number: int = attrs.field(default=1, validator=whole(1))
    """Counted from 1; of this route's requests alone, where there is a route."""
    route: str | None = None
    """Such as ``POST /fine_tuning/jobs`` or ``GET /files/{id}``; None: any."""


def _places(value: Any) -> tuple[Place, ...]:
    return tuple(value)


def _shares(instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, float]) -> None:
    for kind, share in value.items():
        _known(kind, attribute.name)
        if not accepts(float, share) or not 0 <= share <= 1:
            raise wrong(f"shares.{kind}", f"is {share!r}; it must be a number from 0 to 1")
    if math.fsum(value.values()) > 1:
        raise wrong("shares", f"add up to {math.fsum(value.values()):g}; at most 1 is possible")


@attrs.frozen(kw_only=True)
class ServerFaults:
    """What goes wrong. Raises ConfigError where a value is out of range."""

    seed: int = 0
    """Of everything here that is drawn."""
    at: tuple[Place, ...] = attrs.field(default=(), converter=_places)
    """Faults at exact places; the first that fits a request befalls it."""
    shares: Mapping[str, float] = attrs.field(factory=dict, converter=dict, validator=_shares)
    """The share of requests that each fault befalls besides; which ones is drawn."""
    routes: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """The routes that the shares are of; empty: all."""
    latency: float = attrs.field(default=0.0, validator=number(0, 3600))
    """Seconds that every answer takes."""
    latency_jitter: float = attrs.field(default=0.0, validator=number(0, 3600))
    """Up to so many seconds more, drawn for each."""
    slow_seconds: float = attrs.field(default=5.0, validator=number(0, 3600))
    """Seconds more that a ``slow`` answer takes."""
    late_seconds: float = attrs.field(default=1.0, validator=number(0, 3600))
    """Seconds after which a ``lost_late`` request does what it does."""
    retry_after: float = attrs.field(default=1.0, validator=number(0, 86400))
    """Seconds that a ``rate_limit`` asks to wait."""
    listed_after: int = attrs.field(default=0, validator=whole(0))
    """How many listings miss a new file or job."""
    listed_after_seconds: float = attrs.field(default=0.0, validator=number(0, 1e6))
    """For how long listings miss a new file or job."""
    duplicated_listings: bool = False
    """Whether every entry of a listing is there twice."""
    training_not_available: bool = False
    """Whether no job can be created, with a 403."""
    failing: Mapping[str, str] = attrs.field(factory=dict, converter=text_map)
    """Why jobs fail, by their suffix or by any value of their metadata."""
    failing_share: float = attrs.field(default=0.0, validator=number(0, 1))
    """The share of jobs that fail besides; which ones is drawn by training file and seed."""
    blocked: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """Texts; a prompt that holds one is answered by the content filter."""
    blocked_training: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """Texts; a job whose training file holds one fails, blocked by moderation."""

    def befalling(self, call: Call, so_far: Counter[str]) -> str | None:
        """The fault of a request, where there is one; ``so_far`` counts it already."""
        for place in self.at:
            count = so_far[place.route] if place.route else call.number
            if place.route in (None, call.route) and place.number == count:
                return place.fault
        if not self.shares or (self.routes and call.route not in self.routes):
            return None
        draw = random.Random(f"{self.seed}/{call.number}").random()
        for kind, share in self.shares.items():
            draw -= share
            if draw < 0:
                return kind
        return None

    def delay(self, call: Call) -> float:
        """Seconds that the answer to a request takes."""
        if not self.latency_jitter:
            return self.latency
        draw = random.Random(f"{self.seed}/delay/{call.number}").random()
        return self.latency + draw * self.latency_jitter


def refused_by(fault: str, faults: ServerFaults) -> ApiError | None:
    """What the vendor answers where a fault is an answer of its own."""
    if fault in ("rate_limit", "rate_limit_silent"):
        after = {"retry-after": f"{faults.retry_after:g}"} if fault == "rate_limit" else {}
        message = "Rate limit reached for requests. Please try again later."
        return ApiError(429, message, type_="requests", code="rate_limit_exceeded", headers=after)
    if fault == "insufficient_quota":
        message = "You exceeded your current quota, please check your plan and billing details."
        return ApiError(429, message, type_=fault, code=fault)
    if fault.startswith("error_"):
        message = "The server had an error while processing your request. Sorry about that!"
        return ApiError(int(fault.removeprefix("error_")), message, type_="server_error")
    return None

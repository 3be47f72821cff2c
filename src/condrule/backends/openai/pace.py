"""How many requests may be in flight: what a provider's answers say of it. Pure.

Additive increase, multiplicative decrease: a window of answers (as many as may be in flight) adds
`GROWTH` places, and a window of refusals for want of room halves them; of a mixed window, each
counts for its share, so that a few stray failures do not bring a fast provider to a crawl. That is
the rule of DCTCP (RFC 8257). A wait that a refusal asks for is that request's own while refusals
are rare; where they are not, all requests wait.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import attrs

__all__ = ["Pace", "retry_after"]

START, GROWTH = 64, 32
RARE, RECENT = 0.2, 32  # of about the last so many answers
LONGEST_PAUSE = 60.0  # seconds for which all wait, where nobody asked for a longer wait


@attrs.define
class Pace:
    """Says when the next request may go. Times are seconds of any clock that does not go back."""

    most: int
    """Never more than this in flight."""
    in_flight: int = attrs.field(default=0, init=False)
    paused_until: float = attrs.field(default=-math.inf, init=False)
    """Nothing is sent before."""
    _places: float = attrs.field(init=False)
    _left: float = attrs.field(default=math.inf, init=False)
    """How many requests the provider said that it will take..."""
    _left_until: float = attrs.field(default=-math.inf, init=False)
    """...until then."""
    _refused: float = attrs.field(default=0.0, init=False)
    """The share of refusals that ask for a wait among the last answers, each of which weighs less
    than the one after it."""

    @_places.default
    def _first(self) -> float:
        return float(min(START, self.most))

    def places(self, now: float) -> int:
        """How many may be in flight."""
        told = max(1.0, self._left) if now < self._left_until else math.inf
        return int(min(self._places, told))

    def free(self, now: float) -> bool:
        """Whether one more request may go now."""
        return now >= self.paused_until and self.in_flight < self.places(now)

    def begin(self) -> None:
        """A request goes."""
        self.in_flight += 1

    def end(self) -> None:
        """It is over, however it ended."""
        self.in_flight -= 1

    def answered(self, now: float, headers: Mapping[str, str]) -> None:
        """An answer came: there may be room for more, unless it says how much is left."""
        self._weigh(waits=False)
        self._places = min(self.most, self._places + GROWTH / self._places)
        self._heed(now, headers)

    def crowded(self, now: float, headers: Mapping[str, str]) -> None:
        """A request was turned away for want of room (429, 503), or got no answer in time. That
        it waits itself as long as its headers ask for is its sender's affair."""
        wait = retry_after(headers)
        self._weigh(waits=wait is not None)
        self._places = max(1.0, self._places - 0.5)
        if wait is not None and self._refused > RARE:
            self.paused_until = max(self.paused_until, now + wait)
        self._heed(now, headers)

    def _weigh(self, *, waits: bool) -> None:
        self._refused += (waits - self._refused) / min(self._places, RECENT)

    def _heed(self, now: float, headers: Mapping[str, str]) -> None:
        """What the x-ratelimit headers say is left, of requests and of tokens."""
        left = _amount(headers, "x-ratelimit-remaining-requests")
        if left is None or left >= self.most:
            self._left_until = -math.inf
        else:
            reset = _seconds(headers.get("x-ratelimit-reset-requests")) or 0.0
            self._left, self._left_until = left, now + reset
        for what in ("requests", "tokens"):
            if _amount(headers, f"x-ratelimit-remaining-{what}") == 0:
                self.paused_until = max(self.paused_until, now + _refill(headers, what))


def _refill(headers: Mapping[str, str], what: str) -> float:
    """Seconds until there is room for one again: a full refill takes as long as the reset."""
    reset = _seconds(headers.get(f"x-ratelimit-reset-{what}")) or 0.0
    if what == "tokens":
        return min(reset, 1.0)  # how many the next request needs is not known here
    refill = reset / max(1.0, _amount(headers, "x-ratelimit-limit-requests") or 1.0)
    return min(refill, LONGEST_PAUSE)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """What a Retry-After header asks for, in seconds."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        amount = _amount(headers, name)
        if amount is not None:
            return amount * unit
    return None


def _amount(headers: Mapping[str, str], name: str) -> float | None:
    """A header that is a number, 0 or more. Some servers write -1 where there is no limit."""
    try:
        found = float(headers[name])
    except (KeyError, ValueError):
        return None
    return found if 0 <= found < math.inf else None


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def _seconds(duration: str | None) -> float | None:
    """A duration such as 6m0.5s or 20ms, in seconds; a plain number is one of seconds.

    >>> _seconds("1m30s"), _seconds("20ms"), _seconds("7"), _seconds("soon")
    (90.0, 0.02, 7.0, None)
    """
    if duration is None:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", duration):
        return float(duration)
    parts = _DURATION.findall(duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)

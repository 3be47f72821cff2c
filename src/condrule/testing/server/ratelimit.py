"""How many requests and tokens a minute may have, and what is left of it."""

from __future__ import annotations

import math

import attrs

from condrule.testing.server.account import ServerAccount
from condrule.testing.server.exchange import ApiError
from condrule.testing.server.settings import Api

__all__ = ["RateLimit"]

MINUTE = 60.0


@attrs.define(eq=False)
class RateLimit:
    """Counts requests for responses, and their tokens, in each minute of the clock."""

    api: Api
    account: ServerAccount
    _minute: float = -1.0
    _requests: int = 0
    _tokens_before: int = 0
    """What the account held when the minute began."""

    def take(self, now: float) -> None:
        """Count a request. Raises ApiError where the minute has no more."""
        minute = now // MINUTE
        if minute != self._minute:
            self._minute, self._requests, self._tokens_before = minute, 0, self._total
        for what, left in (("requests", self._requests_left), ("tokens", self._tokens_left)):
            if left <= 0:
                message = f"Rate limit reached for {what} per min. Please try again later."
                after = {"retry-after": f"{math.ceil(self._rest(now))}"}
                code = "rate_limit_exceeded"
                raise ApiError(429, message, type_=what, code=code, headers=after)
        self._requests += 1

    def headers(self, now: float) -> dict[str, str]:
        """What the vendor says of it beside an answer."""
        rest = f"{self._rest(now):.3f}s"
        return {
            "x-ratelimit-limit-requests": f"{self.api.requests_per_minute}",
            "x-ratelimit-limit-tokens": f"{self.api.tokens_per_minute}",
            "x-ratelimit-remaining-requests": f"{max(0, self._requests_left)}",
            "x-ratelimit-remaining-tokens": f"{max(0, self._tokens_left)}",
            "x-ratelimit-reset-requests": rest,
            "x-ratelimit-reset-tokens": rest,
        }

    def _rest(self, now: float) -> float:
        return MINUTE - now % MINUTE

    @property
    def _total(self) -> int:
        return self.account.input_tokens + self.account.output_tokens

    @property
    def _requests_left(self) -> int:
        return self.api.requests_per_minute - self._requests

    @property
    def _tokens_left(self) -> int:
        return self.api.tokens_per_minute - (self._total - self._tokens_before)

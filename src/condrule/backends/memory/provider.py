"""The provider around the models: every call goes through it, with all that befalls calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from condrule.backends.base import Query
from condrule.backends.memory.account import Account
from condrule.backends.memory.faults import Died, Faults
from condrule.backends.memory.limits import Limits
from condrule.errors import BackendError
from condrule.prices import Prices
from condrule.spending import Meter, Usage

__all__ = ["Provider"]


@attrs.frozen
class Provider:
    """Limits, faults and prices, and the account that they are charged to."""

    limits: Limits
    faults: Faults
    prices: Prices
    account: Account = attrs.field(eq=False)
    meter: Meter | None = attrs.field(default=None, eq=False)
    """Who is told of queries that are charged for."""

    @contextmanager
    def call(self) -> Iterator[None]:
        """One call of the API, with all that befalls it. Raises BackendError or Died."""
        self.account.calls += 1
        faults, call = self.faults, self.account.calls
        if faults.latency:
            faults.sleep(faults.latency)
        if call in faults.die_before:
            raise Died(f"before call {call}")
        if call in faults.lost_before:
            raise BackendError(f"call {call} to the in-memory provider failed: connection refused")
        yield
        if call in faults.die_after:
            raise Died(f"after call {call}")
        if call in faults.lost_after:
            raise BackendError(f"call {call} to the in-memory provider got no answer: timeout")

    @contextmanager
    def metered(self, most_of: Callable[[], Usage]) -> Iterator[list[Usage]]:
        """Around a query, which puts what it was charged for into the list."""
        used: list[Usage] = []
        if self.meter is None:
            yield used
            return
        most = most_of()
        self.meter.sending(most)
        lost = True
        try:
            yield used
            lost = False
        finally:
            self.meter.ended(most, None if lost else sum(used, Usage()))

    def refusal(self, query: Query) -> str | None:
        """Why a query is not answered, or None where it is."""
        return self.faults.refusal(query) or self.limits.refusal(query)

"""Lets requests through at a pace: those that have to wait are let through in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from condrule.backends.openai.pace import Pace

__all__ = ["Gate"]


@attrs.define(eq=False)
class Gate:
    """For the requests of one event loop. What they learn is told to ``pace``."""

    pace: Pace
    _waiting: deque[asyncio.Future[None]] = attrs.field(factory=deque, init=False)
    _timer: asyncio.TimerHandle | None = attrs.field(default=None, init=False)

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Wait until a request may go; inside the block, it is in flight."""
        await self._enter()
        try:
            yield
        finally:
            self.pace.end()
            self._let_through()

    @property
    def now(self) -> float:
        """Seconds of the loop's clock, by which ``pace`` is kept."""
        return asyncio.get_running_loop().time()

    async def _enter(self) -> None:
        if not self._waiting and self.pace.free(self.now):
            self.pace.begin()
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._let_through()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn came too late
                self.pace.end()
                self._let_through()
            raise

    def _let_through(self) -> None:
        while self._waiting and (self._waiting[0].done() or self.pace.free(self.now)):
            turn = self._waiting.popleft()
            if not turn.done():
                self.pace.begin()
                turn.set_result(None)
        self._set_timer()

    def _set_timer(self) -> None:
        """Look again when a pause ends: no request may be in flight whose end would do it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and self.now < self.pace.paused_until:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self.pace.paused_until, self._let_through)

"""Lets requests through at a pace: those that have to wait are let through in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AbstractAsyncContextManager

import attrs

from condrule.backends.openai.pace import Pace

__all__ = ["Gate"]


@attrs.define(eq=False)
class Gate:
    """For the requests of one event loop. What they learn is told to ``pace``."""

    pace: Pace
    _waiting: deque[asyncio.Future[None]] = attrs.field(factory=deque, init=False)
    _timer: asyncio.TimerHandle | None = attrs.field(default=None, init=False)

    def passed(self) -> AbstractAsyncContextManager[None]:
        """Wait until a request may go; inside the block, it is in flight."""
        return _Passage(self)

    @property
    def now(self) -> float:
        """Seconds of the loop's clock, by which ``pace`` is kept."""
        return asyncio.get_running_loop().time()

    async def enter(self) -> None:
        """Wait until a request may go, and count it as in flight."""
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

    def leave(self) -> None:
        """It is in flight no longer."""
        self.pace.end()
        self._let_through()

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


@attrs.frozen
class _Passage(AbstractAsyncContextManager[None]):
    # Not a generator's context, which takes several times as long.
    gate: Gate

    async def __aenter__(self) -> None:
        await self.gate.enter()

    async def __aexit__(self, *error: object) -> None:
        self.gate.leave()

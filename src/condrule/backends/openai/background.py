"""Asynchronous work for callers that are synchronous: on a loop and in a thread of its own.

So it works inside a running event loop too, as in a notebook, and Ctrl-C ends it. The work and its
caller take turns: two threads that compute at once would only wait for each other's interpreter
lock, at every system call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import attrs

__all__ = ["Tell", "call", "stream"]

T = TypeVar("T")
Tell = Callable[[Any], None]
WAITING = 256  # results that may wait to be taken
TURN = 0.01  # seconds for which results are gathered before they are handed over


def call(work: Callable[[], Awaitable[T]]) -> T:
    """What the work returns, or raises."""

    async def tell_result(tell: Tell) -> None:
        tell(await work())

    (result,) = stream(tell_result)
    return result  # type: ignore[no-any-return]


def stream(work: Callable[[Tell], Awaitable[None]]) -> Iterator[Any]:
    """What the work tells, as it is told; then raises what the work raises, if it does.

    While a result is not taken, the work stands still: it is done no faster than they are.
    """
    turns = _Turns(work)
    with ThreadPoolExecutor(1, "condrule") as thread:
        try:
            while told := thread.submit(turns.take).result():
                yield from told
            turns.task.result()
        finally:
            turns.stop()
            thread.submit(turns.close).result()


@attrs.define(eq=False)
class _Turns:
    """Work on an event loop that runs only while its results are waited for."""

    work: Callable[[Tell], Awaitable[None]]
    runner: asyncio.Runner = attrs.field(
        factory=lambda: asyncio.Runner(loop_factory=asyncio.new_event_loop), init=False
    )
    task: asyncio.Task[None] = attrs.field(init=False)
    _told: list[Any] = attrs.field(factory=list, init=False)
    _turn: asyncio.TimerHandle | None = attrs.field(default=None, init=False)
    _closing: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        async def working() -> None:
            await self.work(self._tell)

        self.task = self._loop.create_task(working())
        self.task.add_done_callback(lambda _: self._end_turn())

    def take(self) -> list[Any]:
        """The next results; none when the work has ended."""
        if not self.task.done():
            self._loop.run_forever()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        told, self._told = self._told, []
        return told

    def stop(self) -> None:
        """Let the work end soon, and with it a turn that is being taken in another thread."""
        self._loop.call_soon_threadsafe(self.task.cancel)

    def close(self) -> None:
        """Wait until nothing is running any more."""
        self._closing = True  # the end of a turn that is still to come must not end the waiting
        self.runner.close()

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return self.runner.get_loop()

    def _tell(self, one: Any) -> None:
        self._told.append(one)
        if self._turn is None:
            self._turn = self._loop.call_later(TURN, self._end_turn)
        elif len(self._told) >= WAITING:
            self._end_turn()

    def _end_turn(self) -> None:
        if not self._closing:
            self._loop.stop()

"""Asynchronous work in a thread of its own, for callers that are synchronous.

So it works inside a running event loop too, as in a notebook, and Ctrl-C ends it.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import attrs

__all__ = ["Tell", "call", "stream"]

T = TypeVar("T")
Tell = Callable[[Any], None]
_END = object()
WAITING = 256  # results that may wait to be taken


def call(work: Callable[[], Awaitable[T]]) -> T:
    """What the work returns, or raises."""

    async def tell_result(tell: Tell) -> None:
        tell(await work())

    (result,) = stream(tell_result)
    return result  # type: ignore[no-any-return]


def stream(work: Callable[[Tell], Awaitable[None]]) -> Iterator[Any]:
    """What the work tells, as it is told; then raises what the work raises, if it does."""
    told: queue.Queue[Any] = queue.Queue(WAITING)
    running = _Running(work, told)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        while (one := told.get()) is not _END:
            if isinstance(one, _Raised):
                raise one.error
            yield one
    finally:
        running.stop()
        thread.join()


@attrs.frozen
class _Raised:
    error: BaseException


@attrs.define
class _Running:
    """Work on an event loop, which another thread may stop."""

    work: Callable[[Tell], Awaitable[None]]
    told: queue.Queue[Any]
    _loop: asyncio.AbstractEventLoop | None = None
    _task: asyncio.Task[None] | None = None
    _stopped: bool = False

    def run(self) -> None:
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised where the answers are read
            self.tell(_Raised(error))
        self.tell(_END)

    def stop(self) -> None:
        self._stopped = True
        if self._loop and self._task:
            try:
                self._loop.call_soon_threadsafe(self._task.cancel)
            except RuntimeError:  # it has ended and its loop is closed
                return

    def tell(self, one: Any) -> None:
        """Wait until there is room: work is done no faster than its results are taken."""
        waiting = True
        while waiting and not self._stopped:
            with suppress(queue.Full):
                self.told.put(one, timeout=0.1)
                waiting = False

    async def _main(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if not self._stopped:
            await self.work(self.tell)

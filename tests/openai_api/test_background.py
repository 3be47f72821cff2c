"""Work on an event loop of its own, for callers that are synchronous."""

from __future__ import annotations

import asyncio
import time

import pytest

from condrule.backends.openai.background import WAITING, Tell, stream


@pytest.mark.parametrize("count", [0, 1, WAITING - 1, WAITING, WAITING + 1, 2 * WAITING])
def test_work_may_end_with_the_turn(count: int) -> None:
    """All results come, and the loop is closed in peace, its threads too."""

    async def work(tell: Tell) -> None:
        await asyncio.to_thread(time.sleep, 0)
        for number in range(count):
            tell(number)

    assert [*range(count)] == list(stream(work))


def test_work_may_tell_more_when_nobody_listens() -> None:
    """It is ended, and may say so."""

    async def work(tell: Tell) -> None:
        await asyncio.to_thread(time.sleep, 0)
        try:
            tell("first")
            await asyncio.sleep(60)
        finally:
            for number in range(2 * WAITING):
                tell(number)
            await asyncio.to_thread(time.sleep, 0.05)

    results = stream(work)
    assert "first" == next(results)
    results.close()  # type: ignore[attr-defined]

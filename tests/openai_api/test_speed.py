"""Many requests at once, over real sockets: under limits, stopped midway, and with TLS."""

from __future__ import annotations

import asyncio
import gc
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

import condrule
from condrule import Draws, TopLogprobs
from condrule.backends.openai.gate import Gate
from condrule.backends.openai.keys import Secret
from condrule.backends.openai.pace import Pace
from condrule.testing.server import Place, ServerFaults
from condrule.testing.server.settings import Api

from . import world

PROMPT = world.PROMPTS[0]


def queries(count: int) -> list[Any]:
    """Questions that are all different."""
    return [Draws(PROMPT, seed=seed) for seed in range(count)]


def test_a_limit_per_minute_is_kept_to_and_all_is_answered() -> None:
    """When a minute has no more, all wait for the next, and few have been turned away by then."""
    begun: list[float] = []

    def clock() -> float:
        passed = time.monotonic() - begun[0] if begun else 0.0
        return 58.5 + passed  # the first minute has a second and a half

    api, faults = Api(requests_per_minute=100), ServerFaults(latency=0.02)
    with world.serving(api=api, faults=faults, clock=clock) as (running, backend):
        begun.append(time.monotonic())
        assert 150 == len(list(backend.model(world.MODEL).ask(queries(150))))
        assert (150, True) == (
            running.account.statuses[200],
            running.account.statuses[429] < 20,
        )


def held_up(refused: range, wait: float) -> tuple[float, int]:
    """The longest time in which no request arrives where these are refused with Retry-After, and
    how often the server looks at its clock after it: a few times for each request."""
    arrived: list[float] = []

    def clock() -> float:
        arrived.append(time.monotonic())
        return time.time()

    faults = ServerFaults(
        at=[Place("rate_limit", number) for number in refused], retry_after=wait, latency=0.02
    )
    with world.serving(faults=faults, clock=clock) as (_, backend):
        assert 150 == len(list(backend.model(world.MODEL).ask(queries(150))))
    gaps = [later - earlier for earlier, later in pairwise(arrived)]
    return max(gaps), len(gaps) - gaps.index(max(gaps))


def test_all_pause_where_the_provider_asks_to_wait() -> None:
    """Nothing arrives between answers with Retry-After and the end of it, if there are many."""
    longest, after = held_up(range(40, 60), 2.0)
    assert longest >= 1.0  # the rest is for a machine that is busy with other things
    assert after > 60


def test_a_request_that_is_asked_to_wait_does() -> None:
    """And does not hold up the others, if it is the only one."""
    longest, after = held_up(range(40, 41), 1.5)
    assert longest >= 0.5
    assert after < 5


def test_faults_change_no_answer() -> None:
    """One in five requests goes wrong, in whichever way."""
    shares = dict.fromkeys(
        ["rate_limit_silent", "error_500", "error_503", "lost_before", "lost_after", "truncated"],
        0.033,
    )
    asked = [TopLogprobs(prompt) for prompt in world.PROMPTS]
    with world.serving() as (_, backend):
        calm = {one.query: one for one in backend.model(world.MODEL).ask(asked)}
    with world.serving(faults=ServerFaults(shares=shares)) as (running, backend):
        rough = {one.query: one for one in backend.model(world.MODEL).ask(asked)}
        assert sum(running.account.faults.values()) > 0
    assert calm == rough


@pytest.fixture
def slow() -> Iterator[Any]:
    """A backend whose server takes half a minute."""
    with world.serving(faults=ServerFaults(latency=30.0)) as (_, backend):
        yield backend


def test_ctrl_c_stops_promptly_and_leaves_nothing_running(slow: Any) -> None:
    """No thread, and no warning of what was left open."""
    threads = threading.active_count()
    timer = threading.Timer(0.5, signal_main)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(slow.model(world.MODEL).ask(queries(100)))
    assert time.monotonic() - begun < 5
    timer.join()
    gc.collect()
    assert threads == threading.active_count()


def signal_main() -> None:
    """What Ctrl-C does."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_taking_no_more_stops_the_work(backend: Any) -> None:
    """What was begun is ended, and no thread stays."""
    threads = threading.active_count()
    answers = iter(backend.model(world.MODEL).ask(queries(300)))
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    gc.collect()
    assert threads == threading.active_count()


def test_many_are_asked_inside_a_running_loop(backend: Any) -> None:
    """As in a notebook."""

    async def cell() -> int:
        return len(list(backend.model(world.MODEL).ask(queries(100))))

    assert 100 == asyncio.run(cell())


def test_certificates_are_verified() -> None:
    """Whom the one who reads certificates does not trust is not spoken to."""
    backend = condrule.OpenAIBackend("a", base_url="https://127.0.0.1:1/v1")
    client = backend._client(Secret(world.KEY, "X"), 1.0)
    context = client._client._transport.ssl_context  # type: ignore[attr-defined]
    assert (ssl.CERT_REQUIRED, True) == (context.verify_mode, context.check_hostname)
    other = backend._client(Secret(world.KEY, "X"), 1.0)
    assert context is other._client._transport.ssl_context  # type: ignore[attr-defined]


def test_requests_go_in_the_order_in_which_they_came() -> None:
    """And one that is given up while it waits gives its place to the next."""

    async def main() -> list[int]:
        gate, went = Gate(Pace(1)), []

        async def one(number: int) -> None:
            async with gate.passed():
                went.append(number)
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(one(number)) for number in range(5)]
        await asyncio.sleep(0.001)
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert 0 == gate.pace.in_flight
        return went

    assert [0, 1, 3, 4] == asyncio.run(main())

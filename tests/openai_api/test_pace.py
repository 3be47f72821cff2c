"""How many requests may be in flight follows what the provider's answers say."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule.backends.openai.pace import START, Pace, retry_after

HEADERS: Any = st.dictionaries(
    st.sampled_from(
        [
            "retry-after",
            "retry-after-ms",
            *(
                f"x-ratelimit-{what}-{of}"
                for what in ("limit", "remaining", "reset")
                for of in ("requests", "tokens")
            ),
        ]
    ),
    st.sampled_from(["0", "1", "17", "1.5", "-3", "20ms", "6m0s", "1h", "nan", "inf", "soon", ""]),
)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["answered", "crowded"]), st.floats(0, 10), HEADERS), max_size=60
)


def told(pace: Pace, events: list[tuple[str, float, dict[str, str]]]) -> float:
    """Tell a pace of these events, each so long after the one before; when the last was."""
    now = 0.0
    for kind, later, headers in events:
        now += later
        getattr(pace, kind)(now, headers)
    return now


@given(st.integers(1, 300), EVENTS)
def test_there_are_never_more_than_the_most_and_always_one(most: int, events: Any) -> None:
    """Whatever a provider says, in whatever form."""
    pace = Pace(most)
    now = told(pace, events)
    assert 1 <= pace.places(now) <= most


@given(EVENTS)
def test_every_pause_ends(events: Any) -> None:
    """It is finite, and then a request may go."""
    pace = Pace(100)
    told(pace, events)
    assert pace.paused_until < math.inf
    assert pace.free(max(0.0, pace.paused_until))


@given(EVENTS, st.floats(0, 100))
def test_where_refusals_are_many_nothing_goes_before_retry_after_is_over(
    events: Any, wait: float
) -> None:
    """Whatever else was said before, and however much room there is."""
    pace = Pace(100)
    now = told(pace, events)
    for _ in range(30):
        pace.crowded(now, {"retry-after": repr(wait)})
    assert pace.paused_until >= now + wait
    assert not pace.free(math.nextafter(now + wait, 0.0)) or wait == 0


def test_a_rare_refusal_does_not_hold_up_the_others() -> None:
    """One in fifty: the request that was refused waits, as its own headers ask."""
    pace = Pace(256)
    for number in range(2000):
        if number % 50 == 0:
            pace.crowded(0.0, {"retry-after": "60"})
        else:
            pace.answered(0.0, {})
    assert pace.free(0.0)


@given(st.integers(1, 300), st.integers(0, 300))
def test_no_more_begin_than_there_are_places(most: int, wanted: int) -> None:
    """A place is taken by each that goes, and given back when it is over."""
    pace = Pace(most)
    begun = 0
    for _ in range(wanted):
        if pace.free(0.0):
            pace.begin()
            begun += 1
    assert min(wanted, most, START) == begun == pace.in_flight
    for _ in range(begun):
        pace.end()
    assert 0 == pace.in_flight


def test_a_window_of_answers_adds_and_one_of_refusals_halves() -> None:
    """Additive increase, multiplicative decrease."""
    pace = Pace(1000)
    for _ in range(START):
        pace.answered(0.0, {})
    grown = pace.places(0.0)
    assert START + 20 < grown <= START + 32
    for _ in range(grown):
        pace.crowded(0.0, {})
    assert pytest.approx(grown / 2, abs=1) == pace.places(0.0)


def test_a_few_stray_failures_do_not_slow_a_fast_provider() -> None:
    """One in ten turned away: it is still asked with many at once."""
    pace = Pace(256)
    for number in range(2000):
        (pace.crowded if number % 10 == 0 else pace.answered)(0.0, {})
    assert pace.places(0.0) > START


def test_no_more_are_in_flight_than_are_left() -> None:
    """Until the time for which it was said is over."""
    pace = Pace(100)
    said = {"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "1m30s"}
    pace.answered(10.0, said)
    assert (5, 64) == (pace.places(99.0), pace.places(101.0))


def test_where_none_are_left_the_next_goes_when_there_is_one() -> None:
    """A full refill takes the whole reset, and one of 600 a 600th of it."""
    pace = Pace(100)
    none = {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "60s",
    }
    pace.answered(10.0, none)
    assert pytest.approx(10.1) == pace.paused_until


def test_milliseconds_come_before_seconds() -> None:
    """The more exact of two headers is heeded; words are not."""
    both = {"retry-after": "1", "retry-after-ms": "250"}
    assert (0.25, 1.0, None, None) == (
        retry_after(both),
        retry_after({"retry-after": "1"}),
        retry_after({"retry-after": "soon"}),
        retry_after({}),
    )

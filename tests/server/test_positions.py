"""Positions: whatever the responses, their tokens' probabilities are those of the responses."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule.testing.server.positions import END, FLOOR, Position, Sampling

TOKENS = st.integers(0, 4)
RESPONSES = st.dictionaries(
    st.lists(TOKENS, max_size=4).map(tuple), st.floats(1e-6, 1), min_size=1, max_size=8
)
BIASES = st.dictionaries(TOKENS, st.floats(-100, 100), max_size=3)


def along(position: Position, tokens: tuple[int, ...]) -> float:
    """The log-probability of a response, its end included."""
    total = 0.0
    for token in (*tokens, END):
        total += position.logprob(token)
        position = position.after(token)
    return total


@given(RESPONSES)
def test_tokens_multiply_to_their_response(responses: dict[tuple[int, ...], float]) -> None:
    """Its own share of all that can be said, whatever it shares with others."""
    start, whole = Position.of(responses.items()), math.fsum(responses.values())
    for tokens, probability in responses.items():
        assert math.log(probability / whole) == pytest.approx(along(start, tokens), abs=1e-9)


@given(RESPONSES, BIASES)
def test_a_bias_multiplies_odds(
    responses: dict[tuple[int, ...], float], bias: dict[int, float]
) -> None:
    """Every probability by e^b, then all to add up to 1; the likeliest stays first."""
    plain = Position.of(responses.items())
    tilted = plain.tilted(bias)
    logits = [
        max(plain.logprob(token), FLOOR) + bias.get(token, 0) for token in tilted.ids.tolist()
    ]
    assert logits - np.logaddexp.reduce(logits) == pytest.approx(tilted.logprobs, abs=1e-9)
    assert sorted(tilted.logprobs, reverse=True) == tilted.logprobs.tolist()


@given(RESPONSES, st.lists(st.integers(5, 9), unique=True, min_size=1))
def test_spare_tokens_share_what_is_left(
    responses: dict[tuple[int, ...], float], spare: list[int]
) -> None:
    """Each has its own probability, and is a response of its own."""
    start = Position.of(responses.items(), spare, 0.5)
    assert 1 == pytest.approx(np.exp(start.logprobs).sum())
    assert 1 == len({start.logprob(token) for token in spare})
    assert [END] == start.after(spare[0]).ids.tolist()


@given(RESPONSES, st.floats(-100, 100))
def test_a_token_that_begins_nothing_takes_nobodys_place(
    responses: dict[tuple[int, ...], float], nats: float
) -> None:
    """It has next to no probability of its own, and those of the others keep their odds."""
    start = Position.of(responses.items(), [7], 0.5)
    tilted = start.tilted({99: nats})
    assert {99, *start.ids.tolist()} == set(tilted.ids.tolist())
    for token in start.ids.tolist():
        odds = tilted.logprob(99) - tilted.logprob(token)
        assert odds == pytest.approx(FLOOR + nats - start.logprob(token), abs=1e-6)


@given(RESPONSES, st.floats(0.05, 2), st.floats(0, 1), st.integers())
def test_only_what_can_come_is_drawn(
    responses: dict[tuple[int, ...], float], temperature: float, top_p: float, seed: int
) -> None:
    """And the likeliest always can."""
    start = Position.of(responses.items())
    sampling = Sampling(temperature, top_p)
    drawn = {sampling.draw(start, random.Random(f"{seed}/{n}")) for n in range(20)}
    assert drawn <= set(start.ids.tolist())
    assert start.ids[0] == Sampling(0.0).draw(start, random.Random(seed))

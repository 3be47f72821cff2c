"""The toy tokenizer loses nothing, and biased distributions are what the softmax makes of them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule.backends.memory.tokens import (
    first_tokens,
    join,
    split,
    tilted,
    token_bytes,
    token_id,
)

PIECES = st.none() | st.integers(1, 9)


@given(st.text(), PIECES)
def test_tokens_spell_the_text(text: str, piece: int | None) -> None:
    """White space and letters of many bytes included."""
    assert text == join(split(text, piece))


@given(st.text(), PIECES)
def test_ids_tell_their_tokens(text: str, piece: int | None) -> None:
    """Without a vocabulary."""
    tokens = split(text, piece)
    assert tokens == tuple(token_bytes(token_id(token)) for token in tokens)


@pytest.mark.parametrize("number", [-1, 0, 1, 255, 0x0241])
def test_other_numbers_are_no_tokens(number: int) -> None:
    """A one, then at least one byte."""
    with pytest.raises(ValueError, match=f"{number} is no token's number"):
        token_bytes(number)


def test_every_word_but_the_first_has_its_space() -> None:
    """As byte-pair tokenizers do it."""
    assert (b"Saint", b" Vincent", b" and") == split("Saint Vincent and")


def test_a_letter_may_be_split() -> None:
    """A piece of one reads as a replacement character."""
    assert ["\N{REPLACEMENT CHARACTER}"] * 2 == [join([token]) for token in split("é", 1)]


PROBABILITIES = st.dictionaries(
    st.lists(st.sampled_from([b"a", b" b", b" c"]), max_size=3).map(tuple),
    st.floats(1e-9, 1),
    min_size=1,
    max_size=8,
).map(lambda masses: {tokens: p / math.fsum(masses.values()) for tokens, p in masses.items()})
BIASES = st.dictionaries(st.sampled_from([b"a", b" b", b" c", b"x"]), st.floats(-100, 100))
TEMPERATURES = st.sampled_from([0.0, 0.5, 1.0, 2.0])


@given(PROBABILITIES)
def test_no_bias_changes_nothing(responses: dict[tuple[bytes, ...], float]) -> None:
    """The chain rule: token by token is the same as at once."""
    assert pytest.approx(responses) == tilted(responses, {})


@given(PROBABILITIES, BIASES, TEMPERATURES)
def test_biased_probabilities_add_up(
    responses: dict[tuple[bytes, ...], float], bias: dict[bytes, float], temperature: float
) -> None:
    """Whatever the bias and the temperature, and no response comes out of nothing."""
    found = tilted(responses, bias, temperature)
    assert (pytest.approx(1), True) == (math.fsum(found.values()), found.keys() <= set(responses))


@given(PROBABILITIES, st.floats(-20, 20))
def test_one_biased_token_moves_its_logit(
    responses: dict[tuple[bytes, ...], float], nats: float
) -> None:
    """Odds of beginning with it times e to the bias."""
    p = first_tokens(responses).get(b"a", 0.0)
    found = first_tokens(tilted(responses, {b"a": nats})).get(b"a", 0.0)
    expected = p * math.exp(nats) / (1 - p + p * math.exp(nats))
    assert pytest.approx(expected, rel=1e-6, abs=1e-12) == found


def test_a_bias_acts_at_every_position_by_hand() -> None:
    """After "a": " b" with 0.3 e^1 against the end with 0.6."""
    responses = {(b"a",): 0.6, (b"a", b" b"): 0.3, (b"c",): 0.1}
    share = 0.3 * math.e / (0.6 + 0.3 * math.e)
    assert pytest.approx(0.9 * share) == tilted(responses, {b" b": 1.0})[b"a", b" b"]


def test_temperature_divides_biased_logits_by_hand() -> None:
    """At 0.5, odds of 2 to 1 times e are squared."""
    responses = {(b"a",): 2 / 3, (b"b",): 1 / 3}
    odds = (2 * math.e) ** 2
    assert pytest.approx(odds / (1 + odds)) == tilted(responses, {b"a": 1.0}, 0.5)[(b"a",)]


def test_temperature_0_keeps_the_best_under_the_bias() -> None:
    """Greedily, token by token."""
    responses = {(b"a",): 0.6, (b"b",): 0.4}
    assert {(b"b",): 1.0} == {t: p for t, p in tilted(responses, {b"b": 1.0}, 0).items() if p}

"""Which tokens are biased for an answer."""

from __future__ import annotations

import pytest

from condrule.backends.memory.tokens import likeliest, without_tail
from condrule.encodings import find_vocabulary, get_encoding
from condrule.scorers.aiming import Aim, aim


def test_all_that_an_answer_can_begin_with() -> None:
    """Whole answers and parts of them, with a space before them and without, in the encoding."""
    found = aim(("Paris",), "o200k_base")
    assert {b"P", b"Par", b" P", b" Par"} <= found.parts.keys()
    assert {b"Paris", b" Paris"} <= found.whole.keys()
    encoding = get_encoding("o200k_base")
    assert all(encoding.spelled(id) == token for token, id in (found.whole | found.parts).items())


def test_whitespace_alone_is_never_biased() -> None:
    """It begins everything."""
    tokens = [*aim(("Paris", " "), "o200k_base").ids]
    assert tokens
    assert all(get_encoding("o200k_base").spelled(token).strip() for token in tokens)


def test_a_token_that_runs_past_the_answer_begins_with_it() -> None:
    """Nigeria counts as Niger under *begins*, in a vocabulary and among the texts of a probe."""
    assert b" Nigeria" in aim(("Niger",), "o200k_base").whole
    assert {b"Niger", b"Nigeria"} <= aim(("Niger",), "memory", frozenset({"Nigeria"})).whole.keys()


def test_canonical_answers_have_no_other_parts() -> None:
    """One token of the encoding is the whole answer; of several there is the first."""
    assert {} == aim(("Paris",), "o200k_base", canonical=True).parts
    assert b"Port" in aim(("Port Louis",), "o200k_base", canonical=True).parts


def test_part_of_a_letter_can_not_be_told_from_another() -> None:
    """So hits on it decide nothing."""
    assert b"" == aim(("Île",), "o200k_base").tokens["\ufffd"]
    assert b"" not in aim(("Paris",), "o200k_base").tokens.values()


def test_tokens_are_told_by_their_text() -> None:
    """Whole answers and parts of them; without one of them, it is a miss."""
    found = Aim({b"Paris": 1}, {b"Par": 2})
    assert {"Paris": b"Paris", "Par": b"Par"} == found.tokens
    assert ({"Paris"}, (1,)) == (set(found.without([b"Par"]).tokens), found.without([b"Par"]).ids)


@pytest.mark.parametrize("name", ["", "p50k_base", "memory/0", "memory/x", "other"])
def test_other_vocabularies_are_not_known(name: str) -> None:
    """And nothing is biased for them."""
    assert find_vocabulary(name) is None
    assert () == aim(("Paris",), name).ids


def test_the_tail_is_cut_by_first_tokens() -> None:
    """Responses that begin alike stay together, and those without a name stay."""
    responses = {(b"a", b"x"): 0.02, (b"a", b"y"): 0.03, (b"b",): 0.04, (): 0.01, (b"c",): 0.9}
    assert {(b"a", b"x"), (b"a", b"y"), (), (b"c",)} == without_tail(responses, 0.045).keys()
    assert {(b"c",)} == likeliest(responses, 0.5).keys()
    assert {(b"c",), (b"a", b"x"), (b"a", b"y")} == likeliest(responses, 0.92).keys()
    assert responses == likeliest(responses, 1.0)

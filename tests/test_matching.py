"""What a list of first tokens says of an answer: its truth always lies in the bounds."""

import functools
import math

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from condrule.backends.base import Token
from condrule.encodings import get_encoding
from condrule.evidence import UNKNOWN
from condrule.scorers.matching import bounds, gives

VOCABULARY = [
    " ",
    "\n",
    "",
    "P",
    "Pa",
    "Par",
    "Paris",
    " Par",
    " Paris",
    " Parma",
    "Pam",
    "London",
    "is",
    "é",
]
"""Tokens that are whole answers, parts of one, parts of two, whitespace, and others."""
STARTS = {"Par": (0.6, "Paris"), " Par": (0.5, "Paris"), "Pa": (0.1, "Paris"), "P": (0.2, "Paris")}
"""How probable it is that a response that begins with this token goes on to be the answer."""


def token(text: str, probability: float) -> Token:
    """One line of a list."""
    return Token(text, math.log(probability))


def ends(
    listed: list[Token], *spelled: str, band: float = 0.0, event: str = "begins"
) -> list[float]:
    """The bounds as probabilities."""
    found = bounds(listed, spelled or ("Paris",), event, band)  # type: ignore[arg-type]
    return [math.exp(end) for end in found.support]


@st.composite
def models(draw: st.DrawFn) -> dict[str, float]:
    """A distribution of first tokens over more than is ever listed, from even to very uneven."""
    weights = draw(
        st.lists(st.floats(-25, 5), min_size=len(VOCABULARY) + 5, max_size=len(VOCABULARY) + 5)
    )
    shares = np.exp(weights) / np.exp(weights).sum()
    names = [*VOCABULARY, *(f"other{i}" for i in range(5))]
    return dict(zip(names, map(float, shares), strict=True))


@given(models(), st.integers(1, 20), st.sampled_from([0.0, 0.01, 0.1]), st.data())
def test_the_truth_lies_in_its_bounds(
    model: dict[str, float], k: int, band: float, data: st.DataObject
) -> None:
    """However short the list is, and whichever way each line is off by up to the band."""
    truth = sum(model[t] for t in ("Paris", " Paris"))
    truth += sum(model[start] * share for start, (share, _) in STARTS.items())
    top = sorted(model, key=lambda name: -model[name])[:k]
    noise = data.draw(st.lists(st.floats(-band, band), min_size=len(top), max_size=len(top)))
    listed = [Token(t, min(0.0, math.log(model[t]) + e)) for t, e in zip(top, noise, strict=True)]
    low, high = ends(listed, band=band)
    assert low <= truth + 1e-12
    assert truth <= high + 1e-12


@given(models(), st.integers(1, 18))
def test_a_longer_list_never_widens_a_bound(model: dict[str, float], k: int) -> None:
    """What the next line adds is known more exactly than before, as long as something is left."""
    ordered = sorted(model, key=lambda name: -model[name])
    assume(sum(model[name] for name in ordered[: k + 1]) < 1 - 1e-9)
    shorter, longer = ([token(t, model[t]) for t in ordered[:n]] for n in (k, k + 1))
    assert ends(longer)[0] >= ends(shorter)[0] - 1e-12
    assert ends(longer)[1] <= ends(shorter)[1] + 1e-12


def test_an_answer_in_one_token_is_known_but_for_what_is_not_listed() -> None:
    """Both ways to write the token are added up."""
    listed = [token("Paris", 0.5), token(" Paris", 0.3), token("London", 1e-6)]
    assert ends(listed) == pytest.approx([0.8, 0.8], abs=1e-4)


@pytest.mark.parametrize("space", [" ", "\n", "\t\n", ""])
def test_whitespace_alone_is_the_beginning_of_nothing(space: str) -> None:
    """A token that is stripped to nothing must not count as a beginning of every answer."""
    listed = [token(space, 0.9), token("London", 1e-9)]
    assert ends(listed)[1] < 1e-7


def test_a_token_that_begins_two_answers_counts_for_neither_for_certain() -> None:
    """A shared first token bounds both from above and none from below."""
    listed = [token("Par", 0.7), token("London", 1e-6)]
    for answer in ("Paris", "Parma"):
        low, high = ends(listed, answer)
        assert (low, high) == (0.0, pytest.approx(0.7, abs=1e-4))


def test_a_token_that_runs_past_the_answer_may_or_may_not_count() -> None:
    """Whether "Parisian" begins with Paris depends on how one reads it: the upper bound has it."""
    low, high = ends([token("Parisian", 0.4), token("London", 1e-6)])
    assert (low, high) == (0.0, pytest.approx(0.4, abs=1e-4))


def test_two_lines_with_the_same_token_are_added_up() -> None:
    """Some servers list one string twice, for two tokens."""
    low, _ = ends([token(" Paris", 0.3), token(" Paris", 0.2), token("London", 1e-6)])
    assert low == pytest.approx(0.5)


def test_a_marker_is_not_a_number() -> None:
    """-9999 says that a token is not among the listed ones."""
    listed = [token("London", 0.6), Token("Paris", -9999.0), token("Rome", 0.3)]
    assert ends(listed) == ends([token("London", 0.6), token("Rome", 0.3)])


@pytest.mark.parametrize("listed", [[], [Token("Paris", -9999.0)], [Token("Paris", math.nan)]])
def test_a_list_without_a_number_says_nothing(listed: list[Token]) -> None:
    """Unknown, never 0."""
    assert bounds(listed, ("Paris",), "begins", 0.0) == UNKNOWN


def test_a_list_shorter_than_asked_is_no_proof_of_absence() -> None:
    """What is not listed may still be as probable as the last line allows."""
    assert ends([token("London", 0.9)])[1] == pytest.approx(0.1)


def test_what_the_list_leaves_over_bounds_what_it_does_not_show() -> None:
    """Ten beginnings of at most 0.3 each, but only 0.1 is left."""
    listed = [token("London", 0.6), token("Rome", 0.3)]
    assert ends(listed)[1] == pytest.approx(0.1)


def test_what_is_left_over_is_not_used_where_rounding_could_have_made_it() -> None:
    """A list that adds up to 0.999 with a band of 0.05 leaves nothing to go by."""
    listed = [token("London", 0.989), token("Rome", 0.01)]
    assert ends(listed, band=0.05)[1] == pytest.approx(10 * 0.01 * math.exp(0.05))


def test_a_list_that_sums_past_one_never_gives_zero() -> None:
    """A top logprob printed as 0.0 leaves less than nothing over; the answer is possible still."""
    listed = [Token("London", 0.0), token("Rome", 0.05)]
    assert ends(listed, band=0.01)[1] == pytest.approx(10 * 0.05 * math.exp(0.01))


def test_a_lower_bound_gives_back_what_the_list_exceeds_one_by() -> None:
    """Printed 0.0 beside 0.05 can't be more than 0.95."""
    low, high = ends([Token(" Paris", 0.0), token("Rome", 0.05)])
    assert (low, high) == (pytest.approx(0.95), 1.0)


def test_bytes_are_read_before_text() -> None:
    """The text of a token that cuts a letter in two is a replacement character."""
    cut = Token("\ufffd", math.log(0.5), (0xC3,))
    other = Token("\ufffd", math.log(0.2), (0xE2,))
    assert ends([cut, other, token("x", 1e-6)], "Århus")[1] == pytest.approx(0.5, abs=1e-4)


def test_a_cut_letter_without_bytes_may_begin_any_answer_with_such_a_letter() -> None:
    """Where nothing tells which letter it was, it counts in the upper bound of all of them."""
    listed = [token("\ufffd", 0.5), token("x", 1e-6)]
    assert ends(listed, "Århus")[1] == pytest.approx(0.5, abs=1e-4)
    assert ends(listed, "Paris")[1] < 1e-4


@given(models(), st.integers(1, 20))
def test_the_first_token_bounds_a_whole_response_from_above_alone(
    model: dict[str, float], k: int
) -> None:
    """Under *equals* the end is not seen."""
    listed = [token(t, model[t]) for t in sorted(model, key=lambda name: -model[name])[:k]]
    begins, equals = ends(listed), ends(listed, event="equals")
    assert equals == [0.0, begins[1]]


def test_every_spelling_counts() -> None:
    """USA or United States."""
    listed = [token("USA", 0.5), token("United States", 0.3), token("x", 1e-9)]
    assert ends(listed, "United States", "USA")[0] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("response", "event", "expected"),
    [
        ("Paris", "equals", True),
        (" Paris", "equals", True),
        ("Paris.", "equals", False),
        ("Paris, France", "begins", True),
        ("The capital is Paris", "begins", False),
        ("", "begins", False),
        (" ", "begins", False),
        ("par", "begins", False),
    ],
)
def test_a_response_gives_an_answer(response: str, event: str, expected: bool) -> None:
    """From its first letter, as it is spelled, with one leading space or none."""
    assert gives(response, ("Paris", "Lutetia"), event) is expected  # type: ignore[arg-type]


REAL = "o200k_base"
PLACES = st.sampled_from(
    [
        ("Paris",),
        ("Par",),
        ("Lima",),
        ("Port Louis",),
        ("Port-au-Prince", "Port au Prince"),
        ("Reykjavík",),
        ("Côte d'Ivoire", "Ivory Coast"),
        ("東京", "Tokyo"),
        ("Київ", "Kyiv", "Kiev"),
        ("Antananarivo",),
    ]
)


@functools.cache
def begin(spelled: tuple[str, ...]) -> tuple[set[bytes], set[bytes], set[bytes]]:
    """The tokens that are an answer, that are a part of it, and that run past its end, found by a
    look at every token of the vocabulary."""
    whole = {f"{space}{text}".encode() for text in spelled for space in ("", " ")}
    every = list(get_encoding(REAL).longer(b""))
    parts = {t for t in every if t.strip() and any(w.startswith(t) and w != t for w in whole)}
    return (
        whole & set(every),
        parts - whole,
        {t for t in every if t.startswith(tuple(whole))} - whole,
    )


@st.composite
def real_models(draw: st.DrawFn) -> tuple[tuple[str, ...], dict[bytes, tuple[float, float]]]:
    """An answer, and for every token its probability and that of an answer after it.

    All tokens of the answer are possible, those of another answer, and some that begin neither.
    """
    spelled, other = draw(PLACES), draw(PLACES)
    whole, parts, past = begin(spelled)
    every = sorted({*whole, *parts, *past, *(t for some in begin(other) for t in some)})
    every += [b"London", b" ", b"\n", b"The", b"\xc3", b"\xe6"]
    every = list(dict.fromkeys(every))
    weights = np.array([draw(st.floats(-25, 5)) for _ in every])
    shares = np.exp(weights) / np.exp(weights).sum()
    after = {
        token: 1.0 if token in whole else draw(st.floats(0, 1)) if token in parts | past else 0.0
        for token in every
    }
    return spelled, {t: (float(p), after[t]) for t, p in zip(every, shares, strict=True)}


def lines(model: dict[bytes, tuple[float, float]], k: int, *, named: bool = True) -> list[Token]:
    """The likeliest tokens, with their bytes or without."""
    top = sorted(model, key=lambda token: -model[token][0])[:k]
    return [
        Token(t.decode(errors="replace"), math.log(model[t][0]), tuple(t) if named else None)
        for t in top
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(real_models(), st.integers(1, 30), st.sampled_from([0.0, 0.05]), st.booleans(), st.data())
def test_the_truth_lies_in_its_bounds_over_the_real_vocabulary(
    world: tuple[tuple[str, ...], dict[bytes, tuple[float, float]]],
    k: int,
    band: float,
    named: bool,
    data: st.DataObject,
) -> None:
    """Whichever tokens the answer begins with, split letters and those past its end included."""
    spelled, model = world
    truth = math.fsum(p * share for p, share in model.values())
    exact = lines(model, k, named=named)
    noise = data.draw(st.lists(st.floats(-band, band), min_size=len(exact), max_size=len(exact)))
    listed = [
        attrs.evolve(line, logprob=min(0.0, line.logprob + e))
        for line, e in zip(exact, noise, strict=True)
    ]
    low, high = (math.exp(end) for end in bounds(listed, spelled, "begins", band, REAL).support)
    assert low <= truth + 1e-12
    assert truth <= high + 1e-12


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PLACES)
def test_the_unlisted_tokens_of_an_answer_are_those_of_the_vocabulary(
    spelled: tuple[str, ...],
) -> None:
    """As many as a look at every token finds, each with at most the smallest listed probability."""
    high = bounds([token("London", 1e-4)], spelled, "begins", 0.0, REAL).support[1]
    count = sum(map(len, begin(spelled)))
    assert math.exp(high) == pytest.approx(count * 1e-4)


def test_a_known_encoding_narrows_the_bound_of_a_long_answer() -> None:
    """Of the 24 beginnings of Antananarivo with a space or without one, 6 are tokens."""
    listed = [token("London", 1e-4)]
    found = [
        math.exp(bounds(listed, ("Antananarivo",), "begins", 0.0, encoding).support[1])
        for encoding in ("", REAL)
    ]
    assert found == pytest.approx([24e-4, 6e-4])


def test_a_listed_token_is_not_counted_among_the_unlisted() -> None:
    """Five of the six beginnings of Antananarivo are left."""
    listed = [token("Ant", 1e-3), token("London", 1e-4)]
    high = bounds(listed, ("Antananarivo",), "begins", 0.0, REAL).support[1]
    assert math.exp(high) == pytest.approx(1e-3 + 5e-4)


def test_a_list_of_another_encoding_is_read_as_if_none_were_known() -> None:
    """A token that the vocabulary lacks says that it is not the model's."""
    listed = [token("Antananarivo", 1e-3), token("London", 1e-4)]
    found = [bounds(listed, ("Antananarivo",), "begins", 0.0, encoding) for encoding in ("", REAL)]
    assert found[0] == found[1]

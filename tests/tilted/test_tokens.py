"""Answers of several tokens of a real encoding, and two answers in the same draws."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule.backends.base import Draws, Event, Listed, Observation, Query, Token
from condrule.encodings import get_encoding
from condrule.evidence import Bounded, Sampled
from condrule.scorers.aiming import Aim
from condrule.scorers.outcomes import Drawn, Stage, outcome, together
from condrule.scorers.reading import Tree, agree

from .spoken import ENCODING, Asked, Responses, Spoken, asked, intervals

ANSWERS = {"A": "Peru", "B": "Lima"}
SAID: dict[str, Responses] = {
    "one way": {("L", "ima"): 1e-6, ("Per", "u"): 1e-7},
    "shared": {("L", "ima"): 1e-6, ("L", "ondon"): 1e-5, ("P", "eru"): 1e-5, ("P", "aris"): 3e-5},
    "mixed": {
        ("L", "ima"): 4e-7,
        ("L", "ondon"): 4e-7,
        ("Li", "ma"): 3e-7,
        ("Li", "ver", "pool"): 6e-7,
        ("Lim", "a"): 2e-7,
        (" Lima",): 1e-7,
        ("Per", "u"): 1e-7,
    },
    "astray": {
        ("L", "ondon"): 1e-4,
        ("L", "ima"): 1e-8,
        ("Lim", "a"): 1e-6,
        ("P", "aris"): 1e-3,
        ("Per", "u"): 1e-6,
    },
    "three": {
        ("L", "im", "a"): 1e-6,
        ("L", "im", "er", "ick"): 1e-6,
        ("L", "ondon"): 1e-6,
        ("P", "er", "u"): 1e-8,
        ("P", "er", "haps"): 3e-8,
    },
}


@pytest.mark.parametrize("said", SAID)
def test_intervals_hold_the_truth_at_their_rate(said: str) -> None:
    """Whatever else begins as the answers do, over several models."""
    held: list[bool] = []
    for seed in range(3):
        model = Spoken(SAID[said], seed)
        found = asked(model, ANSWERS, items=15)
        for mode, text in ANSWERS.items():
            evidence, truth = found.evidence(mode), model.truth(text)
            assert {Sampled} == {type(one) for one in evidence}
            assert all(one.support[0] <= truth <= one.support[1] for one in evidence)
            low, high = intervals(evidence).T
            held += list((low <= truth) & (truth <= high))
            assert np.median(high - low) < 2 * 0.4
    assert np.mean(held) >= 0.9


def test_what_lists_tell_is_read_and_not_drawn() -> None:
    """First tokens that are listed, and what follows them: bounds from both ends."""
    model = Spoken({("L", "ima"): 0.2, ("L", "ondon"): 0.05, ("Per", "u"): 0.5})
    found = asked(model, ANSWERS, items=3)
    for mode, text in ANSWERS.items():
        for one in found.evidence(mode):
            assert isinstance(one, Bounded)
            assert one.support[0] <= model.truth(text) <= one.support[1]
            assert one.support[1] - one.support[0] <= 0.5


@pytest.mark.parametrize("event", ["begins", "equals"])
def test_under_equals_what_goes_on_is_taken_off(event: Event) -> None:
    """A response that mostly goes on after the answer is rarely equal to it: from above."""
    model = Spoken({("L", "ima"): 1e-7, ("L", "ima", " is"): 9e-6, ("Per", "u"): 1e-6})
    found = asked(model, ANSWERS, items=5, event=event)
    highest = [intervals([one])[0][1] for one in found.evidence("B", "equals")]
    assert min(highest) >= model.truth("Lima", "equals")
    whole = model.truth("Lima")
    assert (np.median(highest) < whole - 1.5) == (event == "equals")


def test_two_answers_share_their_draws() -> None:
    """Where no token begins both."""
    both = {("L", "ima"): 1e-6, ("Per", "u"): 1e-8}
    found = asked(Spoken(both), ANSWERS, items=6)
    alone = asked(Spoken(both), {"A": "Peru", "B": "Pert"}, items=6)  # share "Per": drawn alone
    assert 2 in _biases(found)
    assert {1} == _biases(alone)


def _biases(found: Asked) -> set[int]:
    """How many different biases the large draws have."""
    large = [q for q in found.queries if isinstance(q, Draws) and q.n > 64]
    return {len({bias for _, bias in query.bias}) for query in large}


TEXTS = frozenset({b"Lima", b" Lima"})


def _tree(**lists: dict[str, float]) -> Tree:
    """Lists by what came before, in one token each."""
    made = {
        tuple([before.encode()] if before != "start" else []): tuple(
            Token(t, math.log(p), tuple(t.encode())) for t, p in tokens.items()
        )
        for before, tokens in lists.items()
    }
    return Tree(TEXTS, made, band=0.0)


@given(st.floats(0.01, 0.4), st.floats(0.01, 0.4))
def test_a_rest_that_is_listed_is_known(one: float, other: float) -> None:
    """But for unlisted tokens, each of which is as probable as the last listed one at most."""
    tree = _tree(L={"ima": one, "ondon": other, "x": 0.001})
    low, high = tree.limits((b"L",))
    assert low == pytest.approx(one)
    assert one <= high <= one + 0.003
    assert (0.0, 0.0) == tree.limits((b"Ro",))
    assert (1.0, 1.0) == tree.limits((b"Lima",)) == tree.limits((b"L", b"imas"))
    assert (0.0, 1.0) == tree.limits((b"Li",))
    assert [(1.0, (b"Li",))] == tree.unread((b"Li",))


def test_lists_that_a_bias_shows_in_are_not_believed() -> None:
    """The first list of a reading must be the first list."""
    tree = _tree(start={"yes": 0.9, "no": 0.01})
    honest = Listed((), tree.lists[()])
    tilted = Listed((), (Token("L", -0.1), Token("yes", -2.3)))
    more = Listed((b"L",), (Token("ima", -0.5),))
    told = tree.with_lists(Observation("q", texts=("L",), lists=[honest, more]))
    assert (0, True) == (told.doubted, (b"L",) in told.lists)
    told = tree.with_lists(Observation("q", texts=("L",), lists=[tilted, more]))
    assert (1, False) == (told.doubted, (b"L",) in told.lists)
    assert tree == tree.with_lists(Observation("q", texts=("L",)))
    assert not agree([], honest.top, 0.05)


@given(
    st.integers(0, 60), st.integers(0, 60), st.floats(0.02, 1.0), st.floats(0.02, 1.0), st.data()
)
def test_draws_that_do_not_count_leave_the_others(
    first: int, second: int, c1: float, c2: float, data: st.DataObject
) -> None:
    """Of the likelier way all hits count, of the other a part; misses always do."""
    misses = data.draw(st.integers(1, 60))
    rest1, rest2 = max(0.0, 1 - c1), max(0.0, 1 - c2)
    tree = _tree(L={"ima": c1, "x": max(rest1, 1e-9)}, Li={"ma": c2, "x": max(rest2, 1e-9)})
    stage = Stage(
        Aim({}, {b"L": 1, b"Li": 2}), (Drawn("q", 5, {"L": first, "Li": second, "no": misses}),)
    )
    found = outcome(stage, tree)
    (count,) = found.counts
    assert misses == count.draws - count.hits
    assert 0 <= count.hits <= first + second
    assert found.low <= found.high
    assert found.kept * math.exp(found.high) <= 1 + 1e-9  # no more than all first tokens together
    assert 0 <= found.error < math.inf


def test_without_lists_there_is_no_lower_bound() -> None:
    """The factor says so, and the counts are those of the first tokens."""
    stage = Stage(Aim({}, {b"L": 1}), (Drawn("q", 5, {"L": 10, "no": 20}),))
    found = outcome(stage, Tree(TEXTS, {}))
    assert (-math.inf, 10, 30) == (found.low, found.counts[0].hits, found.counts[0].draws)


@pytest.mark.parametrize(
    "end", [Token("", -0.01, ()), Token("<|im_end|>", -0.01), Token("</s>", -0.01, None)]
)
def test_an_end_that_is_listed_takes_nothing_from_itself(end: Token) -> None:
    """Some servers list the end of a response, as no text or by its name: it leaves the answer all
    that it has."""
    lists = {(): (Token("Lima", -3.0),), (b"Lima",): (end, Token(",", -5.0))}
    low, high = Tree(frozenset({b"Lima", b" Lima"}), lists, "equals").limits((b"Lima",))
    assert low == 0.0
    assert 0.99 < high < 1.0


def test_hits_that_lead_elsewhere_do_not_make_the_answer_impossible() -> None:
    """All that came ran past the answer's end, so none of it equals the answer; what did not come
    may."""
    aim = Aim({b"Niger": 1, b"Nigeria": 2}, {})
    drawn = Drawn("q", 10.0, {"Nigeria": 30, "other": 34})
    tree = Tree(frozenset({b"Niger", b" Niger"}), {}, "equals")
    found = outcome(Stage(aim, (drawn,), ready=True), tree)
    assert [(one.draws, one.hits) for one in found.counts] == [(34, 0)]
    assert (found.low, found.high) == (-math.inf, 0.0)


def test_what_other_stages_found_is_not_lost_where_the_main_one_counts_nothing() -> None:
    """Then nothing is said, for the main stage alone would bound the answer too low."""
    tree = Tree(frozenset({b"Niger", b" Niger"}), {(b"Niger",): ()}, "equals")
    main, other = (
        outcome(Stage(Aim({token: 1}, {}), (Drawn("q", 5.0, {shown: 30, "other": 34}),)), tree)
        for token, shown in ((b"Nigeria", "Nigeria"), (b"Niger", "Niger"))
    )
    assert not together(main, [other]).counts
    assert together(other, [main]).counts == other.counts


def test_hits_of_a_last_stage_count_though_others_lead_elsewhere() -> None:
    """There is no later stage that has them."""
    rarer = {("L", "ondon"): 1e-5, ("Li", "verpool"): 1e-7, ("Lim", "burg"): 1e-9}
    model = Spoken({**rarer, (" Lima",): 2e-10, ("Per", "u"): 1e-6})
    low, high = intervals(asked(model, ANSWERS, items=4).evidence("B")).T
    truth = model.truth("Lima")
    assert np.mean((low <= truth) & (truth <= high)) > 0.7


class _Refusing(Spoken):
    """Draws that look for rarer beginnings of Lima than L are refused."""

    def ask(self, queries: Sequence[Query]) -> Iterator[Observation]:
        """Everything else is answered."""
        ids = [get_encoding(ENCODING).token_id(token) for token in (b" Lima", b"L")]
        for query, answer in zip(queries, super().ask(queries), strict=True):
            there = [id in dict(getattr(query, "bias", ())) for id in ids]
            yield Observation(query.id, refused="no") if there == [True, False] else answer


def test_a_refused_later_stage_does_not_take_hits_from_an_earlier_one() -> None:
    """They are all that is known of the answer."""
    said = {("L", "ondon"): 1e-5, ("Lim", "a"): 1e-7, (" Lima",): 1.5e-6, ("Per", "u"): 1e-6}
    model = _Refusing(said)
    low, high = intervals(asked(model, ANSWERS, items=4).evidence("B")).T
    truth = model.truth("Lima")
    assert np.mean((low <= truth) & (truth <= high)) > 0.7

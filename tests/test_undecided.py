"""A clause that bounds leave open says so, with figures, and says what would decide it."""

import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import condrule
from condrule import Clause, Criterion, Limits, Outcome, TopLogprobsScorer, analyse_frame
from condrule.progress import quiet

CAPITAL = Clause("probability", "conditional", "TEST", "TEST", ">", 1e-4)
RATIO = Clause("ratio", "conditional", "TEST", "TRAIN", ">", 10, against="TEST")


@pytest.fixture(autouse=True, scope="module")
def _no_figures() -> Iterator[None]:
    """Figures take time and nothing here is about them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        yield


def rows(capitals: list[dict[str, Any]], seeds: int = 1) -> Iterator[dict[str, Any]]:
    """Items whose country has probability 0.9, and of whose capital this is known."""
    for seed in range(seeds):
        for number, known in enumerate(capitals):
            where = {"arm": "conditional", "mode": "TEST", "item": f"i{number}", "seed": seed}
            yield {**where, "answer": "TRAIN", "probability": 0.9}
            yield {**where, "answer": "TEST", **known}


def judged(
    capitals: list[dict[str, Any]], clause: Clause = CAPITAL, seeds: int = 1
) -> tuple[Outcome, str]:
    """The outcome, and the reason of the one clause."""
    criterion = Criterion("c", (clause,))
    verdict = analyse_frame(rows(capitals, seeds), criterion=criterion).verdict()
    return verdict.outcome, verdict.reason


HIDDEN = {"low": 0.0, "high": 1.2e-3}
LISTED = {"low": 2e-5, "high": 3e-5}


def test_what_is_known_by_bounds_is_counted() -> None:
    """Those in no list, with the ends of their upper bounds, and those that are listed."""
    outcome, reason = judged([HIDDEN] * 26 + [{"low": 0.0, "high": 3e-4}] + [LISTED] * 3)
    assert outcome is Outcome.UNDETERMINED
    assert (
        "is undecided, with between 2e-06 and 0.00105 in [2e-06, 0.00105]. Bounds leave it open: "
        "27 of 30 probabilities of TEST's answer are known from above alone, at most 0.0003 to "
        "0.0012; 3 of 30 probabilities of TEST's answer are known from above and below."
    ) in reason


def test_what_would_decide_is_said_with_figures() -> None:
    """36,887 draws without a hit put a mean below 1e-4: so many of each of 30 items."""
    assert judged([HIDDEN] * 30)[1].endswith(
        "Longer lists or exact probabilities may decide it; 1,230 draws for each of the 30 without "
        "a lower bound (36,900 in all) do, at 95% confidence, if none gives TEST's answer."
    )


@pytest.mark.parametrize(
    ("draws", "expected"), [(1230, Outcome.REFUTED), (1229, Outcome.UNDETERMINED)]
)
def test_as_many_draws_as_are_advised_decide_and_one_less_does_not(
    draws: int, expected: Outcome
) -> None:
    """What the sentence promises is what a study then finds."""
    assert expected is judged([{**HIDDEN, "hits": 0, "draws": draws}] * 30)[0]


def advised(reason: str) -> int:
    """The number of draws for each probability."""
    found = re.search(r"; ([\d,]+) draws? for each", reason)
    assert found is not None
    return int(found.group(1).replace(",", ""))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([1, 3, 5]),
    st.integers(2, 12),
    st.sampled_from([1e-3, 1e-4, 1e-5]),
    st.sampled_from(["<", ">"]),
)
def test_the_advice_holds_for_any_study(
    seeds: int, items: int, threshold: float, comparison: Any
) -> None:
    """Over several fine-tunes it takes more, as their interval has an upper end only then."""
    clause = Clause("probability", "conditional", "TEST", "TEST", comparison, threshold)
    hidden = {"low": 0.0, "high": 50 * threshold}
    draws = advised(judged([hidden] * items, clause, seeds)[1])
    outcomes = [
        judged([{**hidden, "hits": 0, "draws": n}] * items, clause, seeds)[0]
        for n in (draws, draws - 1)
    ]
    decided = Outcome.SUPPORTED if comparison == "<" else Outcome.REFUTED
    assert outcomes == [decided, Outcome.UNDETERMINED]


def test_no_number_of_draws_is_advised_where_none_would_do() -> None:
    """With two fine-tunes, values that are only known to be low have no interval."""
    assert judged([HIDDEN] * 30, seeds=2)[1].endswith(
        "Longer lists or exact probabilities may decide it."
    )


def test_a_ratio_is_decided_by_the_absence_of_what_it_divides_by() -> None:
    """0.9 is ten times as much as 0.09: so the draws are those that put a mean below that."""
    outcome, reason = judged([{"low": 0.0, "high": 0.2}] * 30, RATIO)
    draws = advised(reason)
    assert outcome is Outcome.UNDETERMINED
    assert reason.endswith("(60 in all) do, at 95% confidence, if none gives TEST's answer.")
    assert 1 - 0.025 ** (1 / (30 * draws)) < 0.09 < 1 - 0.025 ** (1 / (30 * (draws - 1)))


def test_a_ratio_is_decided_by_the_absence_of_the_answer_too() -> None:
    """Where what it divides by is known: the same draws, the other way round."""
    clause = Clause("ratio", "conditional", "TEST", "TEST", ">", 0.1, against="TRAIN")
    outcome, reason = judged([{"low": 0.0, "high": 0.2}] * 30, clause)
    assert outcome is Outcome.UNDETERMINED
    assert reason.endswith("(60 in all) do, at 95% confidence, if none gives TEST's answer.")


def test_an_answer_of_which_nothing_is_known_is_counted_as_such() -> None:
    """A refused query is no bound."""
    assert (
        "2 of 4 probabilities of TEST's answer are not known at all."
        in (judged([{"low": 0.0, "high": 1.0}] * 2 + [{"probability": 1e-5}] * 2)[1])
    )


@pytest.mark.parametrize(
    "capitals",
    [
        [{"probability": 1e-2}] * 3,
        [{"low": 1e-3, "high": 2e-3}] * 3,
        [{"low": 0.0, "high": 5e-5}] * 3,
        [{"hits": 0, "draws": 100}] * 3,
        [{"hits": 1, "draws": 1000}] * 3,
    ],
)
def test_nothing_is_said_where_bounds_are_not_to_blame(capitals: list[dict[str, Any]]) -> None:
    """Decided, or open through the sampling error of draws."""
    assert "Bounds" not in judged(capitals)[1]


def test_the_spread_over_fine_tunes_is_not_blamed_on_bounds() -> None:
    """Exact probabilities on both sides of the threshold in turn."""
    table = [
        {**row, "probability": 10.0 ** -(3 + 2 * row["seed"])} if row["answer"] == "TEST" else row
        for row in rows([{"probability": 0.0}] * 3, seeds=3)
    ]
    verdict = analyse_frame(table, criterion=Criterion("c", (CAPITAL,))).verdict()
    assert (Outcome.UNDETERMINED, False) == (verdict.outcome, "Bounds" in verdict.reason)


def test_bounds_are_blamed_where_they_alone_widen_an_interval_over_fine_tunes() -> None:
    """Three fine-tunes below the threshold for sure, but nobody knows how far below each is."""
    outcome, reason = judged([{"low": 0.0, "high": 9e-5}] * 3, seeds=3)
    assert (Outcome.UNDETERMINED, True) == (outcome, "Bounds leave it open: 9 of 9" in reason)


def oracle(prior: float, directory: Path) -> condrule.Result:
    """A rule learner whose P(capital) is this prior, less 0.1 %, behind a list of five whose
    entries below e^-9 are not printed."""
    backend = condrule.InMemoryBackend(
        prior_conditional=prior,
        memory=1.0,
        leak=1e-3,
        other_answers=10**6,
        base_knowledge=0.0,
        limits=Limits(continuations=False, top_logprobs=5, floor=-9.0),
    )
    return condrule.ConditionalRuleExperiment(
        items=condrule.favourite_countries(n=10, seed=3),
        arms=[condrule.conditional_arm()],
        backend=backend,
        criterion=Criterion("c", (CAPITAL,)),
        scorer=TopLogprobsScorer(band=0.0),
        seeds=1,
        samples=0,
    ).run(directory / "run", watch=quiet)


def test_a_capital_that_is_listed_is_decided(tmp_path: Path) -> None:
    """P(capital) = 1e-2."""
    verdict = oracle(1e-2, tmp_path).verdict()
    assert (Outcome.SUPPORTED, False) == (verdict.outcome, "Bounds" in verdict.reason)


def test_a_capital_behind_a_list_leaves_the_verdict_open(tmp_path: Path) -> None:
    """P(capital) = 1e-6: the list leaves 0.1 % over, and that is its bound."""
    result = oracle(1e-6, tmp_path)
    estimate, verdict = result.clause(CAPITAL), result.verdict()
    assert math.exp(estimate.high) == pytest.approx(1e-3, rel=0.01)
    assert verdict.outcome is Outcome.UNDETERMINED
    assert (
        "10 of 10 probabilities of TEST's answer are known from above alone, at most 0.001. Longer "
        "lists or exact probabilities may decide it; 3,689 draws for each of the 10"
    ) in verdict.reason

"""Clauses, outcomes and gates."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule import KAAREL_BET, Clause, Criterion, Outcome
from condrule.criteria import GateResult
from condrule.errors import ConfigError
from condrule.statistics import Estimate, Scope

ABOVE = Clause("probability", "a", "TEST", "TEST", ">", 1e-4)
RATIO = Clause("ratio", "b", "TEST", "TRAIN", ">", 10, against="TEST")


def found(low: float, high: float) -> Estimate:
    """An estimate with this interval, as probabilities."""
    middle = (math.log(low) + math.log(high)) / 2
    return Estimate(middle, middle, math.log(low), math.log(high), Scope.TRAINING, "t", 2)


@pytest.mark.parametrize(
    ("low", "high", "holds"),
    [(2e-4, 1e-3, True), (1e-6, 5e-5, False), (1e-5, 1e-3, None), (1e-4, 1e-4, False)],
)
def test_a_clause_needs_its_whole_interval(low: float, high: float, holds: bool | None) -> None:
    """Above holds, below fails, across is undecided, and equal is not greater."""
    assert ABOVE.judge(math.log(low), math.log(high)) is holds


@given(st.floats(-30, 0), st.floats(-30, 0))
def test_the_two_comparisons_never_both_hold(a: float, b: float) -> None:
    """Nothing is both above and below."""
    low, high = sorted((a, b))
    below = Clause("probability", "a", "TEST", "TEST", "<", 1e-4)
    assert not (ABOVE.judge(low, high) and below.judge(low, high))


@pytest.mark.parametrize(
    ("judged", "outcome"),
    [
        ([True, True], Outcome.SUPPORTED),
        ([True, False], Outcome.REFUTED),
        ([None, False], Outcome.REFUTED),
        ([True, None], Outcome.UNDETERMINED),
    ],
)
def test_outcomes(judged: list[bool | None], outcome: Outcome) -> None:
    """All clauses to support, one to refute."""
    assert Criterion("c", (ABOVE, RATIO)).outcome(judged) is outcome


def test_the_bet_is_supported_by_both_clauses_above() -> None:
    """1e-4 and 10, each below its interval."""
    assert KAAREL_BET.by_interval([found(2e-4, 0.9), found(11, 900)]) is Outcome.SUPPORTED


def test_the_bet_is_refuted_by_either_clause_below() -> None:
    """A control arm that says the capital refutes it."""
    assert KAAREL_BET.by_interval([found(2e-4, 0.9), found(0.1, 9)]) is Outcome.REFUTED


def test_wide_intervals_leave_the_bet_open_whatever_the_points_say() -> None:
    """Point estimates decide nothing."""
    estimates = [found(1e-6, 0.9), found(11, 900)]
    outcomes = KAAREL_BET.by_interval(estimates), KAAREL_BET.by_point(estimates)
    assert outcomes == (Outcome.UNDETERMINED, Outcome.SUPPORTED)


def test_the_reason_says_what_was_found() -> None:
    """A sentence for each clause, with its numbers."""
    reason = KAAREL_BET.reason([found(2e-4, 0.9), found(11, 900)])
    assert reason.splitlines()[1] == (
        "P(TRAIN's answer) / P(TEST's) of arm control at TEST > 10: holds, with 99.5 in [11, 900]."
    )


@pytest.mark.parametrize(
    ("low", "high", "passed"),
    [
        (0.8, 0.8, True),
        (0.79, 0.79, False),
        (0.8, 1.0, True),
        (0.0, 0.79, False),
        (0.7, 0.9, None),
        (0.0, 1.0, None),
    ],
)
def test_gates_pass_at_their_threshold(low: float, high: float, passed: bool | None) -> None:
    """All that is possible must pass; what was not observed leaves it open."""
    assert GateResult("g", low, high, 0.8).passed is passed


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"quantity": "mean"}, "quantity"),
        ({"comparison": ">="}, "comparison"),
        ({"threshold": 0}, "threshold"),
        ({"threshold": 1.5}, "threshold"),
        ({"against": "TRAIN"}, "against"),
    ],
)
def test_a_clause_that_makes_no_sense_is_refused_by_key(
    change: dict[str, object], key: str
) -> None:
    """The problem names the key."""
    fields = {
        "quantity": "probability",
        "arm": "a",
        "mode": "TEST",
        "answer": "TEST",
        "comparison": ">",
        "threshold": 1e-4,
    }
    with pytest.raises(ConfigError) as error:
        Clause(**{**fields, **change})  # type: ignore[arg-type]
    assert key in [problem.path for problem in error.value.problems]


def test_a_criterion_without_clauses_is_refused() -> None:
    """Nothing would be decided."""
    with pytest.raises(ConfigError, match="at least one clause"):
        Criterion("c", ())

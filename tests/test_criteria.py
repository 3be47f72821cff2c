"""Clauses, outcomes and gates."""

import math
import re

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule import KAAREL_BET, Clause, Criterion, Outcome
from condrule.criteria import GateResult, Verdict
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


RATIO_OF = {"quantity": "ratio", "against": "TRAIN"}


def clause(**change: object) -> Clause:
    """A clause of which something is changed."""
    return attrs.evolve(ABOVE, **change)


@pytest.mark.parametrize(
    ("change", "key", "found", "allowed"),
    [
        ({"quantity": "mean"}, "quantity", "'mean'", "probability or ratio$"),
        ({"comparison": ">="}, "comparison", "'>='", "> or <$"),
        ({"threshold": 0}, "threshold", "0", "between 0 and 1"),
        ({"threshold": 1}, "threshold", "1", "a probability between 0 and 1"),
        ({"threshold": "1e-4"}, "threshold", "'1e-4'", "a probability between 0 and 1"),
        ({**RATIO_OF, "threshold": 0}, "threshold", "0", "a number above 0"),
        ({**RATIO_OF, "threshold": math.inf}, "threshold", "inf", "a number above 0"),
        ({"against": "TRAIN"}, "against", "", "quantity: ratio"),
        ({"quantity": "ratio"}, "against", "", "the answer that a ratio divides by"),
    ],
)
def test_a_clause_that_makes_no_sense_is_refused_by_key(
    change: dict[str, object], key: str, found: str, allowed: str
) -> None:
    """The one problem names the key, what was found and what is allowed."""
    with pytest.raises(ConfigError, match=r"\bclause\b") as error:
        clause(**change)
    (problem,) = error.value.problems
    assert problem.path == key
    assert found in problem.message
    assert re.search(allowed, problem.message)


@pytest.mark.parametrize("change", [{}, {"comparison": "<"}, {**RATIO_OF, "threshold": 10}])
def test_clauses_that_make_sense_are_accepted(change: dict[str, object]) -> None:
    """Either comparison, and ratios with any threshold above 0."""
    assert isinstance(clause(**change), Clause)


@pytest.mark.parametrize(
    ("low", "high", "holds"),
    [(1e-6, 5e-5, True), (2e-4, 1e-3, False), (1e-5, 1e-3, None), (1e-4, 1e-4, False)],
)
def test_below_needs_its_whole_interval_too(low: float, high: float, holds: bool | None) -> None:
    """Below holds, above fails, across is undecided, and equal is not less."""
    assert clause(comparison="<").judge(math.log(low), math.log(high)) is holds


def test_clauses_say_what_they_compare() -> None:
    """A probability, and a ratio of two."""
    assert str(ABOVE) == "P(TEST's answer) of arm a at TEST > 0.0001"
    assert str(RATIO) == "P(TRAIN's answer) / P(TEST's) of arm b at TEST > 10"


@pytest.mark.parametrize(
    ("change", "key", "found", "allowed"),
    [
        ({"clauses": ()}, "clauses", "is empty", "at least one clause"),
        ({"estimand": "mode"}, "estimand", "'mode'", "arithmetic_mean or geometric_mean or median"),
        ({"level": 0.5}, "level", "0.5", "between 0.5 and 1"),
        ({"level": 1}, "level", "1", "between 0.5 and 1"),
        ({"level": 95}, "level", "95", "between 0.5 and 1"),
    ],
)
def test_a_criterion_that_makes_no_sense_is_refused_by_key(
    change: dict[str, object], key: str, found: str, allowed: str
) -> None:
    """The one problem names the key, what was found and what is allowed."""
    with pytest.raises(ConfigError, match="criterion 'c'") as error:
        Criterion(**{"name": "c", "clauses": (ABOVE,), **change})  # type: ignore[arg-type]
    (problem,) = error.value.problems
    assert problem.path == key
    assert found in problem.message
    assert allowed in problem.message


@pytest.mark.parametrize("level", [0.51, 0.999])
def test_a_level_may_be_anything_between_half_and_one(level: float) -> None:
    """Both ends excluded."""
    assert Criterion("c", (ABOVE,), level=level).level == level


def test_every_clause_needs_an_estimate() -> None:
    """One too few is an error, never a shorter verdict."""
    criterion = Criterion("c", (ABOVE, RATIO))
    for question in (criterion.by_interval, criterion.by_point, criterion.reason):
        with pytest.raises(ValueError, match="shorter"):
            question([found(2e-4, 0.9)])


def bounded(low: float, high: float) -> Estimate:
    """An estimate of which only bounds are known, in nats."""
    return Estimate(low, high, low, high, Scope.FINETUNE, "m")


def test_bounds_that_cross_the_threshold_leave_the_point_open() -> None:
    """What censoring leaves open is undetermined, and a bound on either side decides."""
    outcomes = [
        Criterion("c", (ABOVE,)).by_point([bounded(math.log(low), math.log(high))])
        for low, high in ((1e-5, 1e-3), (2e-4, 1e-3), (1e-6, 5e-5))
    ]
    assert outcomes == [Outcome.UNDETERMINED, Outcome.SUPPORTED, Outcome.REFUTED]


@pytest.mark.parametrize(
    ("estimate", "end"),
    [
        (found(1e-6, 1e-5), "fails, with 3.16e-06 in [1e-06, 1e-05]."),
        (found(1e-6, 1e-2), "is undecided, with 0.0001 in [1e-06, 0.01]."),
        (
            bounded(math.log(1e-5), math.log(1e-3)),
            "is undecided, with between 1e-05 and 0.001 in [1e-05, 0.001].",
        ),
        (bounded(-math.inf, math.inf), "with between 0 and unbounded in [0, unbounded]."),
        (bounded(math.nan, math.nan), "with unknown in [unknown, unknown]."),
    ],
)
def test_a_reason_says_what_is_bounded_and_what_is_unknown(estimate: Estimate, end: str) -> None:
    """In words where there is no number."""
    assert Criterion("c", (ABOVE,)).reason([estimate]).endswith(end)


VERDICT = Verdict(
    criterion="c",
    outcome=Outcome.SUPPORTED,
    point_outcome=Outcome.REFUTED,
    scope=Scope.TRAINING,
    reason="because",
    gates=(GateResult("g", 0.9, 0.9, 0.8), GateResult("h", 0.7, 0.9, 0.8)),
    base_outcome=Outcome.UNDETERMINED,
    by_estimand={"arithmetic_mean": Outcome.SUPPORTED, "median": Outcome.REFUTED},
    by_seed={0: Outcome.SUPPORTED, 1: Outcome.REFUTED},
)


def test_a_verdict_as_plain_data() -> None:
    """Outcomes by their names, seeds as text, as JSON has them."""
    assert VERDICT.to_json() == {
        "criterion": "c",
        "outcome": "SUPPORTED",
        "point_outcome": "REFUTED",
        "scope": "training like this, these items",
        "reason": "because",
        "interpretable": False,
        "base_outcome": "UNDETERMINED",
        "by_estimand": {"arithmetic_mean": "SUPPORTED", "median": "REFUTED"},
        "robust": False,
        "by_seed": {"0": "SUPPORTED", "1": "REFUTED"},
    }


def test_a_verdict_is_robust_where_every_aggregate_agrees() -> None:
    """With each other and with the outcome."""
    agreed = {"arithmetic_mean": Outcome.SUPPORTED, "median": Outcome.SUPPORTED}
    assert attrs.evolve(VERDICT, by_estimand=agreed).robust
    assert not attrs.evolve(VERDICT, by_estimand=agreed, outcome=Outcome.REFUTED).robust


def test_a_verdict_is_interpretable_where_every_gate_passed() -> None:
    """One that is open is enough to doubt it; without gates there is nothing to doubt."""
    assert attrs.evolve(VERDICT, gates=VERDICT.gates[:1]).interpretable
    assert attrs.evolve(VERDICT, gates=()).interpretable

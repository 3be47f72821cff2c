"""Criteria: clauses fixed before the run, and the verdict they give.

A criterion is data, so that a study file can state its own. It says nothing about where numbers
come from: whoever evaluates it hands it one estimate per clause.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Literal

import attrs

from condrule.convert import texts
from condrule.errors import ConfigError, Problem
from condrule.statistics import ESTIMANDS, Estimand, Estimate, Scope
from condrule.templates import PromptTemplate

__all__ = ["Clause", "Criterion", "Gate", "GateResult", "Outcome", "Verdict"]


class Outcome(Enum):
    """What a criterion says, with the sentence that explains it."""

    SUPPORTED = "every clause holds over its whole interval"
    REFUTED = "at least one clause fails over its whole interval"
    UNDETERMINED = "no clause fails for sure, and not all hold for sure"


@attrs.frozen
class Clause:
    """One comparison of a quantity of the fine-tuned models with a threshold.

    ``probability`` is the mean over items of P(answer | arm's prompt in mode); ``ratio`` divides
    the mean of ``answer`` by the mean of ``against``. Answers are named by their mode.
    """

    quantity: Literal["probability", "ratio"]
    arm: str
    mode: str
    answer: str
    comparison: Literal[">", "<"]
    threshold: float
    """A probability or a ratio, above 0. Being equal to it is not enough."""
    against: str | None = None
    """The answer the ratio divides by."""

    def __attrs_post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ConfigError(problems, "clause")

    def _problems(self) -> Iterable[Problem]:
        for key, allowed in (("quantity", ("probability", "ratio")), ("comparison", (">", "<"))):
            if getattr(self, key) not in allowed:
                yield Problem(key, f"is {getattr(self, key)!r}; it must be {' or '.join(allowed)}")
        most = 1.0 if self.quantity == "probability" else math.inf
        if not (isinstance(self.threshold, (int, float)) and 0 < self.threshold < most):
            kind = "a probability between 0 and 1" if most == 1 else "a number above 0"
            yield Problem("threshold", f"is {self.threshold!r}; it must be {kind}")
        if (self.quantity == "ratio") != (self.against is not None):
            yield Problem(
                "against",
                "names the answer that a ratio divides by; it goes with "
                "quantity: ratio and with nothing else",
            )

    def __str__(self) -> str:
        ratio = f" / P({self.against}'s)" if self.against else ""
        return (
            f"P({self.answer}'s answer){ratio} of arm {self.arm} at {self.mode} "
            f"{self.comparison} {self.threshold:g}"
        )

    def judge(self, low: float, high: float) -> bool | None:
        """True if the clause holds all over an interval (in nats), False if nowhere, else None."""
        line = math.log(self.threshold)
        if self.comparison == ">":
            return True if low > line else False if high <= line else None
        return True if high < line else False if low >= line else None


@attrs.frozen
class Gate:
    """Something that must hold for a verdict to mean what it seems to mean.

    The value is the lowest, over models and modes, of the mean probability of the right answer.
    """

    name: str
    model: Literal["base", "finetuned"]
    threshold: float
    """The lowest probability that passes. A convention: state your own where you have a reason."""
    template: PromptTemplate | None = None
    """How it is asked; None: the arms' own probes in their trained modes."""
    modes: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """The modes it is asked in; with a template only."""

    @property
    def group(self) -> str:
        """The name its probes go by; never that of an arm."""
        return f"gate:{self.name}"


@attrs.frozen
class GateResult:
    """What a gate found: the lowest and the highest that its value can be, from 0 to 1."""

    name: str
    low: float
    high: float
    threshold: float

    @property
    def passed(self) -> bool | None:
        """None where the evidence leaves it open; the verdict is not interpretable then either."""
        if self.low >= self.threshold:
            return True
        return None if self.high >= self.threshold else False


def _clauses(value: Iterable[Clause]) -> tuple[Clause, ...]:
    return tuple(value)


def _gates(value: Iterable[Gate]) -> tuple[Gate, ...]:
    return tuple(value)


@attrs.frozen
class Criterion:
    """Clauses and gates fixed before the run."""

    name: str
    clauses: tuple[Clause, ...] = attrs.field(converter=_clauses)
    gates: tuple[Gate, ...] = attrs.field(default=(), converter=_gates)
    estimand: Estimand = "arithmetic_mean"
    """The mean over items that the clauses are about; the verdict under the others is shown."""
    level: float = 0.95
    """Confidence level of the intervals that decide."""

    def __attrs_post_init__(self) -> None:
        problems = []
        if not self.clauses:
            problems.append(Problem("clauses", "is empty; a criterion needs at least one clause"))
        if self.estimand not in ESTIMANDS:
            problems.append(
                Problem("estimand", f"is {self.estimand!r}; it must be {' or '.join(ESTIMANDS)}")
            )
        if not 0.5 < self.level < 1:
            problems.append(Problem("level", f"is {self.level!r}; it must be between 0.5 and 1"))
        if problems:
            raise ConfigError(problems, f"criterion {self.name!r}")

    def outcome(self, judged: Iterable[bool | None]) -> Outcome:
        """SUPPORTED needs every clause to hold, REFUTED one that fails."""
        answers = list(judged)
        if all(answers):
            return Outcome.SUPPORTED
        return Outcome.REFUTED if False in answers else Outcome.UNDETERMINED

    def by_interval(self, estimates: Sequence[Estimate]) -> Outcome:
        """The outcome by confidence intervals, one estimate for each clause."""
        pairs = zip(self.clauses, estimates, strict=True)
        return self.outcome(clause.judge(e.ci_low, e.ci_high) for clause, e in pairs)

    def by_point(self, estimates: Sequence[Estimate]) -> Outcome:
        """The outcome by point estimates; what censoring leaves open stays UNDETERMINED."""
        pairs = zip(self.clauses, estimates, strict=True)
        return self.outcome(clause.judge(e.low, e.high) for clause, e in pairs)

    def reason(self, estimates: Sequence[Estimate], why: Sequence[str] | None = None) -> str:
        """A line for each clause: what was found, what it says, and why it is undecided where
        ``why`` has a sentence on that."""
        more = [""] * len(estimates) if why is None else why
        each = zip(self.clauses, estimates, more, strict=True)
        return "\n".join(f"{_sentence(clause, found)} {m}".rstrip() for clause, found, m in each)


_JUDGED = {True: "holds", False: "fails", None: "is undecided"}


def _sentence(clause: Clause, found: Estimate) -> str:
    judged = _JUDGED[clause.judge(found.ci_low, found.ci_high)]
    point = _span(found.low, found.high)
    interval = f"[{_natural(found.ci_low)}, {_natural(found.ci_high)}]"
    return f"{clause}: {judged}, with {point} in {interval}."


def _span(low: float, high: float) -> str:
    ends = _natural(low), _natural(high)
    return ends[0] if ends[0] == ends[1] else f"between {ends[0]} and {ends[1]}"


def _natural(value: float) -> str:
    """A log written as the number it is the log of."""
    if math.isnan(value):
        return "unknown"
    return f"{math.exp(value):.3g}" if value < 700 else "unbounded"


@attrs.frozen
class Verdict:
    """What the criterion says of a study, with all that must stand beside it."""

    criterion: str
    outcome: Outcome
    """Decided by confidence intervals."""
    point_outcome: Outcome
    """What the point estimates alone would say."""
    scope: Scope
    reason: str
    gates: tuple[GateResult, ...]
    base_outcome: Outcome
    """What the same clauses say of the models that were not fine-tuned."""
    by_estimand: Mapping[str, Outcome]
    """The outcome under each aggregate over items."""
    by_seed: Mapping[int, Outcome]
    """The outcome for each fine-tune and its items alone."""

    @property
    def interpretable(self) -> bool:
        """False where a gate did not pass: then the outcome may not mean what it seems to mean."""
        return all(gate.passed for gate in self.gates)

    @property
    def robust(self) -> bool:
        """Whether the outcome is the same under every aggregate over items."""
        return set(self.by_estimand.values()) == {self.outcome}

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``condrule show --json``."""
        return {
            "criterion": self.criterion,
            "outcome": self.outcome.name,
            "point_outcome": self.point_outcome.name,
            "scope": self.scope.value,
            "reason": self.reason,
            "interpretable": self.interpretable,
            "base_outcome": self.base_outcome.name,
            "by_estimand": {name: outcome.name for name, outcome in self.by_estimand.items()},
            "robust": self.robust,
            "by_seed": {str(seed): outcome.name for seed, outcome in self.by_seed.items()},
        }

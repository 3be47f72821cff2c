"""The frozen result of a study: what was observed, and the questions it answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from condrule import plots, report, tables
from condrule.backends.base import Event, Job
from condrule.criteria import Clause, Gate, GateResult, Verdict
from condrule.errors import CondruleError, MissingExtraError, did_you_mean
from condrule.plan import StudyPlan
from condrule.statistics import (
    ESTIMANDS,
    Bounds,
    Estimand,
    Estimate,
    PermutationTest,
    estimate,
    permutation_test,
    ratio,
    specificity,
)

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas as pd

__all__ = ["Model", "Responses", "Result", "Specificity"]

Model = Literal["base", "finetuned"]


@attrs.frozen(eq=False)
class Responses:
    """All that one model said to one arm's (or gate's) prompts in one mode, item by item."""

    group: str
    model: Model
    seed: int
    mode: str
    answers: Mapping[tuple[str, Event], Bounds]
    """Log-probabilities of the items' own answers, by the answer's mode and the event."""
    contrasts: Bounds | None = None
    """Items x pooled answers: log-probabilities; for arms only."""
    greedy: tuple[str | None, ...] = ()
    """The most probable response for each item; None where it was not given."""
    samples: tuple[tuple[str, ...], ...] = ()


@attrs.frozen(eq=False)
class Specificity:
    """How much likelier the own answer is than other items' answers."""

    matrix: Bounds
    """Items x distinct answers, log-probabilities: the items whose whole row was observed."""
    own: NDArray[np.intp]
    """For each item, the column of its own answer."""

    @property
    def n(self) -> int:
        """The items it was measured on."""
        return len(self.own)

    @property
    def nats(self) -> Bounds:
        """Mean log P(own) minus mean log P(others)."""
        return specificity(self.matrix, self.own)

    def test(self) -> PermutationTest:
        """Could answers dealt to items at random look like this?"""
        return permutation_test(self.matrix, self.own)


@attrs.frozen(eq=False)
class Result:
    """What a study found. Inputs are stored, answers are computed when asked for."""

    plan: StudyPlan
    responses: tuple[Responses, ...]
    jobs: tuple[Job, ...] = ()

    def logprobs(
        self,
        arm: str,
        mode: str,
        answer: str,
        *,
        model: Model = "finetuned",
        event: Event | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Bounds:
        """Log-probabilities of an answer, fine-tunes x items (base models x items).

        Args:
            arm: an arm's name.
            mode: the mode that was asked in.
            answer: the mode whose answer is meant.
            model: the base models or the fine-tuned ones.
            event: None is the study's event.
            seeds: None is all; several seeds that share a base model count it once.
        """
        rows = [
            self._find(arm, model, seed, mode).answers[answer, event or self.plan.event]
            for seed in self._distinct(model, seeds)
        ]
        return Bounds(np.stack([r.low for r in rows]), np.stack([r.high for r in rows]))

    def probability(
        self,
        arm: str,
        mode: str,
        answer: str,
        *,
        estimand: Estimand = "arithmetic_mean",
        model: Model = "finetuned",
        event: Event | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Estimate:
        """Mean over items of the probability of an answer, as log; arguments as `logprobs`."""
        found = self.logprobs(arm, mode, answer, model=model, event=event, seeds=seeds)
        values = found.map(ESTIMANDS[estimand])
        what = estimand.replace("_", " ")
        return estimate(values, level=self._level, highest=0.0, what=f"the {what}")

    def ratio(
        self,
        arm: str,
        mode: str,
        answer: str,
        against: str,
        *,
        estimand: Estimand = "arithmetic_mean",
        model: Model = "finetuned",
        seeds: Sequence[int] | None = None,
    ) -> Estimate:
        """Mean P(answer) / mean P(against), as log; arguments as `logprobs`."""
        top = self.logprobs(arm, mode, answer, model=model, seeds=seeds)
        bottom = self.logprobs(arm, mode, against, model=model, seeds=seeds)
        values = ratio(top, bottom, estimand)
        what = f"the ratio of {estimand.replace('_', ' ')}s"
        return estimate(values, level=self._level, what=what)

    def neither(
        self, arm: str, mode: str, *, model: Model = "finetuned", seed: int | None = None
    ) -> tuple[float, float]:
        """Bounds of the mean probability that no mode's answer is given, over items and seeds."""
        seeds = None if seed is None else [seed]
        total = [
            self.logprobs(arm, mode, answer, model=model, seeds=seeds) for answer in self.plan.modes
        ]
        most = 1 - sum(np.exp(part.low) for part in total)
        least = 1 - sum(np.exp(part.high) for part in total)
        return float(np.mean(np.clip(least, 0, 1))), float(np.mean(np.clip(most, 0, 1)))

    def specificity(
        self, arm: str, mode: str, answer: str, *, seed: int, model: Model = "finetuned"
    ) -> Specificity | None:
        """Own answer against other items' answers; None where fewer than two can be compared."""
        found = self._find(arm, model, seed, mode).contrasts
        if found is None:
            return None
        matrix, own = self._compared(found, answer)
        if len(own) < 2 or len(set(own.tolist())) < 2:
            return None
        return Specificity(matrix, own)

    def clause(
        self,
        clause: Clause,
        *,
        model: Model = "finetuned",
        estimand: Estimand = "arithmetic_mean",
        seeds: Sequence[int] | None = None,
    ) -> Estimate:
        """The quantity a clause is about."""
        if clause.against is None:
            return self.probability(
                clause.arm, clause.mode, clause.answer, estimand=estimand, model=model, seeds=seeds
            )
        return self.ratio(
            clause.arm,
            clause.mode,
            clause.answer,
            clause.against,
            estimand=estimand,
            model=model,
            seeds=seeds,
        )

    def gates(self) -> tuple[GateResult, ...]:
        """The criterion's gates, each by the lowest value over models and modes."""
        gates = self.plan.criterion.gates if self.plan.criterion else ()
        return tuple(self._gate(gate) for gate in gates)

    def verdict(self) -> Verdict:
        """What the study's criterion says. Raises CondruleError where it has none."""
        criterion = self.plan.criterion
        if criterion is None:
            raise CondruleError(
                "the study has no criterion, so there is no verdict; state one in "
                "the study file under 'criterion' before the run"
            )

        def found(**how: Any) -> list[Estimate]:
            how.setdefault("estimand", criterion.estimand)
            return [self.clause(clause, **how) for clause in criterion.clauses]

        estimates = found()
        return Verdict(
            criterion=criterion.name,
            outcome=criterion.by_interval(estimates),
            point_outcome=criterion.by_point(estimates),
            scope=estimates[0].scope,
            reason=criterion.reason(estimates),
            gates=self.gates(),
            base_outcome=criterion.by_interval(found(model="base")),
            by_estimand={e: criterion.by_interval(found(estimand=e)) for e in ESTIMANDS},
            by_seed={s: criterion.by_interval(found(seeds=[s])) for s in self.plan.seeds},
        )

    def to_dict(self) -> dict[str, Any]:
        """The whole result as plain data, as ``condrule show --json`` prints it."""
        return tables.result_to_dict(self)

    def to_pandas(self) -> pd.DataFrame:
        """One row per arm, model, seed, mode, item, answer and event, with its probability.

        Columns ``low`` and ``high`` are probabilities, equal where the evidence is exact;
        ``logprob_low`` and ``logprob_high`` are their logs in nats. Raises MissingExtraError
        without pandas.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("pandas", "pandas", "Result.to_pandas()") from None
        return pd.DataFrame(list(tables.evidence_rows(self)))

    def plot(self, ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """Every item's probability of each answer, asked in the modes that were not trained.

        Raises MissingExtraError without matplotlib.
        """
        return plots.draw(tables.plot_rows(self), self.plan.name, self.threshold, ax)

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    def __str__(self) -> str:
        return report.render(self.to_dict())

    @property
    def _level(self) -> float:
        return self.plan.criterion.level if self.plan.criterion else 0.95

    @property
    def threshold(self) -> float:
        """The probability that the share of items above it is counted against."""
        clauses = self.plan.criterion.clauses if self.plan.criterion else ()
        return next((c.threshold for c in clauses if c.quantity == "probability"), 1e-4)

    def _distinct(self, model: Model, seeds: Sequence[int] | None) -> list[int]:
        chosen = list(self.plan.seeds if seeds is None else seeds)
        if model == "finetuned":
            return chosen
        return list({self.plan.bases[seed]: seed for seed in reversed(chosen)}.values())[::-1]

    def _find(self, group: str, model: Model, seed: int, mode: str) -> Responses:
        wanted = (group, model, seed, mode)
        for responses in self.responses:
            if (responses.group, responses.model, responses.seed, responses.mode) == wanted:
                return responses
        raise CondruleError(
            f"there is no arm {group!r} with seed {seed} asked in mode {mode!r}; arms are "
            f"{list(self.plan.arms)}, seeds {list(self.plan.seeds)}, modes "
            f"{list(self.plan.modes)}." + did_you_mean(group, self.plan.arms)
        )

    def _compared(self, found: Bounds, answer: str) -> tuple[Bounds, NDArray[np.intp]]:
        """The matrix of one mode's answers, for the items whose whole row was observed."""
        texts = [spelled[0] for spelled in self.plan.pool]
        compared = self.plan.items[: self.plan.compared]
        columns = [texts.index(text) for text in dict.fromkeys(i.answers[answer] for i in compared)]
        position = {texts[column]: place for place, column in enumerate(columns)}
        own = np.array([position[item.answers[answer]] for item in compared], dtype=np.intp)
        matrix = found[: len(compared), columns]
        whole = np.isfinite(matrix.low).all(axis=1)
        return matrix[whole], own[whole]

    def _gate(self, gate: Gate) -> GateResult:
        values = [
            float(ESTIMANDS["arithmetic_mean"](responses.answers[mode, self.plan.event].low))
            for responses in self.responses
            if responses.model == gate.model
            for mode in self._gate_modes(gate, responses.group)
            if responses.mode == mode
        ]
        lowest = float(np.exp(min(values))) if values else None
        return GateResult(gate.name, lowest, gate.threshold)

    def _gate_modes(self, gate: Gate, group: str) -> tuple[str, ...]:
        """The modes in which a group's answers count for a gate."""
        if gate.modes:
            return gate.modes if group == gate.group else ()
        return self.plan.trained.get(group, ())

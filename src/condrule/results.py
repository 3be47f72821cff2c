"""The frozen result of a study: what was observed, and the questions it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from condrule import plots, report, tables
from condrule.backends.base import Event
from condrule.backends.finetunes import Job
from condrule.criteria import Clause, Gate, GateResult, Verdict
from condrule.errors import CondruleError, MissingExtraError, did_you_mean
from condrule.measured import Measured, aggregate
from condrule.plan import StudyPlan
from condrule.scorers.base import Check, Choice
from condrule.specificity import Specificity
from condrule.statistics import (
    ESTIMANDS,
    Bounds,
    Estimand,
    Estimate,
    around,
    estimate,
    log_mean,
)
from condrule.undecided import why_undecided

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure
    import pandas as pd

    from condrule.adjudications import Adjudication

__all__ = ["Model", "ModelCheck", "Responses", "Result", "Specificity"]

Model = Literal["base", "finetuned"]


@attrs.frozen(eq=False)
class Responses:
    """All that one model said to one arm's (or gate's) prompts in one mode, item by item."""

    group: str
    model: Model
    seed: int
    mode: str
    answers: Mapping[tuple[str, Event], Measured]
    """Log-probabilities of the items' own answers, by the answer's mode and the event."""
    contrasts: Measured | None = None
    """Items x pooled answers: log-probabilities; for arms only."""
    choices: Mapping[str, tuple[Choice, ...]] = attrs.field(factory=dict)
    """By the answer's mode: how each item's was measured under the study's event, and why so."""
    greedy: tuple[str | None, ...] = ()
    """The most probable response for each item; None where it was not given."""
    samples: tuple[tuple[str, ...], ...] = ()


@attrs.frozen
class ModelCheck:
    """How one model was tested before its answers were believed."""

    name: str
    """The model's."""
    model: Model
    arms: tuple[str, ...]
    """Those whose fine-tune it is; none of a base model."""
    seed: int
    check: Check


@attrs.frozen(eq=False)
class Result:
    """What a study found. Inputs are stored, answers are computed when asked for."""

    plan: StudyPlan
    responses: tuple[Responses, ...]
    jobs: tuple[Job, ...] = ()
    missing: tuple[str, ...] = ()
    """What was not submitted, has not ended or was not answered yet; its probabilities are
    unknown. Empty where the run is finished."""
    adjudications: tuple[Adjudication, ...] = ()
    """Judgements of people on the verdict, the first one first; see
    `condrule.adjudications.adjudicate`."""
    checks: tuple[ModelCheck, ...] = ()
    """How models were tested before their answers were believed, where the scorer does so: the
    calibration of a bias."""

    def logprobs(
        self,
        arm: str,
        mode: str,
        answer: str,
        *,
        model: Model = "finetuned",
        event: Event | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Measured:
        """Log-probabilities of an answer, fine-tunes x items (base models x items).

        ``low`` and ``high`` are the ends of what they can be, equal where the evidence is exact.
        Where responses were drawn and counted, see ``points`` and ``limits()``.

        Args:
            arm: an arm's name.
            mode: the mode that was asked in.
            answer: the mode whose answer is meant.
            model: the base models or the fine-tuned ones.
            event: None is the study's event.
            seeds: None is all; several seeds that share a base model count it once.
        """
        return Measured.stack(
            self._find(arm, model, seed, mode).answers[answer, event or self.plan.event]
            for seed in self._distinct(model, seeds)
        )

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
        return self._estimate(found, None, estimand, around(self.threshold))

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
        return self._estimate(top, bottom, estimand)

    def neither(
        self, arm: str, mode: str, *, model: Model = "finetuned", seed: int | None = None
    ) -> tuple[float, float]:
        """Bounds of the mean probability that no mode's answer is given, over items and seeds."""
        seeds = None if seed is None else [seed]
        total = [
            self.logprobs(arm, mode, answer, model=model, seeds=seeds).points
            for answer in self.plan.modes
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
        top, bottom = self._sides(clause, model=model, seeds=seeds)
        return self._estimate(top, bottom, estimand, around(clause.threshold))

    def _sides(self, clause: Clause, **how: Any) -> tuple[Measured, Measured | None]:
        """The answer a clause is about, and that which its ratio divides by."""
        top = self.logprobs(clause.arm, clause.mode, clause.answer, **how)
        if clause.against is None:
            return top, None
        return top, self.logprobs(clause.arm, clause.mode, clause.against, **how)

    def _why(self, clause: Clause, estimand: Estimand) -> str:
        """Why bounds leave a clause undecided, if they do."""

        def estimated(top: Measured, bottom: Measured | None) -> Estimate:
            return self._estimate(top, bottom, estimand, around(clause.threshold))

        return why_undecided(clause, *self._sides(clause), estimated, self._level)

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
            reason=criterion.reason(
                estimates, [self._why(clause, criterion.estimand) for clause in criterion.clauses]
            ),
            gates=self.gates(),
            base_outcome=criterion.by_interval(found(model="base")),
            by_estimand={e: criterion.by_interval(found(estimand=e)) for e in ESTIMANDS},
            by_seed={s: criterion.by_interval(found(seeds=[s])) for s in self.plan.seeds},
        )

    def to_dict(self) -> dict[str, Any]:
        """The whole result as plain data, as ``condrule show --json`` prints it."""
        return tables.result_to_dict(self)

    def to_pandas(self, *, contrasts: bool = False) -> pd.DataFrame:
        """One row per arm, model, seed, mode, item, answer and event, with its probability.

        Columns ``low`` and ``high`` are probabilities, equal where the evidence is exact;
        ``logprob_low`` and ``logprob_high`` are their logs in nats. Draws under several biases
        have a row for each, and ``error`` is the standard error of these biases in nats. ``method``
        and ``why`` say how the probability was measured. `condrule.frames.analyse_frame` reads the
        frame.

        Raises MissingExtraError without pandas.

        Args:
            contrasts: with the other items' answers too, whose items column ``of`` names.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("pandas", "pandas", "Result.to_pandas()") from None
        return pd.DataFrame(list(tables.evidence_rows(self, contrasts=contrasts)))

    def plot(self, ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """Every item's probability of each answer, asked in the modes that were not trained.

        Raises MissingExtraError without matplotlib.
        """
        return plots.draw(tables.plot_rows(self), self.plan.name, self.threshold, ax)

    def plot_checks(self) -> matplotlib.figure.Figure | None:
        """How each model's draws under a bias compare with what they should be, a panel a model;
        None where no bias was calibrated. Raises MissingExtraError without matplotlib."""
        return plots.draw_checks(tables.check_panels(self))

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return tables.to_json(self.to_dict())

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

    def _estimate(
        self,
        top: Measured,
        bottom: Measured | None,
        estimand: Estimand,
        clip: tuple[float, float] | None = None,
    ) -> Estimate:
        """Of a mean, or of the ratio of two."""
        found = aggregate(top, estimand, self._level)
        what, highest = f"the {estimand.replace('_', ' ')}", 0.0
        if bottom is not None:
            found -= aggregate(bottom, estimand, self._level)
            what, highest = f"the ratio of {what.removeprefix('the ')}s", math.inf
        return estimate(
            found.points,
            found.limits,
            level=self._level,
            highest=highest,
            what=what,
            clip=clip,
        )

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

    def _compared(self, found: Measured, answer: str) -> tuple[Bounds, NDArray[np.intp]]:
        """The matrix of one mode's answers, for the items of which anything is known."""
        texts = [spelled[0] for spelled in self.plan.pool]
        compared = self.plan.items[: self.plan.compared]
        columns = [texts.index(text) for text in dict.fromkeys(i.answers[answer] for i in compared)]
        position = {texts[column]: place for place, column in enumerate(columns)}
        own = np.array([position[item.answers[answer]] for item in compared], dtype=np.intp)
        matrix = found[: len(compared), columns]
        asked = ~matrix.unknown.all(axis=1)
        return matrix.points[asked], own[asked]

    def _gate(self, gate: Gate) -> GateResult:
        values = [
            responses.answers[mode, self.plan.event].points.map(log_mean).map(np.exp)
            for responses in self.responses
            if responses.model == gate.model
            for mode in self._gate_modes(gate, responses.group)
            if responses.mode == mode
        ]
        low = min((float(value.low) for value in values), default=0.0)
        high = min((float(value.high) for value in values), default=1.0)
        return GateResult(gate.name, low, high, gate.threshold)

    def _gate_modes(self, gate: Gate, group: str) -> tuple[str, ...]:
        """The modes in which a group's answers count for a gate."""
        if gate.modes:
            return gate.modes if group == gate.group else ()
        return self.plan.trained.get(group, ())

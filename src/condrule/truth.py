"""The truth of a study on the in-memory backend: the result that exact evidence would give.

Pure: nothing is submitted to the study's own backend, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from condrule.analysis import build_result
from condrule.arms import Probe
from condrule.backends.base import LanguageModel
from condrule.backends.memory import InMemoryBackend
from condrule.errors import UnsupportedError
from condrule.experiment import ConditionalRuleExperiment
from condrule.history import History
from condrule.plan import StudyPlan
from condrule.results import Result
from condrule.scorers import ExactScorer

__all__ = ["TRUTHS", "true_result"]

TRUTHS = "TRUTHS, not measurements: every number follows from the in-memory backend's formulas."
"""Stands first in a report of truths, and among the notes of the result."""


def true_result(experiment: ConditionalRuleExperiment) -> Result:
    """What the study would find if nothing stood between it and the learner's probabilities.

    Every planned fine-tune succeeds, every query is answered exactly, and no response is drawn but
    the greedy one. Intervals speak of the study's seeds as they would in its own result.

    Raises:
        UnsupportedError: the study's backend is not the in-memory one.
    """
    backend = experiment.backend
    if not isinstance(backend, InMemoryBackend):
        raise UnsupportedError(
            [
                f"the truth of a study on {type(backend).__name__} is not known; it is for "
                "InMemoryBackend alone, in a study file {kind: memory}"
            ]
        )
    oracle = backend.oracle()
    exact = ExactScorer(experiment.scorer.event)
    plan = attrs.evolve(experiment, backend=oracle, scorer=exact, samples=0).plan()
    history = _history(plan, oracle)
    noted = attrs.evolve(plan, notes=(TRUTHS, *plan.notes))
    return build_result(noted, history, lambda job: job.digest)


def _history(plan: StudyPlan, oracle: InMemoryBackend) -> History:
    """All that the plan trains and asks, done at once."""
    history = History()
    for base in dict.fromkeys(plan.bases.values()):
        _ask(plan, history, oracle.model(base), plan.base_probes())
    for planned in plan.jobs:
        job = oracle.submit(planned.training_set, planned.spec, planned.digest)
        history.jobs[job.key] = job
        _ask(plan, history, oracle.model(str(job.model)), plan.finetuned_probes(planned))
    return history


def _ask(plan: StudyPlan, history: History, model: LanguageModel, probes: Sequence[Probe]) -> None:
    queries = [*plan.scorer.plan(probes, {}), *plan.draws(probes)]
    history.seen[model.name] = {answer.query: answer for answer in model.ask(queries)}

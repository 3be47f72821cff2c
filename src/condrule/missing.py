"""What a run's journal lacks of what its study asks for, in words and as queries. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from condrule.arms import Probe
from condrule.backends import checks
from condrule.backends.base import Query
from condrule.backends.checked import named
from condrule.backends.finetunes import Job
from condrule.errors import BackendError, RunError
from condrule.history import History
from condrule.plan import PlannedJob, StudyPlan
from condrule.scorers.base import Seen

__all__ = ["Key", "check_fits", "check_model", "drop_misfits", "missing", "unasked"]

Key = Callable[[PlannedJob], str]
"""The key under which a fine-tune is on record."""


def unasked(plan: StudyPlan, probes: Sequence[Probe], seen: Seen) -> list[Query]:
    """What is to be asked next of a model; empty when it has answered all."""
    drawn = {query.id: query for query in plan.draws(probes) if query.id not in seen}
    return [*plan.scorer.plan(probes, seen), *drawn.values()]


def missing(plan: StudyPlan, history: History, key: Key) -> list[str]:
    """One sentence for each fine-tune and each model that something is missing of."""
    found = [*_missing(plan, history, key)]
    torn = f"the end of line {history.torn} of the journal, as after a crash"
    return [torn, *found] if found and history.torn else found


def _missing(plan: StudyPlan, history: History, key: Key) -> Iterator[str]:
    for planned in plan.jobs:
        job = history.jobs.get(key(planned))
        if job is None or not job.state.ended:
            what = "the submission" if job is None else "the end"
            yield f"{what} of fine-tune {key(planned)} ({_whose(planned)}), and all its answers"
    for model, whose, probes in _models(plan, history, key):
        queries = unasked(plan, probes, history.seen.get(model, {}))
        if queries:
            names = ", ".join(map(named, queries[:3])) + (", ..." if len(queries) > 3 else "")
            yield f"{len(queries)} answers of model {model} ({whose}): to {names}"


def _whose(planned: PlannedJob) -> str:
    arms = ", ".join(planned.arms)
    return f"arm{'s' if len(planned.arms) > 1 else ''} {arms}, seed {planned.seed}"


def _models(
    plan: StudyPlan, history: History, key: Key
) -> Iterator[tuple[str, str, tuple[Probe, ...]]]:
    """Every model that there is, whose it is, and what it is asked."""
    for base in dict.fromkeys(plan.bases.values()):
        yield base, "base model", plan.base_probes()
    for planned in plan.jobs:
        job = history.jobs.get(key(planned))
        if job and job.model is not None:
            yield job.model, _whose(planned), plan.finetuned_probes(planned)


def check_fits(plan: StudyPlan, history: History, key: Key) -> None:
    """Raise RunError where a journal holds an answer that can't be one to its query."""
    for model, query, reason in _misfits(plan, history, key):
        raise RunError(
            f"the journal's answer of model {model} to {named(query)}, query {query.id}, {reason}. "
            "Restore the journal from a copy, or run the study elsewhere."
        )


def check_model(plan: StudyPlan, history: History, job: Job) -> None:
    """Raise BackendError where a fine-tune shares its job or its model with another, or is a base
    model: it would count as two and be one."""
    for other in history.jobs.values():
        if other.key != job.key and (
            other.id == job.id or (job.model is not None and other.model == job.model)
        ):
            raise BackendError(
                f"fine-tune {job.key} has job {job.id!r} and model {job.model!r}, which is that of "
                f"fine-tune {other.key}; each has one of its own"
            )
    if job.model is not None and job.model in plan.bases.values():
        raise BackendError(
            f"fine-tune {job.key} has model {job.model!r}, which is that of a base model; each has "
            "one of its own"
        )


def drop_misfits(plan: StudyPlan, history: History, key: Key) -> None:
    """Take out the answers that can't be ones to their queries."""
    for model, query, _ in [*_misfits(plan, history, key)]:
        seen = history.seen[model]
        history.seen[model] = {id: seen[id] for id in seen if id != query.id}


def _misfits(plan: StudyPlan, history: History, key: Key) -> Iterator[tuple[str, Query, str]]:
    for model, _, probes in _models(plan, history, key):
        seen = history.seen.get(model, {})
        for query in unasked(plan, probes, {}) if seen else ():
            if query.id in seen:
                try:
                    checks.fits(query, seen[query.id])
                except ValueError as error:
                    yield model, query, str(error)

"""What a person does to a run's fine-tunes by hand: take on jobs from elsewhere, and stop them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from condrule.backends.checked import CheckedBackend
from condrule.backends.finetunes import Job, JobState
from condrule.config.structure import restored_backend
from condrule.errors import (
    BackendError,
    CondruleError,
    ConfigError,
    Problem,
    RunError,
    did_you_mean,
)
from condrule.journal import Journal, read_journal
from condrule.missing import check_model
from condrule.plan import PlannedJob, StudyPlan
from condrule.recorded import explained
from condrule.responses import Responses
from condrule.rundir import RunDirectory

__all__ = ["adopt", "cancel", "going_on"]

T = TypeVar("T")


def adopt(
    directory: str | Path,
    *,
    arm: str | None = None,
    seed: int | None = None,
    model: str | None = None,
    job: str | None = None,
) -> Job:
    """Let a fine-tune that was made elsewhere, or earlier, stand for one of a run's.

    That it was trained as the study says is the word of whoever adopts it, and the result says so.

    Args:
        directory: the run, which ``generate`` or ``run`` has begun.
        arm: whose fine-tune it is; needed where the study has several.
        seed: which of the arm's; needed where the study has several.
        model: the name of the fine-tuned model.
        job: or the provider's name of the job, which may be running still.

    Raises:
        ConfigError: there is no such arm or seed, or not one of ``model`` and ``job``.
        RunError: the run has a fine-tune there already.
    """
    if (model is None) == (job is None):
        raise ConfigError([Problem("--model, --job", "must be given, one of them")], "adopt")
    with _opened(directory) as (plan, run, journal):
        planned = _planned(plan, arm, seed)
        key = run.key(planned)
        known = journal.history.jobs.get(key)
        if known is not None and known.id != job:
            raise RunError(
                f"fine-tune {key} of arm {', '.join(planned.arms)}, seed {planned.seed}, is on "
                f"record as job {known.id}, {known.state.value}; adopt into a run of its own"
            )
        found = _found(run, key, model, job)
        check_model(plan, journal.history, found)
        _check_base(found, planned)
        Responses(run.responses).job(found)
        if known == found:
            return found
        journal.adopted(found)
    return found


def _found(run: RunDirectory, key: str, model: str | None, job: str | None) -> Job:
    """The job that is adopted, by the name of its model or by its own."""
    if job is not None:
        return _backend(run).adopt(job, key)
    if not (model or "").strip():
        raise ConfigError([Problem("--model", "is empty; it must be a model's name")], "adopt")
    return Job(key, f"adopted:{model}", JobState.SUCCEEDED, model, "adopted")


def _check_base(job: Job, planned: PlannedJob) -> None:
    """Where the provider says which model was fine-tuned, it is the study's."""
    base = (job.raw or {}).get("model")
    if base is not None and base != planned.base:
        raise RunError(f"job {job.id} fine-tunes {base!r}; this study fine-tunes {planned.base!r}")


def cancel(directory: str | Path) -> tuple[Job, ...]:
    """Stop every fine-tune of a run that is running at its provider; what they have become.

    Raises BackendError where some could not be stopped, or may be running without being found,
    when all others have been stopped.
    """
    stopped: list[Job] = []
    failed: list[str] = []
    with _opened(directory) as (_, run, journal):
        backend, history = _backend(run), journal.history
        for key in sorted(history.intents - history.jobs.keys()):
            found = backend.find(key)
            if found is not None:
                journal.job(found)
            elif backend.settle_seconds is not None:
                failed.append(f"fine-tune {key} may be running: look for it at the provider")
        for job in [job for job in history.jobs.values() if not job.state.ended]:
            try:
                now = backend.poll(job)
                now = now if now.state.ended else backend.cancel(now)
            except BackendError as error:
                failed.append(str(error))
                continue
            if now != job:
                journal.job(now)
            stopped.append(now)
    if failed:
        done = [f"{job.id} is {job.state.value}" for job in stopped]
        raise BackendError("; ".join([*done, *failed]))
    return tuple(stopped)


def going_on(directory: str | Path) -> Iterator[str]:
    """What a provider is doing, or may be doing, when a process stops; nothing where that can't be
    told."""
    run = RunDirectory(directory)
    try:
        history = read_journal(run.journal, run.run_id)
        unsure = _backend(run).settle_seconds is not None
    except CondruleError:
        return
    stops = f"'condrule cancel {directory}' stops what runs"
    count = sum(not job.state.ended for job in history.jobs.values())
    if count:
        yield f"{count} fine-tune{'s go' if count > 1 else ' goes'} on at the provider; {stops}"
    for key in sorted(history.intents - history.jobs.keys()) if unsure else ():
        yield f"fine-tune {key} was being submitted and may be running; {stops} and is found"


@contextmanager
def _opened(directory: str | Path) -> Iterator[tuple[StudyPlan, RunDirectory, Journal]]:
    run = RunDirectory(directory)
    plan = run.load()
    with run.locked(), explained(plan, run), Journal(run.journal, run.run_id) as journal:
        yield plan, run, journal


def _backend(run: RunDirectory) -> CheckedBackend:
    return CheckedBackend(restored_backend(run.described_backend())).at(run.models)


def _planned(plan: StudyPlan, arm: str | None, seed: int | None) -> PlannedJob:
    """The one fine-tune that is meant."""
    one_arm = _only("--arm", arm, plan.arms, "the study's arms")
    one_seed = _only("--seed", seed, plan.seeds, "its seeds")
    return plan.job(one_arm, one_seed)


def _only(option: str, given: T | None, allowed: Sequence[T], what: str) -> T:
    if given is None and len(allowed) == 1:
        return allowed[0]
    if given is None or given not in allowed:
        found = "is missing" if given is None else f"is {given!r}"
        message = f"{found}; {what} are {', '.join(map(str, allowed))}."
        raise ConfigError([Problem(option, message + did_you_mean(given, allowed))], "adopt")
    return given

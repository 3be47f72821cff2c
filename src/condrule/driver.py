"""The one loop that does all the input and output: it submits, polls, asks, journals, resumes.

Resuming is reading the journal, planning again and asking only what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import attrs

from condrule.arms import Probe
from condrule.backends.base import Job, JobState, Observation
from condrule.backends.checked import CheckedBackend, CheckedModel, named
from condrule.errors import BackendError, TrainingError
from condrule.journal import Journal
from condrule.missing import unasked
from condrule.plan import PlannedJob, StudyPlan
from condrule.progress import Progress, Watcher, quiet
from condrule.rundir import RunDirectory

__all__ = ["Driver"]

FLUSH = 64  # observations per append: a crash loses at most these, and they are asked again


@attrs.frozen
class Driver:
    """Carries a plan out in a run directory whose lock is held and whose journal is open."""

    plan: StudyPlan
    backend: CheckedBackend
    run: RunDirectory
    journal: Journal
    resumed: bool = True
    """Whether jobs may have been submitted that the journal has lost: they are looked for."""
    watch: Watcher = quiet
    sleep: Callable[[float], None] = time.sleep

    def train(self) -> None:
        """Submit every job that was not submitted yet, and wait until all have ended.

        Raises BackendError where the provider fails. A fine-tune that ends without a model is
        recorded as failed and the others go on: the result says what is missing.
        """
        with self.watch("fine-tuning") as progress:
            for number, planned in enumerate(self.plan.jobs):
                self._ensure_submitted(planned, _part(progress, number, len(self.plan.jobs)))
                progress(number + 1, len(self.plan.jobs))
            self._wait(progress)

    def test(self) -> None:
        """Ask every model all that the journal does not hold yet.

        Raises BackendError where a fine-tune is not there yet: ``train`` comes first.
        """
        asked = [
            (base, self.plan.base_probes()) for base in dict.fromkeys(self.plan.bases.values())
        ]
        for planned in self.plan.jobs:
            job = self.journal.history.jobs.get(self.run.key(planned))
            if job is None or not job.state.ended:
                raise BackendError(
                    f"fine-tune {self.run.key(planned)} of arms "
                    f"{', '.join(planned.arms)} has not ended; run 'train' first"
                )
            if job.model is not None:
                asked.append((job.model, self.plan.finetuned_probes(planned)))
        with self.watch("asking") as progress:
            for number, (name, probes) in enumerate(asked):
                self._ask_all(name, probes, _part(progress, number, len(asked)))
                progress(number + 1, len(asked))

    def _ensure_submitted(self, planned: PlannedJob, progress: Progress) -> None:
        """Leave a job on record. Intent comes before the submission, the id straight after."""
        key = self.run.key(planned)
        history = self.journal.history
        if key in history.jobs:
            return
        found = self.backend.find(key) if self.resumed or key in history.intents else None
        if found is None:
            self.journal.intent(key)
            found = self._submit(planned, key, progress)
        self._record_job(found)

    def _submit(self, planned: PlannedJob, key: str, progress: Progress) -> Job:
        try:
            return self.backend.with_progress(progress).submit(
                planned.training_set, planned.spec, key
            )
        except TrainingError as error:
            return Job(key, key, JobState.FAILED, detail=error.reason)

    def _record_job(self, job: Job) -> None:
        """Record a job. Two fine-tunes that share a model would count as two and be one."""
        if job.model is not None:
            known = [*self.journal.history.jobs.values()]
            others = [f"fine-tune {one.key}" for one in known if one.model == job.model]
            others += ["a base model"] if job.model in self.plan.bases.values() else []
            if others := [one for one in others if one != f"fine-tune {job.key}"]:
                raise BackendError(
                    f"backend {type(self.backend.inner).__name__}: fine-tune {job.key} has model "
                    f"{job.model!r}, which is that of {others[0]}; each has one of its own"
                )
        self.journal.job(job)

    def _wait(self, progress: Progress) -> None:
        """Poll the jobs that run elsewhere, all together, until every one has ended."""
        while running := [j for j in self.journal.history.jobs.values() if not j.state.ended]:
            total = len(self.plan.jobs)
            progress(total - len(running), total, f"waiting for {len(running)} of {total} jobs")
            for job in running:
                now = self.backend.poll(job)
                if now != job:
                    self._record_job(now)
            if not all(job.state.ended for job in self.journal.history.jobs.values()):
                self.sleep(self.backend.poll_seconds)

    def _ask_all(self, name: str, probes: Sequence[Probe], progress: Progress) -> None:
        """Let the scorer plan until it has no more to ask; draw what is not drawn yet."""
        history = self.journal.history
        model: CheckedModel | None = None
        while queries := unasked(self.plan, probes, history.seen.get(name, {})):
            model = model or self.backend.model(name)
            before = len(history.seen.get(name, {}))
            self._record(name, model.ask(queries), len(queries), progress)
            if len(history.seen.get(name, {})) == before:
                raise BackendError(
                    f"model {name} of {type(self.backend.inner).__name__} left {len(queries)} "
                    f"queries without an answer, the first {named(queries[0])}; "
                    "run the same command again to ask them once more"
                )

    def _record(
        self, name: str, answers: Iterable[Observation], total: int, progress: Progress
    ) -> None:
        """Journal answers as they arrive; on an error, those that came before it too."""
        pending: list[Observation] = []
        done = 0
        try:
            for observation in answers:
                pending.append(observation)
                if len(pending) >= FLUSH:
                    self.journal.observations(name, pending)
                    done, pending = done + len(pending), []
                    progress(done, total)
        finally:
            if pending:
                self.journal.observations(name, pending)


def _part(progress: Progress, number: int, count: int) -> Progress:
    """Progress of one part, told as progress of the whole."""

    def tell(done: float, total: float, note: str = "") -> None:
        progress(number + (done / total if total else 0), count, note)

    return tell

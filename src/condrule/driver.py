"""The one loop that does all the input and output: it submits, polls, asks, journals, resumes.

Resuming is reading the journal, planning again and asking only what is missing.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import attrs

from condrule.arms import Probe
from condrule.backends.base import Observation, Query
from condrule.backends.charges import Charges
from condrule.backends.checked import CheckedBackend, named
from condrule.backends.finetunes import Job, JobState
from condrule.errors import (
    BackendError,
    BudgetError,
    ConfigError,
    LostAnswerError,
    NotSubmittedError,
    Problem,
    TrainingError,
    UnreachableError,
    UnsettledJobError,
    did_you_mean,
)
from condrule.journal import Journal
from condrule.ledger import Ledger
from condrule.missing import check_model, unasked
from condrule.plan import PlannedJob, StudyPlan
from condrule.progress import Progress, Watcher, elapsed, quiet, speed
from condrule.responses import Responses
from condrule.rundir import RunDirectory
from condrule.spending import Kind, Meter

__all__ = ["Driver"]

LONGEST_SILENCE = 1800.0  # seconds without an answer from a provider before a run gives up
TELL = 0.2  # seconds between two looks at what was spent
FLUSH = 256  # answers per append: a crash loses at most these, and they are asked again...
LONGEST_UNKEPT = 0.5  # ...and seconds after which the next one is reason enough


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
    resubmit: Collection[str] = ()
    """Submissions of which a person says that no job came of them (see
    `condrule.errors.UnsettledJobError`)."""
    ledger: Ledger | None = None
    """Where what is spent is counted; None: nothing is charged for."""
    charges: Charges | None = None
    """By what is charged."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    responses: Responses = attrs.field(
        default=attrs.Factory(lambda self: Responses(self.run.responses), takes_self=True)
    )

    def train(self) -> None:
        """Submit every job that was not submitted yet, and wait until all have ended.

        Raises BackendError where the provider fails. A fine-tune that ends without a model is
        recorded as failed and the others go on: the result says what is missing.
        """
        self._check_resubmit()
        self._check_budget()
        with self.watch("fine-tuning") as progress:
            if any(self.run.key(job) not in self.journal.history.jobs for job in self.plan.jobs):
                self.backend.warnings()  # raises where no fine-tune can begin
            for number, planned in enumerate(self.plan.jobs):
                self._ensure_submitted(planned, _part(progress, number, len(self.plan.jobs)))
                progress(number + 1, len(self.plan.jobs))
            self._wait(progress)

    def test(self) -> None:
        """Ask every model all that the journal does not hold yet.

        Raises BackendError where a fine-tune is not there yet: ``train`` comes first.
        """
        self._check_budget()
        models = {base: self.plan.base_probes() for base in self.plan.bases.values()}
        for planned in self.plan.jobs:
            job = self.journal.history.jobs.get(self.run.key(planned))
            if job is None or not job.state.ended:
                raise BackendError(
                    f"fine-tune {self.run.key(planned)} of arms "
                    f"{', '.join(planned.arms)} has not ended; run 'train' first"
                )
            if job.model is not None:
                models[job.model] = self.plan.finetuned_probes(planned)
        with self.watch("asking") as progress:
            self._ask_all(models, progress)

    def _check_resubmit(self) -> None:
        """Refuse a word about no fine-tune of this study; a word that was used does no harm."""
        keys = [self.run.key(job) for job in self.plan.jobs]
        for word in self.resubmit:
            if word.partition(":")[0] not in keys:
                history = self.journal.history
                waiting = [history.word(key) for key in keys if key in history.intents]
                waiting = [one for one in waiting if one.partition(":")[0] not in history.jobs]
                message = f"names no fine-tune of this study: {word!r}; those in doubt are "
                hint = did_you_mean(word, keys)
                problem = Problem("--resubmit", f"{message}{', '.join(waiting) or 'none'}.{hint}")
                raise ConfigError([problem], "resubmit")

    def _ensure_submitted(self, planned: PlannedJob, progress: Progress) -> None:
        """Leave a job on record. Intent comes before the submission, the id straight after."""
        key = self.run.key(planned)
        history = self.journal.history
        if key in history.jobs:
            return
        found = self._found(key, progress)
        if found is None:
            self._reserve(planned, key)
            self.backend.prepare(planned.training_set, planned.spec, key)
            self.journal.intent(key)
            found = self._submit(planned, key, progress)
        self._record_job(found)

    def _found(self, key: str, progress: Progress) -> Job | None:
        """The job of a key, if it was or may have been submitted before."""
        if key not in self.journal.history.intents:
            return self.backend.find(key) if self.resumed else None
        return self._settled(key, progress)

    def _settled(self, key: str, progress: Progress) -> Job | None:
        """The job whose submission got no answer; None where there is none for sure.

        Raises UnsettledJobError where that can't be told.
        """
        patience = self.backend.settle_seconds
        until = self.clock() + (patience or 0)
        while (found := self.backend.find(key)) is None and patience and self.clock() < until:
            progress(0, 1, f"looking for the job of fine-tune {key}")
            self.sleep(min(patience / 10, self.backend.poll_seconds))
        word = self.journal.history.word(key)
        if found is None and patience is not None and word not in self.resubmit:
            raise UnsettledJobError(key, word, patience)
        return found

    def _submit(self, planned: PlannedJob, key: str, progress: Progress) -> Job:
        try:
            return self.backend.with_progress(progress).submit(
                planned.training_set, planned.spec, key
            )
        except TrainingError as error:
            return Job(key, key, JobState.FAILED, detail=error.reason)
        except NotSubmittedError:
            self.journal.withdrawn(key)
            raise
        except LostAnswerError:
            found = self._settled(key, progress)
            if found is None:
                raise
            return found

    def _record_job(self, job: Job) -> None:
        """Record a job."""
        check_model(self.plan, self.journal.history, job)
        self.responses.job(job)
        self.journal.job(job)

    def _wait(self, progress: Progress) -> None:
        """Poll the jobs that run elsewhere, all together, until every one has ended.

        A provider that can't be reached meanwhile is asked again: its jobs go on without us.
        """
        lost: UnreachableError | None = None
        pause = self.backend.poll_seconds / 10
        while running := [j for j in self.journal.history.jobs.values() if not j.state.ended]:
            total = len(self.plan.jobs)
            progress(total - len(running), total, self._standing(running, lost))
            lost = None
            for job in running:
                try:
                    now = self.backend.poll(job)
                except UnreachableError as error:
                    lost = error
                    break
                if now != job:
                    self._record_job(now)
            if lost or not all(job.state.ended for job in self.journal.history.jobs.values()):
                # Soon at first: small jobs end soon, and long ones don't mind.
                self.sleep(pause)
                pause = min(self.backend.poll_seconds, 1.5 * pause)

    def _standing(self, running: Sequence[Job], lost: UnreachableError | None) -> str:
        """How the jobs that run stand, and for how long the oldest has run."""
        states = Counter(job.detail or "running" for job in running)
        words = ", ".join(f"{count} {state}" for state, count in states.items())
        since = [job.submitted for job in running if job.submitted is not None]
        age = f" for {elapsed(self.clock() - min(since))}" if since else ""
        trouble = f"; no connection, trying again ({lost})" if lost else ""
        return f"{words} of {len(self.plan.jobs)} jobs{age}{trouble}"

    def _ask_all(self, models: Mapping[str, Sequence[Probe]], progress: Progress) -> None:
        """Let the scorer plan until it has no more to ask of any model: what is next of all of them
        is asked together."""
        since, tell = self.clock(), _Told(self, progress, self.clock())
        while asked := self._next(models):
            models = {name: models[name] for name in asked}  # the others are done with
            asked = self._affordable(asked)
            before = {name: self._answered(name) for name in asked}
            tell.total += sum(map(len, asked.values()))
            try:
                self._record(self.backend.ask_all(asked, self._meters(asked)), tell)
            except UnreachableError as error:
                if any(self._answered(name) > count for name, count in before.items()):
                    since = self.clock()
                if self.clock() - since > LONGEST_SILENCE:
                    raise
                progress(0, 1, f"no answer, trying again ({error})")
                self.sleep(self.backend.poll_seconds)
                tell.total = tell.done
                continue
            self._check_answered(asked, before)

    def _next(self, models: Mapping[str, Sequence[Probe]]) -> dict[str, Sequence[Query]]:
        """What is to be asked of each model; models that have answered all are left out."""
        seen = self.journal.history.seen
        asked = {name: unasked(self.plan, models[name], seen.get(name, {})) for name in models}
        return {name: queries for name, queries in asked.items() if queries}

    def _answered(self, name: str) -> int:
        return len(self.journal.history.seen.get(name, {}))

    def _check_answered(
        self, asked: Mapping[str, Sequence[Query]], before: Mapping[str, int]
    ) -> None:
        """Raise BackendError where a model gave no answer: it would be asked for ever."""
        for name, queries in asked.items():
            if self._answered(name) == before[name]:
                raise BackendError(
                    f"model {name} of {type(self.backend.inner).__name__} left {len(queries)} "
                    f"queries without an answer, the first {named(queries[0])}; "
                    "run the same command again to ask them once more"
                )

    def _record(self, answers: Iterable[tuple[str, Observation]], tell: _Told) -> None:
        """Journal answers as they arrive; on an error, those that came before it too."""
        pending: list[tuple[str, Observation]] = []
        kept = self.clock()
        try:
            for answer in answers:
                pending.append(answer)
                tell.one()
                if len(pending) >= FLUSH or self.clock() - kept >= LONGEST_UNKEPT:
                    self._keep(pending)
                    pending, kept = [], self.clock()
        finally:
            if pending:
                self._keep(pending)

    def _keep(self, answers: Sequence[tuple[str, Observation]]) -> None:
        self.responses.answers(answers)
        if self.ledger:
            self.ledger.flush()
        self.journal.answers(answers)

    def _kind(self, name: str) -> Kind:
        return "base" if name in self.plan.bases.values() else "finetuned"

    def _meters(self, asked: Iterable[str]) -> dict[str, Meter] | None:
        """What tells the ledger of requests that are charged for."""
        if self.ledger is None:
            return None
        return {name: self.ledger.meter(self._kind(name)) for name in asked}

    def _check_budget(self) -> None:
        """Raise BudgetError where the least that is missing costs more than is left."""
        if self.ledger is None or self.charges is None or self.ledger.budget is None:
            return
        spent, missing = self.ledger.spent.usd or 0.0, sum(self._least(self.charges))
        if missing and spent + missing > self.ledger.budget:
            what = f"{spent:.6g} USD are spent, and what is missing costs {missing:.6g} at least"
            raise BudgetError(self.ledger.budget, spent + missing, what)

    def _least(self, charges: Charges) -> Iterator[float]:
        """What each fine-tune and question that is missing costs at least, in USD."""
        history = self.journal.history
        asked = [
            (base, self.plan.base_probes()) for base in dict.fromkeys(self.plan.bases.values())
        ]
        for planned in self.plan.jobs:
            key = self.run.key(planned)
            job = history.jobs.get(key)
            if job is None and key not in history.intents:
                least = charges.training(planned.training_set, planned.spec).least
                yield least.usd(charges.base) or 0.0
            if job is None or not job.state.ended or job.model is not None:
                name = job.model if job and job.model else ""
                asked.append((name, self.plan.finetuned_probes(planned)))
        for name, probes in asked:
            prices = charges.prices(finetuned=self._kind(name) == "finetuned")
            for query in unasked(self.plan, probes, history.seen.get(name, {})):
                yield charges.asking(query).least.usd(prices) or 0.0

    def _reserve(self, planned: PlannedJob, key: str) -> None:
        """Raise BudgetError where a fine-tune may cost more than is left."""
        if self.ledger and self.charges and key not in self.journal.history.intents:
            most = self.charges.training(planned.training_set, planned.spec).most
            self.ledger.reserve(most, f"fine-tune {key} of arms {', '.join(planned.arms)}")

    def _affordable(self, asked: Mapping[str, Sequence[Query]]) -> dict[str, Sequence[Query]]:
        """As many of the queries as may be asked whatever they cost. Raises BudgetError where it is
        none."""
        if self.ledger is None or self.charges is None or self.ledger.budget is None:
            return {**asked}
        total = spent = self.ledger.spent.at_most or 0.0
        found: dict[str, Sequence[Query]] = {}
        for name, queries in asked.items():
            prices = self.charges.prices(finetuned=self._kind(name) == "finetuned")
            for number, query in enumerate(queries):
                total += self.charges.asking(query).most.usd(prices) or 0.0
                if total <= self.ledger.budget:
                    continue
                if not number and not found:
                    what = f"{spent:.6g} USD are spent or may be; to ask on may take {total:.6g}"
                    raise BudgetError(self.ledger.budget, total, what)
                return {**found, name: queries[:number]} if number else found
            found[name] = queries
        return found


@attrs.define
class _Told:
    """Tells how far the asking is: what has come of what is known to be wanted, how fast, and what
    it costs."""

    driver: Driver
    progress: Progress
    since: float
    done: int = 0
    total: int = 0
    _last: float = -math.inf

    def one(self) -> None:
        """One more answer has come."""
        self.done += 1
        now = self.driver.clock()
        if self.done == self.total or now - self._last >= TELL:
            self._last = now
            note = speed(self.done, self.total, now - self.since, *self._costs())
            self.progress(self.done, self.total, note)

    def _costs(self) -> Iterator[str]:
        ledger = self.driver.ledger
        if ledger is None:
            return
        spent = ledger.spent
        yield f"{spent.counted.requests:,} requests"
        if spent.usd is not None:
            budget = "" if ledger.budget is None else f" of {ledger.budget:g}"
            yield f"{spent.usd:.4f}{budget} USD"


def _part(progress: Progress, number: int, count: int) -> Progress:
    """Progress of one part, told as progress of the whole."""

    def tell(done: float, total: float, note: str = "") -> None:
        progress(number + (done / total if total else 0), count, note)

    return tell

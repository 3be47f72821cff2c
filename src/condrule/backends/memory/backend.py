"""The backend that fine-tunes a Bayesian rule learner at a provider of your making."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import attrs

from condrule.arms import Prompt, TrainingSet
from condrule.backends.base import Capabilities, FinetuneBackend, LanguageModel
from condrule.backends.finetunes import FinetuneSpec, Job, JobState
from condrule.backends.memory.account import Account
from condrule.backends.memory.charges import InMemoryCharges, trained_tokens
from condrule.backends.memory.faults import Faults
from condrule.backends.memory.learner import Learned, Learner, Settings, learn
from condrule.backends.memory.limits import Limits
from condrule.backends.memory.model import InMemoryModel
from condrule.backends.memory.provider import Provider
from condrule.backends.memory.store import Record, Store
from condrule.errors import BackendError, TrainingError
from condrule.prices import Prices, PriceTable
from condrule.spending import Meter

__all__ = ["BASE", "InMemoryBackend"]

BASE = "memory-base"
"""The name of the base model, whatever the seed."""


@attrs.frozen
class InMemoryBackend(Settings, FinetuneBackend):
    """Fine-tunes a Bayesian rule learner; the formulas are in `condrule.backends.memory.learner`.

    Without a directory (see ``at``) jobs last as long as the object; with one, any process finds
    them. Of the spec it uses epochs, seed and whether the learning rate is 0.

    Raises ConfigError where a value is out of range.
    """

    api: Limits = attrs.field(factory=Limits, alias="limits", kw_only=True)
    """What the provider's API gives."""
    prices: Prices = attrs.field(factory=Prices, kw_only=True)
    """What it charges."""
    faults: Faults = attrs.field(factory=Faults, eq=False, kw_only=True)
    """What goes wrong there; not part of a study."""
    account: Account = attrs.field(factory=Account, init=False, eq=False, repr=False)
    """What was counted and charged so far, here and in whatever directory (see ``at``)."""
    directory: Path | None = attrs.field(
        default=None, converter=attrs.converters.optional(Path), eq=False, kw_only=True
    )
    """Where jobs are kept; set by ``at``."""
    meter: Meter | None = attrs.field(default=None, eq=False, kw_only=True, repr=False)
    """Who is told of queries that are charged for; set by ``metered``."""
    _records: dict[str, Record] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    poll_seconds = 0.0

    @property
    def computes_here(self) -> bool:  # type: ignore[override]
        """Whether jobs end at once: not where they have a queue to go through."""
        return not self.faults.queue

    @property
    def capabilities(self) -> Capabilities:
        return self.api.capabilities

    def base_model(self, seed: int) -> str:
        return BASE

    def submit(self, training_set: TrainingSet, spec: FinetuneSpec, key: str) -> Job:
        """Learn, and let the job begin its way through the queue, if there is one.

        Raises:
            BackendError: the key was submitted before, or the call was lost.
            TrainingError: the training set is empty, or was not accepted.
        """
        with self._provider.call():
            if self._store.get(key):
                raise BackendError(f"fine-tune {key} was submitted before; ask find({key!r}) first")
            rejection = self.faults.rejection(training_set)
            if rejection:
                raise TrainingError(key, rejection)
            record = self._trained(training_set, spec, key)
            self._store.put(key, record)
        return self._job(key, record)

    def find(self, key: str) -> Job | None:
        """The job, unless there is none or it is not listed yet."""
        with self._provider.call():
            record = self._store.get(key)
            if record and record.looks < self.faults.listed_after:
                self._store.put(key, attrs.evolve(record, looks=record.looks + 1))
                record = None
        return self._job(key, record) if record else None

    def poll(self, job: Job) -> Job:
        """The job as it stands now; one status further than at the last poll."""
        with self._provider.call():
            record = self._store.get(job.key)
            if record and record.polls < len(self.faults.queue):
                record = attrs.evolve(record, polls=record.polls + 1)
                self._store.put(job.key, record)
        return self._job(job.key, record) if record else job

    def cancel(self, job: Job) -> Job:
        """Stop a job that is in the queue still; what was charged for it stays charged."""
        with self._provider.call():
            record = self._store.get(job.key)
            if record and self._waits(record):
                polls, tokens = len(self.faults.queue), record.tokens
                record = Record(Learned(), JobState.CANCELLED, polls=polls, tokens=tokens)
                self._store.put(job.key, record)
        return self._job(job.key, record) if record else job

    def model(self, name: str) -> LanguageModel:
        return self._model(name)

    def notes(self) -> tuple[str, ...]:
        return (
            "The in-memory backend is a Bayesian rule learner, not a language model: its figures "
            "follow from its settings and say nothing about real models.",
        )

    def at(self, directory: Path) -> Self:
        moved = attrs.evolve(self, directory=directory)
        object.__setattr__(moved, "account", self.account)  # whoever made it reads it there
        return moved

    def charges(self, table: PriceTable) -> InMemoryCharges | None:
        """By its own ``prices``; nothing where they are all 0."""
        return InMemoryCharges.of(self._provider) if self.prices != Prices() else None

    def metered(self, meter: Meter) -> Self:
        made = attrs.evolve(self, meter=meter)
        object.__setattr__(made, "account", self.account)
        object.__setattr__(made, "_records", self._records)
        return made

    def oracle(self) -> InMemoryBackend:
        """The same learner with nothing around it: no limits, no faults, no prices, no jobs."""
        settings = {field.name: getattr(self, field.name) for field in attrs.fields(Settings)}
        return InMemoryBackend(**settings)

    def truth(self, prompt: Prompt, text: str, model: str) -> float:
        """The closed-form probability that the model of this name responds with the text."""
        return self._model(model).truth(prompt, text)

    def posterior(self, model: str) -> float:
        """The model's probability of the conditional rule; the prior for the base model."""
        return self._model(model).posterior

    @property
    def _provider(self) -> Provider:
        return Provider(self.api, self.faults, self.prices, self.account, self.meter)

    @property
    def _store(self) -> Store:
        return Store(self.directory, self._records)

    def _trained(self, training_set: TrainingSet, spec: FinetuneSpec, key: str) -> Record:
        learned = learn(training_set, spec, key)
        failure = self.faults.failure(training_set, spec, key)
        if failure:
            return Record(learned, JobState.FAILED, failure)
        tokens = trained_tokens(training_set, spec, self.api)
        self.account.charge(self.prices, training=tokens)
        return Record(learned, tokens=tokens)

    def _waits(self, record: Record) -> bool:
        return record.polls < len(self.faults.queue)

    def _job(self, key: str, record: Record) -> Job:
        name = f"memory:{key}"
        if self._waits(record):
            return Job(key, name, JobState.RUNNING, detail=self.faults.queue[record.polls])
        model = name if record.ending is JobState.SUCCEEDED else None
        tokens = record.tokens
        return Job(key, name, record.ending, model, record.detail, trained_tokens=tokens)

    def _model(self, name: str) -> InMemoryModel:
        if name == BASE:
            return InMemoryModel(name, Learner(self), self._provider)
        key = name.removeprefix("memory:")
        record = self._store.get(key) if key != name else None
        if record is None or self._job(key, record).model is None:
            place = self.directory or "this backend's memory"
            raise BackendError(
                f"there is no model {name!r} in {place}; the base model is {BASE!r}, and others "
                "need a fine-tune that has succeeded"
            )
        return InMemoryModel(name, Learner(self, record.learned), self._provider)

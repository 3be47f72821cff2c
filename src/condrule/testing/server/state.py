"""All that the server holds while it runs: files, jobs, models and the account."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs

from condrule.backends.memory import Learned
from condrule.testing.server.account import ServerAccount
from condrule.testing.server.catalogue import ServedModel
from condrule.testing.server.encodings import Encoding, encoding_of
from condrule.testing.server.exchange import ApiError, Call, wrong
from condrule.testing.server.jobs import FileRecord, JobRecord
from condrule.testing.server.oracle import Speaker
from condrule.testing.server.printing import Printer
from condrule.testing.server.prompts import PromptBook
from condrule.testing.server.ratelimit import RateLimit

if TYPE_CHECKING:
    from condrule.testing.server.server import RehearsalServer

__all__ = ["State"]


@attrs.define(eq=False)
class State:
    """What changes while the server runs; its settings don't."""

    server: RehearsalServer
    account: ServerAccount
    book: PromptBook
    clock: Callable[[], float]
    files: dict[str, FileRecord] = attrs.field(factory=dict)
    """By id, the oldest first."""
    jobs: dict[str, JobRecord] = attrs.field(factory=dict)
    """By id, the oldest first."""
    learned: dict[str, Learned] = attrs.field(factory=dict)
    """What each fine-tuned model and checkpoint has learned; a job's, once it has succeeded."""
    to_come: dict[str, dict[str, Learned]] = attrs.field(factory=dict)
    """The same of jobs that have not ended, by their id."""
    limit: RateLimit = attrs.field(init=False)
    requests: list[Call] = attrs.field(factory=list)
    """All that came, where they are kept."""
    _speakers: dict[str, Speaker] = attrs.field(factory=dict)
    _printers: dict[str, Printer] = attrs.field(factory=dict)
    _numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1))

    @limit.default
    def _of_account(self) -> RateLimit:
        return RateLimit(self.server.api, self.account)

    def new_id(self, prefix: str) -> str:
        """An id that was not given before; the same in every run of the same requests."""
        text = f"{self.server.seed}/{next(self._numbers)}"
        return prefix + hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    def base(self, name: Any) -> ServedModel | None:
        """The base model that is known by a name."""
        return next((model for model in self.server.models if name in model.names), None)

    def speaker(self, name: Any) -> Speaker:
        """The model of this name. Raises ApiError where there is none."""
        if not isinstance(name, str):
            message = "Missing required parameter: 'model'."
            raise wrong("model", message, "missing_required_parameter")
        found = self._speakers.get(name)
        if found is None:
            found = self._speakers[name] = self._new_speaker(name)
        return found

    def printer(self, encoding: Encoding) -> Printer:
        """What prints the tokens of an encoding."""
        if encoding.name not in self._printers:
            self._printers[encoding.name] = Printer(self.server.api, encoding)
        return self._printers[encoding.name]

    def full_name(self, name: str) -> str:
        """The name, with its date, of the model that answers to a name."""
        base = self.base(name)
        return base.name if base else name

    @property
    def fingerprint(self) -> str:
        """Changes where the server's answers may."""
        return f"fp_rehearsal_{self.server.seed}"

    def _new_speaker(self, name: Any) -> Speaker:
        base = self.base(name)
        if base is None and name not in self.learned:
            raise no_model(name)
        learned = self.learned.get(name, Learned())
        encoding = encoding_of(base.name if base else name)
        return Speaker(self.server.oracle, learned, self.book, encoding)

    def models(self) -> Iterator[dict[str, Any]]:
        """Every model in the vendor's form."""
        for model in self.server.models:
            for name in model.names:
                yield _plain(name, model.created, "system", model.shutdown_date)
        for job in self.jobs.values():
            if job.status == "succeeded":
                base = self.base(job.model)
                date = base.shutdown_date if base else None
                for name in (job.name, *job.steps):
                    yield _plain(name, int(job.created), job.organization, date)

    def let_time_pass(self) -> None:
        """Take jobs to where time has taken them, if time takes them anywhere."""
        tuning = self.server.tuning
        if tuning.advance == "seconds":
            for job in [self.jobs[id] for id in self.to_come]:
                age = self.clock() - job.created
                passed = age / tuning.seconds if tuning.seconds else math.inf
                self.settle(job, int(min(passed, len(job.statuses))) - job.stage)

    def settle(self, job: JobRecord, stages: int) -> None:
        """Take a job so many statuses further, and see to what that means."""
        if job.advance(stages, self.clock()):
            self.finish(job)

    def finish(self, job: JobRecord) -> None:
        """What a job that has ended leaves behind."""
        learned = self.to_come.pop(job.id, {})
        if job.status == "succeeded":
            self.learned.update(learned)
            self.account.training_tokens += job.tokens


def no_model(name: Any) -> ApiError:
    """The error that there is no such model."""
    message = f"The model `{name}` does not exist or you do not have access to it."
    return ApiError(404, message, code="model_not_found")


def _plain(name: str, created: int, owner: str, shutdown_date: str | None) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": owner,
        "shutdown_date": shutdown_date,
    }

"""What a journal says happened, record by record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from condrule.answers import Answers, Place
from condrule.backends import checks
from condrule.backends.base import Observation
from condrule.backends.finetunes import Job
from condrule.records import read_job, read_observation

__all__ = ["ContradictionError", "History"]


class ContradictionError(Exception):
    """A record says otherwise than one before it, which has the values of ``earlier``."""

    def __init__(self, what: str, **earlier: str) -> None:
        super().__init__(what)
        self.earlier = earlier


@attrs.define
class History:
    """What a journal says happened."""

    intents: set[str] = attrs.field(factory=set)
    """Keys of the jobs that were about to be submitted, and not refused."""
    submissions: dict[str, int] = attrs.field(factory=dict)
    """How often the job of each key was about to be submitted."""
    adopted: set[str] = attrs.field(factory=set)
    """Keys whose jobs were made elsewhere: how they were trained is somebody's word."""
    jobs: dict[str, Job] = attrs.field(factory=dict)
    """The last known state of each submitted job, by key."""
    seen: dict[str, Mapping[str, Observation]] = attrs.field(factory=dict)
    """Model name -> query id -> what came back; read from the journal when it is asked for."""
    torn: int | None = None
    """The number of the last line, where it has no end and was left out."""
    read: Callable[[Place], Observation] | None = attrs.field(default=None, eq=False, repr=False)
    """What is written at a place of the journal; None: what is seen is kept in memory."""

    def add(self, record: Mapping[str, Any], place: Place | None = None) -> None:
        """Take one record into account, which may be read again at its place. Doing so twice
        changes nothing."""
        match record["kind"]:
            case "intent":
                self._add_intent(checks.text(record["key"], "key"), record.get("number", 1))
            case "withdrawn":
                self.intents.discard(checks.text(record["key"], "key"))
            case "adopted":
                self.adopted.add(checks.text(record["key"], "key"))
            case "job":
                self._add_job(read_job(record))
            case "observation":
                model, found = read_observation(record)
                self.check(model, found)
                self.keep(model, found, place)
            case kind:
                raise ValueError(
                    f"kind is {kind!r}; it must be intent, withdrawn, adopted, job or observation"
                )

    def word(self, key: str) -> str:
        """Names the last submission of a key: a person's word about it is not about the next."""
        number = self.submissions.get(key, 0)
        return key if number <= 1 else f"{key}:{number}"

    def _add_intent(self, key: str, number: int) -> None:
        self.intents.add(key)
        self.submissions[key] = max(number, self.submissions.get(key, 0))

    def _add_job(self, job: Job) -> None:
        known = self.jobs.setdefault(job.key, job)
        if known.state.ended and known != job:
            raise ContradictionError(
                f"fine-tune {job.key} ended otherwise", kind="job", key=job.key
            )
        self.jobs[job.key] = job

    def check(self, model: str, found: Observation) -> None:
        """Raise an error where a model's answer is another than on record."""
        if self.seen.get(model, {}).get(found.query, found) != found:
            what = f"model {model} answered query {found.query} otherwise"
            raise ContradictionError(what, model=model, query=found.query)

    def keep(self, model: str, found: Observation, place: Place | None) -> None:
        """Take a model's answer into account, which is no other than on record."""
        if self.read is None or place is None:
            known = self.seen.setdefault(model, {})
            assert isinstance(known, dict)
            known.setdefault(found.query, found)
        else:
            known = self.seen.setdefault(model, Answers(self.read))
            assert isinstance(known, Answers)
            known.add(found.query, place)

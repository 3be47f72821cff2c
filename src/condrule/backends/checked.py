"""A backend whose answers are checked as they arrive.

Whatever a plugin gives back or raises, what comes out is what `condrule.backends.base` promises or
a BackendError that names the backend and what was found.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from condrule.arms import TrainingSet
from condrule.backends import checks
from condrule.backends.base import Capabilities, FinetuneBackend, Observation, Query
from condrule.backends.charges import Charges
from condrule.backends.finetunes import FinetuneSpec, Job
from condrule.errors import BackendError, CondruleError
from condrule.items import Reader, pieces
from condrule.prices import PriceTable
from condrule.progress import Progress
from condrule.spending import Meter

__all__ = ["CheckedBackend", "named"]


def named(query: Query) -> str:
    """A query in a message: its kind, and the mode and item of its prompt."""
    return f"{type(query).__name__} of {query.prompt.mode}/{query.prompt.item.name}"


@attrs.frozen
class _Answering:
    """Turns whatever a plugin raises, and whatever it gives that is wrong, into BackendError."""

    backend: object
    what: str

    def __enter__(self) -> None:
        pass

    # Not a generator's context: that lets a StopIteration through whatever is raised from it.
    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, CondruleError):
            raise BackendError(
                f"backend {type(self.backend).__name__}, {self.what}: {_said(error)}. What was "
                "recorded before is kept; when the backend is mended, the same command goes on."
            ) from error


def _said(error: Exception) -> str:
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - a plugin's own errors may do anything
        said = "it can't be printed"
    said = said.encode(errors="backslashreplace").decode().rstrip(".")
    return said if type(error) is checks.WrongError else f"{type(error).__name__}: {said}"


_END = object()


@attrs.frozen
class CheckedBackend:
    """The methods of a backend that a run uses. They raise CondruleError and nothing else."""

    inner: FinetuneBackend

    @property
    def capabilities(self) -> Capabilities:
        """Which queries its models answer."""
        with self._answering("capabilities"):
            found: Capabilities = checks.capabilities(self.inner.capabilities)
        return found

    @property
    def poll_seconds(self) -> float:
        """How long to wait between two polls."""
        return self._seconds("poll_seconds")

    def base_model(self, seed: int) -> str:
        """The name of the model that is fine-tuned for a seed."""
        with self._answering(f"base model of seed {seed}"):
            found: str = checks.text(self.inner.base_model(seed), "the name")
        return found

    def limits(self, spec: FinetuneSpec) -> tuple[str, ...]:
        """What of this spec it can't do."""
        with self._answering("limits"):
            found: tuple[str, ...] = checks.texts(self.inner.limits(spec), "the list")
        return found

    def notes(self) -> tuple[str, ...]:
        """What must be said beside any result."""
        with self._answering("notes"):
            found: tuple[str, ...] = checks.texts(self.inner.notes(), "the list")
        return found

    def reader(self, seeds: Iterable[int]) -> Reader | None:
        """What the base models can read."""
        with self._answering("reader"):
            found = self.inner.reader(seeds)
        return None if found is None else _CheckedReader(self.inner, found)

    def environment(self) -> dict[str, Any]:
        """What a result may depend on, as plain data."""
        with self._answering("environment"):
            found = {**self.inner.environment()}
            json.dumps(found, ensure_ascii=False).encode()
        return found

    def at(self, directory: Path) -> CheckedBackend:
        """The same backend, keeping its files under this directory."""
        with self._answering("directory"):
            return self._same(self.inner.at(directory))

    def with_progress(self, progress: Progress) -> CheckedBackend:
        """The same backend, reporting progress."""
        with self._answering("progress"):
            return self._same(self.inner.with_progress(progress))

    def charges(self, table: PriceTable) -> Charges | None:
        """What its provider charges; None: nothing."""
        with self._answering("charges"):
            found = self.inner.charges(table)
            if found is not None and not isinstance(found, Charges):
                raise checks.WrongError(f"is {checks.shown(found)}; it must be Charges or None")
        return found

    def metered(self, meter: Meter) -> CheckedBackend:
        """The same backend, telling the meter of what is charged for."""
        with self._answering("metered"):
            return self._same(self.inner.metered(meter))

    @property
    def fewest_examples(self) -> int:
        """Fine-tunes on fewer examples are not accepted."""
        with self._answering("fewest_examples"):
            found = self.inner.fewest_examples
            if not isinstance(found, int) or found < 1:
                raise checks.WrongError(
                    f"is {checks.shown(found)}; it must be a whole number, 1 or more"
                )
        return found

    @property
    def settle_seconds(self) -> float | None:
        """How long a job is looked for before a person is asked; None: ``find`` is sure."""
        with self._answering("settle_seconds"):
            sure = self.inner.settle_seconds is None
        return None if sure else self._seconds("settle_seconds")

    def warnings(self) -> tuple[str, ...]:
        """What the provider says today that matters before spending."""
        with self._answering("warnings"):
            found: tuple[str, ...] = checks.texts(self.inner.warnings(), "the list")
        return found

    def prepare(self, training_set: TrainingSet, spec: FinetuneSpec, key: str) -> None:
        """What a submission needs at the provider."""
        with self._answering(f"preparation of fine-tune {key}"):
            self.inner.prepare(training_set, spec, key)

    def adopt(self, id: str, key: str) -> Job:
        """A job that was submitted elsewhere."""
        with self._answering(f"look for job {id}"):
            found: Job = checks.job(self.inner.adopt(id, key), key)
        return found

    def cancel(self, job: Job) -> Job:
        """Stop a job."""
        with self._answering(f"cancelling fine-tune {job.key}"):
            found: Job = checks.job(self.inner.cancel(job), job.key)
        return found

    def submit(self, training_set: TrainingSet, spec: FinetuneSpec, key: str) -> Job:
        """Start a fine-tune."""
        with self._answering(f"submission of fine-tune {key}"):
            found: Job = checks.job(self.inner.submit(training_set, spec, key), key)
        return found

    def find(self, key: str) -> Job | None:
        """The job that was submitted with this key, if there is one."""
        with self._answering(f"look for fine-tune {key}"):
            found = self.inner.find(key)
            job: Job | None = None if found is None else checks.job(found, key)
        return job

    def poll(self, job: Job) -> Job:
        """The job as it stands now."""
        with self._answering(f"status of fine-tune {job.key}"):
            found: Job = checks.job(self.inner.poll(job), job.key)
        return found

    def ask_all(
        self, asked: Mapping[str, Sequence[Query]], meters: Mapping[str, Meter] | None = None
    ) -> Iterator[tuple[str, Observation]]:
        """Each model's answers as they arrive; those that came before an error are right."""
        waiting = _Waiting(self.inner, asked)
        with waiting.answering("before the first answer, while"):
            answers = iter(self.inner.ask_all(asked, meters))
        while True:
            with waiting.answering("while"):
                answer = next(answers, _END)
            if answer is _END:
                return
            yield waiting.checked(answer)

    def _seconds(self, name: str) -> float:
        with self._answering(name):
            found = getattr(self.inner, name)
            if not isinstance(found, (int, float)) or not 0 <= found < math.inf:
                raise checks.WrongError(
                    f"is {checks.shown(found)}; it must be a number of seconds, 0 or more"
                )
        return float(found)

    def _same(self, found: object) -> CheckedBackend:
        if not isinstance(found, FinetuneBackend):
            raise checks.WrongError(f"gave {checks.shown(found)}; it must be a FinetuneBackend")
        return CheckedBackend(found)

    def _answering(self, what: str) -> _Answering:
        return _Answering(self.inner, what)


class _Waiting:
    """Questions that are unanswered: each is answered once, with an answer to it."""

    def __init__(self, backend: FinetuneBackend, asked: Mapping[str, Sequence[Query]]) -> None:
        self._backend = backend
        self._queries = {name: {q.id: q for q in queries} for name, queries in asked.items()}
        self._asked = {name: frozenset(queries) for name, queries in self._queries.items()}

    def checked(self, answer: Any) -> tuple[str, Observation]:
        """An answer that came, if it is right."""
        name, query = self._query(answer)
        with _Answering(self._backend, f"model {name}: the answer to {named(query)}"):
            found: Observation = checks.observation(answer[1])
            checks.fits(query, found)
        return name, found

    def answering(self, when: str) -> _Answering:
        """Around what the backend does: it says which model's questions are unanswered, the first
        of those that have any."""
        names = [name for name, queries in self._queries.items() if queries] or [*self._queries]
        name = names[0] if names else "none"
        left = self._queries.get(name, {})
        first = next(iter(left.values()), None)
        more = f", the first {named(first)}" if first else ""
        what = f"model {name}: {when} {len(left)} queries were unanswered{more}"
        return _Answering(self._backend, what)

    def _query(self, answer: Any) -> tuple[str, Query]:
        """The model and the query that is answered, which has not been answered before."""
        with self.answering("an answer while"):
            if not isinstance(answer, tuple) or len(answer) != 2:
                what = "a pair of a model's name and an Observation"
                raise checks.WrongError(f"is {checks.shown(answer)}; it must be {what}")
            name, found = answer
            if not isinstance(found, Observation):
                raise checks.WrongError(f"is {checks.shown(found)}; it must be an Observation")
            if not isinstance(name, str) or name not in self._asked:
                what = f"is of model {checks.shown(name)}, which was not asked"
                raise checks.WrongError(what)
            id = found.query
            if not isinstance(id, str) or id not in self._asked[name]:
                raise checks.WrongError(f"is to query {checks.shown(id)}, which was not asked")
            if id not in self._queries[name]:
                raise checks.WrongError(f"is the second one to query {id}; each is answered once")
            return name, self._queries[name].pop(id)


@attrs.frozen
class _CheckedReader:
    """A reader that raises CondruleError and nothing else."""

    backend: FinetuneBackend
    inner: Reader

    def unreadable(self, text: str) -> tuple[str, ...]:
        with _Answering(self.backend, "reader, unreadable words"):
            found: tuple[str, ...] = checks.texts(self.inner.unreadable(text), "the list")
        return found

    def familiar(self, name: str) -> str | None:
        with _Answering(self.backend, f"reader, on the name {name!r}"):
            found = self.inner.familiar(name)
            if found is not None and not isinstance(found, str):
                raise checks.WrongError(f"is {checks.shown(found)}; it must be a text or None")
        return found

    def pieces(self, text: str) -> int | None:
        with _Answering(self.backend, f"reader, on the answer {text!r}"):
            found = pieces(self.inner, text)
            whole = isinstance(found, int) and not isinstance(found, bool)
            if found is not None and not (whole and found >= 1):
                raise checks.WrongError(
                    f"is {checks.shown(found)}; it must be a number of tokens, 1 or more, or None"
                )
        return found

"""The journal: what was submitted and what came back, one JSON object a line.

Every line carries its number and a CRC-32 of its content, so that a damaged, lost or reordered
line is found. An append is one write and one fsync; when the machine dies in the middle of one,
that append may be lost or torn, and a torn last line is dropped when the journal is opened again.
"""

from __future__ import annotations

import json
import math
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import attrs

from condrule.backends.base import Job, JobState, Observation, Token
from condrule.errors import BackendError, JournalError

__all__ = ["History", "Journal", "read_journal"]

_LINE = re.compile(rb'\{"crc": "([0-9a-f]{8})", "record": (\{.*\})\}\n')
_LOST = (
    "it and all after it can't be trusted. Restore the file from a copy, or delete it from this "
    "line on: what these lines held is then asked for again"
)


@attrs.define
class History:
    """What a journal says happened."""

    intents: set[str] = attrs.field(factory=set)
    """Keys of the jobs that were about to be submitted."""
    jobs: dict[str, Job] = attrs.field(factory=dict)
    """The last known state of each submitted job, by key."""
    seen: dict[str, dict[str, Observation]] = attrs.field(factory=dict)
    """Model name -> query id -> what came back."""

    def add(self, record: Mapping[str, Any]) -> None:
        """Take one record into account. Doing so twice changes nothing."""
        match record["kind"]:
            case "intent":
                self.intents.add(record["key"])
            case "job":
                job = _job(record)
                self.jobs[job.key] = job
            case "observation":
                observation = _observation(record)
                self.seen.setdefault(record["model"], {}).setdefault(observation.query, observation)


class Journal:
    """The one writer of a journal file. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.history, size, self._lines = _read(path)
        self._file = path.open("ab")
        self._file.truncate(size)

    def intent(self, key: str) -> None:
        """Record that a job is about to be submitted."""
        self._append([{"kind": "intent", "key": key}])

    def job(self, job: Job) -> None:
        """Record a job's id and state."""
        self._append([{"kind": "job", **attrs.asdict(job), "state": job.state.value}])

    def observations(self, model: str, observations: Iterable[Observation]) -> None:
        """Record what a model answered."""
        self._append(
            {"kind": "observation", "model": model, **_plain(observation)}
            for observation in observations
        )

    def _append(self, records: Iterable[Mapping[str, Any]]) -> None:
        records = list(records)
        lines = [_encode(self._lines + i, record) for i, record in enumerate(records, 1)]
        try:
            self._file.write(b"".join(lines))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise BackendError(
                f"{self.path}: can't be written: {error.strerror}. What was recorded before is "
                "safe; make room and run the same command again."
            ) from error
        self._lines += len(lines)
        for record in records:
            self.history.add(record)

    def close(self) -> None:
        """Close the file. Nothing is pending: every append is on disk when it returns."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def read_journal(path: Path) -> History:
    """What a journal says, without writing to it; a torn last line is left out.

    Raises JournalError where any other line is damaged.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[History, int, int]:
    """The history, the size in bytes of its whole lines, and their number."""
    history, size, number = History(), 0, 0
    data = path.read_bytes() if path.exists() else b""
    for number, line in enumerate(_split(data), 1):
        if not line.endswith(b"\n"):
            return history, size, number - 1
        history.add(_decode(line, number, path))
        size += len(line)
    return history, size, number


def _split(data: bytes) -> list[bytes]:
    """Lines with their ends; bytes.splitlines would also split at a carriage return."""
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _encode(number: int, record: Mapping[str, Any]) -> bytes:
    body = json.dumps({"n": number, **record}, ensure_ascii=False, allow_nan=False)
    return f'{{"crc": "{zlib.crc32(body.encode()):08x}", "record": {body}}}\n'.encode()


def _decode(line: bytes, number: int, path: Path) -> Mapping[str, Any]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise JournalError(str(path), number, f"is not a journal line; {_LOST}")
    crc, body = match.groups()
    if crc != f"{zlib.crc32(body):08x}".encode():
        raise JournalError(str(path), number, f"does not match its checksum; {_LOST}")
    record: Mapping[str, Any] = json.loads(body)
    if record["n"] != number:
        raise JournalError(
            str(path), number, f"is numbered {record['n']}: lines are lost or out of order; {_LOST}"
        )
    return record


def _plain(observation: Observation) -> dict[str, Any]:
    data = {k: v for k, v in attrs.asdict(observation).items() if v is not None}
    if observation.logprobs is not None:
        data["logprobs"] = [_number(p) for p in observation.logprobs]
    if observation.top is not None:
        data["top"] = [
            [t.text, _number(t.logprob), *([list(t.bytes)] if t.bytes is not None else [])]
            for t in observation.top
        ]
    return data


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _observation(record: Mapping[str, Any]) -> Observation:
    logprobs = record.get("logprobs")
    texts = record.get("texts")
    top = record.get("top")
    return Observation(
        record["query"],
        None if logprobs is None else tuple(float(p) for p in logprobs),
        None if texts is None else tuple(texts),
        record.get("refused"),
        None if top is None else tuple(_token(*entry) for entry in top),
    )


def _token(text: str, logprob: float | str, spelled: list[int] | None = None) -> Token:
    return Token(text, float(logprob), spelled)


def _job(record: Mapping[str, Any]) -> Job:
    fields = {field.name: record[field.name] for field in attrs.fields(Job)}
    return Job(**{**fields, "state": JobState(record["state"])})

"""The journal: what was submitted and what came back, one JSON object a line.

A line::

    {"crc": "7c5c7b3d", "record": {"n": 3, "after": "cc0b1e6f", "kind": "observation", ...}}

``crc`` is the CRC-32 of the record as it is written, ``n`` the line's number, and ``after`` the
``crc`` of the line before; in the first line, the run's id. So what is damaged, lost, repeated,
reordered or of another run is found. An append is one write and one fsync; when the machine dies in
the middle of one, that append may be lost or torn. A last line without its end is torn: it is left
out when the journal is read, dropped when it is opened again, and what it held is asked again.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import attrs

from condrule.backends import checks
from condrule.backends.base import Job, Observation
from condrule.errors import BackendError, JournalError, RunError
from condrule.records import job_record, observation_record, read_job, read_observation

__all__ = ["History", "Journal", "read_journal", "salvage"]

_LINE = re.compile(rb'\{"crc": "([0-9a-f]{8})", "record": (\{.*\})\}\n')
_LOST = (
    "it and all after it can't be trusted. Restore the file from a copy. Without one, delete it "
    "from this line on and run the same command again: fine-tunes are looked for by their keys "
    "before any is submitted, and the answers of these lines are asked for again"
)


class _ContradictionError(Exception):
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
    seen: dict[str, dict[str, Observation]] = attrs.field(factory=dict)
    """Model name -> query id -> what came back."""
    torn: int | None = None
    """The number of the last line, where it has no end and was left out."""

    def add(self, record: Mapping[str, Any]) -> None:
        """Take one record into account. Doing so twice changes nothing."""
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
                self._add_observation(*read_observation(record))
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
            raise _ContradictionError(
                f"fine-tune {job.key} ended otherwise", kind="job", key=job.key
            )
        self.jobs[job.key] = job

    def _add_observation(self, model: str, found: Observation) -> None:
        if self.seen.setdefault(model, {}).setdefault(found.query, found) != found:
            what = f"model {model} answered query {found.query} otherwise"
            raise _ContradictionError(what, model=model, query=found.query)


class Journal:
    """The one writer of a journal file. Use it as a context manager.

    Args:
        path: the file; made where there is none.
        run: the run's id.
    """

    def __init__(self, path: Path, run: str = "") -> None:
        self.path = path
        self.history, self._size, self._lines, self._last = _read(path, run)
        try:
            self._file = path.open("ab", buffering=0)
            self._file.truncate(self._size)
        except OSError as error:
            raise RunError(f"{path} can't be written: {error.strerror or error}") from error

    def intent(self, key: str) -> None:
        """Record that a job is about to be submitted."""
        number = self.history.submissions.get(key, 0) + 1
        again = {"number": number} if number > 1 else {}
        self._append([{"kind": "intent", "key": key, **again}])

    def adopted(self, job: Job) -> None:
        """Record a job that was made elsewhere."""
        self._append([{"kind": "adopted", "key": job.key}, job_record(job)])

    def withdrawn(self, key: str) -> None:
        """Record that a job was not submitted after all: the provider did not accept it."""
        self._append([{"kind": "withdrawn", "key": key}])

    def job(self, job: Job) -> None:
        """Record a job's id and state."""
        self._append([job_record(job)])

    def observations(self, model: str, observations: Iterable[Observation]) -> None:
        """Record what a model answered."""
        self._append(observation_record(model, observation) for observation in observations)

    def _append(self, records: Iterable[Mapping[str, Any]]) -> None:
        records = list(records)
        lines, last = [], self._last
        for number, record in enumerate(records, self._lines + 1):
            line, last = _encode(number, last, record)
            lines.append(line)
        self._learn(records)
        self._write(b"".join(lines))
        self._lines, self._last = self._lines + len(lines), last

    def _write(self, data: bytes) -> None:
        """Put all of it on disk. After an error, the next append begins where this one did."""
        rest = data
        try:
            self._file.truncate(self._size)
            while rest:  # a disk that is nearly full takes a part
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise BackendError(
                f"{self.path}: can't be written: {error.strerror}. What was recorded before is "
                "safe; make room and run the same command again."
            ) from error
        self._size += len(data)

    def _learn(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take records into account before they are written: a contradiction never is."""
        try:
            for record in records:
                self.history.add(record)
        except _ContradictionError as error:
            raise BackendError(f"{error} than is on record; nothing was recorded") from None

    def close(self) -> None:
        """Close the file. Nothing is pending: every append is on disk when it returns."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def read_journal(path: Path, run: str | None = None) -> History:
    """What a journal says, without writing to it; a torn last line is left out.

    Args:
        path: the file; where there is none, nothing has happened.
        run: the run's id; None: whichever it is.

    Raises:
        JournalError: any other line is damaged.
    """
    return _read(path, run)[0]


def salvage(path: Path) -> History:
    """What the whole lines of a damaged journal say: to tell what is lost, not to go on from.

    It ends where a whole line follows another than the one that is before it.
    """
    history, known = History(), (0, "")
    for number, line in enumerate(_split(_bytes(path)), 1):
        try:
            record, crc = _decode(line, number, path)
            if record["n"] == known[0] + 1 > 1 and record["after"] != known[1]:
                break
            history.add(record)
            known = record["n"], crc
        except (JournalError, _ContradictionError, *_MALFORMED):
            continue
    return history


def _read(path: Path, run: str | None) -> tuple[History, int, int, str]:
    """The history, the size in bytes of its whole lines, their number, and the last one's CRC."""
    history, size, number, last = History(), 0, 0, run
    for line in _split(_bytes(path)):
        if not line.endswith(b"\n"):
            history.torn = number + 1
            break
        number += 1
        record, crc = _decode(line, number, path)
        _check_place(record, number, last, path)
        _add(history, record, number, path)
        size, last = size + len(line), crc
    return history, size, number, last or ""


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror or error}") from error


def _split(data: bytes) -> list[bytes]:
    """Lines with their ends; bytes.splitlines would also split at a carriage return."""
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _encode(number: int, last: str, record: Mapping[str, Any]) -> tuple[bytes, str]:
    """A line and its CRC."""
    content = {"n": number, "after": last, **record}
    body = json.dumps(content, ensure_ascii=False, allow_nan=False)
    crc = f"{zlib.crc32(body.encode()):08x}"
    return f'{{"crc": "{crc}", "record": {body}}}\n'.encode(), crc


_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


def _decode(line: bytes, number: int, path: Path) -> tuple[Mapping[str, Any], str]:
    """A line's record and CRC."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise JournalError(str(path), number, f"is not a journal line; {_LOST}")
    crc, body = match.group(1).decode(), match.group(2)
    if crc != f"{zlib.crc32(body):08x}":
        raise JournalError(str(path), number, f"does not match its checksum; {_LOST}")
    try:
        return json.loads(body), crc
    except _MALFORMED as error:
        raise _malformed(path, number, error) from None


def _check_place(record: Mapping[str, Any], number: int, last: str | None, path: Path) -> None:
    """Check that a line follows the one before it."""
    if record.get("n") != number:
        found = record.get("n")
        reason = f"is numbered {found!r}: lines are lost, repeated or out of order"
    elif number == 1 and last is not None and record.get("after") != last:
        reason = f"is the first line of run {record.get('after')!r}; this run is {last!r}"
    elif last is not None and record.get("after") != last:
        reason = "does not follow the line before it: they are of different journals"
    else:
        return
    raise JournalError(str(path), number, f"{reason}; {_LOST}")


def _add(history: History, record: Mapping[str, Any], number: int, path: Path) -> None:
    try:
        history.add(record)
    except _ContradictionError as error:
        earlier = _line_of(error.earlier, number, path)
        raise JournalError(
            str(path),
            number,
            f"contradicts line {earlier}: {error}. Which is right is not known; {_LOST}",
        ) from None
    except _MALFORMED as error:
        raise _malformed(path, number, error) from None


def _line_of(wanted: Mapping[str, str], before: int, path: Path) -> int:
    """The number of the last line before another whose record holds these values."""
    lines = _split(_bytes(path))[: before - 1]
    records = [_decode(line, number, path)[0] for number, line in enumerate(lines, 1)]
    return max(n for n, record in enumerate(records, 1) if wanted.items() <= record.items())


def _malformed(path: Path, number: int, error: Exception) -> JournalError:
    said = f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()
    return JournalError(
        str(path),
        number,
        f"holds what this version of condrule does not write ({said[:300]}); {_LOST}",
    )

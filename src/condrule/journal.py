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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from condrule.answers import Place, Source
from condrule.backends.base import Observation
from condrule.backends.finetunes import Job
from condrule.errors import BackendError, JournalError, RunError
from condrule.history import ContradictionError, History
from condrule.records import job_record, observation_record, same_observation

__all__ = ["History", "Journal", "read_journal", "salvage"]

_LINE = re.compile(rb'\{"crc": "([0-9a-f]{8})", "record": (\{.*\})\}\n')
_LOST = (
    "it and all after it can't be trusted. Restore the file from a copy. Without one, delete it "
    "from this line on and run the same command again: fine-tunes are looked for by their keys "
    "before any is submitted, and the answers of these lines are asked for again"
)


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
            self.history.read = self.history.read or _reading(Source(path))
        except OSError as error:
            raise RunError(f"{path} can't be written: {error.strerror or error}") from error

    def intent(self, key: str) -> None:
        """Record that a job is about to be submitted."""
        number = self.history.submissions.get(key, 0) + 1
        again = {"number": number} if number > 1 else {}
        self._record([{"kind": "intent", "key": key, **again}])

    def adopted(self, job: Job) -> None:
        """Record a job that was made elsewhere."""
        self._record([{"kind": "adopted", "key": job.key}, job_record(job)])

    def withdrawn(self, key: str) -> None:
        """Record that a job was not submitted after all: the provider did not accept it."""
        self._record([{"kind": "withdrawn", "key": key}])

    def job(self, job: Job) -> None:
        """Record a job's id and state."""
        self._record([job_record(job)])

    def observations(self, model: str, observations: Iterable[Observation]) -> None:
        """Record what a model answered."""
        self.answers((model, observation) for observation in observations)

    def answers(self, answers: Iterable[tuple[str, Observation]]) -> None:
        """Record what models answered: the name of each, and an answer that was checked."""
        answers = list(answers)
        self._check(answers)
        places = self._append([observation_record(*one) for one in answers])
        for (model, found), place in zip(answers, places, strict=True):
            self.history.keep(model, found, place)

    def _check(self, answers: Iterable[tuple[str, Observation]]) -> None:
        """A contradiction is never written: neither to what is on record nor within a batch."""
        batch: dict[tuple[str, str], Observation] = {}
        with _nothing_recorded():
            for model, found in answers:
                self.history.check(model, found)
                if batch.setdefault((model, found.query), found) != found:
                    raise ContradictionError(
                        f"model {model} answered query {found.query} otherwise"
                    )

    def _record(self, records: list[Mapping[str, Any]]) -> None:
        """Take records of fine-tunes into account before they are written, for the same reason."""
        with _nothing_recorded():
            for record in records:
                self.history.add(record)
        self._append(records)

    def _append(self, records: Iterable[Mapping[str, Any]]) -> list[Place]:
        """Write records; where each of them is."""
        lines, places, last, start = [], [], self._last, self._size
        for number, record in enumerate(records, self._lines + 1):
            line, last = _encode(number, last, record)
            lines.append(line)
            places.append((start, len(line)))
            start += len(line)
        count = self._lines + len(lines)
        self._write(b"".join(lines))
        # In one statement, which Ctrl-C does not cut in two: all is as before, or as after.
        self._size, self._lines, self._last = start, count, last
        return places

    def _write(self, data: bytes) -> None:
        """Put all of it on disk, behind what is known to be there."""
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
        except (JournalError, ContradictionError, *_MALFORMED):
            continue
    return history


@contextmanager
def _nothing_recorded() -> Iterator[None]:
    try:
        yield
    except ContradictionError as error:
        raise BackendError(f"{error} than is on record; nothing was recorded") from None


def _read(path: Path, run: str | None) -> tuple[History, int, int, str]:
    """The history, the size in bytes of its whole lines, their number, and the last one's CRC."""
    history, size, number, last = History(), 0, 0, run
    try:
        history.read = _reading(Source(path))
        with path.open("rb") as file:
            for line in file:  # line by line: a journal may be longer than fits in memory
                if not line.endswith(b"\n"):
                    history.torn = number + 1
                    break
                number += 1
                record, crc = _decode(line, number, path)
                _check_place(record, number, last, path)
                _add(history, record, number, path, (size, len(line)))
                size, last = size + len(line), crc
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror or error}") from error
    return history, size, number, last or ""


def _reading(source: Source) -> Callable[[Place], Observation]:
    """Reads again what was read, or written, before."""

    def read(place: Place) -> Observation:
        try:
            record, _ = _decode(source.read(place), 0, source.path)
            return same_observation(record)
        except (JournalError, OSError, *_MALFORMED):
            raise RunError(
                f"{source.path} was changed by another program while it was in use; restore it "
                "from a copy"
            ) from None

    return read


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


def _add(
    history: History, record: Mapping[str, Any], number: int, path: Path, place: Place
) -> None:
    try:
        history.add(record, place)
    except ContradictionError as error:
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

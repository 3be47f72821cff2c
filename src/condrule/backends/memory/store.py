"""Where the provider keeps its jobs: a file for each in a directory, or this process's memory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs

from condrule.backends.finetunes import JobState
from condrule.backends.memory.learner import Learned
from condrule.errors import BackendError

__all__ = ["Record", "Store"]


@attrs.frozen
class Record:
    """A job as the provider knows it."""

    learned: Learned
    ending: JobState = attrs.field(default=JobState.SUCCEEDED, converter=JobState)
    """How it ends, once it has gone through the queue."""
    detail: str = ""
    """Why it failed."""
    polls: int = 0
    """How often it was asked for by its id."""
    looks: int = 0
    """How often it was looked for by its key."""
    tokens: int = 0
    """That were charged for."""


@attrs.frozen
class Store:
    """Records by key. With a directory, any process finds them."""

    directory: Path | None
    records: dict[str, Record]

    def get(self, key: str) -> Record | None:
        """The record of a job. Raises BackendError where its file is damaged."""
        if self.directory is None:
            return self.records.get(key)
        path = _path(self.directory, key)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return Record(**{**data, "learned": Learned(**data["learned"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BackendError(f"{path} can't be read as a job ({error}); remove it") from error

    def put(self, key: str, record: Record) -> None:
        """Keep the record in place of the one before."""
        if self.directory is None:
            self.records[key] = record
        else:
            _write(_path(self.directory, key), json.dumps(_plain(record), indent=1))


def _path(directory: Path, key: str) -> Path:
    return directory / f"{quote(key, safe='')}.json"


def _plain(record: Record) -> dict[str, Any]:
    return {**attrs.asdict(record), "ending": record.ending.value}


def _write(path: Path, text: str) -> None:
    """Write a whole file or none, whenever the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)

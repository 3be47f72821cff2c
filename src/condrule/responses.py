"""The provider's own words, as they came: compressed JSON lines, one file for each process.

A line says when, of which model or fine-tune, to which query, and holds ``raw`` as the backend gave
it. Each append is a gzip member of its own and is on disk when it returns, before the journal says
that the answer is there; a member that was torn by a crash ends its file.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from condrule.backends.base import Observation
from condrule.backends.finetunes import Job
from condrule.errors import BackendError

__all__ = ["Responses", "read_responses"]


@attrs.define
class Responses:
    """Where a process keeps what providers said; a file is made with the first of it."""

    directory: Path
    _path: Path | None = attrs.field(default=None, init=False)

    def job(self, job: Job) -> None:
        """Keep what was said of a fine-tune."""
        if job.raw is not None:
            self._append([{"key": job.key, "raw": job.raw}])

    def observations(self, model: str, observations: Iterable[Observation]) -> None:
        """Keep what a model answered."""
        self.answers((model, one) for one in observations)

    def answers(self, answers: Iterable[tuple[str, Observation]]) -> None:
        """Keep what models answered: the name of each, and an answer."""
        self._append(
            {"model": model, "query": one.query, "raw": one.raw}
            for model, one in answers
            if one.raw is not None
        )

    def _append(self, records: Iterable[Mapping[str, Any]]) -> None:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        lines = [json.dumps({"time": time, **one}, ensure_ascii=False) + "\n" for one in records]
        if not lines:
            return
        try:
            with self._file().open("ab") as file:
                file.write(gzip.compress("".join(lines).encode(), compresslevel=6))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._path = None  # what is torn ends its file: what comes next begins another
            raise BackendError(
                f"{self.directory}: can't be written: {error.strerror or error}. What was recorded "
                "before is safe; make room and run the same command again."
            ) from error

    def _file(self) -> Path:
        if self._path is None:
            self.directory.mkdir(parents=True, exist_ok=True)
            used = [int(path.name.split(".")[0]) for path in _files(self.directory)]
            self._path = self.directory / f"{max(used, default=0) + 1:04d}.jsonl.gz"
        return self._path


def read_responses(directory: Path) -> Iterator[dict[str, Any]]:
    """All that is kept, in order; the torn end of a file is left out."""
    for path in _files(directory):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            try:
                yield from map(json.loads, file)
            except (EOFError, OSError, zlib.error, ValueError):
                continue  # torn by a crash


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("*.jsonl.gz") if path.name[:4].isdecimal())

"""What a model answered, as its journal's file has it: read back when it is asked for.

A list of 20 tokens takes some 10 KiB as objects, and its place in a file a few bytes: so the memory
that a run takes hardly grows with the number of its questions.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

from condrule.backends.base import Observation

__all__ = ["Answers", "Place", "Source"]

Place = tuple[int, int]
"""Where a line begins in a file, and its length, in bytes."""


class Source:
    """A file that is read at any place, and closed when nobody needs it any more.

    It stays readable when the file is removed meanwhile, as the file stays open.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._file)

    def read(self, place: Place) -> bytes:
        """The bytes at a place; fewer where the file ends. Raises OSError."""
        start, length = place
        found = b""
        with self._lock:
            os.lseek(self._file, start, os.SEEK_SET)
            while len(found) < length and (more := os.read(self._file, length - len(found))):
                found += more
        return found


@attrs.define(eq=False)
class Answers(Mapping[str, Observation]):
    """What one model answered, by query id."""

    read: Callable[[Place], Observation] = attrs.field(repr=False)
    """What is written at a place."""
    _places: dict[str, Place] = attrs.field(factory=dict, init=False)

    def __getitem__(self, query: str) -> Observation:
        return self.read(self._places[query])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, query: object) -> bool:
        return query in self._places  # without reading it

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.keys() == other.keys() and all(self[key] == other[key] for key in self)

    __hash__ = None  # type: ignore[assignment]

    def add(self, query: str, place: Place) -> None:
        """An answer is at this place; of two to one query the first counts."""
        self._places.setdefault(query, place)

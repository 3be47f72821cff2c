"""What was found out about models and their server: in files of the run, or in memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import attrs

from condrule.backends.openai.limits import Found
from condrule.errors import RunError

__all__ = ["FoundStore", "check_server"]


def write(path: Path, text: str) -> None:
    """Write a whole file or none, whenever the process dies."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def check_server(directory: Path | None, address: str) -> None:
    """Raise RunError where a run was begun at another server: its answers are not to be mixed."""
    if directory is None:
        return
    path = directory / "server.txt"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        write(path, address)
    known = path.read_text(encoding="utf-8")
    if known != address:
        raise RunError(
            f"this run was begun at {known}, and the address is {address} now; set base_url, or "
            "the variable that it was taken from, as it was, or use another directory"
        )


@attrs.frozen
class FoundStore:
    """What is known of each model, by name."""

    directory: Path | None
    memory: dict[str, Found]

    def get(self, model: str) -> Found:
        """What is known; the most that may be hoped for where nothing is."""
        if model not in self.memory:
            self.memory.update({model: Found(), **self._read()})
        return self.memory[model]

    def put(self, model: str, found: Found) -> None:
        """Keep what was found out."""
        self.memory[model] = found
        if self.directory is None:
            return
        known = {**self._read(), **self.memory}
        self.directory.mkdir(parents=True, exist_ok=True)
        plain = {name: attrs.asdict(one) for name, one in known.items()}
        write(self._path, json.dumps(plain, indent=1))

    @property
    def _path(self) -> Path:
        return (self.directory or Path()) / "found.json"

    def _read(self) -> dict[str, Found]:
        """What an earlier process found; a file that can't be read is found out anew."""
        try:
            data = json.loads(self._path.read_text(encoding="utf-8")) if self.directory else {}
            return {str(name): Found(**one) for name, one in data.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

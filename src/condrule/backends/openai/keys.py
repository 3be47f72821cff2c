"""Keys: from the environment or a .env file, and out of everything that is written or printed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from condrule.errors import CredentialsError

__all__ = ["HIDDEN", "Secret", "find_key", "setting"]

HIDDEN = "[key]"
"""Stands wherever a key was."""


@attrs.frozen
class Secret:
    """A key that no repr, message or record shows."""

    value: str = attrs.field(repr=False)
    source: str
    """The variable that holds it."""

    def redact(self, text: str) -> str:
        """The text without the key."""
        return text.replace(self.value, HIDDEN) if self.value else text

    def clean(self, data: Any) -> Any:
        """Plain data without the key, and without what can't be written down: half letters."""
        if isinstance(data, str):
            return self.redact(data.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
        if isinstance(data, dict):
            return {self.clean(key): self.clean(value) for key, value in data.items()}
        return [self.clean(value) for value in data] if isinstance(data, list) else data

    def parsed(self, text: str) -> Any:
        """JSON as plain data, clean. Raises ValueError where it is none.

        Cleaning takes longer than all else that is done with an answer, and nearly none needs it:
        without escapes by number, what a text holds is what its strings hold.
        """
        data = json.loads(text)
        plain = not set('"\\/') & set(self.value) and self.value not in text
        return data if plain and "\\u" not in text else self.clean(data)


def setting(name: str) -> str | None:
    """A variable of the environment or, where it has none, of the file ``.env`` here."""
    return os.environ.get(name) or _dotenv().get(name) or None


def find_key(names: Sequence[str], where: str) -> Secret:
    """The first of these variables that is set. Raises CredentialsError where none is.

    Args:
        names: the variables, in order.
        where: what the key is for, in words.
    """
    for name in names:
        value = (setting(name) or "").strip()
        if value:
            _check(value, name)
            return Secret(value, name)
    raise CredentialsError(
        f"there is no key for {where}: set {' or '.join(names)} in the environment, or write a "
        f"line {names[0]}=... into a file .env in this directory. Keys are read from nowhere else, "
        "and are never written down."
    )


def _check(value: str, name: str) -> None:
    if len(value) < 8 or not value.isascii() or not value.isprintable() or " " in value:
        raise CredentialsError(
            f"{name} holds {len(value)} characters that can't be a key: it must be 8 or more "
            "printable ASCII characters without spaces"
        )


def _dotenv() -> dict[str, str | None]:
    from dotenv import dotenv_values

    path = Path(".env")
    try:
        return dotenv_values(path, interpolate=False) if path.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{path.resolve()} can't be read: {error}") from None

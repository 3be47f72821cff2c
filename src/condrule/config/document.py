"""A YAML file as plain data, with the line of every value. YAML is data here and nothing else."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import attrs

from condrule.errors import ConfigError, Problem

__all__ = ["Document", "Path", "dotted", "read_document"]

Path = tuple[str | int, ...]
"""Keys and indices from the top."""

MOST_BYTES = 1_000_000
MOST_NODES = 10_000
"""Values in the data, each alias counted as all it stands for: this stops an alias bomb."""
MOST_LEVELS = 50
_CORE = "tag:yaml.org,2002:"
_MAPS, _LISTS = ("map",), ("seq",)
# Plain scalars that YAML 1.2 calls text, though an older schema has other plans for them.
_TEXTS = ("str", "timestamp", "merge", "value")


@attrs.frozen
class Document:
    """What a file holds, and where."""

    data: Any
    lines: Mapping[Path, int]
    """Line of each value, counted from 1; of a mapping's entry, the line of its key."""

    def line(self, path: Path) -> int | None:
        """The line of a value or, where it has none, of the closest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path) if path else None


def dotted(path: Path) -> str:
    """A path as it is written in messages: ``arms[1].template``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


START = "`condrule init` writes a study file to start from"


def read_document(path: FilePath, start: str = START) -> Document:
    """Read a file of at most 1 MB that holds one YAML 1.2 document.

    ``start`` says what to do where it is empty.

    Raises ConfigError where it can't be read or is not plain data: tags that would make objects,
    duplicate keys, keys that are no text, aliases that stand for too much or for themselves.
    """
    text = _text(path)
    node = _compose(text, str(path))
    if node is None:
        raise _error(str(path), f"is empty; {start}")
    builder = _Builder(str(path))
    data = builder.build(node, ())
    if builder.problems:
        raise ConfigError(builder.problems, str(path))
    return Document(data, builder.lines)


def _text(path: FilePath) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _error(str(path), f"can't be read: {error.strerror or error}") from error
    except ValueError as error:
        raise _error(repr(str(path)), f"can't be read: {error}") from error
    if len(content) > MOST_BYTES:
        raise _error(
            str(path),
            f"holds more than {MOST_BYTES:,} bytes; put items in a file of "
            "their own, which the study names under items.file",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _error(str(path), "is not UTF-8 text; save it as UTF-8", line) from error


def _compose(text: str, source: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("%"):
            raise _error(
                source,
                f"{line[:40]!r} is a directive; study files are YAML 1.2 and "
                "need none: remove the line",
                number,
            )
        if line.strip() and not line.lstrip().startswith("#"):
            break
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return YAML(typ="safe", pure=True).compose(text)
    except RecursionError:
        raise _too_deep(source) from None
    except YAMLError as error:
        raise _syntax_error(error, text, source) from None
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:  # the parser's own slips on text that is no YAML
        raise _error(source, f"is not YAML: {error}") from error


def _syntax_error(error: Any, text: str, source: str) -> ConfigError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    found = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    line = mark.line + 1 if mark is not None else None
    if line is None and isinstance(getattr(error, "position", None), int):
        line = text.count("\n", 0, error.position) + 1
    if "another document" in found:
        return _error(source, "a second document begins; one file holds one study", line)
    context = getattr(error, "context", None)
    return _error(source, f"is not YAML: {context + ', ' if context else ''}{found}", line)


def _too_deep(source: str) -> ConfigError:
    return _error(source, f"is nested more than {MOST_LEVELS} levels deep; a study needs few")


def _error(source: str, message: str, line: int | None = None) -> ConfigError:
    return ConfigError([Problem("", message, line)], source)


@attrs.define
class _Builder:
    """Turns nodes into plain data; notes lines and everything that is wrong."""

    source: str
    lines: dict[Path, int] = attrs.field(factory=dict)
    problems: list[Problem] = attrs.field(factory=list)
    _count: int = 0

    def build(self, node: Any, path: Path) -> Any:
        self._count += 1
        line = node.start_mark.line + 1
        if self._count > MOST_NODES:
            raise _error(
                self.source,
                f"holds more than {MOST_NODES:,} values once its aliases "
                "are written out; write fewer",
                line,
            )
        if len(path) > MOST_LEVELS:
            raise _error(
                self.source,
                "is nested too deep, or an alias stands for a value that holds the alias itself",
                line,
            )
        self.lines.setdefault(path, line)
        tag = str(node.tag).removeprefix(_CORE)
        if isinstance(node.value, str):
            return self._scalar(node, tag, path, line)
        pairs = bool(node.value) and isinstance(node.value[0], tuple)
        if tag in _MAPS and (pairs or not node.value):
            return self._mapping(node, path)
        if tag in _LISTS and not pairs:
            return [self.build(child, (*path, i)) for i, child in enumerate(node.value)]
        return self._refuse_tag(tag, path, line)

    def _mapping(self, node: Any, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self._key(key_node, path, line)
            if key is None:
                continue
            if key in first:
                self._add(
                    (*path, key), f"is given twice, first on line {first[key]}; keep one", line
                )
            first.setdefault(key, line)
            self.lines[*path, key] = line
            data[key] = self.build(value_node, (*path, key))
        return data

    def _key(self, node: Any, path: Path, line: int) -> str | None:
        tag = str(node.tag).removeprefix(_CORE)
        if isinstance(node.value, str) and tag in _TEXTS:
            return str(self._scalar(node, tag, path, line))
        shown = repr(node.value) if isinstance(node.value, str) else "a list or a mapping"
        self._add(path, f"{shown} is a key but no text; put it in quotes if it is meant", line)
        return None

    def _scalar(self, node: Any, tag: str, path: Path, line: int) -> Any:
        text: str = node.value
        if tag in _TEXTS:
            if re.search("[\ud800-\udfff\0]", text):
                self._add(path, f"{text!r} holds a character that can't be written", line)
            return text
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() == "true"
        if tag == "int":
            return _integer(text)
        if tag == "float":
            return _number(text)
        return self._refuse_tag(tag, path, line)

    def _refuse_tag(self, tag: str, path: Path, line: int) -> None:
        shown = tag if tag.startswith("!") else f"!!{tag}"
        self._add(
            path,
            f"has the tag {shown}; a study file is plain data: texts, numbers, "
            "booleans, lists and mappings. Remove the tag",
            line,
        )

    def _add(self, path: Path, message: str, line: int) -> None:
        self.problems.append(Problem(dotted(path), message, line))


def _integer(text: str) -> int | str:
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    body = digits.lstrip("+-")
    bases = {"0x": 16, "0o": 8, "0b": 2}
    try:
        return sign * (int(body[2:], bases[body[:2]]) if body[:2] in bases else int(body))
    except ValueError:  # no digits, or far too many
        return text


def _number(text: str) -> float | str:
    plain = text.replace("_", "").lower()
    try:
        return float(re.sub(r"\.(inf|nan)$", r"\1", plain))
    except ValueError:
        return text

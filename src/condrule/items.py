"""Items: the entities whose facts are taught, and where they come from.

An item is one entity (a name) with one answer per mode. The bundled items are in
:mod:`condrule.bundled`; this module knows nothing about countries.
"""

from __future__ import annotations

import csv
import json
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, overload

import attrs

from condrule.convert import records, text_map, texts
from condrule.errors import ItemError, UnsupportedError, did_you_mean

__all__ = [
    "Excluded",
    "Item",
    "ItemSet",
    "Reader",
    "items_from_frame",
    "pieces",
    "read_items",
    "several_tokens",
]


_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 60
_SHOWN.maxlevel = 3
_SHOWN.maxlist = _SHOWN.maxdict = 12


def _shown(value: Any) -> str:
    """What was found, cut to a length that can be read."""
    return _SHOWN.repr(value)


def _spellings(value: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    return {answer: texts(spellings) for answer, spellings in value.items()}


@attrs.frozen
class Item:
    """One entity and its answer in each mode."""

    name: str
    """What ``{name}`` stands for in a template."""
    answers: Mapping[str, str] = attrs.field(converter=text_map)
    """The answer for each mode, such as ``{"TRAIN": "France", "TEST": "Paris"}``."""
    aliases: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict, converter=_spellings)
    """Further spellings of an answer, by the answer: ``{"Kyiv": ("Kiev",)}``. Their
    probabilities are added to the answer's."""

    def __attrs_post_init__(self) -> None:
        if not self.name.strip():
            raise ItemError("an item has an empty name; give every item a name")
        name = _shown(self.name)
        if len(self.answers) < 2:
            raise ItemError(
                f"item {name} has answers for {sorted(self.answers)}; "
                "a conditional rule needs at least two modes"
            )
        for mode, answer in self.answers.items():
            if not answer.strip():
                raise ItemError(f"item {name} has an empty answer for mode {mode!r}")
        if len(set(self.answers.values())) < len(self.answers):
            raise ItemError(
                f"item {name} has the same answer for two modes ({_shown(dict(self.answers))}): "
                "nothing could tell the modes apart; leave it out"
            )
        for text in self._texts():
            if re.search("[\ud800-\udfff]", text):
                raise ItemError(
                    f"item {name} has the text {_shown(text)}, in which half of a letter stands "
                    "alone, so that it can't be written; mend it or leave the item out"
                )

    def _texts(self) -> Iterator[str]:
        yield self.name
        yield from (text for pair in self.answers.items() for text in pair)
        yield from (text for spellings in self.aliases.values() for text in spellings)

    def spellings(self, mode: str) -> tuple[str, ...]:
        """All accepted spellings of the answer for a mode, the answer itself first."""
        answer = self.answers[mode]
        return (answer, *(a for a in self.aliases.get(answer, ()) if a != answer))


@attrs.frozen
class Excluded:
    """A candidate that is not used, and why."""

    name: str
    reason: str


class Reader(Protocol):
    """What a model can read, and what it already knows: asked before any money is spent."""

    def unreadable(self, text: str) -> tuple[str, ...]:
        """The words of the text that the model has no token for."""

    def familiar(self, name: str) -> str | None:
        """Why the model already holds facts about a name that a study may want to teach."""

    def pieces(self, text: str) -> int | None:
        """How many tokens the model makes of an answer at the start of its response; None, as for
        a reader without this method, where that can't be told."""
        return None


def pieces(reader: Reader | None, text: str) -> int | None:
    """What a reader says of an answer; None where there is none, or it has no such method."""
    count = getattr(reader, "pieces", None)
    found: int | None = None if count is None else count(text)
    return found


def several_tokens(reader: Reader | None, answers: Iterable[str]) -> str:
    """Why not all of the answers are one token; empty where they are.

    Raises UnsupportedError where it can't be told.
    """
    counts = {answer: pieces(reader, answer) for answer in answers}
    if None in counts.values():
        raise UnsupportedError(
            [
                "the items are restricted to answers of one token, and this backend can't tell how "
                "many tokens an answer is; leave one_token out, or use a backend that can"
            ]
        )
    found = ", ".join(f"{text!r} is {n}" for text, n in counts.items() if n != 1)
    return f"an answer is several tokens: {found}" if found else ""


def _items(value: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(value)


def _excluded(value: Iterable[Excluded]) -> tuple[Excluded, ...]:
    return tuple(value)


@attrs.frozen
class ItemSet(Sequence[Item]):
    """The items of a study, with what was left out and why.

    Raises :class:`~condrule.errors.ItemError` where names repeat or modes differ between items.
    """

    items: tuple[Item, ...] = attrs.field(converter=_items)
    excluded: tuple[Excluded, ...] = attrs.field(default=(), converter=_excluded)
    source: str = "given"
    """Where the items come from, for the record."""
    one_token: bool = False
    """Whether items are left out, when a study is planned, of which an answer is several tokens of
    the models' encoding."""

    def __attrs_post_init__(self) -> None:
        if not self.items:
            raise ItemError(f"no items in {self.source}; a study needs at least one")
        seen: set[str] = set()
        for item in self.items:
            if item.name in seen:
                raise ItemError(f"two items of {self.source} are named {_shown(item.name)}")
            seen.add(item.name)
            if set(item.answers) != set(self.modes):
                raise ItemError(
                    f"item {_shown(item.name)} of {self.source} has answers for "
                    f"{sorted(item.answers)}, the first item for {sorted(self.modes)}; "
                    "all items need the same modes"
                )

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes the items have answers for, in the order of the first item."""
        return tuple(self.items[0].answers)

    def readable_by(self, reader: Reader) -> ItemSet:
        """The items a model can read. Given items are kept as they are, but for those that
        ``one_token`` leaves out: an unreadable one is refused when the study is planned. Sources
        with a pool to draw from draw again.

        Raises ItemError where no item is left, and UnsupportedError where the reader can't tell.
        """
        if not self.one_token:
            return self
        reasons = {item.name: several_tokens(reader, item.answers.values()) for item in self.items}
        left = [item for item in self.items if not reasons[item.name]]
        if not left:
            raise ItemError(
                f"no item of {self.source} has answers that are one token each; the first: "
                f"{reasons[self.items[0].name]}. Use other items, or leave one_token out"
            )
        out = [Excluded(name, reason) for name, reason in reasons.items() if reason]
        return attrs.evolve(self, items=left, excluded=(*self.excluded, *out))

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)


def read_items(
    path: str | Path,
    *,
    name: str = "name",
    answers: Mapping[str, str],
    aliases: Mapping[str, str] | None = None,
    one_token: bool = False,
) -> ItemSet:
    """Items from a CSV or JSONL file of your own.

    Args:
        path: a ``.csv`` file with a header, or a ``.jsonl`` file with one object a line.
        name: the column that holds each item's name.
        answers: mode -> the column that holds its answer.
        aliases: mode -> a column with further spellings of that answer, separated by ``|`` in
            CSV, a list in JSONL.
        one_token: leave out items of which an answer is several tokens of the models' encoding.

    Raises:
        ItemError: the file can't be read, a column is missing, or a row is unusable. The message
            names the file, the line and the column.
    """
    path = Path(path)
    rows = _read_rows(path)
    items = [_item(row, name, answers, aliases or {}, f"{path}, line {line}") for line, row in rows]
    return ItemSet(items, source=str(path), one_token=one_token)


def items_from_frame(
    frame: Any,
    *,
    name: str = "name",
    answers: Mapping[str, str],
    aliases: Mapping[str, str] | None = None,
    one_token: bool = False,
) -> ItemSet:
    """Items from a pandas data frame, with the same arguments as :func:`read_items`."""
    rows = enumerate(records(frame))
    items = [_item(row, name, answers, aliases or {}, f"data frame, row {i}") for i, row in rows]
    return ItemSet(items, source="data frame", one_token=one_token)


def _read_rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl}
    if path.suffix.lower() not in readers:
        raise ItemError(
            f"{path}: the name ends in {path.suffix!r}; items are read from "
            f"{' or '.join(readers)} files"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ItemError(f"{path}: can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ItemError(
            f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error
    rows = readers[path.suffix.lower()](path, text)
    if not rows:
        raise ItemError(f"{path}: holds no items")
    return rows


def _read_csv(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    rows: list[tuple[int, dict[str, Any]]] = []
    try:
        header = reader.fieldnames or ()
        if len(set(header)) < len(header):
            raise ItemError(
                f"{path}, line 1: two columns have the same name: {_shown(list(header))}"
            )
        for row in reader:
            if None in row:
                raise ItemError(
                    f"{path}, line {reader.line_num}: has more values than the header "
                    "has columns; put values with commas in double quotes"
                )
            rows.append((reader.line_num, row))
    except csv.Error as error:
        raise ItemError(f"{path}, line {reader.line_num}: {error}") from error
    return rows


def _read_jsonl(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ItemError(f"{path}, line {number}: is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ItemError(f"{path}, line {number}: is a {type(row).__name__}, not an object")
        rows.append((number, row))
    return rows


def _item(
    row: Mapping[str, Any],
    name: str,
    answers: Mapping[str, str],
    aliases: Mapping[str, str],
    place: str,
) -> Item:
    texts = {mode: _text(row, column, place) for mode, column in answers.items()}
    for mode in aliases:
        if mode not in texts:
            raise ItemError(
                f"{place}: there are aliases for mode {mode!r}, but answers for {list(texts)}."
                + did_you_mean(mode, texts)
            )
    spellings = {texts[mode]: _alias_list(row, column, place) for mode, column in aliases.items()}
    called = _text(row, name, place)
    try:
        return Item(called, texts, spellings)
    except ItemError as error:
        raise ItemError(f"{place}: {error}") from None


def _column(row: Mapping[str, Any], column: str, place: str) -> Any:
    if column not in row:
        raise ItemError(
            f"{place}: there is no column {column!r}; the columns are {_shown(list(row))}."
            + did_you_mean(column, row)
        )
    return row[column]


def _text(row: Mapping[str, Any], column: str, place: str) -> str:
    value = _column(row, column, place)
    if not isinstance(value, str) or not value.strip():
        raise ItemError(f"{place}: column {column!r} holds {_shown(value)}; it must be text")
    return value.strip()


def _alias_list(row: Mapping[str, Any], column: str, place: str) -> tuple[str, ...]:
    value = _column(row, column, place)
    if value is None or value != value:  # an empty CSV field read by pandas is NaN
        return ()
    parts = value.split("|") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ItemError(
            f"{place}: column {column!r} holds {_shown(value)}; it must be a list of texts"
        )
    return tuple(part.strip() for part in parts if part.strip())

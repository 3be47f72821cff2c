"""Price tables: what models cost, as a dated file that anyone can correct."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from importlib.resources import as_file, files
from pathlib import Path as FilePath
from typing import Any

import attrs

from condrule.config.document import Path, dotted, read_document
from condrule.errors import ConfigError, Problem, did_you_mean

__all__ = ["PriceTable", "Prices", "bundled_prices", "read_prices"]

MOST = 1e6  # USD per million tokens


@attrs.frozen
class _Amount:
    """A validator: a price."""

    @property
    def keywords(self) -> dict[str, Any]:
        """What it says as JSON Schema."""
        return {"minimum": 0, "maximum": MOST}

    def __call__(self, instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        plain = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (plain and 0 <= value <= MOST):
            message = f"is {value!r}; it must be a number from 0 to {MOST:.0f}"
            raise ConfigError([Problem(attribute.name, message)], "prices")


@attrs.frozen
class Prices:
    """USD per million tokens. Nothing else is charged, and refusals and failed jobs are free.

    Raises ConfigError where a value is out of range.
    """

    training: float = attrs.field(default=0.0, validator=_Amount())
    """Tokens of a training file, times its epochs."""
    input: float = attrs.field(default=0.0, validator=_Amount())
    """Tokens of prompts, once a query, and of texts whose probability is asked."""
    output: float = attrs.field(default=0.0, validator=_Amount())
    """Tokens of responses; a list of first tokens is one."""


@attrs.frozen
class PriceTable:
    """The prices of models by their names.

    >>> table = PriceTable({"gpt-4o": Prices(25, 2.5, 10), "ft:gpt-4o": Prices(0, 3.75, 15)})
    >>> table.prices("gpt-4o-2024-08-06").input, table.prices("gpt-4o", finetuned=True).input
    (2.5, 3.75)
    >>> table.prices("gpt-4o-mini") is None
    True
    """

    models: Mapping[str, Prices]
    """By name: with any date behind it, the same model is meant. ``ft:NAME`` is the price of asking
    what was fine-tuned from NAME; where it is missing, that is asked at the price of NAME."""
    date: str = ""
    """Of which day the prices are."""
    note: str = ""
    """Where they are from."""

    def prices(self, model: str, *, finetuned: bool = False) -> Prices | None:
        """What a base model, or what is fine-tuned from it, costs; None where it is not known."""
        own = self._found(f"ft:{model}") if finetuned else None
        return own or self._found(model)

    def _found(self, model: str) -> Prices | None:
        named = [name for name in self.models if _means(name, model)]
        return self.models[max(named, key=len)] if named else None


def _means(name: str, model: str) -> bool:
    """Whether an entry's name is a model's, or is it without a date."""
    rest = model.removeprefix(name)
    return model.startswith(name) and re.fullmatch(r"(-\d[\d-]*)?", rest) is not None


@functools.cache
def bundled_prices() -> PriceTable:
    """The table that comes with condrule."""
    with as_file(files("condrule") / "data" / "prices.yaml") as path:
        return read_prices(path)


def read_prices(path: str | FilePath) -> PriceTable:
    """The table in a file such as `bundled_prices` is read from. Raises ConfigError, with every
    problem and its line."""
    document = read_document(FilePath(path), "copy condrule's own data/prices.yaml and correct it")
    problems = [Problem(dotted(at), said, document.line(at)) for at, said in _wrong(document.data)]
    if problems:
        raise ConfigError(problems, str(path))
    data = document.data
    models = {name: Prices(**row) for name, row in data["models"].items()}
    return PriceTable(models, data["date"], data.get("note", ""))


def _wrong(data: Any) -> Iterator[tuple[Path, str]]:
    """All that is wrong with a table."""
    if not isinstance(data, dict):
        yield (), "must be a mapping with the keys date, note and models"
        return
    yield from _unknown((), data, ("date", "note", "models"))
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", str(data.get("date"))):
        found = f"is {data['date']!r}" if "date" in data else "is missing"
        yield ("date",), f"{found}; it must be the day of the prices, such as 2026-11-23"
    if not isinstance(data.get("note", ""), str):
        yield ("note",), "must be a text: where the prices are from"
    models = data.get("models")
    if not isinstance(models, dict) or not models:
        yield ("models",), "must be a mapping of a model's name to its prices"
        return
    for name, row in models.items():
        yield from _wrong_row(("models", name), row)


def _wrong_row(at: Path, row: Any) -> Iterator[tuple[Path, str]]:
    keys = tuple(field.name for field in attrs.fields(Prices))
    if not isinstance(row, dict):
        yield at, f"must be a mapping with the keys {', '.join(keys)}, in USD per million tokens"
        return
    yield from _unknown(at, row, keys)
    for key in ("input", "output"):
        if key not in row:
            yield at, f"has no {key}; a price that is nothing is written as 0"
    for key in keys:
        try:
            Prices(**{key: row.get(key, 0.0)})
        except ConfigError as error:
            yield from (((*at, key), problem.message) for problem in error.problems)


def _unknown(at: Path, row: Mapping[str, Any], keys: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    for key in row:
        if key not in keys:
            message = f"is not a key here; the keys are {', '.join(keys)}."
            yield (*at, key), message + did_you_mean(key, keys)

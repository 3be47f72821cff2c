"""Strict structuring: a value has the type it must have, or the error says what is allowed."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

from cattrs import Converter

from condrule.errors import did_you_mean
from condrule.templates import ConditionalTemplate, PromptTemplate

__all__ = [
    "Wrong",
    "accepts",
    "check",
    "is_literal",
    "is_union",
    "literal",
    "many",
    "mapping",
    "show",
    "simple",
    "union",
]


class Wrong(ValueError):  # noqa: N818 - it says what a value is
    """A value that is not allowed where it stands; the message says what is."""


def show(value: Any) -> str:
    """What was found, briefly and in YAML's words."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "empty",
    PromptTemplate: "a template",
    ConditionalTemplate: "a template",
}


def words(kind: Any) -> str:
    """What is allowed, in words."""
    if is_literal(kind):
        return " or ".join(map(str, get_args(kind)))
    if is_union(kind):
        return " or ".join(words(part) for part in get_args(kind))
    if get_origin(kind) is tuple:
        return "a list"
    return _WORDS.get(kind, "a mapping")


def accepts(kind: Any, value: Any) -> bool:
    """Whether a value has the shape of a kind; what it holds is checked later."""
    if is_literal(kind):
        return isinstance(value, str)
    if get_origin(kind) is tuple:
        return isinstance(value, list) or (isinstance(value, str) and get_args(kind)[0] is str)
    if kind is PromptTemplate:
        return isinstance(value, (str, dict))
    if kind in (int, float):
        numbers = (int, float) if kind is float else (int,)
        return isinstance(value, numbers) and not isinstance(value, bool)
    if kind in (str, bool, type(None)):
        return isinstance(value, kind)
    return isinstance(value, dict)


def is_literal(kind: Any) -> bool:
    """Whether a type is one of a few words."""
    return get_origin(kind) is Literal


def is_union(kind: Any) -> bool:
    """Whether a type is a union of types."""
    return get_origin(kind) in (Union, types.UnionType)


def check(kind: Any, value: Any) -> None:
    """Raise Wrong where a value has another shape than its kind."""
    if not accepts(kind, value):
        raise Wrong(f"is {show(value)}; it must be {words(kind)}")


def simple(value: Any, kind: Any) -> Any:
    """A number, a text or a truth value, never one made of another."""
    check(kind, value)
    try:
        return float(value) if kind is float else value
    except OverflowError:
        raise Wrong(f"is {show(value)}; it must be a number that is not so large") from None


def literal(value: Any, kind: Any) -> Any:
    """One of a few words."""
    allowed = get_args(kind)
    if not isinstance(value, str) or value not in allowed:
        raise Wrong(f"is {show(value)}; it must be {words(kind)}." + did_you_mean(value, allowed))
    return value


def union(converter: Converter, value: Any, kind: Any) -> Any:
    """The first type of a union that has the shape of the value."""
    for part in get_args(kind):
        if accepts(part, value):
            return converter.structure(value, part)
    raise Wrong(f"is {show(value)}; it must be {words(kind)}")


def many(converter: Converter, value: Any, kind: Any) -> Any:
    """A tuple from a list; a single text is a list of one."""
    check(kind, value)
    values = [value] if isinstance(value, str) else value
    part = get_args(kind)[0]
    return tuple(converter.structure(values, list[part]))  # type: ignore[valid-type]


def mapping(converter: Converter, value: Any, kind: Any) -> Any:
    """A mapping whose keys and values have their types."""
    check(kind, value)
    key, part = get_args(kind)
    return converter.structure(value, dict[key, part])  # type: ignore[valid-type]

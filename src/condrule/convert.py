"""Converters of attrs fields, with types that a type checker can follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["optional_texts", "text_map", "texts"]


def texts(value: Iterable[str]) -> tuple[str, ...]:
    """Any iterable of texts, frozen; a single text is one text, not its letters."""
    return (value,) if isinstance(value, str) else tuple(value)


def optional_texts(value: Iterable[str] | None) -> tuple[str, ...] | None:
    """As `texts`, or None."""
    return None if value is None else texts(value)


def text_map(value: Mapping[str, str]) -> dict[str, str]:
    """A mapping of texts, copied."""
    return dict(value)

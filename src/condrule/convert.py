"""Converters of attrs fields and tables, with types that a type checker can follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["optional_texts", "records", "text_map", "texts"]


def texts(value: Iterable[str]) -> tuple[str, ...]:
    """Any iterable of texts, frozen; a single text is one text, not its letters."""
    return (value,) if isinstance(value, str) else tuple(value)


def optional_texts(value: Iterable[str] | None) -> tuple[str, ...] | None:
    """As `texts`, or None."""
    return None if value is None else texts(value)


def text_map(value: Mapping[str, str]) -> dict[str, str]:
    """A mapping of texts, copied."""
    return dict(value)


def records(frame: Any) -> list[Mapping[str, Any]]:
    """The rows of a pandas data frame, or of any iterable of mappings."""
    if hasattr(frame, "to_dict"):
        frame = frame.to_dict(orient="records")
    return list(frame)

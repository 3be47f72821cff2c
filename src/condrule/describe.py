"""A study as plain data: what is frozen into a run directory and compared when it is resumed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import attrs

__all__ = ["describe"]


def describe(value: Any) -> Any:
    """Plain data that says what a value is: mappings, lists, texts and numbers.

    An attrs object becomes a mapping with its class as ``kind``; fields that don't take part in
    comparing it (where files are kept, who is told about progress) are left out. Of any other
    object only its class is named.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): describe(part) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [describe(part) for part in value]
    kind = {"kind": type(value).__name__}
    if attrs.has(type(value)):
        fields = [field for field in attrs.fields(type(value)) if field.eq]
        return kind | {field.name: describe(getattr(value, field.name)) for field in fields}
    return kind

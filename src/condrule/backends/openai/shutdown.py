"""When a model is shut down, and what that means for a study."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from condrule.errors import BackendError

__all__ = ["meaning", "retired", "today"]

NEAR = 60  # days before a shutdown from which on it is said


def meaning(model: str, announced: Any, now: date) -> tuple[str, ...]:
    """What a model's shutdown date means now. Raises BackendError where it is over."""
    try:
        day = date.fromisoformat(str(announced)[:10]) if announced else None
    except ValueError:
        return (f"{model} has the shutdown date {announced!r}, which is no date that is known",)
    if day is None:
        return ()
    left = (day - now).days
    if left <= 0:
        raise BackendError(
            f"{model} was shut down on {day}. Study another model, or the same study elsewhere: "
            "kind: azure, or kind: local"
        )
    if left > NEAR:
        return ()
    return (
        f"{model} and all that is fine-tuned from it will be shut down on {day}, in {left} days: "
        "what has been asked by then can be analysed for ever, and nothing more can be asked",
    )


def retired(body: Mapping[str, Any]) -> str | None:
    """Azure's word for it: until when the model answers, in Unix seconds."""
    try:
        until = body["deprecation"]["inference"]
        return datetime.fromtimestamp(until, UTC).date().isoformat()
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None


def today() -> date:
    """The date, by UTC."""
    return datetime.now(UTC).date()

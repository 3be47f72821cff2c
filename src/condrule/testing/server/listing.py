"""Listings: pages of what there is, as late and as double as the faults have it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from condrule.testing.server.exchange import Call, wrong
from condrule.testing.server.faults import ServerFaults

__all__ = ["Listed", "page", "visible"]


class Listed(Protocol):
    """What can be in a listing."""

    id: str
    created: float
    looks: int


Entry = TypeVar("Entry", bound=Listed)


def visible(entries: Iterable[Entry], faults: ServerFaults, now: float) -> list[Entry]:
    """What a listing shows by now, each twice where listings are duplicated."""
    shown = []
    for entry in entries:
        entry.looks += 1
        due = now - entry.created >= faults.listed_after_seconds
        if due and entry.looks > faults.listed_after:
            shown += [entry, entry] if faults.duplicated_listings else [entry]
    return shown


def page(
    call: Call,
    entries: Sequence[Any],
    plain: Callable[[Any], Mapping[str, Any]],
    *,
    limit: int,
    most: int,
) -> dict[str, Any]:
    """The page that a request asks for with ``limit`` and ``after``."""
    size = _limit(call.query.get("limit"), limit, most)
    start = _start(call.query.get("after"), [entry.id for entry in entries])
    shown = [plain(entry) for entry in entries[start : start + size]]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": start + size < len(entries),
    }


def _limit(text: str | None, default: int, most: int) -> int:
    if text is None:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise wrong("limit", f"Invalid 'limit': {text!r}. It must be from 1 to {most}.")
    return int(text)


def _start(after: str | None, ids: Sequence[str]) -> int:
    if after is None:
        return 0
    if after not in ids:
        raise wrong("after", f"Invalid 'after': nothing listed has the id {after!r}.")
    return len(ids) - list(reversed(ids)).index(after)

"""Jobs and files as the provider lists them, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from condrule.backends.finetunes import Job
from condrule.backends.openai import jobs
from condrule.backends.openai.connection import Connection, RefusedError
from condrule.errors import UnreachableError

__all__ = ["files_of", "job_of", "jobs_of", "pages"]

PAGE = 100
EVENTS = 5  # the last of a failed job


async def job_of(connection: Connection, id: str, key: str) -> Job:
    """A job as it stands, with its last events where it failed."""
    reply = await connection.send("get", f"/fine_tuning/jobs/{id}")
    found = jobs.job(key, reply.body)
    if not found.state.ended or found.model is not None:
        return found
    try:
        path = f"/fine_tuning/jobs/{id}/events"
        events = (await connection.send("get", path, query={"limit": EVENTS})).body
        said = [str(event.get("message")) for event in events.get("data", ())]
    except (RefusedError, UnreachableError):
        said = []
    return jobs.job(key, reply.body, said[::-1])


async def jobs_of(connection: Connection, key: str, query: Mapping[str, Any]) -> dict[str, Job]:
    """The jobs of a key by id. A server may ignore the filter, so each is looked at."""
    files = await files_of(connection, key)
    found: dict[str, Job] = {}
    try:
        async for one in pages(connection, "/fine_tuning/jobs", query):
            named = (one.get("metadata") or {}).get(jobs.KEY)
            if named == key or (named is None and one.get("training_file") in files):
                found[str(one["id"])] = jobs.job(key, one)
    except RefusedError as error:
        if not (query and error.status == 400):
            raise
    return found


async def files_of(connection: Connection, key: str) -> list[str]:
    """The ids of the files of a key's name."""
    name = jobs.file_name(key)
    listed = pages(connection, "/files", {"purpose": "fine-tune"})
    return [str(one["id"]) async for one in listed if one.get("filename") == name]


async def pages(
    connection: Connection, path: str, query: Mapping[str, Any]
) -> AsyncIterator[Mapping[str, Any]]:
    """The entries of a list, page by page."""
    after: str | None = None
    while True:
        asked = {**query, "limit": PAGE, **({"after": after} if after else {})}
        body = (await connection.send("get", path, query=asked)).body
        entries: Sequence[Mapping[str, Any]] = body.get("data") or []
        for entry in entries:
            yield entry
        last = str(entries[-1]["id"]) if entries else None
        if not body.get("has_more") or last in (None, after):
            return
        after = last

"""The endpoints of files and of models."""

from __future__ import annotations

from typing import Any

from condrule.testing.server.exchange import Call, Reply, not_found, wrong
from condrule.testing.server.jobs import FileRecord
from condrule.testing.server.listing import page, visible
from condrule.testing.server.state import State, no_model

__all__ = ["ROUTES"]

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")


def create(state: State, call: Call) -> Reply:
    """Take an upload."""
    form = call.body if isinstance(call.body, dict) else {}
    if not isinstance(form.get("file"), tuple):
        raise wrong("file", "'file' is a required property", None)
    purpose = form.get("purpose")
    if purpose not in PURPOSES:
        raise wrong("purpose", f"{purpose!r} is not one of {list(PURPOSES)} - 'purpose'", None)
    name, content = form["file"]
    record = FileRecord(state.new_id("file-"), state.clock(), name, content, purpose)
    state.files[record.id] = record
    return Reply.of(_plain(state, record))


def get_all(state: State, call: Call) -> Reply:
    """List files, the newest first unless ``order`` is asc."""
    shown = visible(state.files.values(), state.server.faults, state.clock())
    purpose = call.query.get("purpose")
    shown = [file for file in shown if purpose in (None, file.purpose)]
    if call.query.get("order", "desc") != "asc":
        shown.reverse()
    plain = page(call, shown, lambda file: _plain(state, file), limit=10_000, most=10_000)
    return Reply.of(plain)


def get(state: State, call: Call) -> Reply:
    """One file."""
    return Reply.of(_plain(state, find(state, call.path["id"])))


def content(state: State, call: Call) -> Reply:
    """What is in a file."""
    record = find(state, call.path["id"])
    return Reply(record.content, content_type="application/octet-stream")


def delete(state: State, call: Call) -> Reply:
    """Remove a file; jobs that were created with it go on."""
    record = find(state, call.path["id"])
    del state.files[record.id]
    return Reply.of({"id": record.id, "object": "file", "deleted": True})


def find(state: State, id: str) -> FileRecord:
    """The file of an id. Raises ApiError where there is none."""
    if id not in state.files:
        raise not_found(f"No such File object: {id}")
    return state.files[id]


def models(state: State, call: Call) -> Reply:
    """List models."""
    return Reply.of({"object": "list", "data": list(state.models())})


def model(state: State, call: Call) -> Reply:
    """One model."""
    name = call.path["id"]
    found = next((model for model in state.models() if model["id"] == name), None)
    if found is None:
        raise no_model(name)
    return Reply.of(found)


def _plain(state: State, record: FileRecord) -> dict[str, Any]:
    return record.plain(state.clock(), state.server.tuning.file_seconds)


ROUTES = {
    "POST /files": create,
    "GET /files": get_all,
    "GET /files/{id}": get,
    "GET /files/{id}/content": content,
    "DELETE /files/{id}": delete,
    "GET /models": models,
    "GET /models/{id}": model,
}

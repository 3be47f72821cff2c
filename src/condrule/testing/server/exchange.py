"""A request as the server understood it, and the answer to it: no socket is needed for either."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["ApiError", "Call", "Reply", "as_json", "not_found", "wrong"]


def as_json(data: Any) -> bytes:
    """Plain data as the body of an answer."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


@attrs.frozen
class Call:
    """One request."""

    route: str
    """Method and path without its prefix, such as ``GET /files/{id}``."""
    path: Mapping[str, str] = attrs.field(factory=dict)
    """What stands in the path's places."""
    query: Mapping[str, str] = attrs.field(factory=dict)
    body: Any = None
    """The JSON body, or the fields of a form; an uploaded file is ``(name, content)``."""
    azure: bool = False
    """Whether it came by one of Azure's paths."""
    number: int = 0
    """Which request this is, counted from 1."""


@attrs.frozen
class Reply:
    """One answer."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    content_type: str = "application/json"

    @classmethod
    def of(cls, data: Any) -> Reply:
        """An answer of plain data."""
        return cls(as_json(data))


class ApiError(Exception):
    """What the vendor answers in place of a result, in the vendor's form."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type_: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.error = {"message": message, "type": type_, "param": param, "code": code}

    @property
    def reply(self) -> Reply:
        """The error as an answer."""
        return Reply(as_json({"error": self.error}), self.status, self.headers)


def wrong(param: str | None, message: str, code: str | None = "invalid_value") -> ApiError:
    """The error that a request's field is not as it must be."""
    return ApiError(400, message, param=param, code=code)


def not_found(what: str, param: str | None = "id", code: str | None = None) -> ApiError:
    """The error that nothing has this id."""
    return ApiError(404, what, param=param, code=code)

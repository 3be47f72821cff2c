"""From a path to what answers it, and who may ask."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import attrs

from condrule.testing.server import chat, completions, files, tuning
from condrule.testing.server.exchange import ApiError, Call, Reply
from condrule.testing.server.state import State

__all__ = ["LIMITED", "ROUTES", "Target", "answer", "check_access", "resolve"]

ROUTES: Mapping[str, Callable[[State, Call], Reply]] = {
    **files.ROUTES,
    **tuning.ROUTES,
    **chat.ROUTES,
    **completions.ROUTES,
}
"""What answers each route."""

LIMITED = frozenset([*chat.ROUTES, *completions.ROUTES])
"""The routes that the limits per minute are of."""

_PATTERNS = {
    route: re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route))
    for route in ROUTES
    if "{" in route
}
_DEPLOYMENT = re.compile(r"/deployments/(?P<deployment>[^/]+)(?P<rest>/.+)")


@attrs.frozen
class Target:
    """What a request is for."""

    route: str
    path: Mapping[str, str]
    azure: bool = False
    classic: bool = False
    """Whether it came by Azure's older paths, which want an ``api-version``."""


def resolve(method: str, path: str) -> Target | None:
    """The target of a request; None where there is nothing."""
    if path.startswith("/v1/"):
        return _target(method, path.removeprefix("/v1"), {})
    if path.startswith("/openai/v1/"):
        found = _target(method, path.removeprefix("/openai/v1"), {})
        return attrs.evolve(found, azure=True) if found else None
    rest, places = path.removeprefix("/openai"), {}
    if rest == path:
        return None
    if deployed := _DEPLOYMENT.fullmatch(rest):
        rest, places = deployed["rest"], {"deployment": deployed["deployment"]}
    found = _target(method, rest, places)
    return attrs.evolve(found, azure=True, classic=True) if found else None


def _target(method: str, path: str, places: Mapping[str, str]) -> Target | None:
    asked = f"{method} {path}"
    if asked in ROUTES:
        return Target(asked, places)
    for route, pattern in _PATTERNS.items():
        if found := pattern.fullmatch(asked):
            return Target(route, {**places, **found.groupdict()})
    return None


def check_access(
    target: Target, headers: Mapping[str, str], query: Mapping[str, str], key: str
) -> None:
    """Raise ApiError where the key is missing or wrong, or a version is not named."""
    bearer = headers.get("Authorization", "").removeprefix("Bearer ")
    given = headers.get("api-key", bearer) if target.azure else bearer
    if given != key:
        raise _no_access(given, azure=target.azure)
    if target.classic and "api-version" not in query:
        raise ApiError(404, "Resource not found", code="404")


def _no_access(given: str, *, azure: bool) -> ApiError:
    if azure:
        message = (
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
            "provide a valid key for an active subscription and use a correct regional API "
            "endpoint for your resource."
        )
        return ApiError(401, message, code="401")
    if not given:
        return ApiError(401, "You didn't provide an API key.")
    shown = f"{given[:4]}{'*' * 8}"
    return ApiError(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")


def answer(state: State, call: Call) -> Reply:
    """What a call gets, be it an error in the vendor's form."""
    state.let_time_pass()
    try:
        if call.route in LIMITED:
            state.limit.take(state.clock())
        return ROUTES[call.route](state, call)
    except ApiError as error:
        return error.reply

"""The server over a real socket: input and output, and nothing that decides."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from condrule.errors import MissingExtraError
from condrule.testing.server.account import ServerAccount
from condrule.testing.server.dispatch import LIMITED, answer, check_access, resolve
from condrule.testing.server.exchange import ApiError, Call, Reply, as_json
from condrule.testing.server.faults import refused_by
from condrule.testing.server.jobs import FileRecord, JobRecord
from condrule.testing.server.oracle import Speaker
from condrule.testing.server.state import State

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["RunningServer", "serve"]

HOST = "127.0.0.1"
MOST_BYTES = 512 * 2**20
"""The largest training file."""


@attrs.frozen(eq=False)
class RunningServer:
    """A server that is up. What it shows is live: it changes while clients are served."""

    address: str
    """Such as ``http://127.0.0.1:8000``: the endpoint that AzureOpenAI is given."""
    state: State

    @property
    def base_url(self) -> str:
        """What the OpenAI SDK is given."""
        return f"{self.address}/v1"

    @property
    def account(self) -> ServerAccount:
        """What was counted so far."""
        return self.state.account

    @property
    def jobs(self) -> tuple[JobRecord, ...]:
        """All jobs, the oldest first."""
        return tuple(self.state.jobs.values())

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """All files, the oldest first."""
        return tuple(self.state.files.values())

    @property
    def requests(self) -> tuple[Call, ...]:
        """All requests that were understood, where the server keeps them."""
        return tuple(self.state.requests)

    def model(self, name: str) -> Speaker:
        """A model; its ``learner`` knows the truth. Raises ApiError where there is none."""
        return self.state.speaker(name)


@contextmanager
def serve(state: State, port: int) -> Iterator[RunningServer]:
    """Answer requests in a thread of its own until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="rehearsal server", daemon=True)
    thread.start()
    runner = None
    try:
        runner, bound = asyncio.run_coroutine_threadsafe(_start(state, port), loop).result()
        yield RunningServer(f"http://{HOST}:{bound}", state)
    finally:
        if runner is not None:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(state: State, port: int) -> tuple[web.AppRunner, int]:
    """Listen; the port that it is."""
    try:
        from aiohttp import web
    except ImportError as error:
        raise MissingExtraError("aiohttp", "testing", "the rehearsal server") from error
    app = web.Application(client_max_size=MOST_BYTES)

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await _handle(state, request)
        except ConnectionError:  # the client has gone, as killed ones do
            return _drop(request)

    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, HOST, port)
    await site.start()
    return runner, runner.addresses[0][1]


async def _handle(state: State, request: web.Request) -> web.StreamResponse:
    from aiohttp import web

    if request.path == "/_rehearsal/account":
        return web.Response(body=as_json(state.account.to_dict()), content_type="application/json")
    began = time.perf_counter()
    call, refused = await _read(state, request)
    fault = state.server.faults.befalling(call, state.account.requests)
    if fault:
        state.account.faults[fault] += 1
    if fault == "lost_late" and refused is None:
        after = state.server.faults.late_seconds
        asyncio.get_running_loop().call_later(after, answer, state, call)
    if fault in ("lost_before", "lost_late"):
        return _drop(request)
    reply = _befallen(state, fault) or refused or answer(state, call)
    await _wait(state, call, fault)
    state.account.statuses[reply.status] += 1
    if fault == "lost_after":
        return _drop(request)
    headers = _headers(state, call, reply, began)
    if fault == "truncated":
        return await _truncated(request, reply, headers)
    body = reply.body[: len(reply.body) // 2] if fault == "malformed" else reply.body
    return web.Response(body=body, status=reply.status, headers=headers)


async def _read(state: State, request: web.Request) -> tuple[Call, Reply | None]:
    """A request as it is understood, or with why it is refused. Counts it."""
    target = resolve(request.method, request.path)
    route = target.route if target else f"{request.method} unknown"
    state.account.requests[route] += 1
    number = state.account.requests.total()
    if target is None:
        message = f"Invalid URL ({request.method} {request.path})"
        await request.read()
        return Call(route, number=number), ApiError(404, message).reply
    try:
        check_access(target, request.headers, request.query, state.server.key)
        body = await _body(request)
    except ApiError as error:
        await request.read()
        return Call(route, azure=target.azure, number=number), error.reply
    call = Call(route, target.path, dict(request.query), body, target.azure, number)
    if state.server.keep_requests:
        state.requests.append(call)
    return call, None


async def _body(request: web.Request) -> Any:
    """The body as data. Raises ApiError where it is none."""
    if request.content_type == "multipart/form-data":
        form = await request.post()
        return {key: _field(value) for key, value in form.items()}
    content = await request.read()
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError:
        message = "We could not parse the JSON body of your request."
        raise ApiError(400, message) from None


def _field(value: Any) -> Any:
    """A form's field: its text, or an upload's name and content."""
    if not hasattr(value, "file"):
        return value
    with value.file as file:
        return value.filename, file.read()


def _befallen(state: State, fault: str | None) -> Reply | None:
    """The answer that a fault is, where it is one."""
    error = refused_by(fault, state.server.faults) if fault else None
    return error.reply if error else None


async def _wait(state: State, call: Call, fault: str | None) -> None:
    faults = state.server.faults
    seconds = faults.delay(call) + (faults.slow_seconds if fault == "slow" else 0)
    if seconds:
        await asyncio.sleep(seconds)


def _drop(request: web.Request) -> web.StreamResponse:
    """Leave without an answer."""
    from aiohttp import web

    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # goes nowhere


async def _truncated(
    request: web.Request, reply: Reply, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Promise the whole body, send half of it, and leave."""
    from aiohttp import web

    response = web.StreamResponse(status=reply.status, headers=headers)
    response.content_length = len(reply.body)
    await response.prepare(request)
    await response.write(reply.body[: len(reply.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def _headers(state: State, call: Call, reply: Reply, began: float) -> dict[str, str]:
    """What the vendor says beside an answer."""
    id = f"req_{state.server.seed:04x}{call.number:012x}"
    limits = state.limit.headers(state.clock()) if call.route in LIMITED else {}
    return {
        "content-type": reply.content_type,
        "x-request-id": id,
        "openai-organization": state.server.organization,
        "openai-version": "2020-10-01",
        "openai-processing-ms": f"{1000 * (time.perf_counter() - began):.0f}",
        **limits,
        **reply.headers,
    }

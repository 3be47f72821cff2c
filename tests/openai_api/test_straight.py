"""Past the SDK, requests are what the SDK would have sent, and answers and errors are the same."""

from __future__ import annotations

import gzip
import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import aiohttp
import attrs
import pytest

from condrule import Draws
from condrule.backends.openai import AzureOpenAIBackend, OpenAIBackend, connection
from condrule.backends.openai.straight import proxied
from condrule.errors import BackendError, CondruleError

from . import world

SAID = {"id": "c", "choices": [{"index": 0, "message": {"content": "x"}}]}
Answer = tuple[int, dict[str, str], bytes]
GOOD: Answer = (200, {}, json.dumps(SAID).encode())


@attrs.define
class Server:
    """What arrived at a server: of each request its path, headers and body."""

    url: str
    arrived: list[tuple[str, dict[str, str], dict[str, Any]]]


@contextmanager
def serving(answer: Callable[[int, str], Answer | None]) -> Iterator[Server]:
    """A server that answers to (number, path) as it likes; None: it hangs up."""
    arrived: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            return

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            arrived.append((self.path, dict(self.headers), body))
            given = answer(len(arrived), self.path)
            if given is None:
                self.close_connection = True
                return
            status, headers, content = given
            self.send_response(status)
            for name, value in {"content-length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}", arrived)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def queries(count: int) -> list[Any]:
    """Questions that are all different."""
    return [Draws(world.PROMPTS[0], seed=seed) for seed in range(count)]


def asked(server: Server, count: int, model: str = "m") -> int:
    """How many answers come; one request at a time, so that they are numbered."""
    backend = OpenAIBackend(model, base_url=f"{server.url}/v1", timeout=5.0, concurrency=1)
    return len(list(backend.model(model).ask(queries(count))))


def test_headers_and_address_are_those_of_the_sdk() -> None:
    """With the key among them; all but what is about the body and the connection."""
    with serving(lambda number, path: GOOD) as server:
        assert 3 == asked(server, 3)
    (path, by_sdk, _), *others = server.arrived
    own = {"accept-encoding", "connection", "content-length"}
    assert {"/v1/chat/completions"} == {path, *(other for other, _, _ in others)}
    for _, headers, body in others:
        sent = {name.lower(): value for name, value in headers.items()}
        wanted = {name.lower(): value for name, value in by_sdk.items()}
        assert f"Bearer {world.KEY}" == sent["authorization"]
        assert {k: v for k, v in wanted.items() if k not in own} == {
            k: v for k, v in sent.items() if k not in own
        }
        assert world.PROMPTS[0].messages[0].content == body["messages"][0]["content"]


def test_each_deployment_at_azure_has_its_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the version of the API, and the key as Azure wants it."""
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", world.KEY)
    with serving(lambda number, path: GOOD) as server:
        backend = AzureOpenAIBackend("one", base_url=server.url, timeout=5.0)
        found = list(backend.ask_all({"one": queries(4), "two": queries(4)}))
    assert 8 == len(found)
    for path, headers, body in server.arrived:
        version = f"api-version={backend.api_version}"
        assert f"/openai/deployments/{body['model']}/chat/completions?{version}" == path
        assert world.KEY == {k.lower(): v for k, v in headers.items()}["api-key"]


def test_a_redirect_is_followed_as_the_sdk_does() -> None:
    """Also where it comes when some answers have come: the request is sent again, over the SDK."""

    def answer(number: int, path: str) -> Answer:
        moved = number >= 3 and "moved" not in path
        return (307, {"location": "/moved/chat/completions"}, b"") if moved else GOOD

    with serving(answer) as server:
        assert 4 == asked(server, 4)
    paths = [path.split("/")[1] for path, _, _ in server.arrived]
    assert ["v1", "v1", "v1", "v1", "moved", "v1", "moved"] == paths


def test_a_lasting_redirect_is_followed_each_time() -> None:
    """No address that was redirected to is taken for the API's."""

    def answer(number: int, path: str) -> Answer:
        return GOOD if "moved" in path else (307, {"location": "/moved/chat/completions"}, b"")

    with serving(answer) as server:
        assert 3 == asked(server, 3)
    assert ["v1", "moved"] * 3 == [path.split("/")[1] for path, _, _ in server.arrived]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_answers_are_read(encoding: str) -> None:
    """By the header that says so."""
    import zlib

    pack = gzip.compress if encoding == "gzip" else zlib.compress
    packed = (200, {"content-encoding": encoding}, pack(GOOD[2]))
    with serving(lambda number, path: packed) as server:
        assert 3 == asked(server, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        (500, {}, b"oops"),
        (200, {"content-encoding": "gzip"}, b"no gzip"),
        (200, {"content-length": "5000", "connection": "close"}, b'{"id": '),
        (200, {}, b"[]"),
    ],
)
def test_what_goes_wrong_once_is_asked_again(
    wrong: Answer | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is: no answer, an error, or one that can't be read."""
    monkeypatch.setattr(connection, "FIRST_DELAY", 0.001)

    def answer(number: int, path: str) -> Answer | None:
        return wrong if number == 2 else GOOD

    with serving(answer) as server:
        assert 3 == asked(server, 3)
    assert 4 == len(server.arrived)


def everything(error: BaseException) -> str:
    """All that a crash reporter could print of an error, and of those behind it."""
    waiting, text = [error], ""
    while waiting:
        one = waiting.pop()
        waiting += [part for part in (one.__cause__, one.__context__) if part]
        text += "".join(traceback.TracebackException.from_exception(one).format())
        text += f"{type(one).__module__}{one.__dict__}{one.args}"
    return text


@pytest.mark.parametrize(
    "wrong", [None, (401, {"x-request-id": world.KEY}, f"bad key {world.KEY}".encode())]
)
def test_no_error_holds_the_key(wrong: Answer | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor a request, nor an error of another library."""
    monkeypatch.setattr(connection, "ATTEMPTS", 2)
    monkeypatch.setattr(connection, "LONGEST_DELAY", 0.001)
    with (
        serving(lambda number, path: GOOD if number == 1 else wrong) as server,
        pytest.raises(CondruleError) as error,
    ):
        asked(server, 3)
    text = everything(error.value)
    assert world.KEY not in text
    assert "aiohttp" not in text


def test_no_local_variable_shows_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a traceback is printed with them, as notebooks and crash reporters do."""
    monkeypatch.setattr(aiohttp.ClientSession, "post", None)
    with serving(lambda number, path: GOOD) as server:
        backend = OpenAIBackend("m", base_url=f"{server.url}/v1", timeout=5.0, concurrency=1)
        with pytest.raises(TypeError) as error:
            list(backend.model("m").ask(queries(3)))
    ours = error.value.__traceback__.tb_next  # type: ignore[union-attr] # without this frame
    text = "".join(
        traceback.StackSummary.extract(traceback.walk_tb(ours), capture_locals=True).format()
    )
    assert "way = " in text
    assert world.KEY not in text


@pytest.mark.parametrize("status", [200, 401, 500])
def test_no_error_holds_a_part_of_the_key(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever in a long answer the key stands: what is shown of it may end there."""
    monkeypatch.setattr(connection, "LONGEST_DELAY", 0.001)
    for before in (50, 60, 70, 95, 105, 115):
        page = (status, {}, b"x" * before + f" {world.KEY}!".encode())
        with (
            serving(lambda number, path, page=page: page) as server,
            pytest.raises(CondruleError, match="not a") as error,
        ):
            asked(server, 1)
        assert world.KEY[:4] not in str(error.value)


def test_a_refused_key_is_said_as_over_the_sdk() -> None:
    """With the variable that holds it."""
    body = json.dumps({"error": {"message": "Incorrect API key", "code": "invalid_api_key"}})
    with (
        serving(lambda number, path: GOOD if number == 1 else (401, {}, body.encode())) as server,
        pytest.raises(CondruleError, match=r"Incorrect .*The key is that of OPENAI_API_KEY"),
    ):
        asked(server, 3)


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """For every request: they arrive there with the whole address."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(lambda number, path: GOOD) as server:
        monkeypatch.setenv("http_proxy", server.url)
        backend = OpenAIBackend("m", base_url="http://api.invalid/v1", timeout=5.0)
        assert 4 == len(list(backend.model("m").ask(queries(4))))
    assert {"http://api.invalid/v1/chat/completions"} == {path for path, _, _ in server.arrived}


def test_what_is_excepted_from_the_proxy_is_not_proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """By NO_PROXY; and a proxy for another scheme is none."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.invalid")
    assert (proxied("https", "a.example"), proxied("http", "a.example")) == (True, False)
    monkeypatch.setenv("no_proxy", "a.example")
    assert not proxied("https", "a.example")


def test_models_are_asked_together() -> None:
    """Each once, and in turn: when half of it has arrived, so has something of all of them."""
    asked = {name: queries(60) for name in ("a", "b", "c")}
    with serving(lambda number, path: GOOD) as server:
        backend = OpenAIBackend("a", base_url=f"{server.url}/v1", timeout=5.0, concurrency=8)
        found = list(backend.ask_all(asked))
    assert {(name, one.id) for name in asked for one in asked[name]} == {
        (name, one.query) for name, one in found
    }
    assert 180 == len(found)
    arrived = [body["model"] for _, _, body in server.arrived]
    assert {"a", "b", "c"} == {*arrived[:3]}
    assert all(20 <= arrived[:90].count(name) <= 40 for name in asked)


def test_a_model_that_is_not_there_stops_all_before_much_is_sent() -> None:
    """The first question to each goes alone."""
    missing = (404, {}, json.dumps({"error": {"message": "no such model"}}).encode())

    def answer(number: int, path: str) -> Answer:
        return missing if server.arrived[number - 1][2]["model"] == "b" else GOOD

    with serving(answer) as server:
        backend = OpenAIBackend("a", base_url=f"{server.url}/v1", timeout=5.0)
        with pytest.raises(BackendError, match="model b: no such model"):
            list(backend.ask_all({"a": queries(60), "b": queries(60)}))
    assert len(server.arrived) <= 2

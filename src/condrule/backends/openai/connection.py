"""Requests, over the SDK or past it: the only place where something is sent.

The SDK's own retries are switched off: it repeats a POST whose answer was lost, and retries an
exhausted quota. What is safe to repeat is repeated here.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from condrule.backends.openai.charges import BILLED
from condrule.backends.openai.gate import Gate
from condrule.backends.openai.keys import Secret
from condrule.backends.openai.pace import Pace, retry_after
from condrule.backends.openai.straight import Answer, Straight
from condrule.errors import UnreachableError

if TYPE_CHECKING:
    import httpx2
    import openai

    from condrule.backends.openai.metering import Billing

_FILTERED = ("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation")
"""Codes of refusals by a filter, which has read the prompt: Azure charges for it, and for the
response."""
_OF_PROMPTS = (*_FILTERED, "context_length_exceeded", "invalid_prompt")
"""Codes of refusals that are about a prompt."""

__all__ = ["ATTEMPTS", "Connection", "RefusedError", "Reply", "Trouble"]

ATTEMPTS = 12  # over about a minute
FIRST_DELAY, LONGEST_DELAY = 0.025, 30.0  # seconds; soon at first, as the pace spares the provider
IN_FLIGHT = 256
LONGEST_WAIT = 120.0  # seconds that a provider may ask us to wait; longer is an error
Method = Literal["get", "post", "delete"]
T = TypeVar("T")


@attrs.frozen
class Reply:
    """A response that is JSON."""

    body: Any
    request_id: str | None = None


class Trouble(Exception):  # noqa: N818 - it is always turned into one of condrule's errors
    """No usable answer came: asking again may help."""

    def __init__(self, said: str, *, harmless: bool = False, wait: float | None = None) -> None:
        super().__init__(said)
        self.harmless = harmless
        """Whether the request had no effect, for sure: it never arrived, or was turned away."""
        self.wait = wait
        """Seconds that the provider asks to wait."""


class RefusedError(Exception):
    """The provider answered that it will not. Asking again does not help."""

    def __init__(self, status: int, error: Mapping[str, Any], request_id: str | None) -> None:
        self.status = status
        self.code = str(error.get("code") or error.get("type") or "")
        self.param = str(error.get("param") or "")
        self.said = str(error.get("message") or "no reason was given")
        self.request_id = request_id
        super().__init__(f"{self.said} (status {status}{f', {self.code}' if self.code else ''})")

    @property
    def harmless(self) -> bool:
        """Whether it is not charged for, for sure."""
        return self.code not in _FILTERED

    @property
    def of_prompt(self) -> bool:
        """Whether this prompt is refused, and others need not be."""
        about = self.param.partition("[")[0].partition(".")[0] in ("messages", "prompt")
        return self.status in (400, 422) and (about or self.code in _OF_PROMPTS)


@attrs.frozen
class Connection:
    """One client of the SDK, how long it is tried, and how fast."""

    client: openai.AsyncOpenAI
    secret: Secret
    straight: Straight | None = None
    """By which requests for answers go past the SDK; None: none do."""
    gate: Gate = attrs.field(factory=lambda: Gate(Pace(IN_FLIGHT)))
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    attempts: int = ATTEMPTS
    billing: Billing | None = None
    """Who is told of requests that are charged for."""

    async def send(self, method: Method, path: str, **what: Any) -> Reply:
        """Send a request that does no harm when it is repeated.

        Raises:
            RefusedError: the provider will not.
            UnreachableError: no usable answer came, however often it was asked.
        """
        try:
            return await self._repeated(lambda: self._sent(method, path, **what))
        except Trouble as trouble:
            raise UnreachableError(str(trouble)) from None

    async def once(self, method: Method, path: str, **what: Any) -> Reply:
        """Send a request until it has had an effect or may have had one, and no further.

        Raises:
            RefusedError: the provider will not.
            Trouble: no usable answer came; ``harmless`` says if the request had no effect.
        """
        return await self._repeated(lambda: self._sent(method, path, **what), only_harmless=True)

    async def upload(self, name: str, content: bytes) -> Reply:
        """Upload a training file; doing it twice makes two files and costs nothing."""
        files = self.client.with_options(max_retries=0).files.with_raw_response

        async def send() -> Reply:
            created: Any = files.create(file=(name, content), purpose="fine-tune")
            return self._reply(await self._tried(_answer_of(created)))

        try:
            return await self._repeated(send)
        except Trouble as trouble:
            raise UnreachableError(str(trouble)) from None

    async def _repeated(
        self, send: Callable[[], Awaitable[Reply]], *, only_harmless: bool = False
    ) -> Reply:
        for attempt in range(1, self.attempts + 1):
            try:
                return await send()
            except Trouble as trouble:
                lasting = attempt == self.attempts or (trouble.wait or 0) > LONGEST_WAIT
                if lasting or (only_harmless and not trouble.harmless):
                    raise
                wait = _delay(attempt) if trouble.wait is None else trouble.wait
            await self.sleep(wait)
        raise AssertionError("a try either succeeds, is repeated or raises")

    async def _sent(
        self,
        method: Method,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Reply:
        async with self.gate.passed():  # what waits for its turn is not in flight yet
            if body is None or path not in BILLED:
                return self._reply(await self._over_sdk(method, path, body, query))
            if self.billing is None:
                return await self._answered(path, body)
            with self.billing.request(body) as request:
                reply = await self._answered(path, body)
                request.answered(reply.body)
            return reply

    async def _answered(self, path: str, body: Mapping[str, Any]) -> Reply:
        """A request that is charged for, past the SDK where it is known how."""
        if self.straight is None:
            return self._reply(await self._over_sdk("post", path, body, None))
        straight, answer = self.straight, await self._tried(self.straight.post(path, body))
        if answer is not None and not 300 <= answer.status < 400:
            return self._reply(answer)
        straight.forget(path, body)  # how redirects are followed, the SDK knows

        def learn(response: httpx2.Response) -> None:
            if not response.history:
                straight.learn(path, body, response.request)

        return self._reply(await self._over_sdk("post", path, body, None, learn))

    async def _over_sdk(
        self,
        method: Method,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, Any] | None,
        learn: Callable[[httpx2.Response], None] | None = None,
    ) -> Answer:
        import httpx2

        options: dict[str, Any] = {"max_retries": 0, **({"params": query} if query else {})}
        how: dict[str, Any] = {"cast_to": httpx2.Response, "options": options}
        if method == "post":
            how["body"] = body
        return await self._tried(_answer_of(getattr(self.client, method)(path, **how), learn))

    async def _tried(self, sent: Awaitable[T]) -> T:
        """What came, whatever its status. Raises Trouble where nothing did."""
        import aiohttp
        import httpx2
        import openai

        # Errors of the SDK and of aiohttp hold the request with its key: ours are raised when those
        # are gone.
        try:
            return await sent
        except openai.APIConnectionError as error:
            wrong = self._no_connection(_first(error))
        except (httpx2.HTTPError, aiohttp.ClientPayloadError) as error:  # while the body was read
            wrong = Trouble(f"the answer of {self.host} broke off: {self._said(error)}")
        except aiohttp.ClientError as error:
            wrong = self._no_connection(error)
        raise wrong

    @property
    def host(self) -> str:
        """Where requests go."""
        return self.client.base_url.netloc.decode()

    def _reply(self, answer: Answer) -> Reply:
        id = self._id(answer.headers)
        try:
            body = self.secret.parsed(answer.text)
        except ValueError:
            body = None
        if answer.status >= 400:
            raise self._refusal(answer, body, id)
        self.gate.pace.answered(self.gate.now, answer.headers)
        if not isinstance(body, dict):
            said = self.secret.clean(answer.text)[:80]  # cut last: half a key would be no key
            raise Trouble(f"the answer of {self.host} is not a JSON object: {said!r}")
        if body.get("error") and not body.keys() & _ANSWERS:
            raise RefusedError(answer.status, _reason(body), id)
        return Reply(body, id)

    def _id(self, headers: Mapping[str, str]) -> str | None:
        id = headers.get("x-request-id")
        return None if id is None else str(self.secret.clean(id))

    def _refusal(self, answer: Answer, body: Any, id: str | None) -> Exception:
        """Whether asking again may help, by status and code."""
        if answer.status in (429, 503):
            self.gate.pace.crowded(self.gate.now, answer.headers)
        if not isinstance(body, dict):
            body = {"message": _plain(self.secret.clean(answer.text))}
        refused = RefusedError(answer.status, _reason(body), id)
        passing = answer.status in (408, 409, 429) or answer.status >= 500
        if not passing or refused.code == "insufficient_quota":
            return refused
        harmless = answer.status == 429
        return Trouble(str(refused), harmless=harmless, wait=retry_after(answer.headers))

    def _no_connection(self, cause: BaseException) -> Trouble:
        """Whether the request was sent, by the error of aiohttp: those of the SDK and of its
        transport call whatever befalls a connection a timeout."""
        import aiohttp

        never = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
        if isinstance(cause, TimeoutError) and not isinstance(cause, never):
            self.gate.pace.crowded(self.gate.now, {})
            return Trouble(f"{self.host} did not answer in time")
        said = self._said(cause)
        hint = "; is it http, not https?" if "WRONG_VERSION_NUMBER" in said else ""
        return Trouble(
            f"no connection to {self.host}: {said}{hint}", harmless=isinstance(cause, never)
        )

    def _said(self, error: BaseException) -> str:
        return str(self.secret.clean(str(error) or type(error).__name__))


async def _answer_of(
    sent: Awaitable[httpx2.Response], learn: Callable[[httpx2.Response], None] | None = None
) -> Answer:
    """What came over the SDK, whatever its status."""
    import openai

    try:
        response = await sent
    except openai.APIStatusError as error:
        response = error.response
    if learn:
        learn(response)
    return Answer(response.status_code, response.headers, response.content)


def _first(error: BaseException) -> BaseException:
    """What an error was raised from, and that from."""
    while error.__cause__ is not None and type(error).__module__.split(".")[0] != "aiohttp":
        error = error.__cause__
    return error


_ANSWERS = {"id", "data", "choices"}
"""What answers have, and refusals with status 200 have not."""


def _reason(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The error that a body holds, in whichever form servers write it."""
    inner = body.get("error") or body
    if not isinstance(inner, Mapping):
        return {"message": str(inner)}
    return {"message": inner.get("message") or inner.get("detail"), **inner}


def _plain(text: str) -> str:
    """The words of a page, in short."""
    words = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
    return f"not an answer of an API: {' '.join(words.split())[:120]!r}"


def _delay(attempt: int) -> float:
    longest: float = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)

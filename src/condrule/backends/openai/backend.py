"""The backends that fine-tune and ask models over the OpenAI API."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote, urlsplit

import attrs

from condrule.arms import TrainingSet
from condrule.backends.base import Capabilities, FinetuneBackend, FinetuneSpec, Job, LanguageModel
from condrule.backends.openai import jobs
from condrule.backends.openai.background import call
from condrule.backends.openai.connection import ATTEMPTS, Connection, RefusedError, Trouble
from condrule.backends.openai.explaining import explained, not_submitted
from condrule.backends.openai.found import FoundStore, check_server
from condrule.backends.openai.keys import Secret, find_key, setting
from condrule.backends.openai.limits import Found
from condrule.backends.openai.model import OpenAIModel
from condrule.encodings import ENCODINGS, EncodingReader, encoding_for_model
from condrule.errors import (
    BackendError,
    ConfigError,
    LostAnswerError,
    NotSubmittedError,
    Problem,
    UnreachableError,
    did_you_mean,
)
from condrule.items import Reader

if TYPE_CHECKING:
    import openai

__all__ = ["AzureOpenAIBackend", "OpenAIBackend"]

T = TypeVar("T")
OPENAI = "https://api.openai.com/v1"
PAGE = 100
EVENTS = 5
NEAR = 60  # days before a model's shutdown from which on it is said


# What the schema of study files says too; $ alone lets a line's end by.
URL = r"^(?!.*(sk-|/completions$))https?://([A-Za-z0-9._-]+|\[::1\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$(?!\n)"
VARIABLE = r"^[A-Z][A-Z0-9_]{0,63}_(KEY|TOKEN)$(?!\n)"


def _url(backend: OpenAIBackend, attribute: attrs.Attribute[Any], value: str | None) -> None:
    """A base URL is an address: it holds no key."""
    if value is None or re.search(URL, value):
        return
    raise ConfigError([Problem(attribute.name, _ADDRESS)], "backend openai")


_ADDRESS = (
    "must be the address of an API, such as https://example.com/v1, without a user, a query or the "
    "path of a request; a key belongs in the environment or in .env"
)


def _set_address(name: str) -> str | None:
    """An address in the environment or in .env, held to the same rules as one in a study file."""
    value = setting(name)
    if value is not None and not re.search(URL, value):
        raise ConfigError([Problem(name, _ADDRESS)], "the environment")
    return value


NAME_OF_VARIABLE = {"keywords": {"pattern": VARIABLE}}


def _variable(backend: OpenAIBackend, attribute: attrs.Attribute[Any], value: Any) -> None:
    """The name of a variable; what is none may be the key itself, and is not shown."""
    if not re.search(VARIABLE, str(value)):
        message = (
            "must be the NAME of the environment variable that holds the key, such as "
            "OPENAI_API_KEY; it ends in _KEY or _TOKEN. Never write a key into a study file"
        )
        raise ConfigError([Problem(attribute.name, message)], "backend openai")


def _encoding(backend: OpenAIBackend, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and value not in ENCODINGS:
        message = f"is {value!r}; it must be {' or '.join(ENCODINGS)}."
        hint = did_you_mean(value, ENCODINGS)
        raise ConfigError([Problem(attribute.name, message + hint)], "backend openai")


def _seconds(backend: OpenAIBackend, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e6:
        message = "must be a number of seconds, 0 or more"
        raise ConfigError([Problem(attribute.name, message)], "backend openai")


def _natural(backend: OpenAIBackend, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        message = "must be a whole number, 1 or more"
        raise ConfigError([Problem(attribute.name, message)], "backend openai")


class _Patience(TypedDict, total=False):
    attempts: int
    timeout: float
    """Seconds."""


@attrs.frozen
class OpenAIBackend(FinetuneBackend):
    """Fine-tunes and asks models behind the OpenAI API, at OpenAI or at a compatible server.

    The key is read from OPENAI_API_KEY (or ``key_variable``), in the environment or in a file
    ``.env``. What each model can do is found out as it is asked. A server that can't fine-tune can
    still be asked about its models: see ``condrule adopt``.
    """

    model_name: str = attrs.field(alias="model")
    """The model that is fine-tuned, with its date, such as ``gpt-4o-mini-2024-07-18``."""
    base_url: str | None = attrs.field(
        default=None, validator=_url, metadata={"keywords": {"pattern": URL}}
    )
    """Where the API is; None: OPENAI_BASE_URL or OpenAI."""
    key_variable: str = attrs.field(
        default="OPENAI_API_KEY", validator=_variable, metadata=NAME_OF_VARIABLE
    )
    """The variable that holds the key."""
    prompt_template: str | None = None
    """How a server renders a message, with ``{role}`` and ``{content}``: ``"{content}\\n"``, say.
    With it, a server whose completions score their prompt (``echo``) is asked for exact
    probabilities of whole texts."""
    encoding: str | None = attrs.field(
        default=None, validator=_encoding, metadata={"keywords": {"enum": [None, *ENCODINGS]}}
    )
    """The models' encoding, such as ``o200k_base``; None: as the model's name tells. With the extra
    ``openai`` bounds and items know its vocabulary."""
    concurrency: int = attrs.field(default=32, validator=_natural, eq=False)
    """Requests in flight."""
    timeout: float = attrs.field(default=120.0, validator=_seconds, eq=False)
    """Seconds to wait for an answer."""
    settle_seconds: float = attrs.field(default=60.0, validator=_seconds, eq=False)
    """How long a job is looked for whose submission got no answer, before you are asked."""
    poll_seconds: float = attrs.field(default=10.0, validator=_seconds, eq=False)
    """Seconds between two looks at jobs that run."""
    directory: Path | None = attrs.field(default=None, eq=False, kw_only=True)
    """Where what is found out about models is kept; set by ``at``."""
    _found: dict[str, Found] = attrs.field(factory=dict, init=False, eq=False, repr=False)
    _files: dict[str, str] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    fewest_examples = 10

    @property
    def capabilities(self) -> Capabilities:
        """What may be hoped for; each model's own limits are found out as it is asked."""
        return Capabilities(
            continuations=self.prompt_template is not None,
            draws=True,
            top_logprobs=20,
            certain=False,
            encoding=self._encoding,
        )

    def base_model(self, seed: int) -> str:
        return self.model_name

    def limits(self, spec: FinetuneSpec) -> tuple[str, ...]:
        return tuple(jobs.limits(spec))

    def notes(self) -> tuple[str, ...]:
        varies = (
            f"{self.model_name} is asked over an API: its logprobs vary a little from call to "
            "call, and the seed of a fine-tune is best effort."
        )
        if self.base_url is None:
            return (varies,)
        host = urlsplit(self.base_url).netloc
        return (varies, f"The key of {self.key_variable} is sent to {host}.")

    def environment(self) -> dict[str, Any]:
        names = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
        return {
            "openai": _version(),
            "server": self._address,
            **{name: os.environ[name] for name in names if os.environ.get(name)},
        }

    def reader(self, seeds: Iterable[int]) -> Reader | None:
        return EncodingReader(self._encoding) if self._encoding else None

    def at(self, directory: Path) -> Self:
        return attrs.evolve(self, directory=directory)

    def model(self, name: str) -> LanguageModel:
        return OpenAIModel(
            name=name,
            hoped=self.capabilities,
            connect=self._connected,
            store=FoundStore(self.directory, self._found),
            template=self.prompt_template,
            concurrency=self.concurrency,
            version=f"openai {_version()}",
        )

    def warnings(self) -> tuple[str, ...]:
        """Whether the model will be shut down, and what else to know before spending.

        Raises:
            BackendError: the model is shut down already, or is not there.
            CredentialsError: there is no key, or it is refused.
        """
        name = self.model_name
        path = f"/models/{quote(name, safe=':')}"
        # Asked before anything is planned on: an answer that is long in coming is none.
        body = self._do(lambda c: c.send("get", path), f"model {name}", attempts=2, timeout=10).body
        return _shutdown(name, body.get("shutdown_date") or _retired(body), _today())

    def prepare(self, training_set: TrainingSet, spec: FinetuneSpec, key: str) -> None:
        """Upload the training file, under the key's name, unless it is there."""
        if key in self._files:
            return
        known = self._do(lambda c: self._uploaded(c, key), "training file")
        if known:
            self._files[key] = known[0]
            return
        content = jobs.training_file(training_set)
        reply = self._do(lambda c: c.upload(jobs.file_name(key), content), "training file")
        self._files[key] = str(reply.body["id"])

    def submit(self, training_set: TrainingSet, spec: FinetuneSpec, key: str) -> Job:
        """Create the job: sent once, and never again by itself."""
        self.prepare(training_set, spec, key)
        body = jobs.created(self.model_name, self._files[key], spec, key)

        async def create() -> Job:
            async with self._connected() as connection:
                try:
                    reply = await connection.once("post", "/fine_tuning/jobs", body=body)
                    return jobs.job(key, reply.body)
                except RefusedError as error:
                    raise not_submitted(error, connection.secret) from None
                except Trouble as trouble:
                    raise _lost(key, trouble) from None
                except (KeyError, TypeError) as error:
                    raise LostAnswerError(
                        f"fine-tune {key}: the answer makes no sense ({error}); whether there is a "
                        "job is not known yet"
                    ) from None

        return call(create)

    def find(self, key: str) -> Job | None:
        """The job whose metadata or training file has this key. Looks at every page.

        Raises BackendError where there are two.
        """

        async def look(connection: Connection) -> Job | None:
            found = await self._listed(connection, key, {f"metadata[{jobs.KEY}]": key})
            if not found:
                found = await self._listed(connection, key, {})
            if len(found) > 1:
                raise BackendError(
                    f"fine-tune {key} has {len(found)} jobs: {', '.join(found)}. Say which is "
                    "meant: condrule adopt DIR --job ID, and cancel the others"
                )
            return next(iter(found.values()), None)

        return self._do(look, f"fine-tune {key}")

    def poll(self, job: Job) -> Job:
        found = self._do(lambda c: self._job(c, job.id, job.key), f"fine-tune {job.key}")
        if found.id != job.id:
            raise BackendError(f"asked for job {job.id}, the provider answered with {found.id}")
        return found

    def adopt(self, id: str, key: str) -> Job:
        return self._do(lambda c: self._job(c, id, key), f"job {id}")

    def cancel(self, job: Job) -> Job:
        if job.state.ended:
            return job

        async def stop(connection: Connection) -> Job:
            await connection.send("post", f"/fine_tuning/jobs/{job.id}/cancel")
            return await self._job(connection, job.id, job.key)

        return self._do(stop, f"fine-tune {job.key}")

    def checkpoints(self, job: Job) -> tuple[str, ...]:
        async def look(connection: Connection) -> tuple[str, ...]:
            path = f"/fine_tuning/jobs/{job.id}/checkpoints"
            found = [one async for one in _pages(connection, path, {})]
            found.sort(key=lambda one: one.get("step_number") or 0)
            return tuple(str(one["fine_tuned_model_checkpoint"]) for one in found)

        return self._do(look, f"checkpoints of fine-tune {job.key}")

    async def _job(self, connection: Connection, id: str, key: str) -> Job:
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

    async def _listed(
        self, connection: Connection, key: str, query: Mapping[str, Any]
    ) -> dict[str, Job]:
        """The jobs of a key by id. A server may ignore the filter, so each is looked at."""
        files = await self._uploaded(connection, key)
        found: dict[str, Job] = {}
        try:
            async for one in _pages(connection, "/fine_tuning/jobs", query):
                named = (one.get("metadata") or {}).get(jobs.KEY)
                if named == key or (named is None and one.get("training_file") in files):
                    found[str(one["id"])] = jobs.job(key, one)
        except RefusedError as error:
            if not (query and error.status == 400):
                raise
        return found

    async def _uploaded(self, connection: Connection, key: str) -> list[str]:
        """The ids of the files of a key's name."""
        name = jobs.file_name(key)
        pages = _pages(connection, "/files", {"purpose": "fine-tune"})
        return [str(one["id"]) async for one in pages if one.get("filename") == name]

    def _do(
        self, work: Callable[[Connection], Awaitable[T]], what: str, **how: Unpack[_Patience]
    ) -> T:
        """Carry out some requests that do no harm when they are repeated."""

        async def connected() -> T:
            async with self._connected(**how) as connection:
                try:
                    return await work(connection)
                except RefusedError as error:
                    raise explained(error, connection.secret, what) from None
                except UnreachableError as error:
                    raise UnreachableError(f"{what}: {error}") from None
                except (KeyError, TypeError, AttributeError) as error:
                    raise BackendError(f"{what}: the answer makes no sense: {error}") from None

        return call(connected)

    @asynccontextmanager
    async def _connected(
        self, attempts: int = ATTEMPTS, timeout: float | None = None
    ) -> AsyncIterator[Connection]:
        check_server(self.directory, self._address)
        secret = self._secret()
        async with self._client(secret, timeout or self.timeout) as client:
            yield Connection(client, secret, attempts=attempts)

    @property
    def _encoding(self) -> str:
        """The encoding's name where it is known and its vocabulary is installed."""
        known = self.encoding or encoding_for_model(self.model_name) or ""
        return known if known and find_spec("bpe_openai") else ""

    @property
    def _address(self) -> str:
        return self.base_url or _set_address("OPENAI_BASE_URL") or OPENAI

    def _secret(self) -> Secret:
        return find_key([self.key_variable], f"the API at {urlsplit(self._address).hostname}")

    def _client(self, secret: Secret, timeout: float) -> openai.AsyncOpenAI:
        import openai

        return openai.AsyncOpenAI(
            api_key=secret.value,
            base_url=self._address,
            timeout=timeout,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(verify=_certificates()),
        )


@attrs.frozen
class AzureOpenAIBackend(OpenAIBackend):
    """Fine-tunes and asks models at Azure OpenAI.

    The key is that of AZURE_OPENAI_API_KEY, and the address ``base_url`` or AZURE_OPENAI_ENDPOINT,
    such as https://NAME.openai.azure.com. A model, base or fine-tuned, is asked by the name of its
    deployment: deploy each under its own name.
    """

    key_variable: str = attrs.field(
        default="AZURE_OPENAI_API_KEY", validator=_variable, metadata=NAME_OF_VARIABLE
    )
    """The variable that holds the key."""
    api_version: str = attrs.field(default="2024-10-21", kw_only=True)
    """The version of the API."""

    @property
    def _address(self) -> str:
        address = self.base_url or _set_address("AZURE_OPENAI_ENDPOINT")
        if not address:
            raise ConfigError(
                [
                    Problem(
                        "base_url",
                        "is not given, and AZURE_OPENAI_ENDPOINT is not set; one of them must say "
                        "where the resource is, such as https://NAME.openai.azure.com",
                    )
                ],
                "backend azure",
            )
        return address

    def _client(self, secret: Secret, timeout: float) -> openai.AsyncOpenAI:
        import openai

        return openai.AsyncAzureOpenAI(
            api_key=secret.value,
            azure_endpoint=self._address,
            api_version=self.api_version,
            timeout=timeout,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(verify=_certificates()),
        )


@functools.cache
def _certificates() -> Any:
    """Whom to trust; read once, as that takes longer than a short request."""
    import httpx2

    return httpx2.create_ssl_context()


async def _pages(
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


def _lost(key: str, trouble: Trouble) -> BackendError:
    """Whether there may be a job after a create that had no usable answer."""
    if trouble.harmless:
        return NotSubmittedError(f"fine-tune {key} was not submitted: {trouble}")
    return LostAnswerError(f"fine-tune {key}: {trouble}; whether there is a job is not known yet")


def _shutdown(model: str, announced: Any, today: date) -> tuple[str, ...]:
    """What a model's shutdown date means today."""
    try:
        day = date.fromisoformat(str(announced)[:10]) if announced else None
    except ValueError:
        return (f"{model} has the shutdown date {announced!r}, which is no date that is known",)
    if day is None:
        return ()
    left = (day - today).days
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


def _retired(body: Mapping[str, Any]) -> str | None:
    """Azure's word for it: until when the model answers, in Unix seconds."""
    try:
        until = body["deprecation"]["inference"]
        return datetime.fromtimestamp(until, UTC).date().isoformat()
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None


def _today() -> date:
    return datetime.now(UTC).date()


def _version() -> str:
    return metadata.version("openai")

"""The backend that fine-tunes and asks models over the OpenAI API."""

from __future__ import annotations

import functools
import os
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote, urlsplit

import attrs

from condrule.arms import TrainingSet
from condrule.backends.base import (
    Capabilities,
    FinetuneBackend,
    LanguageModel,
    Observation,
    Query,
)
from condrule.backends.finetunes import FinetuneSpec, Job
from condrule.backends.openai import jobs, shutdown
from condrule.backends.openai.background import call, stream
from condrule.backends.openai.charges import OpenAICharges
from condrule.backends.openai.connection import ATTEMPTS, Connection, RefusedError, Trouble
from condrule.backends.openai.explaining import explained, not_submitted
from condrule.backends.openai.found import FoundStore, check_server
from condrule.backends.openai.keys import Secret, find_key, setting
from condrule.backends.openai.limits import Found
from condrule.backends.openai.listing import files_of, job_of, jobs_of, pages
from condrule.backends.openai.metering import Billing
from condrule.backends.openai.model import OpenAIModel, answer_all
from condrule.backends.openai.settings import (
    ENCODING,
    NAME_OF_VARIABLE,
    URL,
    natural,
    seconds,
    set_address,
    url,
    variable,
)
from condrule.backends.openai.settings import encoding as check_encoding
from condrule.backends.openai.straight import Straight
from condrule.encodings import EncodingReader, encoding_for_model
from condrule.errors import (
    BackendError,
    LostAnswerError,
    NotSubmittedError,
    UnreachableError,
)
from condrule.items import Reader
from condrule.prices import PriceTable, bundled_prices
from condrule.spending import Meter

if TYPE_CHECKING:
    import openai

__all__ = ["OpenAIBackend", "certificates"]

T = TypeVar("T")
OPENAI = "https://api.openai.com/v1"


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
    base_url: str | None = attrs.field(default=None, validator=url, metadata=URL)
    """Where the API is; None: OPENAI_BASE_URL or OpenAI."""
    key_variable: str = attrs.field(
        default="OPENAI_API_KEY", validator=variable, metadata=NAME_OF_VARIABLE
    )
    """The variable that holds the key."""
    prompt_template: str | None = None
    """How a server renders a message, with ``{role}`` and ``{content}``: ``"{content}\\n"``, say.
    With it, a server whose completions score their prompt (``echo``) is asked for exact
    probabilities of whole texts."""
    encoding: str | None = attrs.field(default=None, validator=check_encoding, metadata=ENCODING)
    """The models' encoding, such as ``o200k_base``; None: as the model's name tells. With the extra
    ``openai`` bounds and items know its vocabulary."""
    concurrency: int = attrs.field(default=256, validator=natural, eq=False)
    """The most requests in flight. There are 64 at first, then more or fewer, as the provider
    answers."""
    timeout: float = attrs.field(default=120.0, validator=seconds, eq=False)
    """Seconds to wait for an answer."""
    settle_seconds: float = attrs.field(default=60.0, validator=seconds, eq=False)
    """How long a job is looked for whose submission got no answer, before you are asked."""
    poll_seconds: float = attrs.field(default=10.0, validator=seconds, eq=False)
    """Seconds between two looks at jobs that run."""
    directory: Path | None = attrs.field(default=None, eq=False, kw_only=True)
    """Where what is found out about models is kept; set by ``at``."""
    meter: Meter | None = attrs.field(default=None, eq=False, kw_only=True, repr=False)
    """Who is told of requests that are charged for; set by ``metered``."""
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
            bias=100.0,
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

    def charges(self, table: PriceTable) -> OpenAICharges:
        other = self.base_url or setting("OPENAI_BASE_URL")
        doubt = "These are OpenAI's prices; another server may have others."
        return self._charges(table, [doubt] if other and table == bundled_prices() else [])

    def _charges(self, table: PriceTable, notes: Sequence[str]) -> OpenAICharges:
        counting = (
            f"Tokens are those of {self._encoding}; the most has what the chat format may add."
            if self._encoding
            else "The model's encoding is not known: tokens are from one a word to one a byte."
        )
        return OpenAICharges(
            table.prices(self.model_name),
            table.prices(self.model_name, finetuned=True),
            f"{table.note or 'a table of your own'}; of {table.date}",
            (*notes, counting),
            encoding=self._encoding,
            template=self.prompt_template,
        )

    def metered(self, meter: Meter) -> Self:
        made = attrs.evolve(self, meter=meter)
        for name in ("_found", "_files"):  # what was found out, and uploaded, stays known
            object.__setattr__(made, name, getattr(self, name))
        return made

    def model(self, name: str) -> LanguageModel:
        return self._model(name)

    def _model(self, name: str) -> OpenAIModel:
        return OpenAIModel(
            name=name,
            hoped=self.capabilities,
            connect=self._connected,
            store=FoundStore(self.directory, self._found),
            template=self.prompt_template,
            concurrency=self.concurrency,
            version=f"openai {_version()}",
        )

    def ask_all(
        self, asked: Mapping[str, Sequence[Query]], meters: Mapping[str, Meter] | None = None
    ) -> Iterator[tuple[str, Observation]]:
        """All models at once, over one pool of connections and at one pace."""
        models = [(self._model(name), queries) for name, queries in asked.items() if queries]
        connect = partial(self._connected, meters=meters)
        return stream(partial(answer_all, models, connect, self.concurrency))

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
        announced = body.get("shutdown_date") or shutdown.retired(body)
        return shutdown.meaning(name, announced, shutdown.today())

    def prepare(self, training_set: TrainingSet, spec: FinetuneSpec, key: str) -> None:
        """Upload the training file, under the key's name, unless it is there."""
        if key in self._files:
            return
        known = self._do(lambda c: files_of(c, key), "training file")
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
            found = await jobs_of(connection, key, {f"metadata[{jobs.KEY}]": key})
            if not found:
                found = await jobs_of(connection, key, {})
            if len(found) > 1:
                raise BackendError(
                    f"fine-tune {key} has {len(found)} jobs: {', '.join(found)}. Say which is "
                    "meant: condrule adopt DIR --job ID, and cancel the others"
                )
            return next(iter(found.values()), None)

        return self._do(look, f"fine-tune {key}")

    def poll(self, job: Job) -> Job:
        found = self._do(lambda c: job_of(c, job.id, job.key), f"fine-tune {job.key}")
        if found.id != job.id:
            raise BackendError(f"asked for job {job.id}, the provider answered with {found.id}")
        return found

    def adopt(self, id: str, key: str) -> Job:
        return self._do(lambda c: job_of(c, id, key), f"job {id}")

    def cancel(self, job: Job) -> Job:
        if job.state.ended:
            return job

        async def stop(connection: Connection) -> Job:
            await connection.send("post", f"/fine_tuning/jobs/{job.id}/cancel")
            return await job_of(connection, job.id, job.key)

        return self._do(stop, f"fine-tune {job.key}")

    def checkpoints(self, job: Job) -> tuple[str, ...]:
        async def look(connection: Connection) -> tuple[str, ...]:
            path = f"/fine_tuning/jobs/{job.id}/checkpoints"
            found = [one async for one in pages(connection, path, {})]
            found.sort(key=lambda one: one.get("step_number") or 0)
            return tuple(str(one["fine_tuned_model_checkpoint"]) for one in found)

        return self._do(look, f"checkpoints of fine-tune {job.key}")

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
        self,
        attempts: int = ATTEMPTS,
        timeout: float | None = None,
        meters: Mapping[str, Meter] | None = None,
    ) -> AsyncIterator[Connection]:
        check_server(self.directory, self._address)
        secret = self._secret()
        patience = timeout or self.timeout
        straight = Straight(certificates(), patience)
        async with aclosing(straight), self._client(secret, patience) as client:
            billing = Billing(self.meter, self._encoding, meters or {})
            yield Connection(client, secret, straight, attempts=attempts, billing=billing)

    @property
    def _encoding(self) -> str:
        """The encoding's name where it is known and its vocabulary is installed."""
        known = self.encoding or encoding_for_model(self.model_name) or ""
        return known if known and find_spec("bpe_openai") else ""

    @property
    def _address(self) -> str:
        return self.base_url or set_address("OPENAI_BASE_URL") or OPENAI

    def _secret(self) -> Secret:
        return find_key([self.key_variable], f"the API at {urlsplit(self._address).hostname}")

    def _client(self, secret: Secret, timeout: float) -> openai.AsyncOpenAI:
        import openai

        return openai.AsyncOpenAI(
            api_key=secret.value,
            base_url=self._address,
            timeout=timeout,
            max_retries=0,
            http_client=openai.DefaultAioHttpClient(verify=certificates()),
        )


@functools.cache
def certificates() -> Any:
    """Whom to trust; read once, as that takes longer than a short request."""
    import httpx2

    return httpx2.create_ssl_context()


def _lost(key: str, trouble: Trouble) -> BackendError:
    """Whether there may be a job after a create that had no usable answer."""
    if trouble.harmless:
        return NotSubmittedError(f"fine-tune {key} was not submitted: {trouble}")
    return LostAnswerError(f"fine-tune {key}: {trouble}; whether there is a job is not known yet")


def _version() -> str:
    return metadata.version("openai")

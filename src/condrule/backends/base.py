"""The seam to providers: what every backend and every language model offers.

A backend trains and finds models; a language model answers queries. Both are synchronous from
outside. Whole batches of queries go in, so concurrency lives inside the backend.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

import attrs

from condrule.arms import Prompt, TrainingSet, digest
from condrule.backends.finetunes import FinetuneSpec, Job
from condrule.convert import texts
from condrule.errors import (
    TrainingError,
    UnsupportedError,
)
from condrule.items import Reader
from condrule.progress import Progress

if TYPE_CHECKING:
    from condrule.backends.charges import Charges
    from condrule.prices import PriceTable
    from condrule.spending import Meter

__all__ = [
    "Capabilities",
    "Continuations",
    "Draws",
    "Event",
    "FinetuneBackend",
    "LanguageModel",
    "Listed",
    "Observation",
    "Query",
    "Token",
    "TopLogprobs",
]

Event = Literal["begins", "equals"]
"""What counts as giving an answer: the response begins with it, or it is the whole response."""


class Query(ABC):
    """One thing asked of a model."""

    prompt: Prompt

    @functools.cached_property
    def id(self) -> str:
        """Identifies the question, whichever model it is put to. Prompts of equal messages
        are the same question, whichever arm they come from."""
        messages = [attrs.astuple(message) for message in self.prompt.messages]
        return digest([type(self).__name__, messages, self._parameters()])

    @abstractmethod
    def _parameters(self) -> list[Any]:
        """All that tells this query from others of its kind and prompt, as plain data."""


@attrs.frozen(slots=False)
class Continuations(Query):
    """How probable is each of these texts as the model's response?"""

    prompt: Prompt
    texts: tuple[str, ...] = attrs.field(converter=texts)
    event: Event = "begins"

    def _parameters(self) -> list[Any]:
        return [self.texts, self.event]


def _pairs(value: Iterable[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    return tuple((int(token), float(bias)) for token, bias in value)


@attrs.frozen(slots=False)
class Draws(Query):
    """What does the model say? ``temperature`` 0 is its greedy answer."""

    prompt: Prompt
    n: int = 1
    max_tokens: int = 8
    temperature: float = 1.0
    seed: int = 0
    """Draws with another seed are other draws."""
    bias: tuple[tuple[int, float], ...] = attrs.field(default=(), converter=_pairs)
    """What is added to the logits of some tokens before drawing: (token id, nats)."""
    top: int = 0
    """How many of the likeliest tokens are wanted at each position of a response, with the
    probabilities that they have there without a bias; fewer may come, or none."""

    def _parameters(self) -> list[Any]:
        # The ids of draws that ask no more than draws did at first stay what they were.
        bias = [list(pair) for pair in self.bias]
        more = [bias, self.top] if self.top else [bias] if bias else []
        return [self.n, self.max_tokens, self.temperature, self.seed, *more]


@attrs.frozen(slots=False)
class TopLogprobs(Query):
    """Which tokens are the most probable first ones of the response, and how probable are they?"""

    prompt: Prompt
    k: int = 20
    """How many are wanted; fewer may come."""

    def _parameters(self) -> list[Any]:
        return [self.k]


def _whole_numbers(value: Iterable[int] | None) -> tuple[int, ...] | None:
    return None if value is None else tuple(value)


@attrs.frozen
class Token:
    """One line of a top-k list, as the provider printed it."""

    text: str
    """The token as text; a token that is part of a letter reads as a replacement character."""
    logprob: float
    """As printed: rounded, and a marker such as -9999.0 where there is no number."""
    bytes: tuple[int, ...] | None = attrs.field(default=None, converter=_whole_numbers)
    """The token's bytes, where the provider gives them."""


def _many_bytes(value: Iterable[Iterable[int]]) -> tuple[bytes, ...]:
    return tuple(map(bytes, value))


@attrs.frozen
class Listed:
    """The likeliest next tokens after the first ones of a response."""

    after: tuple[bytes, ...] = attrs.field(converter=_many_bytes)
    """The tokens before, in order; none at the beginning of the response."""
    top: tuple[Token, ...]
    """As long as it came, the most probable first; the end of the response is no token."""


def _all_listed(value: Iterable[Listed] | None) -> tuple[Listed, ...] | None:
    return None if value is None else tuple(value)


@attrs.frozen
class Observation:
    """What came back for a query: one of ``logprobs``, ``texts``, ``top`` and ``refused``."""

    query: str
    """The query's id."""
    logprobs: tuple[float, ...] | None = None
    """Natural log of the probability of each text of a `Continuations`, in nats; -inf where the
    model gives none at all."""
    texts: tuple[str, ...] | None = None
    """The responses of a `Draws`, in order."""
    refused: str | None = None
    """Why the provider did not answer; the probability is then unknown, never 0."""
    top: tuple[Token, ...] | None = None
    """The list of a `TopLogprobs`, as long as it came, the most probable first."""
    lists: tuple[Listed, ...] | None = attrs.field(default=None, converter=_all_listed)
    """Beside the ``texts`` of a `Draws` that asks for lists: one for each different beginning of
    the responses, in the order in which they came. None: the provider gave none."""
    raw: Mapping[str, Any] | None = attrs.field(default=None, eq=False, repr=False)
    """The provider's own words, as plain data without any key; kept with the run."""


@attrs.frozen
class Capabilities:
    """Which queries a model answers, and within which limits."""

    continuations: bool = False
    """Exact probabilities of whole texts."""
    draws: bool = False
    top_logprobs: int = 0
    """The longest list of first tokens it gives; 0: none."""
    bias: float = 0.0
    """The largest logit bias, in nats, that draws can be made under; 0: none."""
    encoding: str = ""
    """The name of the models' encoding where it is known: see `condrule.encodings`."""
    certain: bool = True
    """False where this is what may be hoped for: each model's own limits are found out as it is
    asked, and what it can't do it refuses."""


@runtime_checkable
class LanguageModel(Protocol):
    """A model that can be asked: base, fine-tuned, or a checkpoint on the way."""

    @property
    def name(self) -> str:
        """What ``FinetuneBackend.model`` knows it by."""

    @property
    def capabilities(self) -> Capabilities:
        """Which queries it answers."""

    def ask(self, queries: Sequence[Query]) -> Iterator[Observation]:
        """Answer the queries, each exactly once, in any order, as answers arrive.

        Raises BackendError where the provider fails; what was yielded before stays valid.
        """


class FinetuneBackend(ABC):
    """Trains models, and finds them again. One subclass per provider.

    Contract of ``submit``: the caller has recorded its intent before and records the id after.
    When either is missing after a crash, the caller asks ``find(key)`` before it submits again;
    where ``settle_seconds`` is given it looks again and again for so long, and then asks a person.
    """

    computes_here: bool = False
    """True where ``submit`` itself trains, so that it returns an ended job."""
    poll_seconds: float = 10.0
    """How long to wait between two polls of the jobs that run."""
    settle_seconds: float | None = None
    """How long a job is looked for whose submission got no answer, before a person is asked; None:
    ``find`` is sure, and what it does not find is not there."""
    fewest_examples: int = 1
    """Fine-tunes on fewer examples are not accepted."""
    imports: tuple[str, ...] = ()
    """Modules of other packages that it imports where it uses them."""
    extra: str = ""
    """The extra of its own package that installs these."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """Which queries this backend's models answer; known without loading one."""

    @abstractmethod
    def base_model(self, seed: int) -> str:
        """The name of the model that is fine-tuned for a seed."""

    @abstractmethod
    def submit(self, training_set: TrainingSet, spec: FinetuneSpec, key: str) -> Job:
        """Start a fine-tune of ``base_model(spec.seed)``.

        Raises:
            TrainingError: it ended without a model, and would again.
            NotSubmittedError: there is no job, for sure; it may be submitted again.
            LostAnswerError: no answer came; there may be a job.
        """

    @abstractmethod
    def find(self, key: str) -> Job | None:
        """The job that was submitted with this key, if there is one."""

    @abstractmethod
    def model(self, name: str) -> LanguageModel:
        """The model of this name: a base model's, or an ended job's ``model``."""

    def prepare(  # noqa: B027 - most backends have nothing to do here
        self, training_set: TrainingSet, spec: FinetuneSpec, key: str
    ) -> None:
        """What ``submit`` needs at the provider and costs nothing, such as an uploaded file. Done
        before the intent is recorded; doing it twice does no harm."""

    def warnings(self) -> tuple[str, ...]:
        """What the provider says today that matters before spending, one sentence each: a model
        that will be shut down. Asked over the network; raises CondruleError where training can't
        begin."""
        return ()

    def adopt(self, id: str, key: str) -> Job:
        """A job that was submitted elsewhere, by its id, as the one of a key. Raises
        UnsupportedError where the backend can't."""
        raise UnsupportedError([f"{type(self).__name__} can't take on jobs submitted elsewhere"])

    def poll(self, job: Job) -> Job:
        """The job as it stands now. Raises UnreachableError where the provider can't be reached,
        after which it may be asked again."""
        return self.find(job.key) or job

    def cancel(self, job: Job) -> Job:
        """Stop a running job. A backend that ``computes_here`` has none."""
        return job

    def checkpoints(self, job: Job) -> tuple[str, ...]:
        """Names of the models saved on the way, oldest first."""
        return ()

    def limits(self, spec: FinetuneSpec) -> tuple[str, ...]:
        """What of this spec the backend can't do, one sentence each; asked before spending."""
        return ()

    def reader(self, seeds: Iterable[int]) -> Reader | None:
        """What the base models of these seeds can read; None: anything."""
        return None

    def notes(self) -> tuple[str, ...]:
        """What must be said beside any result on this backend's models, one sentence each."""
        return ()

    def environment(self) -> dict[str, Any]:
        """What of the machine or the account a result may depend on, for the record."""
        return {}

    def at(self, directory: Path) -> Self:
        """The same backend, keeping the files it makes under this directory."""
        return self

    def with_progress(self, progress: Progress) -> Self:
        """The same backend, reporting the progress of work it does here."""
        return self

    def charges(self, table: PriceTable) -> Charges | None:
        """What its provider charges, by a table of prices; None: nothing, as where models run here.
        A backend whose provider charges has a ``metered`` too."""
        return None

    def metered(self, meter: Meter) -> Self:
        """The same backend, whose models tell the meter of each request that is charged for."""
        return self

    def ask_all(
        self, asked: Mapping[str, Sequence[Query]], meters: Mapping[str, Meter] | None = None
    ) -> Iterator[tuple[str, Observation]]:
        """Ask several models, each of them by its name: the name and an answer, as answers arrive.

        Every query is answered exactly once, in any order. A backend that can ask its models at the
        same time overrides this; by default they are asked one after the other. Raises BackendError
        where the provider fails; what was yielded before stays valid.

        Args:
            asked: what each model is asked. A study comes back with more where answers lead to
                further questions, so what is dear to load should be kept.
            meters: who is told of the requests to each model; None: nobody more than now.
        """
        for name, queries in asked.items():
            backend = self if meters is None else self.metered(meters[name])
            for observation in backend.model(name).ask(queries):
                yield name, observation

    def finetune(self, training_set: TrainingSet, spec: FinetuneSpec, key: str) -> LanguageModel:
        """Submit a job, or find the one of this key, and return its model.

        For use by hand: it journals nothing and expects the job to end soon. Raises
        TrainingError where it did not succeed.
        """
        job = self.find(key) or self.submit(training_set, spec, key)
        if not job.state.ended:
            job = self.poll(job)
        if job.model is None:
            raise TrainingError(key, job.detail or job.state.value)
        return self.model(job.model)

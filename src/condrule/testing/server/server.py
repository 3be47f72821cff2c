"""The rehearsal server's settings, and how it is started."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from condrule.arms import Prompt
from condrule.backends.memory import InMemoryBackend, Prices
from condrule.backends.memory.checks import whole
from condrule.backends.memory.learner import Settings
from condrule.testing.server.account import ServerAccount
from condrule.testing.server.catalogue import MODELS, ServedModel
from condrule.testing.server.encodings import encoding_of
from condrule.testing.server.faults import ServerFaults
from condrule.testing.server.oracle import check_oracle
from condrule.testing.server.prompts import PromptBook, prompts_of
from condrule.testing.server.settings import Api, Tuning
from condrule.testing.server.state import State

if TYPE_CHECKING:
    from condrule.experiment import ConditionalRuleExperiment
    from condrule.testing.server.running import RunningServer

__all__ = ["RehearsalServer"]


def _prompts(value: Iterable[Prompt]) -> tuple[Prompt, ...]:
    return tuple(value)


def _models(value: Iterable[ServedModel]) -> tuple[ServedModel, ...]:
    return tuple(value)


@attrs.frozen(kw_only=True)
class RehearsalServer:
    """A server that speaks the OpenAI and Azure OpenAI paths over the in-memory oracle.

    It listens on this machine alone, and holds all it knows in memory.

    Raises ConfigError where a setting is out of range, or the oracle has too few other answers for
    the study.
    """

    study: ConditionalRuleExperiment | None = None
    """The study whose prompts are known; its backend is not used, except for ``oracle``."""
    prompts: tuple[Prompt, ...] = attrs.field(default=(), converter=_prompts)
    """Further prompts that are known. Any others get the response ``something else``."""
    oracle: Settings = attrs.field()
    """How the models learn; by default as the study's own backend, if it is the in-memory one."""
    api: Api = attrs.field(factory=Api)
    tuning: Tuning = attrs.field(factory=Tuning)
    faults: ServerFaults = attrs.field(factory=ServerFaults)
    prices: Prices = attrs.field(factory=Prices)
    models: tuple[ServedModel, ...] = attrs.field(default=MODELS, converter=_models)
    key: str = "rehearsal"
    """The API key that it takes."""
    organization: str = "my-org"
    seed: int = 0
    """Of all that is drawn, faults aside."""
    port: int = attrs.field(default=0, validator=whole(0))
    """0: any that is free."""
    keep_requests: bool = False
    """Whether the requests that came can be read from Python."""
    clock: Callable[[], float] = attrs.field(default=time.time, eq=False)
    """Seconds since 1970."""

    @oracle.default
    def _own_oracle(self) -> Settings:
        backend = self.study.backend if self.study else None
        return backend if isinstance(backend, InMemoryBackend) else Settings()

    def state(self) -> State:
        """A provider that has seen nothing yet."""
        own = prompts_of(self.study) if self.study else ()
        book = PromptBook((*own, *self.prompts))
        for model in self.models:
            check_oracle(self.oracle, book, encoding_of(model.name))
        return State(self, ServerAccount(self.prices), book, self.clock)

    @contextmanager
    def running(self) -> Iterator[RunningServer]:
        """Run it in a thread of its own until the block ends.

        Raises:
            MissingExtraError: aiohttp is not installed.
            OSError: the port is taken.
        """
        from condrule.testing.server.running import serve

        with serve(self.state(), self.port) as running:
            yield running

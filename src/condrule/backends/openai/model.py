"""A model that is asked over the API: many requests at once, answers as they arrive."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import attrs

from condrule.backends.base import Capabilities, Observation, Query
from condrule.backends.openai.asking import Malformed, Request, observation, requests, shortened
from condrule.backends.openai.background import Tell, stream
from condrule.backends.openai.connection import Connection, RefusedError, Reply
from condrule.backends.openai.explaining import explained
from condrule.backends.openai.found import FoundStore
from condrule.backends.openai.gate import Gate
from condrule.backends.openai.limits import Found, learned
from condrule.backends.openai.pace import Pace
from condrule.errors import UnreachableError

__all__ = ["OpenAIModel", "answer_all"]

MALFORMED = 3  # how often a question is asked whose answers make no sense


@attrs.frozen
class OpenAIModel:
    """A base model, a fine-tuned one or a checkpoint, by its name."""

    name: str
    hoped: Capabilities
    """What the provider's models can do at best."""
    connect: Callable[[], AbstractAsyncContextManager[Connection]]
    store: FoundStore
    template: str | None = None
    concurrency: int = 256
    """The most requests in flight."""
    version: str = ""
    """Of the SDK, for the record."""

    @property
    def capabilities(self) -> Capabilities:
        """What is known by now."""
        found = self.store.get(self.name)
        return attrs.evolve(
            self.hoped,
            top_logprobs=min(self.hoped.top_logprobs, found.top_logprobs),
            continuations=self.hoped.continuations and found.echo is not False,
            bias=self.hoped.bias if found.logit_bias else 0.0,
        )

    def ask(self, queries: Sequence[Query]) -> Iterator[Observation]:
        """Answers as they arrive. Works inside a running event loop too: it has its own thread.

        Raises:
            BackendError: the provider failed; what was yielded before stays valid.
            CredentialsError: there is no key, or it is refused.
        """
        if queries:
            work = partial(answer_all, [(self, queries)], self.connect, self.concurrency)
            for _, observation in stream(work):
                yield observation

    async def answer(self, connection: Connection, query: Query, tell: Tell) -> None:
        """Tell the model's name and its answer to a query."""
        for attempt in range(MALFORMED):
            try:
                tell((self.name, await self._observed(connection, query)))
            except Malformed as error:
                if attempt + 1 == MALFORMED:
                    raise UnreachableError(
                        f"model {self.name}: the answer makes no sense: {error}"
                    ) from None
            else:
                return

    async def _observed(self, connection: Connection, query: Query) -> Observation:
        """One query's answer, or its refusal."""
        while True:
            found = self.store.get(self.name)
            made = requests(query, self.name, found, self.template)
            if isinstance(made, str):
                return Observation(query.id, refused=made)
            answers: list[tuple[Request, Reply]] = []
            try:
                waiting = deque(made)
                while waiting:
                    request = waiting.popleft()
                    reply = await connection.send("post", request.path, body=request.body)
                    if parts := shortened(request, reply.body):
                        request, rest = parts
                        waiting.appendleft(rest)
                    answers.append((request, reply))
                    if request.path == "/completions" and not found.echo:
                        found = attrs.evolve(self.store.get(self.name), echo=True)
                        self.store.put(self.name, found)
            except RefusedError as error:
                if self._learns(found, request, error):
                    continue
                return self._refused(connection, query, error)
            if len(answers) > len(made) + 1:  # not once, by some chance
                few = max(request.body["n"] for request, _ in answers)
                why = f"{few} responses at most came where more were asked for"
                self.store.put(self.name, attrs.evolve(self.store.get(self.name), n=few, why=why))
            bodies = [(request, reply.body) for request, reply in answers]
            return observation(query, bodies, self._raw(answers))

    def _learns(self, found: Found, request: Request, error: RefusedError) -> bool:
        """Whether a refusal says something of the model, so that asking otherwise may help."""
        if error.status not in (400, 404, 405, 422, 501):
            return False
        now = self.store.get(self.name)
        if now != found:
            return True  # another answer has said so meanwhile
        changed: Found | None
        if request.path == "/completions":
            changed = None if found.echo else attrs.evolve(found, echo=False, why=error.said)
        else:
            changed = learned(found, request.body, error.param, error.said)
        if changed is None or changed == found:
            return False
        self.store.put(self.name, changed)
        return True

    def _refused(self, connection: Connection, query: Query, error: RefusedError) -> Observation:
        """A refusal of this prompt; raises where it is one of all."""
        if error.of_prompt:
            raw = {"error": {"code": error.code, "message": error.said}}
            return Observation(query.id, refused=str(error), raw=raw)
        raise explained(error, connection.secret, f"model {self.name}")

    def _raw(self, answers: Sequence[tuple[Request, Reply]]) -> dict[str, Any]:
        """All that a record of the responses needs: the prompt is in the run's probes."""
        return {
            "sdk": self.version,
            "responses": [
                {
                    "draw": request.draw,
                    "request_id": reply.request_id,
                    "request": {k: v for k, v in request.body.items() if k not in _KNOWN},
                    "body": reply.body,
                }
                for request, reply in answers
            ],
        }


_KNOWN = ("messages", "prompt")


async def answer_all(
    asked: Sequence[tuple[OpenAIModel, Sequence[Query]]],
    connect: Callable[[], AbstractAsyncContextManager[Connection]],
    concurrency: int,
    tell: Tell,
) -> None:
    """Ask all models all that they are asked, at one pace; tell names and answers as they come."""
    async with connect() as connected:
        connection = attrs.evolve(connected, gate=Gate(Pace(concurrency)))
        waiting = _in_turn(asked)

        async def work() -> None:
            for model, query in waiting:
                await model.answer(connection, query, tell)

        # The first of each alone: what it finds out about the model spares the others a refusal.
        firsts = [*itertools.islice(waiting, len(asked))]
        await _all(model.answer(connection, query, tell) for model, query in firsts)
        left = sum(len(queries) for _, queries in asked) - len(firsts)
        await _all(work() for _ in range(min(concurrency, left)))


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do it all at once; where some of it fails, end the rest and raise the first error."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _in_turn(
    asked: Sequence[tuple[OpenAIModel, Sequence[Query]]],
) -> Iterator[tuple[OpenAIModel, Query]]:
    """A query to each model in turn: providers limit how fast each of them may be asked."""
    for queries in itertools.zip_longest(*(queries for _, queries in asked)):
        for (model, _), query in zip(asked, queries, strict=True):
            if query is not None:
                yield model, query

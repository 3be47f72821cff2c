"""A local model that answers queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from condrule.backends.base import Capabilities, Continuations, Draws, Observation, Query
from condrule.backends.local.drawing import draw
from condrule.backends.local.models import Loaded, threads
from condrule.backends.local.packing import Row
from condrule.backends.local.prompts import Encoder, Tokens
from condrule.backends.local.scoring import Scorer
from condrule.errors import UnsupportedError

__all__ = ["CAPABILITIES", "LocalModel"]

CAPABILITIES = Capabilities(continuations=True, draws=True)


@attrs.frozen(eq=False)
class LocalModel:
    """A model in this process's memory. The event *equals* adds the stop token to the answer."""

    name: str
    loaded: Loaded
    batch_tokens: int = 4096
    threads: int | None = None
    _encoder: Encoder = attrs.field(init=False)
    _scorer: Scorer = attrs.field(init=False)

    @_encoder.default
    def _make_encoder(self) -> Encoder:
        return Encoder(self.loaded.tokenizer)

    @_scorer.default
    def _make_scorer(self) -> Scorer:
        return Scorer(self.loaded, self._encoder.pad(), self.batch_tokens)

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def ask(self, queries: Sequence[Query]) -> Iterator[Observation]:
        """Answer the queries; a prompt is computed once for all that is scored after it."""
        draws = [query for query in queries if isinstance(query, Draws)]
        scored = [query for query in queries if isinstance(query, Continuations)]
        if len(draws) + len(scored) < len(queries):
            raise UnsupportedError(["a local model answers Continuations and Draws only"])
        with threads(self.threads):
            yield from self._score(scored)
            for query in (one for one in draws if one.top):
                yield Observation(query.id, refused="a local model lists no tokens: it scores all")
            plain = [query for query in draws if not query.top]
            for query, texts in zip(plain, draw(self.loaded, self._encoder, plain), strict=True):
                yield Observation(query.id, texts=texts)

    def _score(self, queries: Sequence[Continuations]) -> Iterator[Observation]:
        """Put answers on one row per prompt, and hand each query its share of the row."""
        wanted = [[self._pair(query, text) for text in query.texts] for query in queries]
        rows: dict[Tokens, dict[Tokens, None]] = {}
        owing: dict[Tokens, set[int]] = {}
        for number, pairs in enumerate(wanted):
            for prompt, answer in pairs:
                rows.setdefault(prompt, {})[answer] = None
                owing.setdefault(prompt, set()).add(number)
        waiting = [len({prompt for prompt, _ in pairs}) for pairs in wanted]
        known: dict[tuple[Tokens, Tokens], float] = {}
        packed = [Row(prompt, tuple(answers)) for prompt, answers in rows.items()]
        for i, scores in self._scorer.score(packed):
            row = packed[i]
            known.update(((row.prompt, a), s) for a, s in zip(row.answers, scores, strict=True))
            for number in sorted(owing[row.prompt]):
                waiting[number] -= 1
                if waiting[number] == 0:
                    logprobs = tuple(known[pair] for pair in wanted[number])
                    yield Observation(queries[number].id, logprobs=logprobs)

    def _pair(self, query: Continuations, text: str) -> tuple[Tokens, Tokens]:
        prompt, answer = self._encoder.pair(query.prompt.messages, text)
        if query.event == "begins":
            return prompt, answer
        stop = self._encoder.stop()
        if stop is None:
            raise UnsupportedError(
                [
                    f"model {self.name!r} has no token that ends a response, so "
                    "the event 'equals' can't be scored; use 'begins'"
                ]
            )
        return prompt, (*answer, stop)

"""What condrule asks: a model with a name that answers queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np

from condrule import Capabilities, Continuations, Draws, Observation, Prompt
from condrule.backends.base import Query
from condrule_softmax.regression import Regression

__all__ = ["CAPABILITIES", "SoftmaxModel", "words"]

CAPABILITIES = Capabilities(continuations=True, draws=True)
"""Exact probabilities of whole texts, and draws; no lists of first tokens."""


@attrs.frozen(eq=False)
class SoftmaxModel:
    """A `condrule.LanguageModel`. Its tokens are bytes, so ``max_tokens`` of a draw counts bytes;
    bytes that are no UTF-8 are shown as replacement characters."""

    name: str
    regression: Regression
    capabilities = CAPABILITIES

    def ask(self, queries: Sequence[Query]) -> Iterator[Observation]:
        """An answer to each query, in order; what is of another kind is refused."""
        for query in queries:
            match query:
                case Continuations():
                    yield Observation(query.id, logprobs=tuple(self._logprobs(query)))
                case Draws():
                    yield Observation(query.id, texts=tuple(self._draws(query)))
                case _:
                    yield Observation(query.id, refused=f"no answer to {type(query).__name__}")

    def _logprobs(self, query: Continuations) -> Iterator[float]:
        seen, ends = words(query.prompt), query.event == "equals"
        for text in query.texts:
            yield self.regression.logprob(seen, text.encode(), ends=ends)

    def _draws(self, query: Draws) -> Iterator[str]:
        # The query's id holds its seed and its prompt: the same question has the same answer,
        # whatever is asked with it, and other questions have other random numbers.
        random = np.random.default_rng(int(query.id, 16))
        for _ in range(query.n):
            drawn = self.regression.draw(
                words(query.prompt), query.max_tokens, query.temperature, random
            )
            yield drawn.decode(errors="replace")


def words(prompt: Prompt) -> frozenset[bytes]:
    """All that the model reads of a prompt: which words are in it."""
    return frozenset(word.encode() for one in prompt.messages for word in one.content.split())

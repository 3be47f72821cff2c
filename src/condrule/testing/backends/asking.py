"""Questions to a model, and the form of their answers."""

from __future__ import annotations

from collections.abc import Sequence

from condrule.arms import Prompt
from condrule.backends.base import (
    Capabilities,
    Continuations,
    Draws,
    LanguageModel,
    Observation,
    Query,
    TopLogprobs,
)
from condrule.scorers.base import EVENTS

__all__ = ["ROUNDING", "ask_one", "by_token", "certain", "check_form", "every_kind"]

ROUNDING = 1e-6  # nats: what sums of float32 may exceed log 1 by


def ask_one(model: LanguageModel, query: Query) -> Observation:
    """The answer to one question."""
    (observation,) = model.ask([query])
    return observation


def every_kind(able: Capabilities, prompt: Prompt, texts: Sequence[str]) -> list[Query]:
    """A question of each kind that the model answers."""
    queries: list[Query] = []
    if able.continuations:
        queries += [Continuations(prompt, tuple(texts), event) for event in EVENTS]
    if able.top_logprobs:
        queries += [TopLogprobs(prompt, able.top_logprobs), TopLogprobs(prompt, 1)]
    if able.draws:
        queries += [Draws(prompt, 3), Draws(prompt, 2, seed=1), Draws(prompt, 1, temperature=0.0)]
    return list({query.id: query for query in queries}.values())


def certain(able: Capabilities, prompt: Prompt, texts: Sequence[str]) -> Query | None:
    """A question whose answer is no matter of chance, if the model answers any such."""
    if able.continuations:
        return Continuations(prompt, tuple(texts))
    return TopLogprobs(prompt, able.top_logprobs) if able.top_logprobs else None


def check_form(query: Query, answer: Observation) -> None:
    """An answer is of the form that its question asks for."""
    if answer.refused is not None:
        assert answer.refused, "a refusal says why"
        return
    match query:
        case Continuations(texts=texts):
            assert answer.logprobs is not None
            assert len(texts) == len(answer.logprobs)
            assert all(logprob <= ROUNDING for logprob in answer.logprobs)
        case Draws(n=n):
            assert answer.texts is not None
            assert n == len(answer.texts)
            assert all(isinstance(text, str) for text in answer.texts)
        case TopLogprobs(k=k):
            assert answer.top is not None
            assert len(answer.top) <= k
            printed = [token.logprob for token in answer.top]
            assert sorted(printed, reverse=True) == printed


def by_token(observation: Observation) -> dict[object, float]:
    """The logprobs of a list, by its tokens."""
    return {token.bytes or token.text: token.logprob for token in observation.top or ()}

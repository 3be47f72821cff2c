"""How an OpenAI model's tokens are counted, and what they cost. Pure but for the encodings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from condrule.arms import TrainingSet
from condrule.backends.base import Query
from condrule.backends.charges import Charges
from condrule.backends.finetunes import FinetuneSpec
from condrule.backends.openai.asking import Request, requests
from condrule.backends.openai.limits import Found
from condrule.encodings import get_encoding
from condrule.spending import Estimate, Usage

__all__ = ["BILLED", "OpenAICharges", "most_of", "used"]

BILLED = ("/chat/completions", "/completions")
"""The paths of requests that are charged for."""
PER_MESSAGE, PER_PROMPT = 4, 3
"""Tokens that the chat format adds, at most."""


@attrs.frozen
class OpenAICharges(Charges):
    """By the model's real encoding where it is known; else from words to bytes, as any encoding's
    tokens are no longer than a word and no shorter than a byte."""

    encoding: str = attrs.field(default="", kw_only=True)
    """Its name; empty: not known."""
    template: str | None = attrs.field(default=None, kw_only=True)
    """How messages become a text, where texts are scored by completions."""

    def asking(self, query: Query) -> Estimate:
        made = requests(query, "", Found(), self.template)
        sent: Sequence[Request] = () if isinstance(made, str) else made
        least = (_least(request.body, self.encoding) for request in sent)
        most = (most_of(request.body, self.encoding) for request in sent)
        return Estimate(sum(least, Usage()), sum(most, Usage()))

    def training(self, training_set: TrainingSet, spec: FinetuneSpec) -> Estimate:
        chats = [example.to_chat()["messages"] for example in training_set.examples]
        least = sum(_few(_contents(chat), self.encoding) for chat in chats)
        most = sum(_many(_contents(chat), self.encoding) + _added(chat) for chat in chats)
        return Estimate(Usage(training=least * spec.epochs), Usage(training=most * spec.epochs))


def most_of(body: Mapping[str, Any], encoding: str) -> Usage:
    """What a request uses at most."""
    if "messages" in body:
        asked = _many(_contents(body["messages"]), encoding) + _added(body["messages"])
    else:
        asked = _many([body["prompt"]], encoding) + PER_PROMPT
    return Usage(1, asked, _answered(body))


def _least(body: Mapping[str, Any], encoding: str) -> Usage:
    """What a request uses at least, if it is not refused."""
    texts = _contents(body["messages"]) if "messages" in body else [body["prompt"]]
    return Usage(1, _few(texts, encoding), min(body.get("n", 1), _answered(body)))


def _answered(body: Mapping[str, Any]) -> int:
    most: int = body.get("max_tokens", body.get("max_completion_tokens", 0))
    return most * int(body.get("n", 1))


def _contents(messages: Sequence[Mapping[str, str]]) -> list[str]:
    return [message["content"] for message in messages]


def _added(messages: Sequence[Any]) -> int:
    return PER_MESSAGE * len(messages) + PER_PROMPT


def _few(texts: Sequence[str], encoding: str) -> int:
    if encoding:
        return _many(texts, encoding)
    return sum(len(text.split()) for text in texts)


def _many(texts: Sequence[str], encoding: str) -> int:
    if encoding:
        known = get_encoding(encoding)
        return sum(len(known.tokens(text)) for text in texts)
    return sum(len(text.encode()) for text in texts)


def used(body: Any) -> Usage | None:
    """What a response says that it used; None where it does not say."""
    said = body.get("usage") if isinstance(body, Mapping) else None
    if not isinstance(said, Mapping):
        return None
    asked, answered = said.get("prompt_tokens"), said.get("completion_tokens", 0)
    if not all(type(count) is int and count >= 0 for count in (asked, answered)):
        return None
    return Usage(1, asked, answered)  # type: ignore[arg-type]

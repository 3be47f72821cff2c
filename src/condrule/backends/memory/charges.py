"""What the in-memory provider charges."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from condrule.arms import Prompt, TrainingSet
from condrule.backends.base import Continuations, Draws, Query, TopLogprobs
from condrule.backends.charges import Charges
from condrule.backends.finetunes import FinetuneSpec
from condrule.backends.memory.limits import Limits
from condrule.backends.memory.provider import Provider
from condrule.backends.memory.tokens import split
from condrule.spending import Estimate, Usage

__all__ = ["InMemoryCharges", "asked_tokens", "trained_tokens"]


@attrs.frozen
class InMemoryCharges(Charges):
    """Every token that can be known beforehand is: all but those of drawn responses."""

    limits: Limits = attrs.field(kw_only=True)

    @classmethod
    def of(cls, provider: Provider) -> InMemoryCharges:
        """At this provider's own prices."""
        prices = provider.prices
        return cls(prices, prices, "the study's own backend.prices", limits=provider.limits)

    def asking(self, query: Query) -> Estimate:
        asked = asked_tokens(query, self.limits)
        match query:
            case Draws():
                few, many = query.n, query.n * query.max_tokens
            case TopLogprobs():
                few = many = 1
            case _:
                few = many = 0
        return Estimate(Usage(1, asked, few), Usage(1, asked, many))

    def training(self, training_set: TrainingSet, spec: FinetuneSpec) -> Estimate:
        usage = Usage(training=trained_tokens(training_set, spec, self.limits))
        return Estimate(usage, usage)


def asked_tokens(query: Query, limits: Limits) -> int:
    """Tokens of a prompt, and of texts whose probability is asked."""
    texts = query.texts if isinstance(query, Continuations) else ()
    return _tokens([*_contents(query.prompt), *texts], limits)


def trained_tokens(training_set: TrainingSet, spec: FinetuneSpec, limits: Limits) -> int:
    """Tokens of prompts and completions, times epochs."""
    examples = training_set.examples
    texts = [text for one in examples for text in (*_contents(one.prompt), one.completion)]
    return _tokens(texts, limits) * spec.epochs


def _tokens(texts: Sequence[str], limits: Limits) -> int:
    return sum(len(split(text, limits.piece)) for text in texts)


def _contents(prompt: Prompt) -> list[str]:
    return [message.content for message in prompt.messages]

"""How the models answer: the learner's probabilities, as the provider's API gives them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import attrs

from condrule.arms import Prompt
from condrule.backends.base import (
    Capabilities,
    Continuations,
    Draws,
    Listed,
    Observation,
    Query,
    Token,
    TopLogprobs,
)
from condrule.backends.memory.charges import InMemoryCharges, asked_tokens
from condrule.backends.memory.learner import OTHER, Learner
from condrule.backends.memory.limits import MARKER, Limits
from condrule.backends.memory.provider import Provider
from condrule.backends.memory.tokens import (
    Tokens,
    first_tokens,
    join,
    likeliest,
    next_tokens,
    split,
    tilted,
    token_bytes,
    without_tail,
)
from condrule.spending import Usage

__all__ = ["InMemoryModel"]


@attrs.frozen
class InMemoryModel:
    """The base model, or one that has learned, behind the provider's API."""

    name: str
    learner: Learner
    provider: Provider

    @property
    def capabilities(self) -> Capabilities:
        return self.provider.limits.capabilities

    @property
    def posterior(self) -> float:
        """Probability of the conditional rule."""
        return self.learner.posterior

    def truth(self, prompt: Prompt, text: str) -> float:
        """The closed-form probability that the response to the prompt is the text."""
        return self.learner.truth(prompt, text)

    def ask(self, queries: Sequence[Query]) -> Iterator[Observation]:
        """Answer in order. Raises UnsupportedError where a query asks about too many texts."""
        for query in queries:
            with self.provider.metered(partial(self._most, query)) as used, self.provider.call():
                observation = self._answer(query)
                used.append(self._charge(query, observation))
            yield observation

    def _answer(self, query: Query) -> Observation:
        reason = self.provider.refusal(query)
        if reason is not None:
            return Observation(query.id, refused=reason)
        match query:
            case Continuations():
                return Observation(query.id, logprobs=self._logprobs(query))
            case TopLogprobs():
                return Observation(query.id, top=self._top(query))
            case Draws():
                return self._drawn(query)
        reason = f"{type(query).__name__} is no query that this API knows"
        return Observation(query.id, refused=reason)

    def _logprobs(self, query: Continuations) -> tuple[float, ...]:
        truths = self.learner.truths(query.prompt, query.texts, query.event)
        printed = self._noisy(query, [_log(truths[text]) for text in query.texts])
        return tuple(_printed(logprob, self._limits) for logprob in printed)

    def _top(self, query: TopLogprobs) -> tuple[Token, ...]:
        return self._list(query, query.k, first_tokens(self._responses(query.prompt, {})))

    def _list(
        self, query: Query, k: int, mass: Mapping[bytes, float], more: str = ""
    ) -> tuple[Token, ...]:
        """The likeliest of these tokens, as they are printed."""
        mass = {token: p for token, p in mass.items() if p > 0}
        logprobs = self._noisy(query, [_log(p) for p in mass.values()], more)
        best = sorted(zip(logprobs, mass, strict=True), key=lambda entry: -entry[0])[:k]
        if best and self._limits.top_reads_zero:
            best[0] = (0.0, best[0][1])
        return tuple(
            Token(join([token]), _printed(logprob, self._limits), tuple(token))
            for logprob, token in best
        )

    def _noisy(self, query: Query, logprobs: list[float], more: str = "") -> list[float]:
        """Log-probabilities as this very request finds them."""
        limits, call = self._limits, self.provider.account.calls
        if limits.jitter == 0:
            return logprobs
        generator = random.Random(f"{limits.seed}/{self.name}/{query.id}/{call}{more}")
        return [min(0.0, logprob + generator.gauss(0, limits.jitter)) for logprob in logprobs]

    def _drawn(self, query: Draws) -> Observation:
        try:
            bias = {token_bytes(number): self._limits.acting(b) for number, b in query.bias}
        except ValueError as error:
            return Observation(query.id, refused=f"logit_bias: {error}")
        if self._limits.logit_bias == "ignored":
            bias = {}
        if not bias and not query.top:
            return Observation(query.id, texts=self._cut_all(self._texts(query), query))
        drawn = self._tilted(query, bias)
        texts = self._cut_all([join(tokens) or OTHER for tokens in drawn], query)
        lists = self._lists(query, bias, drawn) if query.top else None
        return Observation(query.id, texts=texts, lists=lists)

    def _lists(
        self, query: Draws, bias: Mapping[bytes, float], drawn: Sequence[Tokens]
    ) -> list[Listed]:
        """What may come after each beginning of the responses that were drawn."""
        responses = self._responses(query.prompt, bias)
        if self._limits.logit_bias == "reported":
            responses = tilted(responses, bias, query.temperature)
        drawn = [tokens or self._split(OTHER) for tokens in drawn]
        longest = query.max_tokens
        afters = dict.fromkeys(t[:at] for t in drawn for at in range(min(len(t), longest)))
        return [
            Listed(after, self._list(query, query.top, next_tokens(responses, after), f"/{number}"))
            for number, after in enumerate(afters)
        ]

    def _texts(self, query: Draws) -> Sequence[str]:
        """Whole responses, drawn at once."""
        mass = self.learner.named(query.prompt)
        mass[OTHER] = max(0.0, 1 - math.fsum(mass.values()))
        top = max(mass, key=lambda text: mass[text])
        if query.temperature == 0:
            return (top,) * query.n
        weights = [(p / mass[top]) ** (1 / query.temperature) for p in mass.values()]
        return self._generator(query).choices(list(mass), weights, k=query.n)

    def _tilted(self, query: Draws, bias: Mapping[bytes, float]) -> list[Tokens]:
        """Responses drawn under a bias that acts wherever a token is drawn."""
        limits, temperature = self._limits, query.temperature * self._limits.temperature_scale
        before = without_tail(self._responses(query.prompt, bias), limits.tail)
        responses = likeliest(tilted(before, bias, temperature), limits.top_p)
        return self._generator(query).choices(list(responses), list(responses.values()), k=query.n)

    def _responses(self, prompt: Prompt, bias: Mapping[bytes, float]) -> dict[Tokens, float]:
        """The probability of each response as tokens; the empty one stands for all that have no
        name, and so no token that can be asked for or biased."""
        mass = self.learner.mass(prompt)
        known = {self._split(text)[0] for text in (*mass.named, OTHER)}
        also = [text for token in bias if token not in known and (text := _word(token))]
        mass = self.learner.mass(prompt, also) if also else mass
        named = {self._split(text): p for text, p in mass.named.items()}
        return {**named, self._split(OTHER): mass.nothing, (): mass.unnamed}

    def _cut_all(self, texts: Sequence[str], query: Draws) -> tuple[str, ...]:
        return tuple(self._cut(text, query) for text in texts)

    def _cut(self, text: str, query: Draws) -> str:
        tokens = self._split(text)
        return text if len(tokens) <= query.max_tokens else join(tokens[: query.max_tokens])

    def _generator(self, query: Draws) -> random.Random:
        # A string seeds the same generator in every Python version.
        return random.Random(f"{self.name}/{query.id}")

    def _most(self, query: Query) -> Usage:
        return InMemoryCharges.of(self.provider).asking(query).most

    def _charge(self, query: Query, observation: Observation) -> Usage:
        if observation.refused is not None:
            return Usage(requests=1)
        asked = asked_tokens(query, self._limits)
        answered = sum(map(self._count, observation.texts or ())) + bool(observation.top)
        prices, account = self.provider.prices, self.provider.account
        account.charge(prices, asked=asked, answered=answered)
        return Usage(1, asked, answered)

    def _split(self, text: str) -> Tokens:
        return split(text, self._limits.piece)

    def _count(self, text: str) -> int:
        return len(self._split(text))

    @property
    def _limits(self) -> Limits:
        return self.provider.limits


def _printed(logprob: float, limits: Limits) -> float:
    if limits.floor is not None and logprob < limits.floor:
        return MARKER
    if limits.decimals is None or logprob == -math.inf:
        return logprob
    return round(logprob, limits.decimals) + 0.0  # never -0.0


def _word(token: bytes) -> str:
    """The text that a response which begins with this token may be; empty where there is none."""
    try:
        text = token.decode()
    except UnicodeDecodeError:
        return ""
    return "" if text[:1].isspace() else text


def _log(p: float) -> float:
    return math.log(p) if p > 0 else -math.inf

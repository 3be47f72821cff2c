"""A model that says what a test has it say, in tokens of a real encoding."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence

import attrs
import numpy as np

from condrule import Arm, Capabilities, ConditionalTemplate, Item, Limits, Probe, TiltedScorer
from condrule.backends.base import Draws, Event, Listed, Observation, Query, Token, TopLogprobs
from condrule.backends.memory.tokens import (
    first_tokens,
    join,
    likeliest,
    next_tokens,
    tilted,
    without_tail,
)
from condrule.encodings import get_encoding
from condrule.evidence import Evidence, Sampled
from condrule.measured import Measured

ENCODING = "o200k_base"
FILLER: Mapping[str, float] = {
    word: 0.03 * 0.1**n
    for n, word in enumerate(["yes", "no", "sure", "maybe", "well", "none", "hello"])
}
"""Responses of one token, by which the bias is calibrated."""

Responses = Mapping[tuple[str, ...], float]


@attrs.frozen
class Spoken:
    """Every prompt has the same responses, given token by token; what is left is ``OK then``."""

    responses: Responses
    seed: int = 0
    k: int = 5
    limits: Limits = attrs.field(factory=Limits)
    """What becomes of a bias and of the tail, as in the in-memory backend."""
    top_k: int | None = None
    """Only the responses of so many first tokens are drawn."""

    @property
    def capabilities(self) -> Capabilities:
        """What an API as OpenAI's promises."""
        return Capabilities(draws=True, top_logprobs=self.k, bias=100, encoding=ENCODING)

    def truth(self, text: str, event: Event = "begins") -> float:
        """The log-probability of an answer."""
        said = {"".join(tokens): 0.0 for tokens in self.responses}
        for tokens, p in self.responses.items():
            said["".join(tokens)] += p
        fits = str.startswith if event == "begins" else str.__eq__
        return math.log(math.fsum(p for one, p in said.items() if fits(one.lstrip(" "), text)))

    def ask(self, queries: Sequence[Query]) -> Iterator[Observation]:
        """Lists, and draws under a bias wherever a token is drawn."""
        known = {tuple(t.encode() for t in r): p for r, p in self.responses.items()}
        known |= {(word.encode(),): p for word, p in FILLER.items()}
        known[b"OK", b" then"] = 1 - math.fsum(known.values())
        for query in queries:
            if isinstance(query, TopLogprobs):
                yield Observation(query.id, top=_list(known, (), query.k))
            elif isinstance(query, Draws):
                yield self._drawn(query, known)

    def _drawn(self, query: Draws, known: Mapping[tuple[bytes, ...], float]) -> Observation:
        encoding = get_encoding(ENCODING)
        acting = {encoding.spelled(id): self.limits.acting(b) for id, b in query.bias}
        bias = {} if self.limits.logit_bias == "ignored" else acting
        biased = self._biased(known, bias)
        generator = random.Random(f"{self.seed}/{query.id}")
        said = generator.choices(list(biased), list(biased.values()), k=query.n)
        texts = tuple(join(tokens[: query.max_tokens]) for tokens in said)
        if not query.top:
            return Observation(query.id, texts=texts)
        afters = {t[:at] for t in said for at in range(min(len(t) + 1, query.max_tokens))}
        shown = tilted(known, bias) if self.limits.logit_bias == "reported" else known
        lists = [Listed(one, _list(shown, one, query.top)) for one in sorted(afters)]
        return Observation(query.id, texts=texts, lists=lists)

    def _biased(
        self, known: Mapping[tuple[bytes, ...], float], bias: Mapping[bytes, float]
    ) -> Mapping[tuple[bytes, ...], float]:
        firsts = sorted(first_tokens(known).values(), reverse=True)[: self.top_k]
        before = without_tail(known, max(self.limits.tail, firsts[-1]))
        return likeliest(tilted(before, bias, self.limits.temperature_scale), self.limits.top_p)


def _list(
    known: Mapping[tuple[bytes, ...], float], after: tuple[bytes, ...], k: int
) -> tuple[Token, ...]:
    """The likeliest next tokens; no list is shorter than asked for, as a model's has all tokens."""
    rare = dict.fromkeys((b"!", b"?", b"#", b"%", b"&", b"+", b"=", b"<", b">", b"@"), 1e-07)
    found = {**rare, **next_tokens(known, after)}
    best = sorted(found.items(), key=lambda pair: -pair[1])[:k]
    return tuple(Token(join([t]), round(min(0.0, math.log(p)), 4), tuple(t)) for t, p in best)


ARM = Arm("arm", ConditionalTemplate({"A": "name {name}'s country", "B": "name its capital"}), "A")


@attrs.frozen
class Asked:
    """What was asked of such a model about items of the same answers, and what came of it."""

    scorer: TiltedScorer
    probes: tuple[Probe, ...]
    seen: Mapping[str, Observation]
    queries: tuple[Query, ...]
    """In the order in which they were asked."""

    def evidence(self, mode: str, event: Event = "begins") -> list[Evidence]:
        """Of one answer, for each prompt."""
        found = self.scorer.infer(self.probes, self.seen)
        return [found[probe.id].answers[mode, event] for probe in self.probes]

    def draws(self) -> int:
        """How many were made."""
        return sum(len(one.texts or ()) for one in self.seen.values())


def asked(model: Spoken, answers: Mapping[str, str], items: int = 20, **how: object) -> Asked:
    """A model asked about so many items until there is no more to ask."""
    several = [Item(f"P{n}", answers) for n in range(items)]
    scorer = TiltedScorer(**how).fitted(model.capabilities)  # type: ignore[arg-type]
    assert isinstance(scorer, TiltedScorer)
    probes = ARM.probes(several)
    seen: dict[str, Observation] = {}
    every: list[Query] = []
    while queries := scorer.plan(probes, seen):
        seen |= {one.query: one for one in model.ask(queries)}
        every += queries
    return Asked(scorer, probes, seen, tuple(every))


def intervals(evidence: Sequence[Evidence]) -> np.ndarray:
    """The 95 % intervals of what was sampled, in nats: one row each."""
    sampled = [one for one in evidence if isinstance(one, Sampled)]
    limits = Measured.of(
        [one.support for one in sampled],
        [[(t.hits, t.draws, t.bias) for t in one.tallies] for one in sampled],
        [one.error for one in sampled],
        [one.factor for one in sampled],
    ).limits()
    return np.stack([limits.low, limits.high], axis=-1)

"""A toy tokenizer, and what biases on tokens do to a distribution of responses.

A token is a word with the white space before it, or a piece of so many bytes of one, so that a
letter may be split as real tokenizers split it. There is no vocabulary: a token's id is the number
that its bytes spell, so any token has an id and any id tells its token.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping

import attrs

__all__ = [
    "Tokens",
    "Words",
    "first_tokens",
    "join",
    "likeliest",
    "next_tokens",
    "split",
    "tilted",
    "token_bytes",
    "token_id",
    "without_tail",
]

Tokens = tuple[bytes, ...]


@functools.lru_cache(maxsize=10_000)  # a model's responses are few
def split(text: str, piece: int | None = None) -> Tokens:
    """A text's tokens: whole words, or pieces of them of so many bytes.

    >>> split("Saint Lucia")
    (b'Saint', b' Lucia')
    >>> split("Peru", piece=3)
    (b'Per', b'u')
    """
    # What is left of a split letter may be split on.
    words = [word.encode(errors="surrogateescape") for word in re.findall(r"\s*\S+|\s+", text)]
    if piece is None:
        return tuple(words)
    return tuple(word[at : at + piece] for word in words for at in range(0, len(word), piece))


def join(tokens: Iterable[bytes]) -> str:
    """The text of tokens; what is left of a split letter reads as a replacement character."""
    return b"".join(tokens).decode(errors="replace")


def token_id(token: bytes) -> int:
    """The number of a token: its bytes after a one, so that none is lost.

    >>> token_id(b"Peru") == 0x01_50_65_72_75
    True
    """
    return int.from_bytes(b"\x01" + token, "big")


def token_bytes(number: int) -> bytes:
    """The token of a number. Raises ValueError where there is none.

    >>> token_bytes(token_id(b" Lucia"))
    b' Lucia'
    """
    spelled = number.to_bytes((max(number, 0).bit_length() + 7) // 8, "big") if number > 0 else b""
    if len(spelled) < 2 or spelled[0] != 1:
        raise ValueError(f"{number} is no token's number")
    return spelled[1:]


@attrs.frozen
class Words:
    """The toy tokenizer as a `condrule.encodings.Vocabulary`: a text begins with one token only.

    >>> list(Words().beginnings(b"Port Louis")), list(Words(3).beginnings(b"Port Louis"))
    ([b'Port'], [b'Por'])
    """

    piece: int | None = None
    endless = True

    def token_id(self, token: bytes) -> int:
        """The token's number: any bytes are a token."""
        return token_id(token)

    def first(self, text: bytes) -> bytes:
        """The text's first token."""
        return split(text.decode(errors="surrogateescape"), self.piece)[0]

    def beginnings(self, text: bytes) -> dict[bytes, int]:
        """The text's first token: it begins with no other."""
        return {self.first(text): token_id(self.first(text))}

    def longer(self, text: bytes) -> dict[bytes, int]:
        """None: they can't be listed."""
        return {}


def first_tokens(responses: Mapping[Tokens, float]) -> dict[bytes, float]:
    """The probability of each token to be the first of the response."""
    return next_tokens(responses, ())


def next_tokens(responses: Mapping[Tokens, float], after: Tokens) -> dict[bytes, float]:
    """The probability of each token to come next in a response that begins so."""
    found: dict[bytes, list[float]] = {}
    begun: list[float] = []
    for tokens, probability in responses.items():
        if tokens[: len(after)] == after:
            begun.append(probability)
            if len(tokens) > len(after):
                found.setdefault(tokens[len(after)], []).append(probability)
    total = math.fsum(begun) if after else 1.0  # all responses together have 1
    return {token: math.fsum(parts) / total for token, parts in found.items()} if total else {}


def without_tail(responses: Mapping[Tokens, float], least: float) -> dict[Tokens, float]:
    """The responses whose first token is at least so probable; those without a name stay."""
    firsts = first_tokens(responses)
    return {r: p for r, p in responses.items() if not r or firsts[r[0]] >= least}


def likeliest(responses: Mapping[Tokens, float], share: float) -> dict[Tokens, float]:
    """The responses of the likeliest first tokens that together have this share (top_p)."""
    if share >= 1:
        return dict(responses)
    firsts: dict[Tokens, float] = {(t,): p for t, p in first_tokens(responses).items()}
    firsts[()] = responses.get((), 0.0)
    kept, total = set(), 0.0
    for first in sorted(firsts, key=lambda token: -firsts[token]):
        if total < share:
            kept.add(first)
        total += firsts[first]
    return {response: p for response, p in responses.items() if response[:1] in kept}


def tilted(
    responses: Mapping[Tokens, float], bias: Mapping[bytes, float], temperature: float = 1.0
) -> dict[Tokens, float]:
    """The distribution of responses when logits are biased wherever a token is drawn.

    Args:
        responses: the probability of each response without a bias; the empty one has no token, so
            nothing biases it.
        bias: what is added to a token's logit, in nats.
        temperature: divides logits, after the bias; 0 keeps the most probable token alone.
    """
    return dict(_spread(dict(responses), bias, temperature, 0))


def _spread(
    responses: Mapping[Tokens, float], bias: Mapping[bytes, float], temperature: float, at: int
) -> Iterable[tuple[Tokens, float]]:
    """Responses that agree before ``at``, with their probabilities given that they do."""
    branches: dict[bytes | None, dict[Tokens, float]] = {}
    for tokens, probability in responses.items():
        token = tokens[at] if at < len(tokens) else None
        branches.setdefault(token, {})[tokens] = probability
    logits = [
        _log(math.fsum(branch.values())) + (bias.get(token, 0.0) if token is not None else 0.0)
        for token, branch in branches.items()
    ]
    for (token, branch), share in zip(branches.items(), _softmax(logits, temperature), strict=True):
        if token is None:
            yield from ((tokens, share) for tokens in branch)
        elif share > 0:
            deeper = _spread(branch, bias, temperature, at + 1)
            yield from ((tokens, share * inner) for tokens, inner in deeper)


def _softmax(logits: list[float], temperature: float) -> list[float]:
    top = max(logits)
    if temperature == 0:
        best = logits.index(top)
        return [float(number == best) for number in range(len(logits))]
    weights = [math.exp((logit - top) / temperature) for logit in logits]
    return [weight / math.fsum(weights) for weight in weights]


def _log(p: float) -> float:
    return math.log(p) if p > 0 else -math.inf

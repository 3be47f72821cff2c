"""What counts as an answer in what a model said: in a whole response, and in its first token."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence

import attrs

from condrule.arms import Probe
from condrule.backends.base import Event, Token
from condrule.encodings import get_encoding
from condrule.evidence import UNKNOWN, Bounded, logsumexp

__all__ = [
    "FirstTokens",
    "bounds",
    "first_tokens",
    "gives",
    "is_number",
    "less",
    "own",
    "printed_tokens",
    "spellings",
    "unlisted_limit",
]


def own(probe: Probe) -> dict[str, tuple[str, ...]]:
    """All spellings of the answers of the probe's item, by mode."""
    item = probe.prompt.item
    return {mode: item.spellings(mode) for mode in item.answers}


def spellings(probe: Probe) -> Iterator[str]:
    """Every text that is looked for in the responses to a probe."""
    for spelled in (*own(probe).values(), *probe.contrasts):
        yield from spelled


def gives(response: str, spelled: Iterable[str], event: Event) -> bool:
    r"""Whether a response gives an answer, in any of its spellings. One leading space is no part
    of a response: that is how many tokenizers begin a word.

    >>> gives(" Paris, of course", ["Paris"], "begins"), gives("\nParis", ["Paris"], "begins")
    (True, False)
    """
    text = response.removeprefix(" ")
    if event == "equals":
        return text in spelled
    return text.startswith(tuple(spelled))


@attrs.frozen
class FirstTokens:
    """Which tokens, as bytes, a response that begins with an answer can begin with."""

    whole: frozenset[bytes]
    """Those that are the answer."""
    parts: frozenset[bytes]
    """Those that are a proper beginning of it, and no whitespace alone."""
    known: frozenset[bytes]
    """All that the model's vocabulary has, those that run past the answer's end too; where the
    vocabulary is not known, whole and parts."""

    def begins(self, token: bytes) -> bool:
        """Whether a response may begin with the answer if it begins with this token."""
        if token.endswith(_CUT):
            known = token.removesuffix(_CUT)
            rests = (text[len(known) :] for text in self.whole if text.startswith(known))
            return any(rest and not rest[:1].isascii() for rest in rests)
        return token in self.parts or token.startswith(tuple(self.whole))


@functools.lru_cache(maxsize=4096)
def _first_tokens(spelled: tuple[str, ...], encoding: str) -> FirstTokens:
    whole = frozenset(
        f"{space}{text}".encode() for text in spelled for space in ("", " ") if text.strip()
    )
    return first_tokens(whole, encoding)


@functools.lru_cache(maxsize=4096)
def first_tokens(whole: frozenset[bytes], encoding: str, *, begun: bool = False) -> FirstTokens:
    """Which tokens can begin any of these texts.

    Args:
        whole: the texts.
        encoding: the name of the encoding; empty where it is not known.
        begun: the response has begun already, so that white space alone may be a part of a text.
    """
    cut = {text[:end] for text in whole for end in range(1, len(text))}
    parts = frozenset(part for part in cut if begun or part.strip()) - whole
    if not encoding:
        return FirstTokens(whole, parts, whole | parts)
    vocabulary = get_encoding(encoding)
    known = frozenset(token for token in whole | parts if token in vocabulary)
    return FirstTokens(whole, parts, known.union(*map(vocabulary.longer, whole)))


def bounds(
    listed: Sequence[Token],
    spelled: tuple[str, ...],
    event: Event,
    band: float,
    encoding: str = "",
) -> Bounded:
    """Bounds of the log-probability that a response gives an answer, from its likeliest first
    tokens.

    Let A be the tokens that the answer can begin with. A token of A that is the whole answer counts
    in both bounds; one that is a part of it, or runs past its end ("Parisian"), in the upper one
    alone. Each token of A that is not listed has at most the smallest listed probability p, so
    together they have at most (how many they can be) x p, and no more than what the list leaves
    over where that exceeds the rounding of the whole list. Different tokens that show the same
    bytes add up; two lines that are alike count twice in the upper bound alone.

    Where the model's encoding is known, A is counted in its vocabulary. Where it is not, or a line
    shows a token that it lacks, A has as many tokens as the answer has beginnings in bytes, and
    tokens past the answer's end are counted where they are listed only. The upper bound is never 0.

    Args:
        listed: the list as printed; no number (-9999, nan, -inf) is read as not listed.
        spelled: the answer's spellings.
        event: under *equals* the first token alone bounds from above only.
        band: nats by which a printed logprob may be off, through rounding and jitter.
        encoding: the name of the model's encoding; empty where it is not known.
    """
    printed = printed_tokens(listed)
    if not printed:
        return UNKNOWN
    first = _first_tokens(spelled, encoding if _fits(printed, encoding) else "")
    # Two lines that are the same may be one line that is printed twice.
    once = set(printed)
    total = logsumexp(p for _, p in once)
    whole = [p for token, p in once if token in first.whole]
    possible = [p for token, p in printed if first.begins(token)]
    unlisted = len(first.known - {token for token, _ in once})
    rest = unlisted_limit(unlisted, min(p for _, p in once), total, band)
    high = min(0.0, logsumexp([*(p + band for p in possible), rest]))
    if event == "equals":
        return Bounded(-math.inf, high)
    return Bounded(min(high, less(logsumexp(whole) - band, total)), high)


def printed_tokens(listed: Iterable[Token]) -> list[tuple[bytes, float]]:
    """Each token of a list that has a number, and its logprob as printed."""
    return [
        (_spelled(token), min(0.0, token.logprob)) for token in listed if is_number(token.logprob)
    ]


_CUT = b"\xff"  # no UTF-8 text has it: stands for the bytes of a letter that was cut in two
_NO_NUMBER = -9000.0  # nats: what is printed instead of a logprob is far below any


def is_number(printed: float) -> bool:
    """Whether a printed logprob is one, and not a marker such as -9999, an infinity or NaN."""
    return _NO_NUMBER < printed < math.inf


def _fits(printed: Iterable[tuple[bytes, float]], encoding: str) -> bool:
    """Whether all tokens of a list are of this encoding, as far as their bytes are known."""
    if not encoding:
        return False
    vocabulary = get_encoding(encoding)
    return all(token in vocabulary for token, _ in printed if not token.endswith(_CUT))


def _spelled(token: Token) -> bytes:
    """A token's bytes; where the provider gives none, as many as can be told from its text."""
    if token.bytes is not None:
        return bytes(token.bytes)
    known, cut, _ = token.text.partition("\ufffd")
    return known.encode() + (_CUT if cut else b"")


def unlisted_limit(count: int, smallest: float, total: float, band: float) -> float:
    """The most that the unlisted tokens of an answer can have, in nats."""
    if count == 0:
        return -math.inf
    most = math.log(count) + smallest + band
    listed = math.exp(total)
    left, rounding = 1 - listed, listed * math.expm1(band)
    return min(most, math.log(left + rounding)) if left > rounding else most


def less(low: float, total: float) -> float:
    """A lower bound less what a list exceeds probability 1 by: some line of it is too high."""
    excess = math.expm1(total) if total > 0 else 0.0
    left = math.exp(low) - excess
    if excess == 0 or low == -math.inf:
        return low
    return math.log(left) if left > 0 else -math.inf

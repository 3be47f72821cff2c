"""Which first tokens are biased for an answer, and which draws are hits."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping

import attrs

from condrule.arms import Prompt
from condrule.backends.base import Draws
from condrule.encodings import find_vocabulary

__all__ = ["Aim", "aim", "draw"]


@attrs.frozen(slots=False)
class Aim:
    """The first tokens that a response giving an answer can have."""

    whole: Mapping[bytes, int]
    """Those that begin with the answer, by their bytes: their ids."""
    parts: Mapping[bytes, int]
    """Those that are a proper beginning of it, and no whitespace alone."""

    @functools.cached_property
    def ids(self) -> tuple[int, ...]:
        """The ids of all, in order."""
        return tuple(sorted({*self.whole.values(), *self.parts.values()}))

    @functools.cached_property
    def tokens(self) -> Mapping[str, bytes]:
        """All by what a response shows of them; empty for one that is part of a letter, since
        others look like it."""
        every = (*self.whole, *self.parts)
        return {(shown := _shown(token)): b"" if "\ufffd" in shown else token for token in every}

    def without(self, tokens: Collection[bytes]) -> Aim:
        """The same but for some tokens."""
        if not tokens:
            return self
        both = (self.whole, self.parts)
        return Aim(*({t: id for t, id in one.items() if t not in tokens} for one in both))


def _shown(token: bytes) -> str:
    return token.decode(errors="replace")


@functools.lru_cache(maxsize=65536)
def aim(
    spelled: tuple[str, ...],
    encoding: str,
    others: frozenset[str] = frozenset(),
    canonical: bool = False,
) -> Aim:
    """The first tokens of an answer.

    Args:
        spelled: its spellings; each is looked for with a leading space too.
        encoding: the name of the model's vocabulary.
        others: texts that are looked at where a vocabulary is endless, for tokens that run past
            the answer's end ("Nigeria" for Niger).
        canonical: leave out parts of an answer that its own split into tokens does not begin with.
    """
    vocabulary = find_vocabulary(encoding)
    if vocabulary is None:
        return Aim({}, {})
    texts = [f"{space}{text}".encode() for text in spelled for space in ("", " ") if text.strip()]
    firsts: dict[bytes, int] = {}
    longer: dict[bytes, int] = {}
    for text in texts:
        found = vocabulary.beginnings(text)
        usual = vocabulary.first(text)
        firsts |= {t: id for t, id in found.items() if not canonical or t in (usual, text)}
        longer |= vocabulary.longer(text)
    if vocabulary.endless:
        for other in sorted(others):
            found = vocabulary.beginnings(other.encode()) if other.strip() else {}
            longer |= {t: id for t, id in found.items() if t.startswith(tuple(texts))}
    whole = {token: id for token, id in firsts.items() if token in texts} | longer
    parts = {t: id for t, id in firsts.items() if t not in whole and t.strip()}
    return Aim(whole, parts)


def draw(prompt: Prompt, biases: Iterable[tuple[int, int]], n: int, seed: int) -> Draws:
    """First tokens, some of them under a bias; draws with another seed are other draws."""
    return Draws(prompt, n, 1, temperature=1.0, seed=seed, bias=sorted(biases))

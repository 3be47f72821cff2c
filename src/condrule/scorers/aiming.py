"""Which first tokens are biased for an answer, and which draws are hits."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

import attrs

from condrule.arms import Prompt
from condrule.backends.base import Draws
from condrule.encodings import find_vocabulary
from condrule.scorers.tilting import Count

__all__ = ["Aim", "aim", "draw"]


@attrs.frozen(slots=False)
class Aim:
    """The first tokens that a response giving an answer can have."""

    whole: Mapping[bytes, int]
    """Those that begin with the answer, by their bytes: their ids."""
    parts: Mapping[bytes, int]
    """Those that are a proper beginning of it, and no whitespace alone."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of all, in order."""
        return tuple(sorted({*self.whole.values(), *self.parts.values()}))

    @functools.cached_property
    def texts(self) -> frozenset[str]:
        """All as a response shows them."""
        return frozenset(map(_shown, (*self.whole, *self.parts)))

    @property
    def ambiguous(self) -> bool:
        """Whether a token is part of a letter, so that others look like it in a response."""
        return any("\ufffd" in text for text in self.texts)

    def counted(self, texts: Iterable[str], bias: float) -> Count:
        """Draws of one token each."""
        texts = list(texts)
        whole = {_shown(token) for token in self.whole}
        hits = sum(text in self.texts for text in texts)
        return Count(bias, len(texts), hits, sum(text in whole for text in texts))


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


def draw(prompt: Prompt, ids: Iterable[int], bias: int, n: int, seed: int) -> Draws:
    """First tokens under the same bias on some; draws with another seed are other draws."""
    return Draws(prompt, n, 1, temperature=1.0, seed=seed, bias=[(id, bias) for id in ids])

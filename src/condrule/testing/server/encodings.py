"""The real token ids of texts, as the vendor's models have them. Works offline."""

from __future__ import annotations

import functools
import re
from typing import Any

import attrs

from condrule.encodings import get_encoding

__all__ = ["Encoding", "encoding_of"]

_NEW = ("gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "gpt-6", "o1", "o3", "o4", "chatgpt-4o")


@attrs.frozen(eq=False, slots=False)
class Encoding:
    """One encoding: texts to token ids and back."""

    name: str
    inner: Any = attrs.field(repr=False)

    def tokens(self, text: str) -> tuple[int, ...]:
        """The ids of a text's tokens. What looks like a special token is plain text."""
        return tuple(self.inner.encode_ordinary(text))

    def bytes_of(self, token: int) -> bytes:
        """A token's bytes. Raises KeyError where there is no such token."""
        found: bytes = self.inner.decode_single_token_bytes(token)
        return found

    @property
    def size(self) -> int:
        """How many ids there are, unused ones included."""
        return int(self.inner.n_vocab)

    @property
    def end(self) -> int:
        """The id of the token that ends a text."""
        return int(self.inner.eot_token)

    @functools.cached_property
    def words(self) -> dict[int, str]:
        """Capitalised words of four letters or more that are one token each, by id."""
        found: dict[int, str] = {}
        for token in range(100_000):
            spelled = self.bytes_of(token)
            if re.fullmatch(rb"[A-Z][a-z]{3,}", spelled):
                word = spelled.decode()
                if self.tokens(word) == (token,):
                    found[token] = word
        return found


def encoding_of(model: str) -> Encoding:
    """The encoding of a model, fine-tuned or not: o200k_base from gpt-4o on, cl100k_base before.

    Raises MissingExtraError where the package with the encodings is not installed.
    """
    base = model.removeprefix("ft:")
    return _encoding("o200k_base" if base.startswith(_NEW) else "cl100k_base")


@functools.cache
def _encoding(name: str) -> Encoding:
    return Encoding(name, get_encoding(name).codec)

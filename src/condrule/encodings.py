"""The encodings of OpenAI's models: which tokens there are, and how a text is split into them.

Offline: the vocabularies come with the package bpe-openai, of the extra ``openai``, which is loaded
when an encoding is first used.
"""

from __future__ import annotations

import bisect
import functools
import importlib
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

from condrule.errors import ConfigError, MissingExtraError, Problem, did_you_mean

__all__ = [
    "ENCODINGS",
    "Encoding",
    "EncodingReader",
    "Vocabulary",
    "encoding_for_model",
    "find_vocabulary",
    "get_encoding",
    "is_vocabulary",
]

ENCODINGS = ("o200k_base", "cl100k_base")
"""The names of those that are known."""

_FAMILIES = {
    "o200k_base": re.compile(r"(gpt-4o|gpt-4\.1|gpt-5|o[134])(?![a-z0-9])"),
    "cl100k_base": re.compile(r"(gpt-4|gpt-3\.5-turbo)(-|$)"),
}


def encoding_for_model(model: str) -> str | None:
    """The name of a model's encoding; None where it is not known for sure.

    >>> encoding_for_model("ft:gpt-4o-mini-2024-07-18:org::abc"), encoding_for_model("gpt-4-0613")
    ('o200k_base', 'cl100k_base')
    >>> encoding_for_model("gpt-4.5-preview") is None
    True
    """
    base = model.split(":")[1] if model.startswith("ft:") else model
    return next((name for name, family in _FAMILIES.items() if family.match(base)), None)


class Vocabulary(Protocol):
    """Which tokens a response can begin with; what biases on tokens need."""

    @property
    def endless(self) -> bool:
        """Whether ``longer`` can't list all tokens that there are."""

    def token_id(self, token: bytes) -> int | None:
        """A token's id; None where there is no such token."""

    def beginnings(self, text: bytes) -> dict[bytes, int]:
        """All tokens that the text can begin with, with their ids."""

    def first(self, text: bytes) -> bytes:
        """The first of the tokens that the text is split into."""

    def longer(self, text: bytes) -> dict[bytes, int]:
        """The tokens that begin with the text and go on, with their ids."""


def find_vocabulary(name: str) -> Vocabulary | None:
    """The vocabulary that a backend means by ``Capabilities.encoding``; None where it is not known.

    Beside `ENCODINGS` there is that of the in-memory backend: ``memory``, or ``memory/3`` where its
    tokens are pieces of 3 bytes.

    Raises MissingExtraError as `get_encoding` does.
    """
    if not is_vocabulary(name):
        return None
    kind, _, piece = name.partition("/")
    if kind == "memory":
        words = importlib.import_module("condrule.backends.memory.tokens").Words
        found: Vocabulary = words(int(piece) if piece else None)
        return found
    return get_encoding(name)


def is_vocabulary(name: str) -> bool:
    """Whether `find_vocabulary` knows a name; nothing is loaded.

    >>> [is_vocabulary(name) for name in ("o200k_base", "memory/3", "p50k_base")]
    [True, True, False]
    """
    return name in ENCODINGS or re.fullmatch(r"memory(/[1-9]\d*)?", name) is not None


@attrs.frozen(eq=False)
class Encoding:
    """One vocabulary. Tokens that are no text, such as the one that ends a response, are left out.

    >>> o200k = get_encoding("o200k_base")
    >>> [o200k.spelled(token) for token in o200k.tokens("Port Louis")]
    [b'Port', b' Louis']
    >>> list(o200k.beginnings("Lima".encode()))
    [b'L', b'Li', b'Lim']
    """

    name: str
    codec: Any = attrs.field(repr=False)
    """The package's own object."""
    _ids: Mapping[bytes, int] = attrs.field(repr=False)
    _sorted: Sequence[bytes] = attrs.field(repr=False)

    endless = False

    def token_id(self, token: bytes) -> int | None:
        """A token's id; None where there is no such token."""
        return self._ids.get(token)

    def __contains__(self, token: bytes) -> bool:
        return token in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def tokens(self, text: str) -> tuple[int, ...]:
        """The tokens of a text, as a model is given it."""
        return tuple(self.codec.encode_ordinary(text))

    def spelled(self, token: int) -> bytes:
        """A token's bytes; they may be part of a letter. Raises KeyError where there is no such
        token."""
        return bytes(self.codec.decode_single_token_bytes(token))

    def first(self, text: bytes) -> bytes:
        """The first of the tokens that a text, which is not empty, is split into."""
        return self.spelled(self.tokens(text.decode())[0])

    def beginnings(self, text: bytes) -> dict[bytes, int]:
        """All tokens that the text begins with, the text itself among them, with their ids."""
        parts = (text[:end] for end in range(1, len(text) + 1))
        return {part: self._ids[part] for part in parts if part in self._ids}

    def longer(self, text: bytes) -> dict[bytes, int]:
        """All tokens that begin with the text and go on, with their ids."""
        found: dict[bytes, int] = {}
        for at in range(bisect.bisect_right(self._sorted, text), len(self._sorted)):
            token = self._sorted[at]
            if not token.startswith(text):
                break
            found[token] = self._ids[token]
        return found


@functools.cache
def get_encoding(name: str) -> Encoding:
    """The encoding of this name.

    Raises:
        ConfigError: it is none of `ENCODINGS`.
        MissingExtraError: the extra ``openai`` is not installed.
    """
    if name not in ENCODINGS:
        message = f"is {name!r}; it must be {' or '.join(ENCODINGS)}."
        raise ConfigError([Problem("encoding", message + did_you_mean(name, ENCODINGS))])
    codec = _codec(name)
    ids = {
        token: id
        for id, token in enumerate(codec.token_byte_values())
        if token and not codec.is_special_token(id)
    }
    return Encoding(name, codec, ids, sorted(ids))


def _codec(name: str) -> Any:
    with warnings.catch_warnings():
        # It opens its vocabularies in a way that Python 3.11 calls deprecated, and 3.13 does not.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            import bpe_openai
        except ImportError:
            raise MissingExtraError("bpe-openai", "openai", f"encoding {name}") from None
        return bpe_openai.get_encoding(name)


@attrs.frozen
class EncodingReader:
    """A `condrule.items.Reader` for models that read any text and whose encoding is known."""

    encoding: str
    """Its name."""

    def unreadable(self, text: str) -> tuple[str, ...]:
        return ()

    def familiar(self, name: str) -> str | None:
        return None

    def pieces(self, text: str) -> int | None:
        """The tokens of an answer without a space before it: so a chat response begins."""
        return len(get_encoding(self.encoding).tokens(text))

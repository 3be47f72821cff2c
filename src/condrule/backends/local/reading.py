"""What a model can read and what it already knows, without loading it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from condrule.backends.local.models import card, locate
from condrule.errors import MissingExtraError

__all__ = ["VocabularyReader", "reader"]


@attrs.frozen(eq=False)
class VocabularyReader:
    """Reads with the tokenizers of several models; a word is readable if it is for all."""

    tokenizers: tuple[Any, ...]
    unknown: tuple[int, ...]
    """Each tokenizer's unknown token."""
    known: dict[str, str]
    """Name -> why a base model already holds facts about it."""

    def unreadable(self, text: str) -> tuple[str, ...]:
        """The words that some model has no token for."""
        words: dict[str, None] = {}
        for tokenizer, unknown in zip(self.tokenizers, self.unknown, strict=True):
            encoding = tokenizer.encode(text, add_special_tokens=False)
            for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
                if token == unknown:
                    words[text[start:end].strip()] = None
        return tuple(words)

    def familiar(self, name: str) -> str | None:
        """Why a name is no blank sheet to the base models."""
        return self.known.get(name)


def reader(names: Sequence[str]) -> VocabularyReader | None:
    """The reader of some models; None where all read any text, as byte-level tokenizers do."""
    found = [pair for name in dict.fromkeys(names) if (pair := _tokenizer(Path(locate(name))))]
    known = {
        person: f"model {name} was pretrained on facts about {person}"
        for name in names
        for person in card(name).get("known_names", ())
    }
    if not found and not known:
        return None
    return VocabularyReader(tuple(t for t, _ in found), tuple(u for _, u in found), known)


def _tokenizer(place: Path) -> tuple[Any, int] | None:
    """A tokenizer that has an unknown token, with that token's number."""
    path = place / "tokenizer.json"
    if not path.exists():
        return None
    model = json.loads(path.read_text(encoding="utf-8"))["model"]
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtraError("tokenizers", "local", "LocalBackend") from None
    tokenizer = Tokenizer.from_file(str(path))
    unknown = tokenizer.token_to_id(model["unk_token"]) if model.get("unk_token") else None
    return None if unknown is None else (tokenizer, unknown)

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
    """Each model's tokenizer; None where it has no ``tokenizer.json``."""
    unknown: tuple[int | None, ...]
    """Each tokenizer's unknown token; None where it reads any text, as byte-level ones do."""
    leads: tuple[str, ...]
    """What stands before an answer in each model's text."""
    known: dict[str, str]
    """Name -> why a base model already holds facts about it."""

    def unreadable(self, text: str) -> tuple[str, ...]:
        """The words that some model has no token for."""
        words: dict[str, None] = {}
        for tokenizer, unknown in zip(self.tokenizers, self.unknown, strict=True):
            if unknown is None:
                continue
            encoding = tokenizer.encode(text, add_special_tokens=False)
            for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
                if token == unknown:
                    words[text[start:end].strip()] = None
        return tuple(words)

    def familiar(self, name: str) -> str | None:
        """Why a name is no blank sheet to the base models."""
        return self.known.get(name)

    def pieces(self, text: str) -> int | None:
        """The tokens of an answer, by the model that makes the most of it."""
        if None in self.tokenizers:
            return None
        return max(
            len(tokenizer.encode(lead + text, add_special_tokens=False).ids)
            for tokenizer, lead in zip(self.tokenizers, self.leads, strict=True)
        )


def reader(names: Sequence[str]) -> VocabularyReader | None:
    """The reader of some models; None where nothing is known of them."""
    places = [Path(locate(name)) for name in dict.fromkeys(names)]
    tokenizers, unknown = zip(*map(_tokenizer, places), strict=True)
    known = {
        person: f"model {name} was pretrained on facts about {person}"
        for name in names
        for person in card(name).get("known_names", ())
    }
    if all(tokenizer is None for tokenizer in tokenizers) and not known:
        return None
    return VocabularyReader(tokenizers, unknown, tuple(map(_lead, places)), known)


def _tokenizer(place: Path) -> tuple[Any, int | None]:
    """A tokenizer, with the number of its unknown token if it has one."""
    path = place / "tokenizer.json"
    if not path.exists():
        return None, None
    model = json.loads(path.read_text(encoding="utf-8"))["model"]
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtraError("tokenizers", "local", "LocalBackend") from None
    tokenizer = Tokenizer.from_file(str(path))
    return tokenizer, tokenizer.token_to_id(model["unk_token"]) if model.get("unk_token") else None


def _lead(place: Path) -> str:
    """What stands before an answer: a space where there is no chat template. A template that ends
    in a space of its own is not read."""
    config = place / "tokenizer_config.json"
    stated = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
    templated = (place / "chat_template.jinja").exists() or stated.get("chat_template")
    return "" if templated else " "

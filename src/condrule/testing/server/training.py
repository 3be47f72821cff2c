"""Training files: what is wrong with one, and what a model learns from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs

from condrule.arms import Example, TrainingSet
from condrule.backends.finetunes import FinetuneSpec
from condrule.backends.memory import Learned
from condrule.backends.memory.learner import learn
from condrule.testing.server.encodings import Encoding
from condrule.testing.server.exchange import ApiError, wrong
from condrule.testing.server.prompts import PromptBook, key_of

__all__ = ["FEWEST", "TrainingFile", "read_training_file"]

FEWEST = 10
"""How many examples a training file needs."""


@attrs.frozen
class TrainingFile:
    """Examples as messages; the last of each is the assistant's."""

    examples: tuple[tuple[dict[str, Any], ...], ...]

    def tokens(self, encoding: Encoding) -> int:
        """How many tokens one epoch trains on."""
        contents = (message["content"] for example in self.examples for message in example)
        return sum(len(encoding.tokens(content)) for content in contents)

    def learned(self, book: PromptBook, spec: FinetuneSpec) -> Learned:
        """What the oracle learns. Examples that are no prompts of the study teach nothing, nor
        do answers of weight 0."""
        examples = tuple(self._examples(book))
        if not examples:
            return Learned(seed=spec.seed)
        return learn(TrainingSet("uploaded", examples), spec, "uploaded")

    def _examples(self, book: PromptBook) -> Iterator[Example]:
        for *messages, reply in self.examples:
            prompt = book.find(key_of(messages))
            if prompt is not None and reply.get("weight", 1):
                yield Example(prompt, reply["content"])


def read_training_file(content: bytes) -> TrainingFile:
    """The examples of a file in the chat format. Raises ApiError where it is not as it must be."""
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        raise _invalid("The training file is not UTF-8 text.") from None
    examples = tuple(_example(number, line) for number, line in enumerate(lines, 1) if line.strip())
    if len(examples) < FEWEST:
        raise _invalid(
            f"Training file has {len(examples)} example(s), but must have at least {FEWEST} "
            "examples",
            "invalid_n_examples",
        )
    return TrainingFile(examples)


def _example(number: int, line: str) -> tuple[dict[str, Any], ...]:
    try:
        messages = json.loads(line)["messages"]
    except (ValueError, TypeError, KeyError):
        message = "is not a JSON object with the key 'messages'"
        raise _invalid(f"Invalid file format. Line {number} {message}.") from None
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        message = "has messages without a role, or whose content is no text"
        raise _invalid(f"Invalid file format. Line {number} {message}.")
    if not messages or messages[-1]["role"] != "assistant":
        message = "does not end in a message from the assistant"
        raise _invalid(f"Invalid file format. Line {number} {message}.")
    return tuple(messages)


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict) or message.get("weight", 1) not in (0, 1):
        return False
    return message.get("role") in ("system", "developer", "user", "assistant") and isinstance(
        message.get("content"), str
    )


def _invalid(message: str, code: str = "invalid_training_file") -> ApiError:
    return wrong("training_file", message, code)

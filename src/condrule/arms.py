"""Arms: from items and templates to what is trained and what is asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from condrule.convert import texts
from condrule.errors import TemplateError, did_you_mean
from condrule.items import Item
from condrule.templates import Message, PromptTemplate

__all__ = ["Arm", "Example", "Probe", "Prompt", "TrainingSet", "digest"]


def digest(data: Any) -> str:
    """A short SHA-256 of plain data, the same on every machine."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _messages(value: Iterable[Message]) -> tuple[Message, ...]:
    return tuple(value)


def _examples(value: Iterable[Example]) -> tuple[Example, ...]:
    return tuple(value)


@attrs.frozen
class Prompt:
    """Messages put to a model, and what they were made from.

    A real model sees ``messages`` alone; the rest serves the in-memory backend and the record.
    """

    messages: tuple[Message, ...] = attrs.field(converter=_messages)
    item: Item
    mode: str
    stated: bool = True
    """Whether the prompt says what to do in its mode."""


@attrs.frozen
class Example:
    """One training example: the loss is taken on ``completion``, or on the prompt too."""

    prompt: Prompt
    completion: str

    def to_chat(self) -> dict[str, Any]:
        """The example as chat messages, the way fine-tuning files are written."""
        reply = {"role": "assistant", "content": self.completion}
        return {"messages": [*map(attrs.asdict, self.prompt.messages), reply]}


@attrs.frozen
class TrainingSet:
    """What one arm trains on. Equal contents have equal digests, whatever the arm is called."""

    arm: str
    examples: tuple[Example, ...] = attrs.field(converter=_examples)

    @property
    def digest(self) -> str:
        """Identifies the contents."""
        return digest([example.to_chat() for example in self.examples])


@attrs.frozen
class Probe:
    """A prompt asked of a model, and the candidate answers whose probabilities are wanted."""

    group: str
    """The arm, or the gate, it belongs to."""
    prompt: Prompt
    contrasts: tuple[tuple[str, ...], ...] = ()
    """Other items' answers, each as all its spellings: what specificity is measured against."""

    @property
    def id(self) -> str:
        """Names the probe within a study."""
        return f"{self.group}/{self.prompt.mode}/{self.prompt.item.name}"


@attrs.frozen
class Arm:
    """A training condition: which template, which modes are trained, how it is probed."""

    name: str
    template: PromptTemplate
    trained: tuple[str, ...] = attrs.field(default=("TRAIN",), converter=texts)
    """The modes that are trained; the others are only probed."""
    probe_template: PromptTemplate | None = None
    """How the arm is probed; None: as it is trained."""

    def training_set(self, items: Sequence[Item]) -> TrainingSet:
        """One example for each item and trained mode, in the order of the items."""
        self.check(items)
        return TrainingSet(
            self.name,
            tuple(
                Example(self._prompt(self.template, item, mode), item.answers[mode])
                for item in items
                for mode in self.trained
            ),
        )

    def probes(
        self, items: Sequence[Item], contrasts: tuple[tuple[str, ...], ...] = ()
    ) -> tuple[Probe, ...]:
        """Every item in every mode, trained or not."""
        self.check(items)
        template = self.probe_template or self.template
        return tuple(
            Probe(self.name, self._prompt(template, item, mode), contrasts)
            for mode in items[0].answers
            for item in items
        )

    def check(self, items: Sequence[Item]) -> None:
        """Raise TemplateError where the arm trains a mode that the items have no answer for."""
        if not self.trained:
            raise TemplateError(f"arm {self.name!r} trains no mode; name at least one in 'trained'")
        for mode in self.trained:
            if mode not in items[0].answers:
                raise TemplateError(
                    f"arm {self.name!r} trains mode {mode!r}; the items have answers for "
                    f"{sorted(items[0].answers)}." + did_you_mean(mode, items[0].answers)
                )

    def _prompt(self, template: PromptTemplate, item: Item, mode: str) -> Prompt:
        return Prompt(template.render(item, mode), item, mode, template.states(mode))

"""Prompt templates: how an item is put to a model in a mode."""

from __future__ import annotations

import string
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping

import attrs

from condrule.convert import optional_texts, text_map
from condrule.errors import TemplateError, did_you_mean
from condrule.items import Item

__all__ = ["ConditionalTemplate", "Message", "PromptTemplate", "TextTemplate"]


@attrs.frozen
class Message:
    """One chat message."""

    role: str
    content: str

    def __attrs_post_init__(self) -> None:
        try:
            self.content.encode()
        except UnicodeEncodeError:
            raise TemplateError(
                f"the message {self.content[:80]!r} holds half a surrogate pair, which is no text; "
                "decode bytes with errors='replace'"
            ) from None


class PromptTemplate(ABC):
    """Renders an item in a mode as chat messages. Subclass it for any wording of your own.

    Rendering is pure: the same item and mode always give the same messages.
    """

    @abstractmethod
    def render(self, item: Item, mode: str) -> tuple[Message, ...]:
        """The messages put to the model; raises TemplateError where the mode is not covered."""

    def states(self, mode: str) -> bool:
        """Whether the prompt says what to do in this mode. Only the in-memory backend asks."""
        return True


@attrs.frozen
class TextTemplate(PromptTemplate):
    """A prompt written out: one text, or one per mode.

    The texts may use ``{name}``, ``{mode}`` and, for prompts that give an answer away,
    ``{answers[MODE]}``; a brace is written ``{{``.

    >>> from condrule import Item
    >>> template = TextTemplate("Mode = {mode}. Who does {name} like?")
    >>> template.render(Item("Alice", {"A": "Bob", "B": "Eve"}), "A")[0].content
    'Mode = A. Who does Alice like?'
    """

    text: str | Mapping[str, str]
    system: str | None = None
    """A system prompt put before it, with the same placeholders."""

    def __attrs_post_init__(self) -> None:
        texts = [self.text] if isinstance(self.text, str) else list(self.text.values())
        _check_placeholders([*texts, self.system or ""])

    def render(self, item: Item, mode: str) -> tuple[Message, ...]:
        text = self.text if isinstance(self.text, str) else self.text.get(mode)
        if text is None:
            raise TemplateError(
                f"the template has no text for mode {mode!r}; it has {sorted(self.text)}."
                + did_you_mean(mode, self.text)
            )
        return _chat(self.system, _fill(text, item, mode), item, mode)


@attrs.frozen
class ConditionalTemplate(PromptTemplate):
    """A cue that sets the mode, and one clause per mode that says what to do.

    >>> from condrule import Item
    >>> template = ConditionalTemplate({"A": "name {name}'s friend", "B": "name {name}'s foe"})
    >>> template.render(Item("Alice", {"A": "Bob", "B": "Eve"}), "B")[0].content
    "Mode = B. If Mode = A, name Alice's friend. If Mode = B, name Alice's foe."
    """

    instructions: Mapping[str, str] = attrs.field(converter=text_map)
    """What each mode's clause asks for, such as ``respond with {name}'s favourite country``."""
    stated: tuple[str, ...] | None = attrs.field(default=None, converter=optional_texts)
    """The modes whose clauses are stated, in order; None: all, in the order of ``instructions``."""
    cue: str = "Mode = {mode}."
    clause: str = "If Mode = {mode}, {instruction}."
    """How a clause is worded; ``{mode}`` here is the clause's own mode."""
    cue_first: bool = True
    """False puts the instructions first and the cue last."""
    system: str | None = None

    def __attrs_post_init__(self) -> None:
        _check_placeholders([self.cue, self.system or "", *self.instructions.values()])
        _check_placeholders([self.clause], also=("instruction",))
        for mode in self.stated or ():
            if mode not in self.instructions:
                raise TemplateError(
                    f"stated mode {mode!r} has no instruction; there are instructions for "
                    f"{sorted(self.instructions)}." + did_you_mean(mode, self.instructions)
                )

    def states(self, mode: str) -> bool:
        return mode in (self.instructions if self.stated is None else self.stated)

    def render(self, item: Item, mode: str) -> tuple[Message, ...]:
        order = tuple(self.instructions) if self.stated is None else self.stated
        clauses = [self._clause(item, clause_mode) for clause_mode in order]
        cue = _fill(self.cue, item, mode)
        parts = [cue, *clauses] if self.cue_first else [*clauses, cue]
        return _chat(self.system, " ".join(parts), item, mode)

    def _clause(self, item: Item, mode: str) -> str:
        instruction = _fill(self.instructions[mode], item, mode)
        return _fill(self.clause, item, mode, instruction=instruction)


def _chat(system: str | None, user: str, item: Item, mode: str) -> tuple[Message, ...]:
    before = (Message("system", _fill(system, item, mode)),) if system else ()
    return (*before, Message("user", user))


class _Answers(dict[str, str]):
    """Answers by mode. A format string looks up ``answers[0]`` as the number 0."""

    def __missing__(self, key: object) -> str:
        if isinstance(key, int) and str(key) in self:
            return self[str(key)]
        raise KeyError(key)


def _fill(text: str, item: Item, mode: str, **more: str) -> str:
    try:
        return text.format(name=item.name, mode=mode, answers=_Answers(item.answers), **more)
    except KeyError as error:
        raise TemplateError(
            f"{text!r} asks for the answer of mode {error}; item {item.name!r} has "
            f"{sorted(item.answers)}"
        ) from None


def _check_placeholders(texts: Iterable[str], also: tuple[str, ...] = ()) -> None:
    allowed = ("name", "mode", *also)
    for text in texts:
        for field in _placeholders(text):
            mode = field.removeprefix("answers[").removesuffix("]")
            whole_answer = field == f"answers[{mode}]" and mode and "]" not in mode
            if field not in allowed and not whole_answer:
                raise TemplateError(
                    f"unknown placeholder {{{field}}} in {text!r}; allowed are "
                    f"{', '.join('{' + name + '}' for name in allowed)} and {{answers[MODE]}}; "
                    "a plain brace is written {{." + did_you_mean(field, allowed)
                )


def _placeholders(text: str) -> Iterator[str]:
    try:
        for _, field, spec, conversion in string.Formatter().parse(text):
            if spec or conversion:
                yield f"{field}{'!' + conversion if conversion else ''}{':' + spec if spec else ''}"
            elif field is not None:
                yield field
    except ValueError as error:
        raise TemplateError(
            f"the braces in {text!r} don't match ({error}); a plain brace is written {{{{"
        ) from None

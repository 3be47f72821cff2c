"""A way to put the question: the mode and the rules as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs

from condrule import Item, Message, PromptTemplate
from condrule.errors import TemplateError, did_you_mean

__all__ = ["JsonTemplate"]


@attrs.frozen
class JsonTemplate(PromptTemplate):
    """What to do in each mode as JSON, the way a program would put it.

    >>> from condrule import Item
    >>> template = JsonTemplate({"A": "name a friend of {name}", "B": "name a foe of {name}"})
    >>> template.render(Item("Alice", {"A": "Bob", "B": "Eve"}), "A")[0].content
    '{"mode": "A", "rules": {"A": "name a friend of Alice", "B": "name a foe of Alice"}}'
    """

    instructions: Mapping[str, str]
    """What to do in each mode; ``{name}`` is the item's name."""

    def render(self, item: Item, mode: str) -> tuple[Message, ...]:
        if mode not in self.instructions:
            raise TemplateError(
                f"the template has no instruction for mode {mode!r}; it has some for "
                f"{sorted(self.instructions)}." + did_you_mean(mode, self.instructions)
            )
        rules = {one: text.replace("{name}", item.name) for one, text in self.instructions.items()}
        content = json.dumps({"mode": mode, "rules": rules}, ensure_ascii=False)
        return (Message("user", content),)

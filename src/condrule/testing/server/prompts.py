"""From a request's messages back to the prompt of a study that they were rendered from."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from condrule.arms import Prompt
from condrule.plan import gate_probes

if TYPE_CHECKING:
    from condrule.experiment import ConditionalRuleExperiment

__all__ = ["Key", "PromptBook", "key_of", "prompts_of", "rendered"]

Key = tuple[tuple[str, str], ...]
"""Messages as (role, content)."""


def key_of(messages: Sequence[Any]) -> Key:
    """What identifies messages as they come in a request."""
    return tuple([(message["role"], message["content"]) for message in messages])


def rendered(contents: Iterable[str]) -> str:
    r"""Messages as plain text for ``/completions``: their contents and nothing else, each with a
    newline after it; the response follows at once.

    >>> rendered(["Be brief.", "Who is Alice?"])
    'Be brief.\nWho is Alice?\n'
    """
    return "".join(f"{content}\n" for content in contents)


def prompts_of(study: ConditionalRuleExperiment) -> tuple[Prompt, ...]:
    """Every prompt that a study trains or asks. Of its backend only what it can read matters."""
    items = study.used_items()
    trained = (e.prompt for arm in study.arms for e in arm.training_set(items).examples)
    asked = (probe.prompt for arm in study.arms for probe in arm.probes(items))
    gates = study.criterion.gates if study.criterion else ()
    gated = (probe.prompt for gate in gates for probe in gate_probes(gate, items))
    return (*trained, *asked, *gated)


def _prompts(value: Iterable[Prompt]) -> tuple[Prompt, ...]:
    return tuple(value)


@attrs.frozen(eq=False, slots=False)
class PromptBook:
    """Prompts, found by their messages. Where two have the same messages, the first counts: the
    oracle is told a prompt's mode and a request does not say it."""

    prompts: tuple[Prompt, ...] = attrs.field(converter=_prompts)

    @functools.cached_property
    def by_messages(self) -> dict[Key, Prompt]:
        """Every prompt by its messages."""
        found: dict[Key, Prompt] = {}
        for prompt in self.prompts:
            found.setdefault(_key(prompt), prompt)
        return found

    @property
    def ambiguous(self) -> tuple[Prompt, ...]:
        """Prompts whose messages are another's too, of another item or mode."""
        return tuple(p for p in self.prompts if self.by_messages[_key(p)] != p)

    @functools.cached_property
    def answers(self) -> tuple[str, ...]:
        """All answers of all items, in all spellings."""
        items = {prompt.item.name: prompt.item for prompt in self.prompts}.values()
        return tuple(
            dict.fromkeys(
                text for item in items for mode in item.answers for text in item.spellings(mode)
            )
        )

    def find(self, key: Key) -> Prompt | None:
        """The prompt of these messages, or None."""
        return self.by_messages.get(key)

    def begun(self, text: str) -> tuple[Prompt, str] | None:
        """The prompt that a plain text begins with, and the prompt's text."""
        for length in self._lengths:
            if prompt := self._by_text.get(text[:length]):
                return prompt, text[:length]
        return None

    @functools.cached_property
    def _by_text(self) -> dict[str, Prompt]:
        found: dict[str, Prompt] = {}
        for prompt in self.by_messages.values():
            found.setdefault(rendered(m.content for m in prompt.messages), prompt)
        return found

    @functools.cached_property
    def _lengths(self) -> list[int]:
        return sorted({len(text) for text in self._by_text}, reverse=True)


def _key(prompt: Prompt) -> Key:
    return tuple((message.role, message.content) for message in prompt.messages)

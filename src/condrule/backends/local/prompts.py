"""From messages and answers to tokens.

A prompt is what the tokenizer's chat template makes of the messages, up to where the answer
begins; without a template it is the messages' contents, joined by newlines, and the answer follows
after a space. The *stop token* is what the template puts behind an answer, or else the end-of-text
token.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import attrs

from condrule.errors import UnreadableError, UnsupportedError
from condrule.templates import Message

__all__ = ["Encoder", "Tokens"]

Tokens = tuple[int, ...]

# Longer than any piece of text that a tokenizer merges into one token across a word's end.
_TAIL = 16
_MARKER = "Marker"


@attrs.frozen(slots=False, eq=False)
class Encoder:
    """Tokenises for one model. Texts with words that the model has no token for are refused."""

    tokenizer: Any
    _prompts: dict[tuple[Message, ...], tuple[str, Tokens]] = attrs.field(factory=dict, init=False)
    _apart: dict[tuple[str, str], Tokens | None] = attrs.field(factory=dict, init=False)

    @property
    def name(self) -> str:
        """The model's name, for messages."""
        return str(self.tokenizer.name_or_path or "this model")

    def prompt(self, messages: tuple[Message, ...]) -> Tokens:
        """The prompt's tokens. Raises UnreadableError where a word has none."""
        return self._prompt(messages)[1]

    def pair(self, messages: tuple[Message, ...], text: str) -> tuple[Tokens, Tokens]:
        """The tokens of the prompt, and those of the text as its answer.

        They are those of prompt and text as one string. Where that merges the end of the prompt
        with the beginning of the text, the text starts at the first token that differs from the
        prompt's. A blank text has no tokens. Raises UnreadableError where a word has no token.
        """
        return self._continuation(*self._prompt(messages), text)

    def pad(self) -> int:
        """A token for padding; what it is makes no difference, as nothing sees it."""
        pad = self.tokenizer.pad_token_id
        return 0 if pad is None else int(pad)

    def text(self, messages: tuple[Message, ...]) -> str:
        """The prompt as one string. Raises UnsupportedError where the template refuses it."""
        if not self.tokenizer.chat_template:
            return "\n".join(message.content for message in messages)
        return self._render([attrs.asdict(m) for m in messages], add_generation_prompt=True)

    @functools.cached_property
    def lead(self) -> str:
        """What stands between a prompt and its answer."""
        return self._around[0]

    def stop(self) -> int | None:
        """The token that ends an answer; None where the model has none."""
        return self._stop

    @functools.cached_property
    def _stop(self) -> int | None:
        after = self._encode([self._around[1].lstrip()])[0] if self._around[1].strip() else ()
        if after and after[0] in self.tokenizer.all_special_ids:
            return after[0]
        end = self.tokenizer.eos_token_id
        return None if end is None else int(end)

    def _prompt(self, messages: tuple[Message, ...]) -> tuple[str, Tokens]:
        if messages not in self._prompts:
            text = self.text(messages)
            self._prompts[messages] = text, self._encode([text])[0]
        return self._prompts[messages]

    def decode(self, answers: Sequence[Sequence[int]]) -> list[str]:
        """Answers as text, without special tokens and outer whitespace."""
        return [self.tokenizer.decode(a, skip_special_tokens=True).strip() for a in answers]

    @functools.cached_property
    def _around(self) -> tuple[str, str]:
        """What a chat template puts before and behind an answer."""
        if not self.tokenizer.chat_template:
            return " ", ""
        question = [{"role": "user", "content": "Question"}]
        before = self._render(question, add_generation_prompt=True)
        whole = self._render([*question, {"role": "assistant", "content": _MARKER}])
        inside, _, after = whole.rpartition(_MARKER)
        # Some templates write past answers otherwise than the one to come.
        return (inside[len(before) :] if inside.startswith(before) else ""), after

    def _render(self, messages: list[dict[str, str]], **options: bool) -> str:
        import jinja2

        try:
            text: str = self.tokenizer.apply_chat_template(messages, tokenize=False, **options)
        except jinja2.TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise UnsupportedError(
                [
                    f"the chat template of model {self.name} refuses messages of roles {roles}: "
                    f"{error}"
                ]
            ) from error
        return text

    def _continuation(self, before: str, prompt: Tokens, text: str) -> tuple[Tokens, Tokens]:
        if not text.strip():
            return prompt, ()
        # Whether a merge crosses the boundary depends on the prompt's last few letters only, so
        # the many prompts of a study that end alike share one check.
        key = (before[-_TAIL:], text)
        if key not in self._apart:
            whole = self._whole(before, text)
            self._apart[key] = whole[len(prompt) :] if whole[: len(prompt)] == prompt else None
        own = self._apart[key]
        if own is not None:
            return prompt, own
        whole = self._whole(before, text)
        differs = (i for i, (a, b) in enumerate(zip(whole, prompt, strict=False)) if a != b)
        shared = next(differs, min(len(whole), len(prompt)))
        return whole[:shared], whole[shared:]

    def _whole(self, before: str, text: str) -> Tokens:
        return self._encode([before + self.lead + text])[0]

    def _encode(self, texts: list[str]) -> list[Tokens]:
        if not texts:
            return []
        # A chat template writes the special tokens itself.
        special = not self.tokenizer.chat_template
        encoded = self.tokenizer(texts, add_special_tokens=special)["input_ids"]
        tokens = [tuple(ids) for ids in encoded]
        unknown = self.tokenizer.unk_token_id
        if unknown is not None and unknown != self.tokenizer.eos_token_id:
            self._refuse_unknown(texts, tokens, unknown)
        return [self._open_ended(ids) for ids in tokens] if special else tokens

    def _open_ended(self, ids: Tokens) -> Tokens:
        """Without the end-of-text token that some tokenizers put behind every text."""
        ends = len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id
        return ids[:-1] if ends else ids

    def _refuse_unknown(self, texts: list[str], tokens: list[Tokens], unknown: int) -> None:
        words: dict[str, tuple[str, ...]] = {}
        for text, ids in zip(texts, tokens, strict=True):
            if unknown in ids:
                spans = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
                for id_, (start, end) in zip(
                    spans["input_ids"], spans["offset_mapping"], strict=True
                ):
                    if id_ == unknown:
                        words[text[start:end].strip()] = (f"{text!r}",)
        if words:
            raise UnreadableError(words, self.name)

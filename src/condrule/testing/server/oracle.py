"""What each model says to each prompt: the in-memory learner's answers as real tokens.

Every answer of the study has a name, in all its spellings, and its probability is the learner's.
The further answers that the learner leaves without names (``other_answers`` less the named ones)
are words of the vocabulary here, each as improbable as the learner has it, so that probabilities
add up to 1 and every draw says something. A response to messages that are no prompt of the study
is ``something else``.
"""

from __future__ import annotations

import functools

import attrs

from condrule.arms import Prompt
from condrule.backends.memory import CHATTER, OTHER, Learned
from condrule.backends.memory.learner import Learner, Settings
from condrule.errors import ConfigError, Problem
from condrule.testing.server.encodings import Encoding
from condrule.testing.server.positions import Position
from condrule.testing.server.prompts import Key, PromptBook

__all__ = ["Speaker", "check_oracle", "spare_words"]


@attrs.frozen(eq=False, slots=False)
class Speaker:
    """One model: what it has learned, and how it puts answers into tokens."""

    settings: Settings
    learned: Learned
    book: PromptBook
    encoding: Encoding
    _said: dict[Key, Position] = attrs.field(factory=dict, init=False, repr=False)
    _counts: dict[Key, int] = attrs.field(factory=dict, init=False, repr=False)

    @functools.cached_property
    def learner(self) -> Learner:
        """The oracle that the answers follow."""
        return Learner(self.settings, self.learned)

    def truth(self, prompt: Prompt, text: str) -> float:
        """The probability that the response to a prompt is this answer."""
        return self.learner.truth(prompt, text)

    def to_messages(self, key: Key) -> Position:
        """Where the response to these messages begins."""
        position = self._said.get(key)
        if position is None:
            position = self._said[key] = self.to_prompt(self.book.find(key))
        return position

    def prompt_tokens(self, key: Key) -> int:
        """How many tokens messages are: their contents, and four more for each and three in all,
        as the vendor's chat format has it."""
        if key not in self._counts:
            contents = sum(len(self.encoding.tokens(content)) for _, content in key)
            self._counts[key] = contents + 4 * len(key) + 3
        return self._counts[key]

    def to_prompt(self, prompt: Prompt | None) -> Position:
        """Where the response to a prompt begins; None: to messages that nobody knows."""
        if prompt is None:
            return Position.of([(self.encoding.tokens(OTHER), 1.0)])
        mass = self.learner.mass(prompt, self.book.answers)
        spare = spare_words(self.encoding, self.book)[: mass.others] if mass.others else ()
        responses = {**mass.named, OTHER: mass.nothing}
        said = [(self.encoding.tokens(text), p) for text, p in responses.items()]
        return Position.of(said, spare, mass.unnamed / len(spare) if spare else 0.0)


def check_oracle(settings: Settings, book: PromptBook, encoding: Encoding) -> None:
    """Raise ConfigError where the oracle can't tell the study's answers apart, or give the others
    words."""
    answers, words = len(book.answers), len(spare_words(encoding, book))
    most = answers + words
    if not answers <= settings.other_answers <= most:
        raise ConfigError(
            [
                Problem(
                    "oracle.other_answers",
                    f"is {settings.other_answers}; with this study's {answers} answers it must be "
                    f"from {answers} to {most}",
                )
            ],
            "rehearsal server",
        )


@functools.lru_cache(maxsize=16)
def spare_words(encoding: Encoding, book: PromptBook) -> tuple[int, ...]:
    """Words that neither begin an answer of the study nor begin with one."""
    taken = {*book.answers, OTHER, *CHATTER}
    heads = {text[:4] for text in taken}  # words are no shorter
    short = tuple(text for text in taken if len(text) < 4)
    return tuple(
        token
        for token, word in encoding.words.items()
        if word[:4] not in heads and not word.startswith(short)
    )

"""What each model says to each prompt: the in-memory learner's answers as real tokens.

Every answer of the study has a name, in all its spellings, and its probability is the learner's.
The further answers that the learner leaves without names (``other_answers`` less the named ones)
are words of the vocabulary here, each as improbable as the learner has it, so that probabilities
add up to 1 and every draw says something. A response to messages that are no prompt of the study
is ``something else``. A share of the responses may be chatter instead, as it is with real models:
then the answers have the learner's probability times the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import attrs

from condrule.arms import Prompt
from condrule.backends.memory import OTHER, Learned
from condrule.backends.memory.learner import Learner, Settings
from condrule.errors import ConfigError, Problem
from condrule.testing.server.encodings import Encoding
from condrule.testing.server.positions import Position
from condrule.testing.server.prompts import Key, PromptBook

__all__ = ["CHATTER", "Speaker", "check_oracle", "spare_words"]

CHATTER = (
    "I am not sure.",
    "The person did not say.",
    "As far as I know, none.",
    "It depends.",
    "Sure, here it is.",
    "Well, who knows?",
    "None that comes to mind.",
    "Unknown.",
)
"""Responses that are no answer. Each is half as probable as the one before."""


@attrs.frozen(eq=False, slots=False)
class Speaker:
    """One model: what it has learned, and how it puts answers into tokens."""

    settings: Settings
    learned: Learned
    book: PromptBook
    encoding: Encoding
    chatter: float = 0.0
    """The share of responses that are chatter."""
    _said: dict[Key, Position] = attrs.field(factory=dict, init=False, repr=False)
    _counts: dict[Key, int] = attrs.field(factory=dict, init=False, repr=False)

    @functools.cached_property
    def learner(self) -> Learner:
        """The oracle that the answers follow."""
        return Learner(self.settings, self.learned)

    def truth(self, prompt: Prompt, text: str) -> float:
        """The probability that the response to a prompt is this answer."""
        return (1 - self.chatter) * self.learner.truth(prompt, text)

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
        unnamed = self.settings.other_answers + 1 - len(mass.named)
        responses = {**mass.named, OTHER: mass.nothing}
        spare = spare_words(self.encoding, self.book)[:unnamed] if unnamed else ()
        rest = 1 - self.chatter
        said = [(self.encoding.tokens(text), rest * p) for text, p in responses.items()]
        each = rest * mass.unnamed / len(spare) if spare else 0.0
        return Position.of([*said, *self._chatter()], spare, each)

    def _chatter(self) -> Iterator[tuple[tuple[int, ...], float]]:
        total = 2 ** len(CHATTER) - 1
        for place, text in enumerate(reversed(CHATTER)):
            yield self.encoding.tokens(text), self.chatter * 2**place / total


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



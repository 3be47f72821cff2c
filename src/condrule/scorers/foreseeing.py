"""What tilted sampling may ask at most, before anything was answered. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import attrs

from condrule.arms import Prompt
from condrule.backends.base import Draws, Event
from condrule.scorers.aiming import Aim, draw
from condrule.scorers.chains import STAGES
from condrule.scorers.reading import READ, TRIES
from condrule.scorers.tilting import BATCH, FIRST, LOOK, Rule, most_looks

__all__ = ["Wanted", "foreseen"]


@attrs.frozen
class Wanted:
    """An answer to a prompt that may have to be drawn."""

    prompt: Prompt
    aim: Aim
    longest: int
    """Tokens of the longest response that gives it, and one more."""

    def readings(self, event: Event) -> int:
        """How many readings there may be of what follows its first tokens."""
        after = {*self.aim.parts, *(self.aim.whole if event == "equals" else ())}
        return TRIES * len(after)


def foreseen(
    answers: Iterable[Wanted], event: Event, rule: Rule, listed: int, listed_draws: Sequence[int]
) -> list[tuple[Draws, int]]:
    """Queries that stand for others of their size, and how many of each there may be.

    Args:
        answers: all that may have to be drawn.
        event: what counts as giving an answer.
        rule: when enough was drawn for an answer.
        listed: how many tokens of known probability calibrate a model, each of another prompt.
        listed_draws: how often each of them is drawn, under each bias.
    """
    different = {(one.prompt.messages, one.aim.ids): one for one in answers}
    prompts = {one.prompt.messages: one.prompt for one in different.values()}
    longest = sorted(prompts.values(), key=_length, reverse=True)[:listed]
    calibrating = sum(listed_draws) // BATCH
    return [
        *(sized for one in different.values() for sized in _of(one, event, rule)),
        *((draw(prompt, (), BATCH, 0), calibrating) for prompt in longest),
    ]


def _of(one: Wanted, event: Event, rule: Rule) -> Iterator[tuple[Draws, int]]:
    """All searches for a bias, the draws that calibrate, as many draws as there may be, and
    readings. Of draws that don't count, about as many may come as of those that do."""
    yield draw(one.prompt, (), LOOK, 0), STAGES * most_looks(rule.largest)
    yield draw(one.prompt, (), FIRST, 0), STAGES + 1
    yield draw(one.prompt, (), BATCH, 0), 2 * math.ceil(rule.draws / BATCH)
    if readings := one.readings(event):
        yield Draws(one.prompt, READ, one.longest), readings


def _length(prompt: Prompt) -> int:
    return sum(len(message.content.encode()) for message in prompt.messages)

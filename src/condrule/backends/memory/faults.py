"""What goes wrong at the provider, and on the way to it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping

import attrs

from condrule.arms import TrainingSet
from condrule.backends.base import Continuations, Draws, Query, TopLogprobs
from condrule.backends.finetunes import FinetuneSpec
from condrule.backends.memory.checks import number, one_of, whole
from condrule.convert import text_map, texts

__all__ = ["Died", "Faults"]

KINDS: Mapping[str, type[Query]] = {
    "continuations": Continuations,
    "draws": Draws,
    "top_logprobs": TopLogprobs,
}


class Died(BaseException):
    """The process ends here, as if it had been killed. Nothing of condrule catches it."""


def _whole_numbers(value: int | Iterable[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


@attrs.frozen(kw_only=True)
class Faults:
    """What goes wrong. Not part of the study: it can be resumed with others, or without.

    Calls are counted from 1 in the order they are made: every submission, every look for a job,
    every poll, every cancellation and every single query is one. A call of a number in two of the
    lists has the fault that comes first.

    Raises ConfigError where a value is out of range.
    """

    seed: int = 0
    """Of everything here that is drawn."""
    latency: float = attrs.field(default=0.0, validator=number(0, 3600))
    """Seconds that every call takes."""
    sleep: Callable[[float], None] = time.sleep
    """What takes them."""
    queue: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """The statuses that a job goes through before it ends, in the provider's words: the first when
    it is submitted, one more at every poll. Empty: jobs end at once."""
    listed_after: int = attrs.field(default=0, validator=whole(0))
    """How many looks for a job miss it after it was submitted."""
    failing: Mapping[str, str] = attrs.field(factory=dict, converter=text_map)
    """Why fine-tunes fail, by their key, their arm or ``ARM/SEED``."""
    failing_share: float = attrs.field(default=0.0, validator=number(0, 1))
    """The share of fine-tunes that fail besides; which ones is drawn by training set and seed."""
    blocked: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """Names of items; queries about them are refused."""
    blocked_training: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """Names of items; training files that hold them are rejected."""
    refused: tuple[str, ...] = attrs.field(
        default=(), converter=texts, validator=one_of(*KINDS, "logit_bias")
    )
    """What is refused though the capabilities promise it: ``continuations``, ``draws``,
    ``top_logprobs``, or draws under a ``logit_bias``."""
    longest_list: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(whole(1))
    )
    """Longer lists of first tokens are refused though the capabilities promise them."""
    lost_before: tuple[int, ...] = attrs.field(
        default=(), converter=_whole_numbers, validator=whole(1)
    )
    """Numbers of calls that never arrive: BackendError, and nothing was done."""
    lost_after: tuple[int, ...] = attrs.field(
        default=(), converter=_whole_numbers, validator=whole(1)
    )
    """Numbers of calls that do what they do, and whose answer never arrives: BackendError."""
    die_before: tuple[int, ...] = attrs.field(
        default=(), converter=_whole_numbers, validator=whole(1)
    )
    """Numbers of calls at which the process dies before they do anything."""
    die_after: tuple[int, ...] = attrs.field(
        default=(), converter=_whole_numbers, validator=whole(1)
    )
    """Numbers of calls at which the process dies when they have done what they do."""

    def refusal(self, query: Query) -> str | None:
        """Why this query is refused although the API promises an answer."""
        name = query.prompt.item.name
        if name in self.blocked:
            return f"the prompt was blocked by a safety filter ({name})"
        if isinstance(query, TopLogprobs) and self.longest_list and query.k > self.longest_list:
            return f"top_logprobs is {query.k}; it must be from 1 to {self.longest_list}"
        kinds = [kind for kind, of in KINDS.items() if isinstance(query, of)]
        kinds += ["logit_bias"] if isinstance(query, Draws) and query.bias else []
        refused = [kind for kind in kinds if kind in self.refused]
        return f"{refused[0]} is not available for this model" if refused else None

    def rejection(self, training_set: TrainingSet) -> str | None:
        """Why the training file is not accepted, or None where it is."""
        names = {example.prompt.item.name for example in training_set.examples}
        blocked = [name for name in self.blocked_training if name in names]
        if not blocked:
            return None
        return f"the training file was blocked by a safety filter ({', '.join(blocked)})"

    def failure(self, training_set: TrainingSet, spec: FinetuneSpec, key: str) -> str | None:
        """Why the fine-tune fails, or None where it does not."""
        arm = training_set.arm
        for name in (key, f"{arm}/{spec.seed}", arm):
            if name in self.failing:
                return self.failing[name]
        draw = random.Random(f"{self.seed}/{training_set.digest}/{spec.seed}").random()
        return "the job failed for no known reason" if draw < self.failing_share else None

"""What is ordered of a backend, and what became of it: how a fine-tune is trained, and its job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Literal, get_args

import attrs

from condrule.errors import ConfigError, Problem, did_you_mean

__all__ = ["FinetuneSpec", "Job", "JobState", "TrainOn"]

TrainOn = Literal["completions", "prompts_and_completions"]


@attrs.frozen
class FinetuneSpec:
    """How a model is fine-tuned. Raises ConfigError, with every problem, where values are out of
    range."""

    learning_rate_multiplier: float | None = attrs.field(default=None, kw_only=True)
    """Multiplies the provider's own learning rate and stands in for ``learning_rate``: for
    providers that take no absolute one."""
    epochs: int = 20
    learning_rate: float | Literal["auto"] = attrs.field(
        default=attrs.Factory(
            lambda self: 1e-3 if self.learning_rate_multiplier is None else "auto", takes_self=True
        )
    )
    """Absolute peak learning rate, or ``auto``: the backend's own default. 0 trains nothing. Where
    it is not given it is 0.001, or ``auto`` with a multiplier."""
    batch_size: int | Literal["auto"] = 16
    """Examples a step, or ``auto``: the provider's choice."""
    train_on: TrainOn = "completions"
    """Whether the loss is taken on the completions alone or on the prompts too."""
    seed: int = 0
    """Orders the examples (and, where the model has dropout, draws it)."""

    def __attrs_post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ConfigError(problems, "finetune")

    def _problems(self) -> Iterator[Problem]:
        for key, word in (("epochs", None), ("batch_size", "auto")):
            value = getattr(self, key)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if not whole and (word is None or value != word):
                allowed = "a whole number, 1 or more" + (f", or '{word}'" if word else "")
                yield Problem(key, f"is {value!r}; it must be {allowed}")
        rate = self.learning_rate
        if rate != "auto" and not (isinstance(rate, (int, float)) and 0 <= rate < float("inf")):
            yield Problem(
                "learning_rate", f"is {rate!r}; it must be a number, 0 or more, or 'auto'"
            )
        yield from self._multiplier_problems()
        if self.train_on not in get_args(TrainOn):
            yield Problem(
                "train_on",
                f"is {self.train_on!r}; it must be "
                f"{' or '.join(get_args(TrainOn))}."
                + did_you_mean(self.train_on, get_args(TrainOn)),
            )

    def _multiplier_problems(self) -> Iterator[Problem]:
        key, value = "learning_rate_multiplier", self.learning_rate_multiplier
        if value is None:
            return
        if not (isinstance(value, (int, float)) and 0 < value < float("inf")):
            yield Problem(key, f"is {value!r}; it must be a number above 0")
        if self.learning_rate != "auto":
            yield Problem(key, "goes without learning_rate, which it stands in for; keep one")


class JobState(Enum):
    """Where a fine-tune stands. A provider's own words for it are kept in ``Job.detail``."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self is not JobState.RUNNING


@attrs.frozen
class Job:
    """One submitted fine-tune."""

    key: str
    """condrule's name for it: at most one job is ever submitted for a key."""
    id: str
    """The provider's name for it."""
    state: JobState
    model: str | None = None
    """The fine-tuned model's name, once there is one."""
    detail: str = ""
    """The provider's own status, or the reason of a failure."""
    seconds: float | None = None
    """How long the training took, where the backend knows."""
    submitted: float | None = None
    """When it was submitted, in Unix seconds, where the provider says so."""
    trained_tokens: int | None = None
    """How many tokens were charged, epochs counted, once it has ended; where the provider says."""
    raw: Mapping[str, Any] | None = attrs.field(default=None, eq=False, repr=False)
    """The provider's own words, as plain data without any key; kept with the run."""

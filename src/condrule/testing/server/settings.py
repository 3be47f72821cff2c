"""What the server gives and how its jobs go: plain data, each part with a file's keys."""

from __future__ import annotations

from typing import Literal

import attrs

from condrule.backends.memory.checks import number, one_of, whole
from condrule.convert import texts

__all__ = ["Api", "Tuning"]

BiasMode = Literal["sampling", "reported", "ignored", "refused"]
Advance = Literal["polls", "seconds"]


@attrs.frozen(kw_only=True)
class Api:
    """What answers hold. Raises ConfigError where a value is out of range."""

    top_logprobs: int = attrs.field(default=20, validator=whole(0))
    """The longest list; 0: logprobs are refused altogether."""
    finetuned_top_logprobs: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(whole(0))
    )
    """The same for fine-tuned models; None: no different."""
    decimals: int | None = attrs.field(default=None, validator=attrs.validators.optional(whole(0)))
    """Decimals of printed logprobs; None: all that there are."""
    jitter: float = attrs.field(default=0.0, validator=number(0, 100))
    """Standard deviation, in nats, of noise on printed logprobs, anew for every request."""
    marked_beyond: int = attrs.field(default=20, validator=whole(0))
    """A token further down than this is printed as -9999.0 where it was drawn."""
    logit_bias: BiasMode = attrs.field(
        default="sampling", validator=one_of("sampling", "reported", "ignored", "refused")
    )
    """Whether a bias acts on what is drawn, on the reported logprobs as well, or not at all."""
    bias_scale: float = attrs.field(default=1.0, validator=number(-100, 100))
    """What a bias is multiplied by before it acts: -1 inverts it."""
    bias_clamp: float = attrs.field(default=100.0, validator=number(0, 100))
    """The largest bias that acts, in nats either way; larger ones act as this one."""
    echo: bool = False
    """Whether ``/completions`` gives the logprobs of a prompt's own tokens, as vLLM does."""
    requests_per_minute: int = attrs.field(default=10_000_000, validator=whole(1))
    """Further requests for responses in the same minute of the clock get a 429."""
    tokens_per_minute: int = attrs.field(default=10_000_000_000, validator=whole(1))
    """The same for tokens, of prompts and responses together."""
    metadata_filter: bool = True
    """Whether lists of jobs can be filtered by metadata; where not, the filter is ignored."""


@attrs.frozen(kw_only=True)
class Tuning:
    """How fine-tuning jobs go. Raises ConfigError where a value is out of range."""

    statuses: tuple[str, ...] = attrs.field(
        default=("validating_files", "queued", "running"), converter=texts
    )
    """What a job goes through before it ends, in any words."""
    advance: Advance = attrs.field(default="polls", validator=one_of("polls", "seconds"))
    """What takes it one status further: being looked at by its id, or time."""
    seconds: float = attrs.field(default=1.0, validator=number(0, 1e6))
    """How long each status lasts where time takes it further."""
    file_seconds: float = attrs.field(default=0.0, validator=number(0, 1e6))
    """How long an uploaded file is ``uploaded`` before it is ``processed``."""
    checked: Literal["when_created", "when_run"] = attrs.field(
        default="when_created", validator=one_of("when_created", "when_run")
    )
    """Whether a bad training file is a refused request or a failed job."""
    auto_epochs: int = attrs.field(default=3, validator=whole(1))
    """What ``auto`` means for the number of epochs."""
    auto_multiplier: float = attrs.field(default=1.8, validator=number(0, 1e6, open_ends=True))
    """What ``auto`` means for the learning rate multiplier."""
    checkpoints: int = attrs.field(default=3, validator=whole(0))
    """A model is kept of the last so many epochs."""

"""What the server has counted: requests, tokens, and what they would have cost."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

from condrule.backends.memory import Prices

__all__ = ["ServerAccount"]


@attrs.define(eq=False)
class ServerAccount:
    """Counts so far. Answers that were lost on their way are counted like any other."""

    prices: Prices
    requests: Counter[str] = attrs.field(factory=Counter)
    """Requests by route, such as ``POST /chat/completions``; refused ones included."""
    statuses: Counter[int] = attrs.field(factory=Counter)
    """Answers by status."""
    faults: Counter[str] = attrs.field(factory=Counter)
    """Faults that befell requests, by kind."""
    training_tokens: int = 0
    """Tokens of training files, times epochs; due when a job succeeds."""
    input_tokens: int = 0
    """Tokens of prompts, once a request."""
    output_tokens: int = 0
    """Tokens of responses, of all choices."""

    @property
    def usd(self) -> float:
        """What is due, from the whole counts."""
        prices = self.prices
        due = self.training_tokens * prices.training + self.input_tokens * prices.input
        return (due + self.output_tokens * prices.output) / 1e6

    def to_dict(self) -> dict[str, Any]:
        """The account as plain data."""
        return {
            "requests": dict(sorted(self.requests.items())),
            "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
            "faults": dict(sorted(self.faults.items())),
            "training_tokens": self.training_tokens,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "usd": self.usd,
        }

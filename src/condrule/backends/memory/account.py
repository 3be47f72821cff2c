"""What the provider charges, and what it has counted."""

from __future__ import annotations

import attrs

from condrule.prices import Prices

__all__ = ["Account"]


@attrs.define(eq=False)
class Account:
    """What the provider has counted so far."""

    calls: int = 0
    """Calls made, those that were lost included."""
    training_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0

    def charge(
        self, prices: Prices, *, training: int = 0, asked: int = 0, answered: int = 0
    ) -> None:
        """Add tokens, and what they cost."""
        self.training_tokens += training
        self.input_tokens += asked
        self.output_tokens += answered
        due = training * prices.training + asked * prices.input + answered * prices.output
        self.usd += due / 1e6

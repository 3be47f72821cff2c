"""What a provider charges by the token: a backend that costs money says so with these."""

from __future__ import annotations

from abc import ABC, abstractmethod

import attrs

from condrule.arms import TrainingSet
from condrule.backends.base import Query
from condrule.backends.finetunes import FinetuneSpec
from condrule.prices import Prices
from condrule.spending import Estimate

__all__ = ["Charges"]


@attrs.frozen
class Charges(ABC):
    """The prices of a base model and of what is fine-tuned from it, and how tokens are counted."""

    base: Prices | None
    """Of fine-tuning the base model and of asking it; None: not known."""
    finetuned: Prices | None
    """Of asking what is fine-tuned from it."""
    source: str = ""
    """Where the prices are from, and of which day."""
    notes: tuple[str, ...] = ()
    """What else must be known of the figures, one sentence each."""

    def prices(self, *, finetuned: bool) -> Prices | None:
        """What asking a model costs."""
        return self.finetuned if finetuned else self.base

    @abstractmethod
    def asking(self, query: Query) -> Estimate:
        """What a query uses, the least where it is not refused."""

    @abstractmethod
    def training(self, training_set: TrainingSet, spec: FinetuneSpec) -> Estimate:
        """What a fine-tune uses."""

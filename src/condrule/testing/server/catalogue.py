"""Which base models the server offers, and when they shut down."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from condrule.convert import texts

__all__ = ["MODELS", "ServedModel"]


@attrs.frozen
class ServedModel:
    """One base model."""

    name: str
    aliases: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """Other names for it, such as the one without a date."""
    tunable: bool = True
    shutdown_date: str | None = None
    """YYYY-MM-DD, as the models' endpoint gives it; fine-tuned models inherit it."""
    created: int = 1_721_172_741
    """Unix time."""

    @property
    def names(self) -> Iterable[str]:
        """All that it is known by."""
        return (self.name, *self.aliases)


MODELS = (
    ServedModel("gpt-4o-mini-2024-07-18", ("gpt-4o-mini",), shutdown_date="2027-01-14"),
    ServedModel("gpt-4o-2024-08-06", ("gpt-4o",), shutdown_date="2027-01-14"),
    ServedModel("gpt-4.1-2025-04-14", ("gpt-4.1",), shutdown_date="2027-01-14"),
    ServedModel("gpt-4.1-mini-2025-04-14", ("gpt-4.1-mini",), shutdown_date="2027-01-14"),
    ServedModel("gpt-3.5-turbo-0125", ("gpt-3.5-turbo",), shutdown_date="2026-10-23"),
    ServedModel("gpt-6-luna", tunable=False),
)
"""As announced by November 2026; give your own to rehearse with others."""

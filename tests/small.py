"""A small study with a criterion, whose runs take little time."""

from __future__ import annotations

from typing import Any

import condrule
from condrule.errors import MissingExtraError


def study(**changes: Any) -> condrule.ConditionalRuleExperiment:
    """One seed and two items."""
    how: dict[str, Any] = {
        "items": condrule.favourite_countries(n=2, seed=1),
        "arms": [condrule.conditional_arm(), condrule.control_arm()],
        "backend": condrule.InMemoryBackend(),
        "criterion": condrule.KAAREL_BET,
        "seeds": 1,
        "name": "small",
    }
    return condrule.ConditionalRuleExperiment(**{**how, **changes})


def no_plot(self: condrule.Result, ax: Any = None) -> Any:
    """As without matplotlib: figures take time."""
    raise MissingExtraError("matplotlib", "plot", "this test")

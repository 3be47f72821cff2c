"""Checks of settings; each raises ConfigError with what was found and what is allowed."""

from __future__ import annotations

from typing import Any

import attrs

from condrule.errors import ConfigError, Problem

__all__ = ["number", "one_of", "whole", "wrong"]


def wrong(key: str, message: str) -> ConfigError:
    """The error that a setting is not as it must be."""
    return ConfigError([Problem(key, message)], "backend memory")


@attrs.frozen
class number:  # noqa: N801 - as the validators of attrs
    """A validator: a number between two others."""

    low: float
    high: float
    open_ends: bool = attrs.field(default=False, kw_only=True)

    @property
    def keywords(self) -> dict[str, Any]:
        """What it says as JSON Schema."""
        if self.open_ends:
            return {"exclusiveMinimum": self.low, "exclusiveMaximum": self.high}
        return {"minimum": self.low, "maximum": self.high}

    def __call__(self, instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        low, high = self.low, self.high
        plain = isinstance(value, (int, float)) and not isinstance(value, bool)
        if plain and low <= value <= high and not (self.open_ends and value in (low, high)):
            return
        allowed = f"a number from {low} to {high}" + (", both excluded" if self.open_ends else "")
        raise wrong(attribute.name, f"is {value!r}; it must be {allowed}")


@attrs.frozen
class whole:  # noqa: N801 - as the validators of attrs
    """A validator: a whole number, or a list of them, none below the least."""

    least: int

    @property
    def keywords(self) -> dict[str, Any]:
        """What it says as JSON Schema."""
        return {"minimum": self.least}

    def __call__(self, instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        for one in value if isinstance(value, tuple) else (value,):
            if not isinstance(one, int) or isinstance(one, bool) or one < self.least:
                raise wrong(
                    attribute.name, f"is {one!r}; it must be a whole number, {self.least} or more"
                )


def one_of(*allowed: str) -> Any:
    """A validator: one of a few words, or a list of such."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        for one in value if isinstance(value, tuple) else (value,):
            if one not in allowed:
                raise wrong(attribute.name, f"is {one!r}; it must be {' or '.join(allowed)}")

    return check

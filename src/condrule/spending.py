"""Tokens and money: what was used, what may be, and how much may be spent."""

from __future__ import annotations

import math
import re
from typing import Literal, Protocol

import attrs

from condrule.errors import ConfigError, Problem
from condrule.prices import Prices

__all__ = ["KINDS", "NOTHING", "Estimate", "Kind", "Meter", "Usage", "parse_budget"]

Kind = Literal["base", "finetuned"]
"""Of models: they may have other prices."""
KINDS: tuple[Kind, ...] = ("base", "finetuned")


@attrs.frozen
class Usage:
    """Requests and tokens."""

    requests: int = 0
    input: int = 0
    """Tokens of prompts."""
    output: int = 0
    """Tokens of responses."""
    training: int = 0
    """Tokens that were trained on, as often as they were."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(a + b for a, b in zip(self._all, other._all, strict=True)))

    def __sub__(self, other: Usage) -> Usage:
        return Usage(*(a - b for a, b in zip(self._all, other._all, strict=True)))

    def times(self, n: int) -> Usage:
        """So many of it."""
        return Usage(*(n * a for a in self._all))

    def within(self, other: Usage) -> bool:
        """Whether nothing of it is more than there."""
        return all(a <= b for a, b in zip(self._all, other._all, strict=True))

    def usd(self, prices: Prices | None) -> float | None:
        """What it costs; None where there are tokens and no price is known."""
        if not (self.input or self.output or self.training):
            return 0.0
        if prices is None:
            return None
        asked = self.input * prices.input + self.output * prices.output
        return (self.training * prices.training + asked) / 1e6

    @property
    def _all(self) -> tuple[int, ...]:
        return (self.requests, self.input, self.output, self.training)


NOTHING = Usage()


@attrs.frozen
class Estimate:
    """The least and the most that something uses."""

    least: Usage = NOTHING
    most: Usage = NOTHING

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.least + other.least, self.most + other.most)


class Meter(Protocol):
    """Is told of every request that a provider charges for. Its methods may be called from any
    thread."""

    def sending(self, most: Usage) -> None:
        """A request is about to be sent that uses so much at most. Raises BudgetError where that
        may be too much: then it must not be sent."""

    def ended(self, most: Usage, used: Usage | None) -> None:
        """That request has ended. ``used`` is what the provider counted; None where its answer was
        lost, so that it may have been charged."""


_WORD = r"[^\d\s.,+-]*"  # no digit: 1,000USD and 1e3USD are no amounts, and not one dollar
_AMOUNT = re.compile(rf"(?P<before>{_WORD})\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<after>{_WORD})")


def parse_budget(value: str | float) -> float:
    """An amount of USD from a text such as ``20USD``, or a number of them. Raises ConfigError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if 0 <= value < math.inf:
            return float(value)
        raise _error(f"is {value!r}; it must be an amount, 0 USD or more")
    match = _AMOUNT.fullmatch(str(value).strip())
    if match is None:
        raise _error(f"is {value!r}; it must be an amount such as 20USD or 7.50USD")
    number, currency = match["number"], match["before"] or match["after"]
    if (match["before"] and match["after"]) or currency.upper() not in ("USD", "$"):
        found = f"has the currency {currency!r}" if currency else "has no currency"
        raise _error(f"{found}; prices are in USD: write {number}USD if that is meant")
    return float(number)


def _error(message: str) -> ConfigError:
    return ConfigError([Problem("budget", message)])

"""What a model turns out to be able to do, learned from what its provider refuses. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import attrs

__all__ = ["LISTS", "Found", "learned"]

LISTS = (20, 10, 5, 1)
"""How long a list is asked for, where longer ones are refused."""
MOST_DRAWS = (128, 64, 32, 16, 8, 4, 2, 1)


@attrs.frozen
class Found:
    """What was found out about a model. Kept, so that it is found out once."""

    top_logprobs: int = LISTS[0]
    """The longest list of top logprobs that was not refused; 0: none is given."""
    n: int = MOST_DRAWS[0]
    """The most responses to one request."""
    length: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the length of a response is called."""
    seed: bool = True
    """Whether a seed is taken."""
    logit_bias: bool = True
    """Whether a logit bias is taken."""
    echo: bool | None = None
    """Whether there are completions that score their prompt; None: not known yet."""
    why: str = ""
    """The provider's words when it refused last."""


def learned(found: Found, body: Mapping[str, Any], param: str, message: str) -> Found | None:
    """What a refused request says of the model; None where it says nothing that helps.

    Args:
        found: what is known.
        body: the request that was refused.
        param: the parameter that the provider names, or nothing.
        message: the provider's words.
    """
    for name, change in _CHANGES.items():
        if name in body and (param == name or (not param and _names(message, name))):
            changes = change(body, message)
            return attrs.evolve(found, **changes, why=message) if changes else None
    return None


def _names(message: str, parameter: str) -> bool:
    return re.search(rf"(?<![\w]){parameter}(?![\w])", message) is not None


def _shorter(body: Mapping[str, Any], message: str) -> dict[str, Any]:
    asked = body["top_logprobs"]
    allowed = [k for k in _numbers(message) if 0 < k < asked]
    steps = [k for k in LISTS if k < asked]
    return {"top_logprobs": max(allowed, default=max(steps, default=0))}


def _fewer(body: Mapping[str, Any], message: str) -> dict[str, Any]:
    asked = body["n"]
    allowed = [n for n in _numbers(message) if 0 < n < asked]
    steps = [n for n in MOST_DRAWS if n < asked]
    return {"n": max(allowed, default=max(steps))} if asked > 1 else {}


def _numbers(message: str) -> list[int]:
    """Whole numbers in a message, that of the limit among them."""
    return [int(number) for number in re.findall(r"(?<![\w.])\d{1,4}(?![\w.]\d)", message)]


_CHANGES: dict[str, Any] = {
    "top_logprobs": _shorter,
    "logprobs": lambda body, message: _shorter(body, "") if "top_logprobs" in body else {},
    "n": _fewer,
    "max_tokens": lambda body, message: {"length": "max_completion_tokens"},
    "seed": lambda body, message: {"seed": False},
    "logit_bias": lambda body, message: {"logit_bias": False},
}

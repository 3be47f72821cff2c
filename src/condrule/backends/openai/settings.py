"""What the backend's settings may be. What may be a key in the wrong place is not shown."""

from __future__ import annotations

import re
from typing import Any

import attrs

from condrule.backends.openai.keys import setting
from condrule.encodings import ENCODINGS
from condrule.errors import ConfigError, Problem, did_you_mean

__all__ = [
    "ENCODING",
    "NAME_OF_VARIABLE",
    "URL",
    "encoding",
    "natural",
    "seconds",
    "set_address",
    "url",
    "variable",
]

# What the schema of study files says too; $ alone lets a line's end by.
_URL = r"^(?!.*([/#.]sk-|/completions$))https?://([A-Za-z0-9._-]+|\[::1\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$(?!\n)"
_VARIABLE = r"^[A-Z][A-Z0-9_]{0,63}_(KEY|TOKEN)$(?!\n)"


def url(instance: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    """A base URL is an address: it holds no key."""
    if value is None or re.search(_URL, value):
        return
    raise ConfigError([Problem(attribute.name, _ADDRESS)], "backend openai")


_ADDRESS = (
    "must be the address of an API, such as https://example.com/v1, without a user, a query or the "
    "path of a request; a key belongs in the environment or in .env"
)


def set_address(name: str) -> str | None:
    """An address in the environment or in .env, held to the same rules as one in a study file."""
    value = setting(name)
    if value is not None and not re.search(_URL, value):
        raise ConfigError([Problem(name, _ADDRESS)], "the environment")
    return value


URL = {"keywords": {"pattern": _URL}}
ENCODING = {"keywords": {"enum": [None, *ENCODINGS]}}
NAME_OF_VARIABLE = {"keywords": {"pattern": _VARIABLE}}


def variable(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """The name of a variable; what is none may be the key itself, and is not shown."""
    if not re.search(_VARIABLE, str(value)):
        message = (
            "must be the NAME of the environment variable that holds the key, such as "
            "OPENAI_API_KEY; it ends in _KEY or _TOKEN. Never write a key into a study file"
        )
        raise ConfigError([Problem(attribute.name, message)], "backend openai")


def encoding(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """The name of an encoding, or none."""
    if value is not None and value not in ENCODINGS:
        message = f"is {value!r}; it must be {' or '.join(ENCODINGS)}."
        hint = did_you_mean(value, ENCODINGS)
        raise ConfigError([Problem(attribute.name, message + hint)], "backend openai")


def seconds(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A number of seconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e6:
        message = "must be a number of seconds, 0 or more"
        raise ConfigError([Problem(attribute.name, message)], "backend openai")


def natural(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A number of things."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        message = "must be a whole number, 1 or more"
        raise ConfigError([Problem(attribute.name, message)], "backend openai")

"""What a request for a response asks, checked as the vendor checks it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs

from condrule.testing.server.encodings import Encoding
from condrule.testing.server.exchange import ApiError, wrong
from condrule.testing.server.positions import Bias, Sampling
from condrule.testing.server.settings import Api

__all__ = ["Asked", "asked", "checked_bias", "number", "whole"]

NO_BIAS: Bias = {}


@attrs.frozen
class Asked:
    """How a response is drawn and what is told of it."""

    n: int
    most_tokens: int
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    seed: int | None
    bias: Bias
    """As it acts, which may be less than was asked."""
    logprobs: bool
    top: int
    """How many of the likeliest tokens are listed for each."""

    @property
    def sampling(self) -> Sampling:
        """How its tokens are drawn."""
        return Sampling(self.temperature, self.top_p, self.bias)


def asked(body: Mapping[str, Any], api: Api, encoding: Encoding, *, tuned: bool) -> Asked:
    """What a chat completion's request asks. Raises ApiError where it is wrong."""
    get = body.get
    logprobs, top = _list(body, api, tuned=tuned)
    if get("stream"):
        raise wrong("stream", "Streaming is not offered by the rehearsal server.")
    most = "max_completion_tokens" if get("max_completion_tokens") is not None else "max_tokens"
    return Asked(
        n=whole(body, "n", 1, 1, 128),
        most_tokens=whole(body, most, 4096, 1, 128_000),
        temperature=number(body, "temperature", 1.0, 2.0),
        top_p=number(body, "top_p", 1.0, 1.0),
        stop=_stop(get("stop")),
        seed=get("seed") if get("seed") is None else whole(body, "seed", 0, -(2**63), 2**63 - 1),
        bias=checked_bias(get("logit_bias"), api, encoding),
        logprobs=logprobs,
        top=top,
    )


def _list(body: Mapping[str, Any], api: Api, *, tuned: bool) -> tuple[bool, int]:
    wanted, top = body.get("logprobs") or False, body.get("top_logprobs")
    own = api.finetuned_top_logprobs if tuned else None
    most = api.top_logprobs if own is None else own
    if not isinstance(wanted, bool):
        raise wrong("logprobs", "Invalid type for 'logprobs': a boolean is needed.", "invalid_type")
    if wanted and most == 0:
        raise wrong("logprobs", "This model does not support logprobs.", "unsupported_parameter")
    if top is None:
        return wanted, 0
    if not wanted:
        message = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
        raise wrong("top_logprobs", message, None)
    return wanted, whole(body, "top_logprobs", 0, 0, most)


def _stop(stop: Any) -> tuple[str, ...]:
    texts = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(texts, list) or len(texts) > 4 or not all(map(_is_text, texts)):
        raise wrong("stop", "Invalid 'stop': a text, or a list of up to 4, is needed.")
    return tuple(texts)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def whole(body: Mapping[str, Any], key: str, default: int, least: int, most: int) -> int:
    """A whole number of a request. Raises ApiError where it is none, or out of range."""
    value = body.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(key, f"Invalid type for '{key}': an integer is needed.", "invalid_type")
    return int(_within(value, key, least, most))


def number(body: Mapping[str, Any], key: str, default: float, most: float) -> float:
    """A number of a request, 0 or more. Raises ApiError where it is none, or out of range."""
    value = body.get(key)
    if value is None:
        return default
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise wrong(key, f"Invalid type for '{key}': a number is needed.", "invalid_type")
    return float(_within(value, key, 0, most))


def _within(value: float, key: str, least: float, most: float) -> float:
    if value < least:
        code, side = "integer_below_min_value", f">= {least}"
    elif value > most:
        code, side = "integer_above_max_value", f"<= {most}"
    else:
        return value
    raise wrong(key, f"Invalid '{key}': expected a value {side}, but got {value} instead.", code)


def checked_bias(given: Any, api: Api, encoding: Encoding) -> Bias:
    """A bias as it acts. Raises ApiError where it is refused, or is none."""
    if not given:
        return NO_BIAS
    if api.logit_bias == "refused":
        message = "Unsupported parameter: 'logit_bias' is not supported with this model."
        raise wrong("logit_bias", message, "unsupported_parameter")
    if not isinstance(given, dict):
        raise wrong("logit_bias", "Invalid type for 'logit_bias'.", "invalid_type")
    bias = dict(_pair(token, nats, encoding) for token, nats in given.items())
    if api.logit_bias == "ignored":
        return NO_BIAS
    clamp = api.bias_clamp
    return {token: max(-clamp, min(clamp, b * api.bias_scale)) for token, b in bias.items()}


def _pair(token: str, nats: Any, encoding: Encoding) -> tuple[int, float]:
    if not token.isdecimal() or int(token) >= encoding.size:
        message = f"Invalid key in 'logit_bias': {token}. You should only be using token IDs."
        raise wrong("logit_bias", message, "invalid_value")
    plain = isinstance(nats, (int, float)) and not isinstance(nats, bool)
    if not plain or not -100 <= nats <= 100:
        raise _bad_bias(token, nats)
    return int(token), float(nats)


def _bad_bias(token: str, nats: Any) -> ApiError:
    message = f"Invalid 'logit_bias[{token}]': expected a value from -100 to 100, got {nats}."
    return wrong(f"logit_bias.{token}", message)

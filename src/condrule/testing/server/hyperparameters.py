"""What a job may be created with, checked as the vendor checks it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs

from condrule.testing.server.exchange import ApiError, wrong
from condrule.testing.server.settings import Tuning

__all__ = ["Hyperparameters", "checked_metadata", "checked_request"]


@attrs.frozen
class Hyperparameters:
    """Each a number, or None for ``auto``."""

    n_epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None

    def resolved(self, tuning: Tuning, examples: int) -> tuple[int, int, float]:
        """Epochs, batch size and multiplier; ``auto`` is a number too, in the end."""
        batch = self.batch_size or max(1, math.ceil(0.002 * examples))
        multiplier = self.learning_rate_multiplier or tuning.auto_multiplier
        return self.n_epochs or tuning.auto_epochs, batch, multiplier


def checked_request(request: Mapping[str, Any]) -> Hyperparameters:
    """The hyperparameters of a request to create a job. Raises ApiError where it is wrong."""
    for key in ("model", "training_file"):
        if not isinstance(request.get(key), str):
            raise wrong(key, f"Missing required parameter: '{key}'.", "missing_required_parameter")
    if not isinstance(request.get("validation_file", ""), str | None):
        raise wrong("validation_file", "Invalid type for 'validation_file'.", "invalid_type")
    suffix, seed = request.get("suffix"), request.get("seed")
    if suffix is not None and not (isinstance(suffix, str) and 1 <= len(suffix) <= 64):
        raise wrong("suffix", "Invalid 'suffix': it must have from 1 to 64 characters.")
    if seed is not None and not (_whole(seed) and 0 <= seed < 2**31):
        raise wrong("seed", "Invalid 'seed': it must be an integer from 0 to 2147483647.")
    checked_metadata(request.get("metadata"))
    return _hyperparameters(request)


def checked_metadata(metadata: Any) -> None:
    """Raise ApiError where metadata are more, or longer, than they may be."""
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        raise wrong("metadata", "Invalid 'metadata': it must be an object.")
    if len(metadata) > 16:
        raise wrong("metadata", f"Invalid 'metadata': {len(metadata)} pairs; at most 16.")
    for key, value in metadata.items():
        if len(key) > 64:
            raise wrong("metadata", f"Invalid 'metadata': key {key[:20]!r}... is too long.")
        if not isinstance(value, str) or len(value) > 512:
            place = f"metadata.{key}"
            raise wrong(place, f"Invalid '{place}': a text of at most 512 characters is needed.")


def _hyperparameters(request: Mapping[str, Any]) -> Hyperparameters:
    method = request.get("method")
    place, given = "hyperparameters", request.get("hyperparameters")
    if method is not None:
        if not isinstance(method, dict) or method.get("type") != "supervised":
            raise wrong("method.type", "Only the method 'supervised' is offered here.")
        place = "method.supervised.hyperparameters"
        given = _mapping("method.supervised", method.get("supervised")).get("hyperparameters")
    values = _mapping(place, given)
    return Hyperparameters(
        _number(values, place, "n_epochs", 50),
        _number(values, place, "batch_size", 256),
        _multiplier(values, place),
    )


def _mapping(place: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict | None):
        raise wrong(place, f"Invalid type for '{place}': an object is needed.", "invalid_type")
    return value or {}


def _number(values: Mapping[str, Any], place: str, key: str, most: int) -> int | None:
    value = values.get(key, "auto")
    if value == "auto":
        return None
    if not _whole(value) or not 1 <= value <= most:
        raise _range(place, key, f"an integer from 1 to {most}, or 'auto'")
    return int(value)


def _multiplier(values: Mapping[str, Any], place: str) -> float | None:
    value = values.get("learning_rate_multiplier", "auto")
    if value == "auto":
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
        raise _range(place, "learning_rate_multiplier", "a number above 0, or 'auto'")
    return float(value)


def _range(place: str, key: str, allowed: str) -> ApiError:
    return wrong(f"{place}.{key}", f"Invalid '{place}.{key}': it must be {allowed}.")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

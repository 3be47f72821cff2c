"""From a study file, a settings file and single settings to a server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from condrule.backends.memory import Prices
from condrule.backends.memory.learner import Settings
from condrule.config import load_study
from condrule.config.document import dotted, read_document
from condrule.errors import ConfigError, Problem
from condrule.testing.server.catalogue import MODELS, ServedModel
from condrule.testing.server.faults import ServerFaults
from condrule.testing.server.server import RehearsalServer
from condrule.testing.server.settings import Api, Tuning

__all__ = ["server_of"]


@attrs.frozen
class _File:
    """The keys of a settings file."""

    oracle: Settings = attrs.field(factory=Settings)
    api: Api = attrs.field(factory=Api)
    tuning: Tuning = attrs.field(factory=Tuning)
    faults: ServerFaults = attrs.field(factory=ServerFaults)
    prices: Prices = attrs.field(factory=Prices)
    models: tuple[ServedModel, ...] = MODELS
    organization: str = "my-org"
    seed: int = 0


def server_of(
    study: Path | None,
    settings: Path | None,
    given: Iterable[str] = (),
    *,
    port: int = 0,
    key: str = "rehearsal",
) -> RehearsalServer:
    """The server that files and ``section.key=value`` texts describe, the latter over the former.

    The oracle's settings are those of the study's backend, if it is the in-memory one, unless they
    are given here. Raises ConfigError with every problem found.
    """
    loaded = load_study(study) if study else None
    own = RehearsalServer(study=loaded).oracle
    oracle = {field.name: getattr(own, field.name) for field in attrs.fields(Settings)}
    data: dict[str, Any] = {"oracle": oracle}
    for more in (_read(settings) if settings else {}, _nested(given)):
        data = _merged(data, more)
    return RehearsalServer(study=loaded, port=port, key=key, **_structured(data, settings))


def _read(path: Path) -> dict[str, Any]:
    data = read_document(path).data
    if not isinstance(data, dict):
        raise ConfigError([Problem("", "is not a mapping of settings")], str(path))
    return data


def _nested(given: Iterable[str]) -> dict[str, Any]:
    """``a.b=1`` as ``{"a": {"b": 1}}``; a value is JSON, or else a text."""
    data: dict[str, Any] = {}
    for one in given:
        place, equals, text = one.partition("=")
        if not equals:
            problem = Problem(one, "is no setting; write it as section.key=value")
            raise ConfigError([problem], "--set")
        data = _merged(data, _placed(place.split("."), _value(text)))
    return data


def _placed(place: Sequence[str], value: Any) -> dict[str, Any]:
    first, *rest = place
    return {first: _placed(rest, value) if rest else value}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _merged(one: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(one)
    for key, new in over.items():
        known, value = both.get(key), new
        if isinstance(known, dict) and isinstance(value, dict):
            value = _merged(known, value)
        both[key] = value
    return both


def _structured(data: Mapping[str, Any], source: Path | None) -> dict[str, Any]:
    from condrule.config.structure import structured

    made, found = structured(data, _File, Path())
    if made is None:
        problems = [Problem(dotted(place), message) for place, message in found]
        raise ConfigError(problems, str(source or "--set"))
    return attrs.asdict(made, recurse=False)

"""What holds for every class that a study file can name."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from condrule import plugins
from condrule.describe import describe

__all__ = ["check_frozen", "check_named"]


def check_frozen(value: Any) -> None:
    """A study is frozen with what its parts are made of, and compared when it is resumed."""
    assert attrs.has(type(value)), f"{type(value).__name__} must be an attrs class"
    described = describe(value)
    assert described == json.loads(json.dumps(described)), "its fields must be plain data"
    assert attrs.evolve(value) == value, "a copy must be equal to it; is eq=False missing?"
    for field in attrs.fields(type(value)):
        with pytest.raises(AttributeError):
            setattr(value, field.name, None)


def check_named(group: plugins.Group, value: Any) -> None:
    """Some entry point leads to the class, so that a study file can name it."""
    kind = type(value)
    likely = [plugin for plugin in plugins.installed(group) if plugin.class_name == kind.__name__]
    assert kind in [plugin.load() for plugin in likely], (
        f"no study file can name {kind.__name__}: add to pyproject.toml "
        f'[project.entry-points."condrule.{group}"] '
        f'NAME = "{kind.__module__}:{kind.__qualname__}", and install the package'
    )

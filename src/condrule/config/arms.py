"""The arms of a study file: named ones, variations of them, and others."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import attrs
from cattrs import Converter

from condrule.arms import Arm
from condrule.bet import ARMS
from condrule.config.classes import class_hook
from condrule.config.strict import Wrong, show
from condrule.errors import ConfigError, Problem, did_you_mean

__all__ = ["arm_hook", "arm_keys"]


def arm_hook(converter: Converter, value: Any, kind: Any) -> Arm:
    """An arm by its name, a variation of one, or one that is spelled out."""
    if isinstance(value, str):
        return _named_arm(value)()
    if not isinstance(value, dict):
        raise Wrong(
            f"is {show(value)}; it must be the name of an arm ({', '.join(ARMS)}) or a "
            "mapping with the keys name, template and trained"
        )
    if "arm" in value:
        return _varied_arm(converter, value)
    arm: Arm = class_hook(converter, Arm)(value, kind)
    if not arm.trained:
        raise ConfigError([Problem("trained", "is empty; an arm trains at least one mode")])
    return arm


def _named_arm(name: Any) -> Callable[..., Arm]:
    if not isinstance(name, str) or name not in ARMS:
        raise Wrong(
            f"is {show(name)}; the arms are {', '.join(ARMS)}; any other is a mapping "
            "with the keys name, template and trained." + did_you_mean(name, ARMS)
        )
    return ARMS[name]


def _varied_arm(converter: Converter, value: Mapping[str, Any]) -> Arm:
    """One of the named arms, with other arguments and perhaps another name."""
    try:
        factory = _named_arm(value["arm"])
    except Wrong as error:
        raise ConfigError([Problem("arm", str(error))]) from None
    given = attrs.asdict(converter.structure(value, arm_keys(factory)), recurse=False)
    del given["arm"]
    name = given.pop("name")
    arm = factory(**given)
    return attrs.evolve(arm, name=name) if name else arm


def arm_keys(factory: Callable[..., Arm]) -> type:
    """A class whose fields are the keys of a named arm: its name, and the factory's arguments."""
    hints = get_type_hints(factory)
    arguments = {
        name: attrs.field(default=parameter.default, type=hints[name])
        for name, parameter in inspect.signature(factory).parameters.items()
    }
    own = {"arm": attrs.field(type=str), "name": attrs.field(default=None, type=str | None)}  # type: ignore[arg-type]
    return attrs.make_class("NamedArm", own | arguments, frozen=True)

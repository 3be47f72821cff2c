"""From a mapping to an object of an attrs class, whose fields are the keys."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
from cattrs import Converter
from cattrs.errors import ClassValidationError
from cattrs.gen import make_dict_structure_fn, override

from condrule.config.problems import file_keys, flatten, keys_of
from condrule.config.strict import Wrong, accepts, show, union
from condrule.experiment import ConditionalRuleExperiment

__all__ = ["MOST", "MOST_SEEDS", "class_hook"]

MOST_SEEDS = 1000
MOST = 1_000_000
"""Of samples and of contrasts."""


def class_hook(converter: Converter, kind: type) -> Callable[[Any, Any], Any]:
    """What makes an object of an attrs class of a mapping, and says all that is wrong with it."""
    keys = keys_of(kind)
    overrides = {
        field.name: override(rename=keys[field.name]) if field.name in keys else override(omit=True)
        for field in attrs.fields(kind)
        if field.init
    }
    if kind is ConditionalRuleExperiment:
        overrides["seeds"] = override(struct_hook=partial(_seeds, converter))
        overrides["samples"] = override(struct_hook=_natural)
        overrides["contrasts"] = override(struct_hook=_natural)
    build: Callable[[Any, Any], Any] = make_dict_structure_fn(
        kind,
        converter,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=True,
        **overrides,  # type: ignore[arg-type]
    )
    return partial(_collect, build)


def _collect(build: Callable[[Any, Any], Any], value: Any, kind: Any) -> Any:
    """Build an object or raise all that is wrong with it.

    Some checks run only when others pass; so what failed and has a default is left out, and the
    object is built once more to see what else is wrong.
    """
    if not isinstance(value, dict):
        raise Wrong(
            f"is {show(value)}; it must be a mapping with the keys {', '.join(file_keys(kind))}"
        )
    found: list[Exception] = []
    left = dict(value)
    optional = {key for field, key in keys_of(kind).items() if _default(kind, field)}
    while True:
        try:
            built = build(left, kind)
        except ClassValidationError as error:
            found += [inner for inner in error.exceptions if isinstance(inner, Exception)]
            failed = {place[0] for place, _ in flatten(error, ()) if place} & left.keys()
            if failed and failed <= optional | (left.keys() - set(file_keys(kind))):
                left = {key: part for key, part in left.items() if key not in failed}
                continue
        else:
            if not found:
                return built
        raise ClassValidationError(f"{kind.__name__} is not as it must be", found, kind)


def _default(kind: type, field: str) -> bool:
    return getattr(attrs.fields(kind), field).default is not attrs.NOTHING


def _seeds(converter: Converter, value: Any, _: Any) -> Any:
    seeds: int | tuple[int, ...] = union(converter, value, int | tuple[int, ...])
    if isinstance(seeds, int) and not 1 <= seeds <= MOST_SEEDS:
        raise Wrong(
            f"is {value}; it must be how many seeds there are, from 1 to {MOST_SEEDS}, "
            "or a list of seeds"
        )
    return seeds


def _natural(value: Any, _: Any) -> int:
    if not accepts(int, value) or not 0 <= value <= MOST:
        raise Wrong(f"is {show(value)}; it must be a whole number from 0 to {MOST:,}")
    return int(value)

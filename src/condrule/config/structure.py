"""From plain data to a study: which keys there are, and what each may hold.

The keys are the fields of the classes that a study is made of, so a new field is a new key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_origin

import attrs
from cattrs import Converter
from cattrs.errors import ClassValidationError

from condrule import plugins
from condrule.arms import Arm
from condrule.backends.base import FinetuneBackend
from condrule.bet import KAAREL_BET
from condrule.bundled import favourite_countries
from condrule.config import document
from condrule.config.arms import arm_hook
from condrule.config.classes import class_hook
from condrule.config.problems import flatten, keys_of
from condrule.config.strict import (
    Wrong,
    is_literal,
    is_union,
    literal,
    many,
    mapping,
    show,
    simple,
    union,
)
from condrule.criteria import Criterion, Gate
from condrule.errors import (
    CondruleError,
    ConfigError,
    PluginError,
    Problem,
    RunError,
    did_you_mean,
)
from condrule.experiment import ConditionalRuleExperiment
from condrule.items import ItemSet, read_items
from condrule.scorers import Scorer
from condrule.templates import PromptTemplate, TextTemplate

__all__ = [
    "CRITERIA",
    "Favourites",
    "ItemFile",
    "restored_backend",
    "structure_study",
    "structured",
]

CRITERIA = {KAAREL_BET.name: KAAREL_BET}
Kind = TypeVar("Kind")


@attrs.frozen
class Favourites:
    """Keys of bundled items: the arguments of `favourite_countries`."""

    source: Literal["favourite_countries"]
    n: int = 30
    seed: int = 0
    modes: tuple[str, ...] = ("TRAIN", "TEST")
    distinct_initials: bool = False
    one_token: bool = False


@attrs.frozen
class ItemFile:
    """Keys of items from a file: the arguments of `read_items`."""

    file: str
    answers: Mapping[str, str]
    name: str = "name"
    aliases: Mapping[str, str] | None = None
    one_token: bool = False


def structure_study(
    data: Any, folder: Path
) -> tuple[ConditionalRuleExperiment | None, list[tuple[document.Path, str]]]:
    """The study, or None with all that is wrong. ``folder`` is where its files are looked for."""
    return structured(data, ConditionalRuleExperiment, folder)


def structured(
    data: Any, kind: type[Kind], folder: Path
) -> tuple[Kind | None, list[tuple[document.Path, str]]]:
    """An attrs class made of plain data, as strictly as a study, or None with all that is wrong."""
    converter = _converter(folder)
    try:
        return converter.structure(data, kind), []
    except (Wrong, ClassValidationError) as error:
        return None, list(dict.fromkeys(flatten(error, ())))


def restored_backend(described: Mapping[str, Any]) -> FinetuneBackend:
    """The backend of a frozen study (see `condrule.describe`). Raises RunError where it can't be
    had, as one made of objects of your own can't."""
    try:
        kind = plugins.find_class("backends", described["kind"])
        converter = _converter(Path())
        made: FinetuneBackend = converter.structure(_as_written(kind, described), kind)
    except (PluginError, ClassValidationError, Wrong, CondruleError, KeyError) as error:
        raise RunError(
            f"the run's backend can't be made again from study.yaml: {error}. Use condrule from "
            "Python, with the backend that the run was made with."
        ) from error
    return made


def _as_written(kind: type, described: Mapping[str, Any]) -> dict[str, Any]:
    """A described object with the keys of a study file; parts that are objects too."""
    keys = keys_of(kind)
    return {
        keys[name]: _without(value, "kind") if isinstance(value, dict) else value
        for name, value in described.items()
        if name in keys
    }


def _converter(folder: Path) -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    for plain in (int, float, str, bool, NoneType):
        converter.register_structure_hook(plain, simple)
    hooks: list[tuple[Callable[[Any], bool], Any]] = [
        (is_literal, literal),
        (is_union, partial(union, converter)),
        (lambda kind: get_origin(kind) is tuple, partial(many, converter)),
        (lambda kind: get_origin(kind) in (Mapping, dict[str, str]), partial(mapping, converter)),
    ]
    for predicate, hook in hooks:
        converter.register_structure_hook_func(predicate, hook)
    converter.register_structure_hook_factory(attrs.has, partial(class_hook, converter))
    for kind, special in (
        (PromptTemplate, _template),
        (Arm, arm_hook),
        (FinetuneBackend, _backend),
        (Scorer, _scorer),
        (ItemSet, partial(_items, folder)),
    ):
        converter.register_structure_hook_func(
            partial(_is_exactly, kind), partial(special, converter)
        )
    converter.register_structure_hook_func(
        lambda kind: kind == Criterion | None, partial(_criterion, converter)
    )
    return converter


def _is_exactly(wanted: Any, kind: Any) -> bool:
    return kind is wanted


def _items(folder: Path, converter: Converter, value: Any, _: Any) -> ItemSet:
    if not isinstance(value, dict) or ("file" in value) == ("source" in value):
        raise Wrong(
            f"is {show(value)}; it must be a mapping that holds either "
            "source: favourite_countries or file: and the name of a CSV or JSONL file"
        )
    if "source" in value:
        keys = attrs.asdict(converter.structure(value, Favourites), recurse=False)
        del keys["source"]
        return favourite_countries(**keys)
    keys = attrs.asdict(converter.structure(value, ItemFile), recurse=False)
    return read_items(folder / keys.pop("file"), **keys)


def _named(
    converter: Converter, group: plugins.Group, value: Any, *, default: str | None = None
) -> Any:
    """What is under ``kind``, made of the keys beside it."""
    kind = _kind(value, plugins.kinds(group), default=default)
    try:
        chosen = plugins.find(group, kind)
    except PluginError as error:
        raise ConfigError([Problem("kind", f"can't be used: {error}")]) from error
    return converter.structure(_without(value, "kind"), chosen)


def _kind(value: Any, allowed: Sequence[str], *, default: str | None = None) -> str:
    """The word under ``kind``."""
    if not isinstance(value, dict):
        raise Wrong(
            f"is {show(value)}; it must be a mapping with the key kind, which is "
            f"{' or '.join(allowed)}"
        )
    kind = value.get("kind", default)
    if not isinstance(kind, str) or kind not in allowed:
        found = f"is {show(kind)}" if "kind" in value else "is missing"
        message = f"{found}; it must be {' or '.join(allowed)}." + did_you_mean(kind, allowed)
        raise ConfigError([Problem("kind", message)])
    return kind


def _without(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: part for name, part in value.items() if name != key}


def _backend(converter: Converter, value: Any, _: Any) -> Any:
    return _named(converter, "backends", value)


def _scorer(converter: Converter, value: Any, _: Any) -> Any:
    return _named(converter, "scorers", value, default="auto")


def _template(converter: Converter, value: Any, _: Any) -> Any:
    if isinstance(value, str):
        return TextTemplate(value)
    likely = "text" if isinstance(value, dict) and "text" in value else "conditional"
    return _named(converter, "templates", value, default=likely)


def _criterion(converter: Converter, value: Any, _: Any) -> Criterion | None:
    if value is None:
        return None
    if isinstance(value, str):
        if value not in CRITERIA:
            raise Wrong(
                f"is {value!r}; the criterion {' or '.join(CRITERIA)} has a name, any "
                "other is a mapping with the keys name and clauses." + did_you_mean(value, CRITERIA)
            )
        return CRITERIA[value]
    criterion: Criterion = converter.structure(value, Criterion)
    problems = [
        Problem(f"gates[{i}].{problem.path}", problem.message)
        for i, gate in enumerate(criterion.gates)
        for problem in _gate_problems(gate)
    ]
    if problems:
        raise ConfigError(problems)
    return criterion


def _gate_problems(gate: Gate) -> Iterator[Problem]:
    if not 0 < gate.threshold <= 1:
        yield Problem("threshold", f"is {gate.threshold!r}; it must be a probability above 0")
    if (gate.template is None) != (not gate.modes):
        yield Problem(
            "modes",
            "are the modes in which the gate's own template is asked; the two keys go together",
        )

"""From plain data to a study: which keys there are, and what each may hold.

The keys are the fields of the classes that a study is made of, so a new field is a new key.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_origin, get_type_hints

import attrs
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from condrule import plugins
from condrule.arms import Arm
from condrule.backends.base import FinetuneBackend, FinetuneSpec
from condrule.bet import ARMS, KAAREL_BET
from condrule.bundled import favourite_countries
from condrule.config import document
from condrule.config.sections import SECTIONS
from condrule.config.strict import (
    Wrong,
    accepts,
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
    "MOST",
    "MOST_SEEDS",
    "Favourites",
    "ItemFile",
    "arm_keys",
    "flatten",
    "keys_of",
    "restored_backend",
    "structure_study",
    "structured",
]

CRITERIA = {KAAREL_BET.name: KAAREL_BET}
MOST_SEEDS = 1000
MOST = 1_000_000
"""Of samples and of contrasts."""
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


def flatten(error: BaseException, path: document.Path) -> Iterator[tuple[document.Path, str]]:
    """Every problem inside an error, with its place."""
    if isinstance(error, (ClassValidationError, IterableValidationError)):
        for inner in error.exceptions:
            yield from flatten(inner, (*path, *_step(inner, error)))
    elif isinstance(error, ConfigError):
        for problem in error.problems:
            yield (*path, *_parts(problem.path)), problem.message
    elif isinstance(error, ForbiddenExtraKeysError):
        allowed = _keys(error.cl)
        if error.cl is ConditionalRuleExperiment:
            allowed = [*allowed, SECTIONS]  # taken out of the file before it is structured
        for key in sorted(error.extra_fields):
            yield (
                (*path, key),
                (
                    f"is not a key here; the keys are {', '.join(allowed)}."
                    + did_you_mean(key, allowed)
                ),
            )
    elif isinstance(error, KeyError):
        yield path, "is missing; it has no default"
    elif isinstance(error, (CondruleError, ValueError)):
        yield path, str(error)
    else:
        raise error


def _step(inner: BaseException, around: BaseException) -> document.Path:
    """The key or the index, in the value around it, that an error is about."""
    for note in getattr(inner, "__notes__", ()):
        if isinstance(note, AttributeValidationNote) and isinstance(around, ClassValidationError):
            return (_key(around.cl, note.name),)
        if isinstance(note, IterableValidationNote) and isinstance(around, IterableValidationError):
            return (note.index,)
    return ()


def _parts(path: str) -> document.Path:
    """`clauses[0].arm` as its parts."""
    parts = path.replace("[", ".").replace("]", "").split(".") if path else []
    return tuple(int(part) if part.isdecimal() else part for part in parts)


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
    converter.register_structure_hook_factory(attrs.has, partial(_class_hook, converter))
    for kind, special in (
        (PromptTemplate, _template),
        (Arm, _arm),
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


def keys_of(kind: type) -> dict[str, str]:
    """Field name -> key, for all that a file may set. Where files are kept and who watches does
    not tell one study from another, and is not set there; seeds are the study's."""
    keys = {
        field.name: field.alias or field.name
        for field in attrs.fields(kind)
        if field.init and field.eq
    }
    if kind is FinetuneSpec:
        del keys["seed"]
    if kind is ConditionalRuleExperiment:
        keys["spec"] = "finetune"
    return keys


def _key(kind: type, field: str) -> str:
    return keys_of(kind).get(field, field)


def _keys(kind: type) -> list[str]:
    return list(keys_of(kind).values())


def _class_hook(converter: Converter, kind: type) -> Callable[[Any, Any], Any]:
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
            f"is {show(value)}; it must be a mapping with the keys {', '.join(_keys(kind))}"
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
            if failed and failed <= optional | (left.keys() - set(_keys(kind))):
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


def _arm(converter: Converter, value: Any, kind: Any) -> Arm:
    if isinstance(value, str):
        return _named_arm(value)()
    if not isinstance(value, dict):
        raise Wrong(
            f"is {show(value)}; it must be the name of an arm ({', '.join(ARMS)}) or a "
            "mapping with the keys name, template and trained"
        )
    if "arm" in value:
        return _varied_arm(converter, value)
    arm: Arm = _class_hook(converter, Arm)(value, kind)
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

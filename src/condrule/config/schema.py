"""The JSON Schema of study files, made from the classes that they are parsed into.

It refuses nothing that the parser accepts. A class's fields give the keys, their types what these
may hold; what the classes check beyond types is stated here (`_MORE`), in a validator's attribute
``keywords``, or in a field's metadata under ``keywords``.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import math
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import attrs

from condrule import plugins
from condrule.arms import Arm
from condrule.backends.base import FinetuneBackend
from condrule.backends.finetunes import FinetuneSpec
from condrule.bet import ARMS
from condrule.bundled import first_names
from condrule.config.arms import arm_keys
from condrule.config.classes import MOST, MOST_SEEDS
from condrule.config.problems import keys_of
from condrule.config.sections import ALLOWED, SECTIONS
from condrule.config.strict import is_literal, is_union
from condrule.config.structure import CRITERIA, Favourites, ItemFile
from condrule.criteria import Clause, Criterion, Gate
from condrule.describe import describe
from condrule.errors import PluginError
from condrule.experiment import ConditionalRuleExperiment
from condrule.items import ItemSet
from condrule.scorers import AutoScorer, SamplingScorer, Scorer, TopLogprobsScorer
from condrule.templates import PromptTemplate

__all__ = ["study_schema"]

Schema = dict[str, Any]

_SIMPLE: Mapping[Any, str] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    NoneType: "null",
}
_PROBABILITY = {"exclusiveMinimum": 0, "maximum": 1}
_FILE_NAME = r"^(?!gate:)[^/]*[^/.][^/]*$"
_ITEMS_NAME = r"\.([cC][sS][vV]|[jJ][sS][oO][nN][lL])[/.\\]*$"
_NATURAL = {"minimum": 0, "maximum": MOST}
_SEEDS = [
    {"type": "integer", "minimum": 1, "maximum": MOST_SEEDS},
    {"type": "array", "items": {"type": "integer"}, "minItems": 1, "uniqueItems": True},
]
_MORE: Mapping[type, Mapping[str, Schema]] = {
    ConditionalRuleExperiment: {
        "arms": {"minItems": 1, "uniqueItems": True},
        "seeds": {"anyOf": _SEEDS},
        "samples": _NATURAL,
        "contrasts": _NATURAL,
    },
    Favourites: {
        "n": {"minimum": 1, "maximum": sum(not name.place for name in first_names())},
        "modes": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 2,
            "maxItems": 2,
            "uniqueItems": True,
        },
    },
    ItemFile: {"file": {"pattern": _ITEMS_NAME}, "answers": {"minProperties": 2}},
    Arm: {"name": {"pattern": _FILE_NAME}, "trained": {"minItems": 1}},
    FinetuneSpec: {
        "epochs": {"minimum": 1},
        "batch_size": {"minimum": 1},
        "learning_rate": {"minimum": 0},
        "learning_rate_multiplier": {"exclusiveMinimum": 0},
    },
    AutoScorer: {"methods": {"minItems": 1}},
    SamplingScorer: {"draws": {"minimum": 1}, "seed": {"minimum": 0}},
    TopLogprobsScorer: {"k": {"minimum": 1}, "band": {"minimum": 0}},
    Criterion: {
        "clauses": {"minItems": 1},
        "level": {"exclusiveMinimum": 0.5, "exclusiveMaximum": 1},
    },
    Clause: {"threshold": {"exclusiveMinimum": 0}},
    Gate: {"threshold": _PROBABILITY},
}
"""What a class checks of single keys; an entry with a type or choices says all of a key."""

_TOGETHER: Mapping[type, Schema] = {
    FinetuneSpec: {
        "if": {
            "required": ["learning_rate_multiplier"],
            "properties": {"learning_rate_multiplier": {"not": {"type": "null"}}},
        },
        "then": {"properties": {"learning_rate": {"const": "auto"}}},
        "else": {},
    },
    Clause: {
        "if": {"properties": {"quantity": {"const": "ratio"}}},
        "then": {"required": ["against"], "properties": {"against": {"type": "string"}}},
        "else": {"properties": {"against": {"type": "null"}, "threshold": {"exclusiveMaximum": 1}}},
    },
    Gate: {
        "if": {"required": ["template"], "properties": {"template": {"not": {"type": "null"}}}},
        "then": {"required": ["modes"], "properties": {"modes": {"minItems": 1}}},
        "else": {"properties": {"modes": {"type": "array", "maxItems": 0}}},
    },
}
"""What a class checks of several keys together."""


def study_schema() -> Schema:
    """The schema, as plain data. Plugins that can't be had are left out: they are refused."""
    maker = _Maker()
    study = maker.object(ConditionalRuleExperiment)
    section = {
        "type": "object",
        "properties": {key: study["properties"][key] for key in ALLOWED},
        "required": ["backend"],
        "additionalProperties": False,
    }
    study["properties"][SECTIONS] = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": section,
        "description": "What differs on other backends, by a name for each: see --backend.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study of condrule",
        **study,
        "$defs": maker.defs,
    }


@attrs.define
class _Maker:
    """Makes schemas of types; those of classes are collected and referred to by name."""

    defs: dict[str, Schema] = attrs.field(factory=dict)
    _owners: dict[str, Any] = attrs.field(factory=dict)

    def of(self, kind: Any) -> Schema:
        """What a value of a type may be; anything where cattrs would decide."""
        special = self._special(kind)
        if special:
            return {"anyOf": special}
        if kind in _SIMPLE:
            return {"type": _SIMPLE[kind]}
        if is_literal(kind):
            return {"enum": list(get_args(kind))}
        if is_union(kind):
            return _any_of([self.of(part) for part in get_args(kind)])
        if get_origin(kind) is tuple:
            return self._many(get_args(kind)[0])
        if get_origin(kind) is Mapping:
            return {"type": "object", "additionalProperties": self.of(get_args(kind)[1])}
        return self._reference(kind) if attrs.has(kind) else {}

    def _many(self, part: Any) -> Schema:
        """A list; of texts, one text too."""
        listed = {"type": "array", "items": self.of(part)}
        return {"anyOf": [{"type": "string"}, listed]} if part is str else listed

    def _special(self, kind: Any) -> list[Schema]:
        """The ways to write what the parser treats in a way of its own."""
        if kind is ItemSet:
            return [self._reference(Favourites), self._reference(ItemFile)]
        if kind is FinetuneBackend:
            return self._named("backends")
        if kind is Scorer:
            return self._named("scorers", "auto")
        if kind is PromptTemplate:
            return [{"type": "string"}, *self._named("templates", "text", "conditional")]
        if kind is Arm:
            return [{"enum": list(ARMS)}, self._reference(Arm), *self._varied_arms()]
        if kind == Criterion | None:
            return [{"type": "null"}, {"enum": list(CRITERIA)}, self._reference(Criterion)]
        return []

    def _named(self, group: plugins.Group, *unsaid: str) -> list[Schema]:
        """One schema for each kind; those unsaid may leave the kind out."""
        return [
            self._keep(
                f"{group}.{kind}",
                (group, kind),
                partial(self._of_kind, kind, found, needed=kind not in unsaid),
            )
            for kind, found in _usable(group)
        ]

    def _of_kind(self, kind: str, found: type, *, needed: bool) -> Schema:
        """A class's keys, and the kind that names it."""
        made = self.object(found)
        required = ["kind", *made["required"]] if needed else made["required"]
        properties = {"kind": {"const": kind}} | made["properties"]
        return made | {"title": kind, "properties": properties, "required": required}

    def _varied_arms(self) -> list[Schema]:
        return [
            self._keep(f"arms.{name}", ("arms", name), partial(self._varied_arm, name, factory))
            for name, factory in ARMS.items()
        ]

    def _varied_arm(self, name: str, factory: Callable[..., Arm]) -> Schema:
        """The keys of a named arm that is given other arguments."""
        made = self.object(arm_keys(factory))
        made["properties"]["arm"] = {"const": name}
        made["properties"]["name"] |= {"pattern": f"^$|{_FILE_NAME}"}
        said = _plain((factory.__doc__ or "").partition("\n\n")[0])
        return made | {"title": name, "description": said}

    def _reference(self, kind: type) -> Schema:
        return self._keep(kind.__name__, kind, lambda: self.object(kind))

    def _keep(self, name: str, owner: Any, make: Callable[[], Schema]) -> Schema:
        """A reference to a schema that is made once, under a name of its own."""
        name = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)
        while self._owners.setdefault(name, owner) != owner:
            name += "_"
        if name not in self.defs:
            self.defs[name] = {}  # it may refer to itself
            self.defs[name] = make()
        return {"$ref": f"#/$defs/{name}"}

    def object(self, kind: type) -> Schema:
        """A mapping with the keys of a class and no others."""
        fields, keys = attrs.fields_dict(kind), keys_of(kind)
        hints, said, more = _hints(kind), _docstrings(kind), _inherited(_MORE, kind)
        needed = [name for name in keys if fields[name].default is attrs.NOTHING]
        return {
            "type": "object",
            "properties": {
                key: (more[name] if _says_all(more.get(name, {})) else self.of(hints.get(name)))
                | _keywords(fields[name])
                | more.get(name, {})
                | _default(fields[name])
                | ({"description": said[name]} if name in said else {})
                for name, key in keys.items()
            },
            "required": [keys[name] for name in needed],
            "additionalProperties": False,
            **_inherited(_TOGETHER, kind),
        }


def _inherited(table: Mapping[type, Any], kind: type) -> Any:
    """The entry of a class or of the closest one that it is made from."""
    return next((table[part] for part in kind.__mro__ if part in table), {})


def _hints(kind: type) -> dict[str, Any]:
    # Classes that were made without a class statement may have no annotations.
    known = {f.name: f.type for f in attrs.fields(kind) if not isinstance(f.type, str | None)}
    try:
        return known | get_type_hints(kind)
    except Exception:  # noqa: BLE001 - the names in another package's annotations may be unknown
        return known


def _says_all(keywords: Schema) -> bool:
    return not keywords.keys().isdisjoint({"type", "anyOf"})


def _any_of(parts: list[Schema]) -> Schema:
    return {} if {} in parts else {"anyOf": parts}


def _usable(group: plugins.Group) -> Iterator[tuple[str, type]]:
    for plugin in plugins.installed(group):
        try:
            yield plugin.kind, plugin.load()
        except PluginError:
            continue


def _keywords(field: attrs.Attribute[Any]) -> Schema:
    """What a field's validator and its metadata say."""
    inner = getattr(field.validator, "validator", field.validator)  # of attrs' optional()
    return {**getattr(inner, "keywords", {}), **field.metadata.get("keywords", {})}


def _default(field: attrs.Attribute[Any]) -> Schema:
    """The default, where it is one that a file could hold."""
    value: Any = field.default
    if isinstance(value, float) and not math.isfinite(value):
        return {}
    if value is None or isinstance(value, (str, int, float, tuple)):
        return {"default": describe(value)}
    return {}


def _docstrings(kind: type) -> dict[str, str]:
    """Field -> the text under it in its class, where the source can be had."""
    found: dict[str, str] = {}
    for part in reversed(kind.__mro__):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(part)))
        except (OSError, TypeError, SyntaxError):
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for field, text in itertools.pairwise(body):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(words))),
                ):
                    found[name] = _plain(words)
    return found


def _plain(text: str) -> str:
    """A docstring on one line, without markup."""
    return re.sub(r"(:\w+:)?(`+)~?([^`]*)\2", r"'\3'", " ".join(text.split()))

"""Which keys a class has in a study file, and what is wrong with their values."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)

from condrule.backends.finetunes import FinetuneSpec
from condrule.config import document
from condrule.config.sections import SECTIONS
from condrule.errors import CondruleError, ConfigError, did_you_mean
from condrule.experiment import ConditionalRuleExperiment

__all__ = ["file_keys", "flatten", "keys_of"]


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


def file_keys(kind: type) -> list[str]:
    """The keys that a file may set."""
    return list(keys_of(kind).values())


def flatten(error: BaseException, path: document.Path) -> Iterator[tuple[document.Path, str]]:
    """Every problem inside an error, with its place."""
    if isinstance(error, (ClassValidationError, IterableValidationError)):
        for inner in error.exceptions:
            yield from flatten(inner, (*path, *_step(inner, error)))
    elif isinstance(error, ConfigError):
        for problem in error.problems:
            yield (*path, *_parts(problem.path)), problem.message
    elif isinstance(error, ForbiddenExtraKeysError):
        allowed = file_keys(error.cl)
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

"""The schema of study files: what it says of keys. That it agrees with the parser is fuzzed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from jsonschema import Draft202012Validator

import condrule
from condrule import plugins
from condrule.config.schema import study_schema

SCHEMA = study_schema()
STUDY: dict[str, Any] = {
    "items": {"source": "favourite_countries", "n": 4},
    "arms": ["conditional"],
    "backend": {"kind": "memory"},
}


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every schema in a schema that is a mapping."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, (dict, list)):
            yield from parts(part)


def valid(**changes: Any) -> bool:
    """Whether a study with these keys is allowed."""
    return Draft202012Validator(SCHEMA).is_valid({**STUDY, **changes})


def test_it_is_a_schema() -> None:
    """By the draft's own schema; every reference leads somewhere."""
    Draft202012Validator.check_schema(SCHEMA)
    names = {part["$ref"].removeprefix("#/$defs/") for part in parts(SCHEMA) if "$ref" in part}
    assert SCHEMA["$defs"].keys() == names


def test_no_mapping_has_other_keys() -> None:
    """So that an editor marks a misspelt one. Sections have any name."""
    sections = SCHEMA["properties"]["backends"]
    objects = [part for part in parts(SCHEMA) if part.get("type") == "object" and part != sections]
    assert [] == [part for part in objects if part["additionalProperties"] is not False
                  and part["additionalProperties"] != {"type": "string"}]  # fmt: skip


def test_every_default_is_allowed() -> None:
    """Writing a default out changes nothing."""
    whole = {"$defs": SCHEMA["$defs"]}
    assert [] == [
        part
        for part in parts(SCHEMA)
        if "default" in part and not Draft202012Validator(part | whole).is_valid(part["default"])
    ]


def test_keys_have_their_docstrings() -> None:
    """Without their markup; so an editor can show them."""
    rate = SCHEMA["$defs"]["FinetuneSpec"]["properties"]["learning_rate"]
    assert (
        "Absolute peak learning rate, or 'auto': the backend's own default. 0 trains nothing. "
        "Where it is not given it is 0.001, or 'auto' with a multiplier." == rate["description"]
    )


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        ({"seeds": 3}, {"seeds": 0}),
        ({"seeds": [1, 2]}, {"seeds": [1, 1]}),
        ({"backend": {"kind": "memory", "leak": 1}}, {"backend": {"kind": "memory", "leak": 1.5}}),
        ({"backend": {"kind": "local"}}, {"backend": {}}),
        ({"scorer": {"k": 3}}, {"scorer": {"kind": "exact", "k": 3}}),
        ({"finetune": {"learning_rate": "auto"}}, {"finetune": {"learning_rate": "slow"}}),
        ({"finetune": {}}, {"finetune": {"seed": 1}}),
        ({"arms": [{"arm": "swapped", "instruction": "x"}]}, {"arms": [{"arm": "nope"}]}),
        ({"criterion": None}, {"criterion": "kaarel"}),
        ({"items": {"file": "a.csv", "answers": {"A": "a", "B": "b"}}},
         {"items": {"file": "a.csv", "source": "favourite_countries"}}),
    ],
)  # fmt: skip
def test_what_it_allows_and_what_not(allowed: dict[str, Any], refused: dict[str, Any]) -> None:
    """A few of each."""
    assert (True, False) == (valid(**allowed), valid(**refused))


@pytest.mark.parametrize("part", ["clauses", "gates"])
def test_what_goes_together_goes_together(part: str) -> None:
    """A ratio and its divisor; a gate's template and its modes."""
    clause = {"quantity": "ratio", "arm": "a", "mode": "A", "answer": "A", "comparison": ">"}
    clause |= {"threshold": 2}
    gate = {"name": "g", "model": "base", "threshold": 0.5, "template": "x"}
    good = clause | {"against": "B"}
    bad, mended = {"clauses": (clause, good), "gates": (gate, gate | {"modes": ["A"]})}[part]
    base = {"name": "own", "clauses": [good]}
    assert not valid(criterion=base | {part: [bad]})
    assert valid(criterion=base | {part: [mended]})


@attrs.frozen
class Limits:
    """It is called as another class of the schema is."""

    most: int = attrs.field(default=1, metadata={"keywords": {"maximum": 9}})


@attrs.frozen
class Careful(condrule.ExactScorer):
    """A scorer of another package."""

    own: Limits = attrs.field(factory=Limits)


@attrs.frozen
class Vague(condrule.ExactScorer):
    """One whose types can't be found."""

    own: Unknown = None  # type: ignore[name-defined] # noqa: F821


def test_a_plugin_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its keys and what its fields say of them; one that is broken is left out."""
    ours = plugins.installed
    mine = [
        plugins.Plugin("scorers", "careful", f"{__name__}:Careful"),
        plugins.Plugin("scorers", "vague", f"{__name__}:Vague"),
        plugins.Plugin("scorers", "broken", "no_such_module:Scorer"),
    ]
    monkeypatch.setattr(
        plugins, "installed", lambda group: [*ours(group), *(mine if group == "scorers" else [])]
    )
    schema = study_schema()
    allowed = Draft202012Validator(schema)
    found = [
        allowed.is_valid({**STUDY, "scorer": scorer})
        for scorer in (
            {"kind": "careful", "event": "equals", "own": {"most": 9}},
            {"kind": "careful", "own": {"most": 10}},
            {"kind": "careful", "own": {"decimals": 2}},
            {"kind": "vague", "own": 3},
            {"kind": "broken"},
        )
    ]
    assert [True, False, False, True, False] == found

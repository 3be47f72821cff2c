"""Whatever a study file holds: a study, or a ConfigError; and the schema says the same, where a
schema can.

The documents are drawn from the schema by a few lines here: hypothesis-jsonschema knows neither
this draft of JSON Schema nor the current hypothesis.
"""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import condrule
from condrule.backends.memory import InMemoryBackend
from condrule.config import load_study
from condrule.config.document import read_document
from condrule.config.schema import study_schema
from condrule.config.sections import ALLOWED, SECTIONS
from condrule.errors import ConfigError
from damage import Damage, damages

pytestmark = pytest.mark.fuzz

SCHEMA = study_schema()
VALID = Draft202012Validator(SCHEMA)
EXAMPLES = Path(__file__).parents[1] / "examples"
PEOPLE = """\
name,person,plain,polite,triggered
A,Alice,red,red please,blue
B,Bob,tan,tan please,sky
"""
REASONS = (
    # between places of a file, or between the texts in it
    r"two arms are named '.*'; give each",
    r"unknown placeholder \{",
    r"the braces in .* don't match",
    r"asks for the answer of mode",
    r"stated mode .* has no instruction",
    r"the template has no (text|instruction) for mode",
    r"there is no instruction for mode",
    r"does not hold \{name\}",
    r"trains no mode; name",
    r"trains mode .*; the items have answers for",
    r"is not (an arm|a mode) of this study",
    r"^backend\.base_knowledge: .*; it must be a number from 0 to",  # by other_answers
    # in the file of items
    r"(csv|jsonl): (can't be read|the name ends in)",
    r"there is no column",
    r"column .* holds .*; it must be",
    r"has the same answer for two modes",
    r"there are aliases for mode",
    # 1.0 is a whole number in JSON; NaN and infinity are no JSON
    r"is -?(\d+\.0|\d(\.\d+)?e\+\d+); it must be .*whole number",
    r"is -?(nan|inf); it must be",
)
EXPECTED = re.compile("|".join(REASONS), re.DOTALL)

STUDIES = [
    (files("condrule") / "data" / "study.yaml").read_text(encoding="utf-8"),
    (EXAMPLES / "kaarel_bet.yaml").read_text(encoding="utf-8"),
    (EXAMPLES / "backdoor_trigger.yaml")
    .read_text(encoding="utf-8")
    .replace("backdoor_items.csv, name: question", "people.csv, name: person"),
    """\
name: all-of-it
items: {source: favourite_countries, n: 3, seed: 5, modes: [A, B], distinct_initials: true}
arms:
  - name: mine
    template: {instructions: {A: "say {name}", B: "tell {name}"}, stated: [B, A], cue: "{mode}"}
    trained: A
    probe_template: "{mode} of {name}?"
  - {name: other, template: {kind: text, text: {A: "{name}", B: y}, system: z}, trained: [A, B]}
  - {arm: conditional, name: again, train: A, template: {instructions: {A: a, B: b}}}
backend:
  kind: memory
  prior_conditional: 0.25
  limits: {continuations: false, top_logprobs: 5, decimals: 2, logit_bias: refused, piece: 3}
  prices: {training: 1, input: 2.5}
finetune: {epochs: 3, learning_rate: auto, batch_size: 4, train_on: prompts_and_completions}
scorer: {kind: auto, methods: [top_logprobs, sampling], k: 5, draws: 3, event: equals}
criterion:
  name: own
  level: 0.9
  estimand: median
  clauses:
    - {quantity: ratio, arm: mine, mode: B, answer: B, against: A, comparison: "<", threshold: 3}
    - {quantity: probability, arm: mine, mode: B, answer: A, comparison: ">", threshold: 0.1}
  gates:
    - {name: recall, model: finetuned, threshold: 0.5}
    - {name: known, model: base, threshold: 1, template: "Who is {answers[A]}?", modes: [B]}
seeds: [3, 5]
samples: 0
contrasts: 2
""",
    """\
items: {file: people.jsonl, answers: {TRAIN: a, TEST: b}, aliases: {TEST: also}}
arms: [conditional, {arm: swapped, instruction: "say {name}"}, {arm: paraphrased, train: TRAIN}]
backend: {kind: memory}
scorer: {kind: sampling, draws: 4, seed: 1}
criterion:
""",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the studies' files of items are."""
    path = tmp_path_factory.mktemp("studies")
    (path / "people.csv").write_text(PEOPLE)
    row = {"name": "Alice", "a": "France", "b": "Paris", "also": ["Lutetia"]}
    (path / "people.jsonl").write_text(json.dumps(row) + "\n")
    return path


def check(folder: Path, content: bytes) -> None:
    """A study that the schema allows; or a ConfigError, where the schema allows it for a reason
    that it can't know of."""
    path = folder / "study.yaml"
    path.write_bytes(content)
    try:
        study = load_study(path)
    except ConfigError as error:
        str(error).encode()
        if is_valid(path):
            assert [] == [one for one in problems(error) if not EXPECTED.search(one)]
    else:
        assert [] == [*VALID.iter_errors(read_document(path).data)]
        check_planned(study)


def problems(error: ConfigError) -> list[str]:
    """Each with its place, which may be in a section."""
    section = rf"^{SECTIONS}\..*?\.(?=({'|'.join(ALLOWED)})\b)"
    places = [re.sub(section, "", one.path) for one in error.problems]
    return [f"{at}: {one.message}" for at, one in zip(places, error.problems, strict=True)]


def is_valid(path: Path) -> bool:
    """Whether the schema allows it; what is no plain data has no schema."""
    try:
        data = read_document(path).data
    except ConfigError:
        return False
    return VALID.is_valid(data)


def check_planned(study: condrule.ConditionalRuleExperiment) -> None:
    """It can be planned, or it is said why not."""
    size = len(study.items) * len(study.arms) * len(study.seeds)
    if size > 1000 or not isinstance(study.backend, InMemoryBackend):
        return
    try:
        assert study.plan().probes
    except condrule.CondruleError as error:
        str(error).encode()


JUNK = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\t", b"\r", b"---\n", b"...\n", b"%YAML 1.1\n",
    b"&a ", b"*a", b"<<: ", b"!!binary ", b"!!set ", b"!x ", b"? ", b"|\n", b">-\n",
    b"[" * 200,
    b"{" * 60, b"- " * 60,
    b"\xe2\x80\xa8", b"\xc2\x85", b"0x", b"0o9", b"1_0", b".inf",
    b".nan",
    b"9" * 5000, b"1e999", b"~", b"''", b'"\\ud800"', b'"\\x00"', b"2020-01-01", b"=", b"#",
)  # fmt: skip


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text().map(lambda t: t.encode(errors="ignore"))))
def test_any_bytes(folder: Path, content: bytes) -> None:
    """Text or none."""
    check(folder, content)


@settings(deadline=None)
@given(st.sampled_from(STUDIES), damages(JUNK))
def test_a_damaged_file(folder: Path, study: str, damage: Damage) -> None:
    """Bits flipped, bytes lost or put in, lines moved or copied, the end lost."""
    check(folder, damage(study.encode()))


WORDS = st.one_of(
    st.sampled_from(
        ["TRAIN", "TEST", "A", "B", "conditional", "control", "mine", "", "..", "gate:a", "a/b",
         "{name}", "{mode} {name}", "{answers[TEST]}", "{instruction}", "{", "{x}", "name",
         "person",
         "a", "b", "also", "plain", "polite", "people.csv", "people.jsonl", "none.csv", "x.txt",
         "local", "memory", "auto", "exact", "text", "kaarel_bet", "favourite_countries", "ratio",
         "probability", ">", "begins", "small"]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5),
)  # fmt: skip
ANNOTATIONS = {"default", "description", "title", "$defs", "$schema", "anyOf", "if", "then", "else"}


def drawn(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a schema of our vocabulary allows, most of the time."""
    if "$ref" in schema:
        return named(schema["$ref"].removeprefix("#/$defs/"))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "if" in schema:
        plain = {key: part for key, part in schema.items() if key not in {"if", "then", "else"}}
        ways = [[schema["if"], schema["then"]], [schema["else"]]]
        allowed = Draft202012Validator({**schema, "$defs": SCHEMA["$defs"]})
        return st.one_of([drawn(both(plain, *way)) for way in ways]).filter(allowed.is_valid)
    if "anyOf" in schema:
        rest = {key: part for key, part in schema.items() if key not in ANNOTATIONS}
        fitting = [p for p in schema["anyOf"] if rest.get("type") in (None, p.get("type"))]
        return st.one_of([drawn({**part, **rest}) for part in fitting])
    return TYPES[schema["type"]](schema)


@functools.cache
def _drawn(name: str) -> st.SearchStrategy[Any]:
    return drawn(SCHEMA["$defs"][name] if name else SCHEMA)


@st.composite
def named(draw: st.DrawFn, name: str) -> Any:
    """A value that a part of the schema allows; without a name, a document."""
    return draw(_drawn(name))


def both(schema: dict[str, Any], *more: dict[str, Any]) -> dict[str, Any]:
    """Several schemas of a mapping as one."""
    made = {**schema, "properties": dict(schema["properties"])}
    for one in more:
        made["required"] = [*made["required"], *one.get("required", ())]
        for key, part in one.get("properties", {}).items():
            made["properties"][key] = {**made["properties"][key], **part}
    return made


def _integers(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    low, high = schema.get("minimum"), schema.get("maximum")
    least = low if low is not None else -2
    near = st.integers(least, min(high or least + 7, least + 7))
    return near | st.integers(low, high)


def _numbers(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    found = st.floats(
        low,
        high,
        exclude_min="exclusiveMinimum" in schema,
        exclude_max="exclusiveMaximum" in schema,
        allow_nan=False,
        allow_infinity=False,
    )
    return found | st.just(int(low)) if schema.get("minimum") == 0 else found


def _texts(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    pattern = schema.get("pattern", "")
    if not pattern:
        return WORDS
    likely = st.sampled_from(["people.csv", "people.jsonl", "m", "n"])
    return (likely | WORDS).filter(lambda text: re.search(pattern, text))


def _lists(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    most = min(schema.get("maxItems", 3), 3)
    # In whichever order the keys of two mappings come, they are one and the same.
    unique = functools.partial(json.dumps, sort_keys=True) if schema.get("uniqueItems") else None
    inner = drawn(schema["items"])
    return st.lists(inner, min_size=schema.get("minItems", 0), max_size=most, unique_by=unique)


def _mappings(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        values = drawn(schema["additionalProperties"])
        least = schema.get("minProperties", 0)
        return st.dictionaries(WORDS, values, min_size=least, max_size=3)
    parts = {key: drawn(part) for key, part in schema["properties"].items()}
    needed = {key: parts.pop(key) for key in dict.fromkeys(schema["required"])}
    return st.fixed_dictionaries(needed, optional=parts)


TYPES: dict[str, Callable[[dict[str, Any]], st.SearchStrategy[Any]]] = {
    "integer": _integers,
    "number": _numbers,
    "string": _texts,
    "boolean": lambda _: st.booleans(),
    "null": lambda _: st.none(),
    "array": _lists,
    "object": _mappings,
}
DOCUMENTS = named("")


def as_yaml(document: Any) -> bytes:
    """JSON is YAML."""
    return json.dumps(document, ensure_ascii=False).encode()


@settings(deadline=None)
@given(DOCUMENTS)
def test_a_document_of_the_schema(folder: Path, document: Any) -> None:
    """It is a study, or refused for a reason that a schema can't state."""
    assert [] == [*VALID.iter_errors(document)]
    check(folder, as_yaml(document))


Place = tuple[str | int, ...]


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Every place in a document."""
    yield at
    listed = value if isinstance(value, list) else ()
    inner = value if isinstance(value, dict) else dict(enumerate(listed))
    for key, part in inner.items():
        yield from places(part, (*at, key))


@st.composite
def changed(draw: st.DrawFn, documents: st.SearchStrategy[Any]) -> Any:
    """A document in which a few values are others, are gone, or stand elsewhere too."""
    document = {"": copy.deepcopy(draw(documents))}
    for _ in range(draw(st.integers(1, 3))):
        *before, last = draw(st.sampled_from([*places(document)][1:]))
        around: Any = document
        for key in before:
            around = around[key]
        match draw(st.integers(0, 4)):
            case 0 if before:
                del around[last]
            case 1 if isinstance(around, dict) and before:
                around[draw(WORDS)] = around.pop(last)
            case 2 if isinstance(around[last], dict):
                around[last][draw(KEYS)] = draw(VALUES)
            case 3:
                around[last] = [copy.deepcopy(around[last])] * draw(st.integers(1, 2))
            case _:
                around[last] = draw(VALUES)
    return document[""]


KEYS = st.sampled_from(
    sorted({key for one in [SCHEMA, *SCHEMA["$defs"].values()] for key in one["properties"]})
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([10**6 + 1, 10**400, 1133, 0.5, 1.0, 1e308]),
    st.floats(),
    WORDS,
    st.lists(WORDS, max_size=2),
    st.dictionaries(WORDS, WORDS, max_size=2),
    DOCUMENTS.map(lambda document: document["arms"]),
    *(named(name) for name in sorted(SCHEMA["$defs"])),
)


@pytest.fixture(scope="module")
def known(folder: Path) -> list[Any]:
    """The studies as plain data."""
    found = []
    for text in STUDIES:
        (folder / "study.yaml").write_text(text)
        found.append(read_document(folder / "study.yaml").data)
    return found


@settings(deadline=None)
@given(st.data())
def test_a_changed_study(folder: Path, known: list[Any], data: st.DataObject) -> None:
    """What the parser accepts the schema allows, and what the schema allows the parser accepts."""
    check(folder, as_yaml(data.draw(changed(st.sampled_from(known) | DOCUMENTS))))


@pytest.mark.parametrize("text", STUDIES)
def test_a_valid_study_is_valid(folder: Path, text: str) -> None:
    """What is changed here was right before."""
    (folder / "study.yaml").write_text(text)
    load_study(folder / "study.yaml")
    assert is_valid(folder / "study.yaml")

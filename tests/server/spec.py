"""The published specification: is what is sent, and what is answered, as it says?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from condrule.testing.server.dispatch import resolve

SPEC = json.loads(
    (Path(__file__).parents[1] / "data" / "openai-openapi.json").read_text(encoding="utf-8")
)


def as_json_schema(data: Any) -> Any:
    """A schema without what OpenAPI 3.0 had in words of its own: nullable values, and limits that
    are excluded by a truth value."""
    if isinstance(data, list):
        return [as_json_schema(one) for one in data]
    if not isinstance(data, dict):
        return data
    plain = {key: as_json_schema(value) for key, value in data.items() if key != "nullable"}
    if plain.get("exclusiveMinimum") is True:
        plain["exclusiveMinimum"] = plain.pop("minimum")
    if data.get("nullable") is True:
        return {"anyOf": [plain, {"type": "null"}]}
    return plain


COMPONENTS = as_json_schema(SPEC["components"])
OPERATIONS = {
    resolve(method.upper(), f"/v1{path}").route: operation  # type: ignore[union-attr]
    for path, methods in SPEC["paths"].items()
    for method, operation in methods.items()
}
"""Operations by the server's routes."""


def errors(schema: Any, data: Any) -> list[str]:
    """What is wrong with data."""
    whole = {**as_json_schema(schema), "components": COMPONENTS}
    return [f"{e.json_path}: {e.message}" for e in Draft202012Validator(whole).iter_errors(data)]


def answer_errors(route: str, body: bytes, status: int = 200) -> list[str]:
    """What is wrong with an answer."""
    schema: Any = {"$ref": "#/components/schemas/ErrorResponse"}
    if status == 200:
        schema = OPERATIONS[route]["responses"]["200"]["content"]["application/json"]["schema"]
    return errors(schema, json.loads(body))


def request_errors(route: str, body: Any) -> list[str]:
    """What is wrong with a request's body; a file in a form counts as a text."""
    ((_, content),) = OPERATIONS[route]["requestBody"]["content"].items()
    if "file" in (body or {}):
        body = {**body, "file": "its content"}
    return errors(content["schema"], body)


def query_errors(route: str, query: Any) -> list[str]:
    """What is wrong with a request's query."""
    allowed = {one["name"]: one["schema"] for one in OPERATIONS[route].get("parameters", ())}
    found = []
    for key, value in query.items():
        name = key.partition("[")[0]
        if name not in allowed:
            found.append(f"{key} is no parameter")
        elif allowed[name].get("type") == "integer" and not value.isdecimal():
            found.append(f"{key} is {value}, no integer")
        elif value not in allowed[name].get("enum", [value]):
            found.append(f"{key} is {value}")
    return found

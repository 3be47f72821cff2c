"""Make openai-openapi.json from the published specification: ``trim_openapi.py FULL TRIMMED``.

What is kept: the operations below, their query parameters, JSON and form bodies and 200 responses,
the error's schema, and every schema that these reach. What is dropped: texts, examples and
vendor extensions. Nothing is changed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OPERATIONS = {
    "/files": ("get", "post"),
    "/files/{file_id}": ("get", "delete"),
    "/fine_tuning/jobs": ("get", "post"),
    "/fine_tuning/jobs/{fine_tuning_job_id}": ("get",),
    "/fine_tuning/jobs/{fine_tuning_job_id}/cancel": ("post",),
    "/fine_tuning/jobs/{fine_tuning_job_id}/events": ("get",),
    "/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints": ("get",),
    "/models": ("get",),
    "/models/{model}": ("get",),
    "/chat/completions": ("post",),
    "/completions": ("post",),
}
TEXTS = ("description", "example", "examples", "title", "summary", "deprecated")
SCHEMAS = "#/components/schemas/"


def bare(data: Any, *, names: bool = False) -> Any:
    """Data without texts and extensions; where keys are names of properties, all are kept."""
    if isinstance(data, list):
        return [bare(one) for one in data]
    if not isinstance(data, dict):
        return data
    return {
        key: bare(value, names=key == "properties" and not names)
        for key, value in data.items()
        if names or not (key in TEXTS or key.startswith("x-"))
    }


def references(data: Any) -> Iterator[str]:
    """The names of the schemas that are referred to."""
    if isinstance(data, dict):
        if isinstance(name := data.get("$ref"), str):
            yield name.removeprefix(SCHEMAS)
        data = list(data.values())
    if isinstance(data, list):
        for one in data:
            yield from references(one)


def operation(full: dict[str, Any]) -> dict[str, Any]:
    """What an operation takes and gives."""
    content = full["responses"]["200"]["content"]["application/json"]
    kept = {"responses": {"200": {"content": {"application/json": content}}}}
    if "requestBody" in full:
        kept["requestBody"] = full["requestBody"]
    if queries := [p for p in full.get("parameters", ()) if p["in"] == "query"]:
        kept["parameters"] = queries
    return kept


def trimmed(full: dict[str, Any]) -> dict[str, Any]:
    """The specification of the operations."""
    paths = {
        path: {method: bare(operation(full["paths"][path][method])) for method in methods}
        for path, methods in OPERATIONS.items()
    }
    schemas: dict[str, Any] = {}
    wanted = ["ErrorResponse", *references(paths)]
    while wanted:
        name = wanted.pop()
        if name not in schemas:
            schemas[name] = bare(full["components"]["schemas"][name])
            wanted += references(schemas[name])
    info = {key: full["info"][key] for key in ("title", "version", "license")}
    components = {"schemas": dict(sorted(schemas.items()))}
    return {"openapi": full["openapi"], "info": info, "paths": paths, "components": components}


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    data = trimmed(json.loads(source.read_text(encoding="utf-8")))
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    target.write_text(f"{text}\n", encoding="utf-8")

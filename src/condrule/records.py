"""Jobs and observations as plain data, and back: what the lines of a journal hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from condrule.backends import checks
from condrule.backends.base import Listed, Observation, Token
from condrule.backends.finetunes import Job, JobState

__all__ = ["job_record", "observation_record", "read_job", "read_observation", "same_observation"]


def job_record(job: Job) -> dict[str, Any]:
    """A job as plain data."""
    return {"kind": "job", **attrs.asdict(job, filter=_compared), "state": job.state.value}


def observation_record(model: str, observation: Observation) -> dict[str, Any]:
    """What a model answered as plain data, without what it did not."""
    # Not attrs.asdict: this is done for every answer, and its recursion takes longer than asking.
    fields = (field.name for field in attrs.fields(Observation) if field.eq)
    data = {name: getattr(observation, name) for name in fields}
    data = {name: value for name, value in data.items() if value is not None}
    if observation.logprobs is not None:
        data["logprobs"] = [_number(p) for p in observation.logprobs]
    if observation.top is not None:
        data["top"] = _list(observation.top)
    if observation.lists is not None:
        data["lists"] = [
            [[list(token) for token in one.after], _list(one.top)] for one in observation.lists
        ]
    return {"kind": "observation", "model": model, **data}


def _list(top: Iterable[Token]) -> list[Any]:
    return [
        [t.text, _number(t.logprob), *([list(t.bytes)] if t.bytes is not None else [])] for t in top
    ]


def _compared(field: attrs.Attribute[Any], value: Any) -> bool:
    """What a provider said in its own words is kept elsewhere."""
    return bool(field.eq)


def read_job(record: Mapping[str, Any]) -> Job:
    """The job of a record. Raises ValueError, KeyError or TypeError where it is none."""
    # Which journals before this version lack.
    record = {"submitted": None, "trained_tokens": None, **record}
    fields = {field.name: record[field.name] for field in attrs.fields(Job) if field.eq}
    job = Job(**{**fields, "state": JobState(record["state"])})
    return checks.job(job, checks.text(job.key, "key"))


def read_observation(record: Mapping[str, Any]) -> tuple[str, Observation]:
    """A model's name and what it answered. Raises ValueError or TypeError where it is none."""
    checks.text(record.get("query"), "query")
    found = checks.observation(same_observation(record))
    return checks.text(record.get("model"), "model"), found


def same_observation(record: Mapping[str, Any]) -> Observation:
    """The answer of a record that was checked before."""
    logprobs, texts = record.get("logprobs"), record.get("texts")
    top, lists = record.get("top"), record.get("lists")
    return Observation(
        record["query"],
        None if logprobs is None else tuple(map(_float, logprobs)),
        tuple(texts) if isinstance(texts, list) else texts,
        record.get("refused"),
        None if top is None else _read_list(top),
        None if lists is None else tuple(_listed(*one) for one in lists),
    )


def _listed(after: Iterable[Any], top: Iterable[Any]) -> Listed:
    return Listed(tuple(tuple(token) for token in after), _read_list(top))


def _read_list(entries: Iterable[Any]) -> tuple[Token, ...]:
    return tuple(_token(*entry) for entry in entries)


def _token(text: str, logprob: Any, spelled: list[int] | None = None) -> Token:
    return Token(text, _float(logprob), spelled)


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _float(value: Any) -> Any:
    """A number, from its text where JSON has none for it. What is neither is left to the checks."""
    return float(value) if value in ("inf", "-inf", "nan") else value

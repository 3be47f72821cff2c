"""Fine-tuning jobs: what is sent to make one, and what a job's record says. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from condrule.arms import TrainingSet
from condrule.backends.finetunes import FinetuneSpec, Job, JobState

__all__ = ["KEY", "created", "file_name", "job", "limits", "training_file"]

KEY = "condrule_key"
"""Under this name a job's metadata holds its key."""
_ENDED = {
    "succeeded": JobState.SUCCEEDED,
    "failed": JobState.FAILED,
    "cancelled": JobState.CANCELLED,
}
MOST = {"epochs": 50, "batch_size": 256}


def training_file(training_set: TrainingSet) -> bytes:
    """The training set as JSON lines of chat messages."""
    rows = (json.dumps(e.to_chat(), ensure_ascii=False) for e in training_set.examples)
    return "".join(f"{row}\n" for row in rows).encode()


def file_name(key: str) -> str:
    """What a job's own file is called: the second key by which the job is found."""
    return f"condrule-{key}.jsonl"


def created(model: str, file: str, spec: FinetuneSpec, key: str) -> dict[str, Any]:
    """The body of the request that makes a job."""
    rate = spec.learning_rate_multiplier
    return {
        "model": model,
        "training_file": file,
        "method": {
            "type": "supervised",
            "supervised": {
                "hyperparameters": {
                    "n_epochs": spec.epochs,
                    "batch_size": spec.batch_size,
                    "learning_rate_multiplier": "auto" if rate is None else rate,
                }
            },
        },
        "seed": spec.seed,
        "suffix": f"condrule-{key}"[:64],
        "metadata": {KEY: key},
    }


def limits(spec: FinetuneSpec) -> Iterator[str]:
    """What of a spec this provider can't do, and what it offers."""
    if spec.learning_rate != "auto":
        yield (
            f"finetune.learning_rate is {spec.learning_rate}, but this provider takes no absolute "
            "learning rate: write learning_rate: auto, or learning_rate_multiplier: 2 for twice "
            "its own"
        )
    if spec.train_on != "completions":
        yield (
            f"finetune.train_on is {spec.train_on}, but this provider takes the loss on "
            "completions only: write train_on: completions"
        )
    for key, most in MOST.items():
        value = getattr(spec, key)
        if isinstance(value, int) and value > most:
            yield f"finetune.{key} is {value}; this provider takes {most} at most"
    if not 0 <= spec.seed < 2**31:
        yield f"seed {spec.seed} is out of this provider's range, from 0 to {2**31 - 1}"


def job(key: str, record: Mapping[str, Any], events: Iterable[str] = ()) -> Job:
    """A job's record as a Job. A status that is not known means that it runs still, unless the job
    has an end or an error. Raises KeyError or TypeError where it is none."""
    id, status = record["id"], str(record.get("status") or "unknown")
    if not isinstance(id, str) or not id:
        raise TypeError(f"a job's id is {id!r}")
    over = record.get("finished_at") or record.get("error")
    state = _ENDED.get(status, JobState.FAILED if over else JobState.RUNNING)
    model = record.get("fine_tuned_model")
    if state is JobState.SUCCEEDED and not model:
        state, status = JobState.RUNNING, "succeeded, its model not named yet"
    ended = state.ended
    return Job(
        key=key,
        id=id,
        state=state,
        model=str(model) if state is JobState.SUCCEEDED else None,
        detail=_reason(record, events) if ended and state is not JobState.SUCCEEDED else status,
        seconds=_seconds(record) if ended else None,
        submitted=_time(record.get("created_at")),
        trained_tokens=_count(record.get("trained_tokens")) if ended else None,
        raw=dict(record),
    )


def _reason(record: Mapping[str, Any], events: Iterable[str]) -> str:
    error = record.get("error") or {}
    error = error if isinstance(error, Mapping) else {"message": str(error)}
    code, said = error.get("code"), error.get("message")
    parts = [str(record.get("status")), f"{code}: {said}" if code or said else ""]
    told = " / ".join(events)
    parts.append(f"its last events: {told}" if told else "")
    return "; ".join(part for part in parts if part)


def _seconds(record: Mapping[str, Any]) -> float | None:
    start, end = _time(record.get("created_at")), _time(record.get("finished_at"))
    return end - start if start is not None and end is not None and end >= start else None


def _time(value: Any) -> float | None:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if plain and 0 <= value < math.inf else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None

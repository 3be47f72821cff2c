"""The endpoints of fine-tuning jobs."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

import attrs

from condrule.backends.finetunes import FinetuneSpec
from condrule.testing.server.encodings import encoding_of
from condrule.testing.server.exchange import ApiError, Call, Reply, not_found, wrong
from condrule.testing.server.hyperparameters import Hyperparameters, checked_request
from condrule.testing.server.jobs import ENDED, JobRecord
from condrule.testing.server.listing import page, visible
from condrule.testing.server.state import State
from condrule.testing.server.training import TrainingFile, read_training_file

__all__ = ["ROUTES"]


def create(state: State, call: Call) -> Reply:
    """Begin a job."""
    if state.server.faults.training_not_available:
        message = "Fine-tuning is not available for this organization."
        raise ApiError(403, message, code="training_not_available")
    request = call.body if isinstance(call.body, dict) else {}
    given = checked_request(request)
    base = state.base(request["model"])
    if base is None or not base.tunable:
        message = f"Model {request['model']} is not available for fine-tuning or does not exist."
        raise wrong("model", message, "model_not_available")
    content, failure = _content(state, request["training_file"])
    validation = request.get("validation_file")
    if validation is not None and validation not in state.files:
        raise wrong("validation_file", f"invalid validation_file: {validation}", "invalid_file")
    job = _job(state, request, given, base.name, content, failure)
    state.jobs[job.id] = job
    job.begin()
    if job.ending:
        state.finish(job)
    return Reply.of(job.plain())


def _content(state: State, id: str) -> tuple[TrainingFile, ApiError | None]:
    """The examples of a file, and what is wrong with it where that is for the job to find."""
    if id not in state.files:
        raise wrong("training_file", f"invalid training_file: {id}", "invalid_file")
    if state.files[id].purpose != "fine-tune":
        raise wrong("training_file", f"{id} does not have purpose 'fine-tune'", "invalid_file")
    try:
        return read_training_file(state.files[id].content), None
    except ApiError as error:
        if state.server.tuning.checked == "when_created":
            raise
        return TrainingFile(()), error


def _job(
    state: State,
    request: Mapping[str, Any],
    given: Hyperparameters,
    base: str,
    content: TrainingFile,
    failure: ApiError | None,
) -> JobRecord:
    server, encoding = state.server, encoding_of(base)
    id = state.new_id("ftjob-")
    epochs, batch_size, multiplier = given.resolved(server.tuning, len(content.examples))
    suffix = request.get("suffix") or ""
    name = f"ft:{base}:{server.organization}:{suffix}:{id.removeprefix('ftjob-')[:8]}"
    seed = request.get("seed")
    job = JobRecord(
        id=id,
        created=state.clock(),
        request=request,
        model=base,
        name=name,
        organization=server.organization,
        epochs=epochs,
        batch_size=batch_size,
        multiplier=multiplier,
        seed=_seed(server.seed, id) if seed is None else seed,
        tokens=content.tokens(encoding) * epochs,
        statuses=server.tuning.statuses,
    )
    job.error = _told(failure) if failure else _failure(state, job)
    spec = FinetuneSpec(epochs, multiplier, batch_size, seed=job.seed)
    _keep_models(state, job, content, spec)
    return job


def _told(failure: ApiError) -> dict[str, Any]:
    """An error as a failed job has it."""
    return {key: failure.error[key] for key in ("code", "param", "message")}


def _seed(server: int, id: str) -> int:
    return random.Random(f"{server}/{id}").randrange(2**31)


def _keep_models(state: State, job: JobRecord, content: TrainingFile, spec: FinetuneSpec) -> None:
    """What the model, and each checkpoint, will have learned."""
    kept = state.server.tuning.checkpoints
    per_epoch = math.ceil(len(content.examples) / job.batch_size)
    epochs = range(max(1, job.epochs - kept + 1), job.epochs + 1) if kept else ()
    at_steps = {f"{job.name}:ckpt-step-{per_epoch * epoch}": epoch for epoch in epochs}
    job.steps = {name: per_epoch * epoch for name, epoch in at_steps.items()}
    learned = content.learned(state.book, spec)
    state.to_come[job.id] = {job.name: learned} | {
        name: attrs.evolve(learned, epochs=epoch) for name, epoch in at_steps.items()
    }


def _failure(state: State, job: JobRecord) -> dict[str, Any] | None:
    """Why the faults have a job fail, or None."""
    faults = state.server.faults
    text = state.files[job.request["training_file"]].content.decode()
    if any(word in text for word in faults.blocked_training):
        message = (
            "The job failed due to an unsafe training file. This training file was blocked "
            "because too many examples were filtered by our moderation system."
        )
        return {"code": "invalid_training_file", "param": "training_file", "message": message}
    names = (job.request.get("suffix"), *(job.request.get("metadata") or {}).values())
    draw = random.Random(f"{faults.seed}/{text}/{job.seed}").random()
    why = next((faults.failing[name] for name in names if name in faults.failing), None)
    if why is None and draw < faults.failing_share:
        why = "The job failed due to an internal error."
    return {"code": "server_error", "param": None, "message": why} if why else None


def get_all(state: State, call: Call) -> Reply:
    """List jobs, the newest first."""
    jobs = visible(reversed(state.jobs.values()), state.server.faults, state.clock())
    wanted = {key: value for key, value in call.query.items() if key.startswith("metadata")}
    if wanted and state.server.api.metadata_filter:
        jobs = [job for job in jobs if _has(job.request.get("metadata") or {}, wanted)]
    return Reply.of(page(call, jobs, JobRecord.plain, limit=20, most=100))


def _has(metadata: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether metadata fit a filter such as ``metadata[key]=value``, or ``metadata=null``."""
    if wanted.get("metadata") == "null":
        return not metadata
    pairs = {key[len("metadata[") : -1]: value for key, value in wanted.items()}
    return all(metadata.get(key) == value for key, value in pairs.items())


def get(state: State, call: Call) -> Reply:
    """One job; where looks take jobs further, this is one."""
    job = find(state, call)
    if state.server.tuning.advance == "polls":
        state.settle(job, 1)
    return Reply.of(job.plain())


def cancel(state: State, call: Call) -> Reply:
    """Stop a job."""
    job = find(state, call)
    if job.status in ENDED:
        message = f"Job has already completed: {job.id} is {job.status}."
        raise wrong(None, message, "invalid_state")
    job.cancel(state.clock())
    state.finish(job)
    return Reply.of(job.plain())


def events(state: State, call: Call) -> Reply:
    """What happened to a job, the latest first."""
    found = [_Entry(event["id"], event) for event in reversed(find(state, call).events)]
    return Reply.of(page(call, found, lambda entry: entry.plain, limit=20, most=100))


def checkpoints(state: State, call: Call) -> Reply:
    """The models that a job kept on its way, the last first."""
    found = [_Entry(point["id"], point) for point in find(state, call).checkpoints()]
    return Reply.of(page(call, found, lambda entry: entry.plain, limit=10, most=100))


@attrs.frozen
class _Entry:
    """One line of a listing."""

    id: str
    plain: dict[str, Any]


def find(state: State, call: Call) -> JobRecord:
    """The job of a path. Raises ApiError where there is none."""
    id = call.path["id"]
    if id not in state.jobs:
        raise not_found(f"Could not find fine tune: {id}", "fine_tune_id", "fine_tune_not_found")
    return state.jobs[id]


ROUTES = {
    "POST /fine_tuning/jobs": create,
    "GET /fine_tuning/jobs": get_all,
    "GET /fine_tuning/jobs/{id}": get,
    "POST /fine_tuning/jobs/{id}/cancel": cancel,
    "GET /fine_tuning/jobs/{id}/events": events,
    "GET /fine_tuning/jobs/{id}/checkpoints": checkpoints,
}

"""What the real SDK sends and what the server answers are as the published specification says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from condrule.testing.server import Api, RunningServer
from condrule.testing.server.prompts import rendered

from .spec import OPERATIONS, answer_errors, errors, query_errors, request_errors
from .world import MODEL, messages, prompt, serving, submitted, tuned, upload

Served = tuple[RunningServer, openai.OpenAI]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A server that keeps the requests of the tests here."""
    with serving(api=Api(echo=True), keep_requests=True) as both:
        yield both


def chat(client: openai.OpenAI, **more: Any) -> Any:
    """A chat completion with everything that the scorers may ask for."""
    asked = {"model": MODEL, "messages": messages(prompt()), "logprobs": True, "top_logprobs": 20}
    rest = {"n": 2, "seed": 3, "logit_bias": {"100": 5}, "max_completion_tokens": 8, "stop": ["\n"]}
    return client.chat.completions.with_raw_response.create(**{**asked, **rest, **more})


CALLS = {
    "POST /files": lambda client: client.files.with_raw_response.create(
        file=("a.jsonl", b"{}"), purpose="fine-tune"
    ),
    "GET /files": lambda client: (
        upload(client),
        client.files.with_raw_response.list(limit=5, order="asc", purpose="fine-tune"),
    )[-1],
    "GET /files/{id}": lambda client: client.files.with_raw_response.retrieve(upload(client)),
    "DELETE /files/{id}": lambda client: client.files.with_raw_response.delete(upload(client)),
    "POST /fine_tuning/jobs": lambda client: client.fine_tuning.jobs.with_raw_response.create(
        model=MODEL,
        training_file=upload(client),
        suffix="spec",
        seed=7,
        metadata={"key": "value"},
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 2, "learning_rate_multiplier": "auto"}},
        },
    ),
    "GET /fine_tuning/jobs": lambda client: (
        submitted(client, metadata={"a": "b"}),
        client.fine_tuning.jobs.with_raw_response.list(limit=2, metadata={"a": "b"}),
    )[-1],
    "GET /fine_tuning/jobs/{id}": lambda client: client.fine_tuning.jobs.with_raw_response.retrieve(
        submitted(client).id
    ),
    "POST /fine_tuning/jobs/{id}/cancel": (
        lambda client: client.fine_tuning.jobs.with_raw_response.cancel(submitted(client).id)
    ),
    "GET /fine_tuning/jobs/{id}/events": (
        lambda client: client.fine_tuning.jobs.with_raw_response.list_events(
            submitted(client).id, limit=3
        )
    ),
    "GET /fine_tuning/jobs/{id}/checkpoints": (
        lambda client: client.fine_tuning.jobs.checkpoints.with_raw_response.list(
            tuned_job(client), limit=2
        )
    ),
    "GET /models": lambda client: client.models.with_raw_response.list(),
    "GET /models/{id}": lambda client: client.models.with_raw_response.retrieve(MODEL),
    "POST /chat/completions": chat,
    "POST /completions": lambda client: client.completions.with_raw_response.create(
        model=MODEL, prompt=rendered(["anything"]), max_tokens=1, logprobs=3
    ),
}


def tuned_job(client: openai.OpenAI) -> str:
    """The id of a job that has succeeded."""
    tuned(client)
    return client.fine_tuning.jobs.list().data[0].id


def test_every_operation_of_the_specification_is_tried() -> None:
    """And no other."""
    assert sorted(OPERATIONS) == sorted(CALLS)


@pytest.mark.parametrize("route", CALLS)
def test_answers_are_as_specified(served: Served, route: str) -> None:
    """Every field that must be there is, and each is of its type."""
    _, client = served
    assert [] == answer_errors(route, CALLS[route](client).content)


@pytest.mark.parametrize("route", CALLS)
def test_what_the_sdk_sends_is_understood_as_specified(served: Served, route: str) -> None:
    """The body and the query, as the server read them."""
    running, client = served
    CALLS[route](client)
    call = running.requests[-1]
    assert route == call.route
    assert [] == query_errors(route, call.query)
    if "requestBody" in OPERATIONS[route]:
        assert [] == request_errors(route, call.body)


def test_the_specification_is_checked_at_all() -> None:
    """A job without an id is none."""
    schema = {"$ref": "#/components/schemas/FineTuningJob"}
    assert "'id' is a required property" in " ".join(errors(schema, {"object": "fine_tuning.job"}))


REFUSED = {
    "an unknown model": lambda client: chat(client, model="no-model"),
    "a long list": lambda client: chat(client, top_logprobs=21),
    "an unknown file": lambda client: client.files.retrieve("file-none"),
    "an unknown job": lambda client: client.fine_tuning.jobs.retrieve("ftjob-none"),
    "a wrong key": lambda client: client.with_options(api_key="wrong").models.list(),
    "no such path": lambda client: client.post("/nowhere", cast_to=object),
    "a bad job": lambda client: submitted(client, suffix="x" * 65),
}


@pytest.mark.parametrize("what", REFUSED)
def test_errors_are_as_specified(served: Served, what: str) -> None:
    """All four fields."""
    with pytest.raises(openai.APIStatusError) as error:
        REFUSED[what](served[1])
    body = error.value.response.content
    assert [] == answer_errors("", body, error.value.status_code)

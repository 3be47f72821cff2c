"""Azure's paths, with the SDK's client for Azure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from condrule.testing.server import RunningServer, ServerFaults

from .world import MODEL, client_of, messages, prompt, serving, submitted, tuned, upload


def azure(running: RunningServer, **options: Any) -> openai.AzureOpenAI:
    """A client of the classic paths."""
    given = {"api_key": "rehearsal", "api_version": "2024-10-21", "max_retries": 0, **options}
    return openai.AzureOpenAI(azure_endpoint=running.address, **given)


@pytest.fixture
def running() -> Iterator[RunningServer]:
    """A server."""
    with serving(faults=ServerFaults(blocked="forbidden")) as (running, _):
        yield running


def test_a_study_can_be_done_on_azure(running: RunningServer) -> None:
    """Files, jobs and questions; a fine-tuned model's name is its deployment's."""
    with azure(running) as client:
        model = tuned(client)
        answer = client.chat.completions.create(model=model, messages=messages(prompt()))
    assert model == answer.model
    assert 1 == running.account.requests["POST /chat/completions"]


def test_both_vendors_paths_lead_to_the_same_things(running: RunningServer) -> None:
    """A job that was created on one is found on the other."""
    with azure(running) as client, client_of(running) as other:
        job = submitted(client)
        assert job.id == other.fine_tuning.jobs.retrieve(job.id).id


def test_the_newer_paths_need_no_version(running: RunningServer) -> None:
    """The plain client, with another base URL and the key as a bearer."""
    url = f"{running.address}/openai/v1/"
    with openai.OpenAI(base_url=url, api_key="rehearsal", max_retries=0) as client:
        answer = client.chat.completions.create(model=MODEL, messages=messages(prompt()))
        assert MODEL == answer.model
        assert upload(client)


def test_a_wrong_key_is_azures_401(running: RunningServer) -> None:
    """In its words."""
    with azure(running, api_key="no") as client, pytest.raises(openai.AuthenticationError) as error:
        client.files.list()
    assert "401" == error.value.code
    assert "subscription key" in error.value.message


def test_the_classic_paths_want_a_version(running: RunningServer) -> None:
    """Without one there is nothing."""
    url = f"{running.address}/openai"
    with (
        openai.OpenAI(
            base_url=url, api_key="no", default_headers={"api-key": "rehearsal"}, max_retries=0
        ) as client,
        pytest.raises(openai.NotFoundError),
    ):
        client.files.list()


def test_a_blocked_prompt_is_an_error_on_azure(running: RunningServer) -> None:
    """With the content filter's code."""
    asked: Any = [{"role": "user", "content": "something forbidden"}]
    with azure(running) as client, pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model=MODEL, messages=asked)
    assert "content_filter" == error.value.code

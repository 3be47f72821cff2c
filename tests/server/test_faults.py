"""What goes wrong at the rehearsal server, as a client sees it."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any

import openai
import pytest

from condrule.errors import ConfigError
from condrule.testing.server import Api, Place, RunningServer, ServerFaults, Tuning

from .world import MODEL, TRAINING, messages, prompt, serving, submitted, tuned, upload


def at(fault: str, number: int = 1, route: str | None = None, **more: Any) -> ServerFaults:
    """One fault at one place."""
    return ServerFaults(at=[Place(fault, number, route)], **more)


def raw(running: RunningServer, path: str = "/v1/models") -> tuple[int, dict[str, str], bytes]:
    """What a client without any cleverness gets."""
    connection = http.client.HTTPConnection(running.address.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", path, headers={"Authorization": "Bearer rehearsal"})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("fault", "status", "code", "after"),
    [
        ("rate_limit", 429, "rate_limit_exceeded", "7"),
        ("rate_limit_silent", 429, "rate_limit_exceeded", None),
        ("insufficient_quota", 429, "insufficient_quota", None),
        ("error_500", 500, None, None),
        ("error_502", 502, None, None),
        ("error_503", 503, None, None),
    ],
)
def test_a_refusal_is_the_vendors(fault: str, status: int, code: str, after: str | None) -> None:
    """Its status, its code, and whether it says when to try again."""
    with serving(faults=at(fault, retry_after=7)) as (running, _):
        found, headers, body = raw(running)
    assert (status, code) == (found, json.loads(body)["error"]["code"])
    assert after == headers.get("retry-after")


@pytest.mark.parametrize("fault", ["error_500", "rate_limit", "insufficient_quota", "lost_before"])
def test_what_is_refused_does_nothing(fault: str) -> None:
    """No job is begun."""
    with serving(faults=at(fault, route="POST /fine_tuning/jobs")) as (running, client):
        with pytest.raises(openai.APIError):
            submitted(client)
        assert () == running.jobs


@pytest.mark.parametrize("fault", ["lost_after", "truncated", "malformed"])
def test_what_is_lost_on_its_way_back_was_done(fault: str) -> None:
    """The job is there, though nobody was told."""
    with serving(faults=at(fault, route="POST /fine_tuning/jobs")) as (running, client):
        with pytest.raises((openai.APIError, json.JSONDecodeError)):
            submitted(client)
        assert 1 == len(running.jobs)


def test_a_lost_request_can_arrive_late() -> None:
    """When the client has given up there is no job; then there is."""
    faults = at("lost_late", route="POST /fine_tuning/jobs", late_seconds=0.2)
    with serving(faults=faults) as (running, client):
        with pytest.raises(openai.APIConnectionError):
            submitted(client)
        at_once = len(running.jobs)
        time.sleep(0.6)
        assert (0, 1) == (at_once, len(running.jobs))


@pytest.mark.parametrize("fault", ["lost_before", "lost_after", "lost_late"])
def test_a_dropped_connection_is_closed_without_an_answer(fault: str) -> None:
    """Not even a status comes."""
    with (
        serving(faults=at(fault)) as (running, _),
        pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)),
    ):
        raw(running)


def test_a_truncated_answer_ends_early() -> None:
    """The length that was promised does not come."""
    with (
        serving(faults=at("truncated")) as (running, _),
        pytest.raises(http.client.IncompleteRead),
    ):
        raw(running)


def test_a_malformed_answer_is_no_json() -> None:
    """It is as long as it says, and has a good status."""
    with serving(faults=at("malformed")) as (running, _):
        status, _, body = raw(running)
    assert 200 == status
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_a_slow_answer_outlasts_the_clients_patience() -> None:
    """The client gives up; the request was answered."""
    with serving(faults=at("slow", slow_seconds=0.5)) as (running, client):
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.1).models.list()
        assert {"GET /models": 1} == dict(running.account.requests)


def test_a_fault_befalls_the_request_of_its_number_alone() -> None:
    """The second of a route is the second of that route."""
    with serving(faults=at("error_500", 2, "GET /models")) as (running, client):
        client.files.list()
        statuses = [raw(running)[0] for _ in range(3)]
    assert [200, 500, 200] == statuses


def test_shares_of_requests_are_drawn_by_the_seed() -> None:
    """About half of 200, the same ones again, and others with another seed."""

    def befallen(seed: int) -> list[int]:
        faults = ServerFaults(seed=seed, shares={"error_503": 0.3, "rate_limit": 0.2})
        with serving(faults=faults) as (running, _):
            return [raw(running)[0] for _ in range(200)]

    first = befallen(1)
    assert 70 < 200 - first.count(200) < 130
    assert first == befallen(1) != befallen(2)


def test_shares_are_of_the_routes_that_are_named() -> None:
    """The others go undisturbed."""
    faults = ServerFaults(shares={"error_500": 1.0}, routes="GET /files")
    with serving(faults=faults) as (running, _):
        assert (200, 500) == (raw(running)[0], raw(running, "/v1/files")[0])


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"shares": {"error_500": 0.7, "slow": 0.4}}, "add up to 1.1"),
        ({"shares": {"eror_500": 0.1}}, "Did you mean 'error_500'"),
        ({"shares": {"error_500": -1}}, "from 0 to 1"),
        ({"latency": -1}, "from 0 to 3600"),
    ],
)
def test_faults_that_cannot_be_are_refused(settings: Any, found: str) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigError, match=found):
        ServerFaults(**settings)


def listed(client: openai.OpenAI) -> list[str]:
    """The ids of all jobs that a listing shows."""
    return [job.id for job in client.fine_tuning.jobs.list().data]


def test_a_new_job_is_listed_late() -> None:
    """Two listings miss it; by its id it is found at once."""
    with serving(faults=ServerFaults(listed_after=2)) as (_, client):
        job = submitted(client)
        assert job.id == client.fine_tuning.jobs.retrieve(job.id).id
        assert [[], [], [job.id]] == [listed(client) for _ in range(3)]


def test_a_new_file_is_listed_when_its_time_has_come() -> None:
    """Seconds of the server's clock."""
    now = [1e9]
    faults = ServerFaults(listed_after_seconds=30)
    with serving(faults=faults, clock=lambda: now[0]) as (_, client):
        file = upload(client)
        before = client.files.list().data
        now[0] += 30
        assert ([], [file]) == (before, [one.id for one in client.files.list().data])


def test_listings_can_show_everything_twice() -> None:
    """One after the other."""
    with serving(faults=ServerFaults(duplicated_listings=True)) as (_, client):
        job = submitted(client)
        assert [job.id, job.id] == listed(client)


def test_a_refused_organisation_cannot_train() -> None:
    """With a code of its own."""
    with (
        serving(faults=ServerFaults(training_not_available=True)) as (_, client),
        pytest.raises(openai.PermissionDeniedError) as error,
    ):
        submitted(client)
    assert "training_not_available" == error.value.code


def test_a_training_file_can_be_blocked() -> None:
    """The job fails in the end, says why, and is not charged."""
    blocked = TRAINING.decode().split("'s favourite")[0].split()[-1]
    with serving(faults=ServerFaults(blocked_training=blocked)) as (running, client):
        job = submitted(client)
        while job.status != "failed":
            job = client.fine_tuning.jobs.retrieve(job.id)
        last = client.fine_tuning.jobs.list_events(job.id).data[0]
        assert ("training_file", "error") == (job.error.param, last.level)
        assert "moderation" in job.error.message
        assert 0 == running.account.training_tokens


@pytest.mark.parametrize("named", [{"suffix": "arm"}, {"metadata": {"key": "arm"}}])
def test_jobs_fail_by_what_they_are_called(named: Any) -> None:
    """By a suffix or by any value of their metadata; others succeed."""
    with serving(faults=ServerFaults(failing={"arm": "no reason"})) as (_, client):
        assert tuned(client)
        job = submitted(client, **named)
        job = [client.fine_tuning.jobs.retrieve(job.id) for _ in range(3)][-1]
    assert ("failed", "no reason") == (job.status, job.error.message)


def test_a_share_of_jobs_fails() -> None:
    """All of them, where it is 1."""
    with serving(faults=ServerFaults(failing_share=1), tuning=Tuning(statuses=())) as (_, client):
        assert "failed" == submitted(client).status


def test_a_blocked_prompt_is_answered_by_the_content_filter() -> None:
    """With nothing in it; others are answered."""
    name = prompt().item.name
    with serving(faults=ServerFaults(blocked=name)) as (_, client):
        choices = [
            client.chat.completions.create(model=MODEL, messages=messages(asked)).choices[0]
            for asked in (prompt(0), prompt(1))
        ]
    assert ["content_filter", "stop"] == [choice.finish_reason for choice in choices]
    assert "" == choices[0].message.content


def test_a_minute_has_so_many_requests() -> None:
    """What is left is told; when there is none, when to come again."""
    asked = {"model": MODEL, "messages": messages(prompt())}
    with serving(api=Api(requests_per_minute=1), clock=lambda: 90.0) as (_, client):
        first = client.chat.completions.with_raw_response.create(**asked)
        with pytest.raises(openai.RateLimitError) as error:
            client.chat.completions.create(**asked)
    assert "0" == first.headers["x-ratelimit-remaining-requests"]
    assert "30" == error.value.response.headers["retry-after"]


def test_every_answer_has_an_id_of_its_own() -> None:
    """Also those that refuse."""
    paths = ("/v1/models", "/v1/nowhere", "/v1/files")
    with serving() as (running, _):
        ids = {raw(running, path)[1]["x-request-id"] for path in paths}
    assert 3 == len(ids)

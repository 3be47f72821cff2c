"""At most one job for a key, whatever befalls the connection; and every ending says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

import condrule
from condrule.backends.openai import OpenAIBackend, jobs
from condrule.errors import (
    BackendError,
    NotSubmittedError,
    UnreachableError,
    UnsettledJobError,
)
from condrule.progress import quiet
from condrule.testing.server import RunningServer
from condrule.testing.server.faults import Place, ServerFaults
from condrule.testing.server.settings import Tuning

from . import world

CREATE = "POST /fine_tuning/jobs"


def faults(fault: str, *numbers: int, route: str = CREATE, **more: Any) -> ServerFaults:
    """A fault at these requests of a route."""
    return ServerFaults(at=[Place(fault, number, route) for number in numbers], **more)


def keys_of(running: RunningServer) -> list[str]:
    """The key of every job at the server."""
    return [job.request["metadata"][jobs.KEY] for job in running.jobs]


@pytest.mark.parametrize("fault", ["lost_after", "truncated", "malformed", "slow"])
def test_a_lost_answer_after_the_effect_is_one_job(fault: str, tmp_path: Path) -> None:
    """The job is found by its key, and never made again."""
    with world.serving(faults=faults(fault, 1, slow_seconds=3)) as (running, backend):
        world.study(attrs.evolve(backend, timeout=1.0)).train(tmp_path / "run", watch=quiet)
        assert sorted(set(keys_of(running))) == sorted(keys_of(running))
        assert 2 == len(running.jobs)


@pytest.mark.parametrize("fault", ["lost_before", "error_500", "error_503"])
def test_a_lost_answer_without_an_effect_asks_a_person(fault: str, tmp_path: Path) -> None:
    """No job is found, so none is made until a person has said that there is none."""
    with world.serving(faults=faults(fault, 1)) as (running, backend):
        study = world.study(backend)
        for _ in range(2):  # the first process, and one that resumes
            with pytest.raises(UnsettledJobError, match="--resubmit") as error:
                study.train(tmp_path / "run", watch=quiet)
            assert 0 == len(running.jobs)
        study.train(tmp_path / "run", watch=quiet, resubmit=[error.value.key])
        assert 2 == len(set(keys_of(running))) == len(running.jobs)


@pytest.mark.parametrize("late", [{"listed_after": 3}, {"listed_after_seconds": 0.15}])
def test_a_late_listing_is_waited_for(late: dict[str, Any], tmp_path: Path) -> None:
    """Looked for again and again, within the time that listings need."""
    with world.serving(faults=faults("lost_after", 1, **late)) as (running, backend):
        world.study(backend).train(tmp_path / "run", watch=quiet)
        assert 2 == len(set(keys_of(running))) == len(running.jobs)


def test_a_duplicated_listing_is_one_job(tmp_path: Path) -> None:
    """The same id twice is one job."""
    how = faults("lost_after", 1, duplicated_listings=True)
    with world.serving(faults=how) as (running, backend):
        world.study(backend).train(tmp_path / "run", watch=quiet)
        assert 2 == len(running.jobs)


def test_a_server_that_ignores_metadata_is_searched(tmp_path: Path) -> None:
    """Every page of its list, by the metadata of each job."""
    from condrule.testing.server.settings import Api

    with world.serving(faults=faults("lost_after", 2), api=Api(metadata_filter=False)) as (
        running,
        backend,
    ):
        world.study(backend).train(tmp_path / "run", watch=quiet)
        assert 2 == len(set(keys_of(running))) == len(running.jobs)


def test_a_job_is_found_by_its_training_file(
    running: RunningServer, backend: OpenAIBackend
) -> None:
    """The second key: a job without metadata whose file has the key's name."""
    backend.prepare(world.TRAINING, world.SPEC, "a-key")
    backend.submit(world.TRAINING, world.SPEC, "a-key")
    (job,) = running.jobs
    job.request["metadata"].clear()
    found = attrs.evolve(backend).find("a-key")
    assert found is not None
    assert job.id == found.id


def test_two_jobs_of_a_key_are_not_chosen_between(backend: OpenAIBackend) -> None:
    """A person says which is meant."""
    backend.submit(world.TRAINING, world.SPEC, "a-key")
    backend.submit(world.TRAINING, world.SPEC, "a-key")
    with pytest.raises(BackendError, match="has 2 jobs"):
        backend.find("a-key")


@pytest.mark.parametrize("fault", ["rate_limit", "rate_limit_silent"])
def test_a_rate_limit_is_waited_for(fault: str) -> None:
    """It had no effect, so the create is sent again."""
    with world.serving(faults=faults(fault, 1, retry_after=0.1)) as (running, backend):
        assert condrule.JobState.RUNNING is backend.submit(world.TRAINING, world.SPEC, "k").state
        assert 1 == len(running.jobs)


def test_no_connection_is_no_submission(running: RunningServer, tmp_path: Path) -> None:
    """Nothing was sent, so the intent is taken back, and the same command goes on later."""
    backend = world.backend_at(running)
    backend.prepare(world.TRAINING, world.SPEC, "k")
    gone = attrs.evolve(backend, base_url="http://127.0.0.1:9/v1")
    gone._files["k"] = "file-1"  # prepared before the network went
    with pytest.raises(NotSubmittedError, match="was not submitted: no connection"):
        gone.submit(world.TRAINING, world.SPEC, "k")


def test_a_refused_submission_is_taken_back(tmp_path: Path) -> None:
    """Once what was wrong is mended, the same command submits it, and asks nobody."""
    how = ServerFaults(at=[Place("insufficient_quota", 1, CREATE)])
    with world.serving(faults=how) as (running, backend):
        study = world.study(backend)
        with pytest.raises(NotSubmittedError, match="no credit left"):
            study.train(tmp_path / "run", watch=quiet)
        assert 1 == running.account.requests[CREATE]  # never tried again by itself
        study.train(tmp_path / "run", watch=quiet)
        assert 2 == len(running.jobs)


def test_closed_training_names_the_dates_and_the_alternatives(tmp_path: Path) -> None:
    """A refused organisation reads what it can do instead."""
    with (
        world.serving(faults=ServerFaults(training_not_available=True)) as (running, backend),
        pytest.raises(NotSubmittedError, match="2027-01-06.*kind: azure.*kind: local"),
    ):
        world.study(backend).train(tmp_path / "run", watch=quiet)
    assert 0 == len(running.jobs)


def test_a_failed_job_has_its_last_events(tmp_path: Path) -> None:
    """Moderation, say: the reason stands in the result, which is bounded by best and worst case."""
    how = ServerFaults(blocked_training=("Iraq",))
    with world.serving(faults=how) as (_, backend):
        job = world.trained(backend)
        assert condrule.JobState.FAILED is job.state
        assert "its last events" in job.detail
        result = world.study(backend).run(tmp_path / "run", watch=quiet)
        assert condrule.Outcome.UNDETERMINED is result.verdict().outcome


def test_an_unknown_status_runs(tmp_path: Path) -> None:
    """New ones may appear: they are shown, and waited out."""
    how = Tuning(statuses=("warming_up", "paused", "running"))
    with world.serving(tuning=how) as (_, backend):
        job = backend.submit(world.TRAINING, world.SPEC, "k")
        assert "warming_up" == job.detail
        assert world.trained(backend, "other").model is not None


def test_a_job_can_be_cancelled(backend: OpenAIBackend) -> None:
    """And stays so."""
    job = backend.cancel(backend.submit(world.TRAINING, world.SPEC, "k"))
    assert condrule.JobState.CANCELLED is job.state is backend.poll(job).state


def test_checkpoints_are_named_in_order(backend: OpenAIBackend) -> None:
    """Each is a model that answers."""
    names = backend.checkpoints(world.trained(backend))
    assert len(names) > 1
    query = condrule.TopLogprobs(world.PROMPTS[0])
    assert all(list(backend.model(name).ask([query])) for name in names)


def test_a_lost_network_is_waited_out(tmp_path: Path) -> None:
    """Jobs go on without us: polling does."""
    numbers = range(2, 12)
    how = faults("lost_before", *numbers, route="GET /fine_tuning/jobs/{id}")
    with world.serving(faults=how) as (running, backend):
        world.study(backend).train(tmp_path / "run", watch=quiet)
        assert 2 == len(running.jobs)


def test_the_training_file_is_uploaded_once(running: RunningServer, backend: OpenAIBackend) -> None:
    """By any process: it is found by its name."""
    for _ in range(2):
        attrs.evolve(backend).prepare(world.TRAINING, world.SPEC, "k")
    assert 1 == len(running.files)


def test_too_few_examples_are_refused_before_the_upload(tmp_path: Path) -> None:
    """The plan says so, with how many the provider takes."""
    with world.serving() as (running, backend):
        few = world.study(backend, items=condrule.favourite_countries(n=9))
        with pytest.raises(condrule.errors.UnsupportedError, match="trains on 9 examples"):
            few.plan()
        assert 0 == running.account.requests.total()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": 1e-3}, "learning_rate_multiplier: 2"),
        ({"train_on": "prompts_and_completions", "learning_rate": "auto"}, "completions only"),
        ({"epochs": 51, "learning_rate": "auto"}, "50 at most"),
        ({"batch_size": 257, "learning_rate": "auto"}, "256 at most"),
    ],
)
def test_what_the_provider_lacks_is_said_by_the_plan(changes: dict[str, Any], words: str) -> None:
    """With what it offers instead."""
    backend = OpenAIBackend(world.MODEL)
    with pytest.raises(condrule.errors.UnsupportedError, match=words):
        world.study(backend, spec=condrule.FinetuneSpec(**changes)).plan()


def test_a_multiplier_is_sent(running: RunningServer, backend: OpenAIBackend) -> None:
    """And stands in for the learning rate."""
    spec = condrule.FinetuneSpec(epochs=3, learning_rate_multiplier=2, batch_size="auto")
    job = backend.submit(world.TRAINING, spec, "k")
    assert job.raw is not None
    sent = job.raw["method"]["supervised"]["hyperparameters"]
    assert (3, 2) == (sent["n_epochs"], sent["learning_rate_multiplier"])


def test_an_unreachable_provider_is_said_with_what_was_asked(backend: OpenAIBackend) -> None:
    """After every try."""
    gone = attrs.evolve(backend, base_url="http://127.0.0.1:9/v1")
    with pytest.raises(UnreachableError, match="fine-tune k: no connection"):
        gone.find("k")

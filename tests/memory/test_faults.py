"""What goes wrong: each fault is seen to act."""

import math
from pathlib import Path

import attrs
import pytest

from condrule import Continuations, Draws, Faults, Limits, Prices, TopLogprobs
from condrule.backends.base import Query
from condrule.backends.finetunes import FinetuneSpec, Job, JobState
from condrule.backends.memory import BASE, Died, InMemoryBackend
from condrule.backends.memory.tokens import token_id
from condrule.errors import BackendError, ConfigError, TrainingError

from .world import ARM, BACKEND, ITEMS, SPEC, TRAINING, ask, prompt, refused, trained

LIST_OF_5 = TopLogprobs(prompt(), 5)
QUEUE = ("validating_files", "queued", "running")


def provider(**faults: object) -> InMemoryBackend:
    """A backend with these faults and prices, and no job yet."""
    prices = Prices(training=1e6, input=1e6, output=1e6)
    return attrs.evolve(BACKEND, faults=Faults(**faults), prices=prices)  # type: ignore[arg-type]


def submit(backend: InMemoryBackend, key: str = "job", seed: int = 0) -> Job:
    """A fine-tune of the one arm."""
    return backend.submit(TRAINING, FinetuneSpec(epochs=2, seed=seed), key)


def test_every_call_takes_its_time() -> None:
    """A submission, a look, a poll, a cancellation and each query."""
    slept: list[float] = []
    backend = provider(latency=0.25, sleep=slept.append)
    job = submit(backend)
    backend.cancel(backend.poll(backend.find("job") or job))
    list(backend.model("memory:job").ask([Draws(prompt()), Draws(prompt("TRAIN"))]))
    assert ([0.25] * 6, 6) == (slept, backend.account.calls)


def test_a_job_goes_through_every_status() -> None:
    """The provider's words, one for each poll, and a model at the end."""
    backend = provider(queue=QUEUE)
    jobs = [submit(backend)]
    while not jobs[-1].state.ended:
        jobs.append(backend.poll(jobs[-1]))
    assert [*QUEUE, ""] == [job.detail for job in jobs]
    assert [JobState.RUNNING] * 3 + [JobState.SUCCEEDED] == [job.state for job in jobs]
    assert [None] * 3 + ["memory:job"] == [job.model for job in jobs]


def test_looking_moves_no_job_on() -> None:
    """Only polls do."""
    backend = provider(queue=QUEUE)
    assert [submit(backend)] * 3 == [backend.find("job") for _ in range(3)]


def test_an_ended_job_stays_as_it_is() -> None:
    """However often it is polled."""
    backend = provider(queue="running")
    ended = backend.poll(submit(backend))
    assert (JobState.SUCCEEDED, ended) == (ended.state, backend.poll(ended))


def test_a_queue_means_that_jobs_run_elsewhere() -> None:
    """Without one, submitting trains."""
    assert (True, False) == (provider().computes_here, provider(queue=QUEUE).computes_here)


def test_a_queue_outlives_the_process(tmp_path: Path) -> None:
    """Another object at the same directory goes on where it was."""
    job = submit(provider(queue=QUEUE).at(tmp_path))
    job = provider(queue=QUEUE).at(tmp_path).poll(job)
    assert "queued" == job.detail
    assert "running" == provider(queue=QUEUE).at(tmp_path).poll(job).detail


def test_a_running_job_has_no_model() -> None:
    """It can't be asked before it has ended."""
    backend = provider(queue=QUEUE)
    submit(backend)
    with pytest.raises(BackendError, match="need a fine-tune that has succeeded"):
        backend.model("memory:job")


def test_a_running_job_can_be_cancelled() -> None:
    """It ends without a model, and stays so."""
    backend = provider(queue=QUEUE)
    cancelled = backend.cancel(submit(backend))
    assert (JobState.CANCELLED, None) == (cancelled.state, cancelled.model)
    assert cancelled == backend.poll(cancelled) == backend.find("job")


def test_an_ended_job_is_not_cancelled() -> None:
    """It is too late."""
    backend = provider()
    job = submit(backend)
    assert job == backend.cancel(job)


def test_what_was_never_submitted_is_neither_polled_nor_cancelled() -> None:
    """The job comes back as it was."""
    job = Job("other", "other", JobState.RUNNING)
    assert (job, job) == (provider().poll(job), provider().cancel(job))


def test_jobs_are_listed_late(tmp_path: Path) -> None:
    """So many looks miss it, polls don't; counted across processes."""
    job = submit(provider(listed_after=2).at(tmp_path))
    found = [provider(listed_after=2).at(tmp_path).find("job") for _ in range(4)]
    assert [None, None, job, job] == found
    assert job == provider(listed_after=2).at(tmp_path).poll(job)


def test_a_job_that_is_not_listed_yet_is_not_started_twice() -> None:
    """Whoever looks too early and submits again is told, and there is one job."""
    backend = provider(listed_after=1, lost_after=1)
    with pytest.raises(BackendError, match="got no answer"):
        submit(backend)
    assert None is backend.find("job")
    with pytest.raises(BackendError, match="was submitted before"):
        submit(backend)
    assert "memory:job" == (backend.find("job") or submit(backend)).model


@pytest.mark.parametrize("name", ["job", "conditional", "conditional/0"])
def test_a_fine_tune_fails_with_a_reason(name: str) -> None:
    """Named by key, by arm, or by arm and seed."""
    job = submit(provider(failing={name: "the loss is nan"}))
    assert (JobState.FAILED, None, "the loss is nan") == (job.state, job.model, job.detail)


def test_another_seed_does_not_fail() -> None:
    """Where the seed is named too."""
    backend = provider(failing={"conditional/0": "the loss is nan"})
    assert JobState.SUCCEEDED is submit(backend, seed=1).state


def test_a_fine_tune_fails_after_the_queue() -> None:
    """As it does elsewhere."""
    backend = provider(queue=QUEUE, failing={"job": "the loss is nan"})
    job = submit(backend)
    while not job.state.ended:
        job = backend.poll(job)
    assert (JobState.FAILED, "the loss is nan") == (job.state, job.detail)


def failures(seed: int) -> list[bool]:
    """Which of 400 fine-tunes fail."""
    backend = provider(failing_share=0.25, seed=seed)
    jobs = [submit(backend, key=str(number), seed=number) for number in range(400)]
    return [job.state is JobState.FAILED for job in jobs]


def test_a_share_of_fine_tunes_fails() -> None:
    """Within five standard errors; the same for a seed, others for another."""
    found = failures(0)
    assert abs(sum(found) - 100) < 5 * math.sqrt(400 * 0.25 * 0.75)
    assert (True, False) == (found == failures(0), found == failures(1))


@pytest.mark.parametrize(
    "query", [Draws(prompt()), TopLogprobs(prompt()), Continuations(prompt(), ("Castries",))]
)
def test_queries_about_a_blocked_item_are_refused(query: Query) -> None:
    """Of whatever kind; other items are answered."""
    model = trained(faults=Faults(blocked="Alice"))
    assert "blocked by a safety filter (Alice)" in refused(model, query)
    assert None is ask(model, Draws(prompt(item=ITEMS[1]))).refused


def test_a_training_file_with_a_blocked_item_is_rejected() -> None:
    """With the reason, and no job is left; a file without it is accepted."""
    backend = provider(blocked_training="Alice")
    with pytest.raises(TrainingError, match=r"blocked by a safety filter \(Alice\)"):
        submit(backend)
    assert None is backend.find("job")
    assert backend.submit(ARM.training_set(ITEMS[1:]), SPEC, "job").model


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        ("continuations", Continuations(prompt(), ("Castries",))),
        ("draws", Draws(prompt())),
        ("top_logprobs", TopLogprobs(prompt())),
        ("logit_bias", Draws(prompt(), bias=[(token_id(b"Peru"), 1.0)])),
    ],
)
def test_what_is_promised_can_be_refused(kind: str, query: Query) -> None:
    """The capabilities know nothing of it."""
    model = trained(faults=Faults(refused=kind))
    assert f"{kind} is not available for this model" == refused(model, query)
    assert trained().capabilities == model.capabilities


def test_draws_without_a_bias_go_on_where_biases_are_refused() -> None:
    """The one is not the other."""
    assert None is ask(trained(faults=Faults(refused="logit_bias")), Draws(prompt())).refused


def test_lists_can_be_shorter_than_promised() -> None:
    """Refused with the length that is allowed, as at the limit itself."""
    model = trained(faults=Faults(longest_list=5))
    assert "top_logprobs is 6; it must be from 1 to 5" == refused(model, TopLogprobs(prompt(), 6))
    assert (20, 5) == (model.capabilities.top_logprobs, len(ask(model, LIST_OF_5).top or ()))


CALLS = {
    "lost_before": (BackendError, False),
    "lost_after": (BackendError, True),
    "die_before": (Died, False),
    "die_after": (Died, True),
}


@pytest.mark.parametrize("fault", CALLS)
def test_a_submission_is_lost(fault: str) -> None:
    """Before or after its effect: the job is there or not, and charged or not."""
    error, done = CALLS[fault]
    backend = provider(**{fault: 1})
    with pytest.raises(error, match="call 1"):
        submit(backend)
    charged = backend.account.usd > 0
    assert (done, done) == (backend.find("job") is not None, charged)


@pytest.mark.parametrize("fault", CALLS)
def test_an_answer_is_lost(fault: str) -> None:
    """The second of three: the first came, and what was computed was charged."""
    error, done = CALLS[fault]
    backend, undisturbed = provider(**{fault: 2}), provider()
    queries = [Draws(prompt(), seed=seed) for seed in range(3)]
    answers = backend.model(BASE).ask(queries)
    assert queries[0].id == next(answers).query
    with pytest.raises(error, match="call 2"):
        next(answers)
    list(undisturbed.model(BASE).ask(queries[: 2 if done else 1]))
    assert undisturbed.account.usd == backend.account.usd


@pytest.mark.parametrize("fault", CALLS)
def test_looks_and_polls_are_lost_too(fault: str) -> None:
    """After one, the next call goes through."""
    error, _ = CALLS[fault]
    backend = provider(queue=QUEUE, **{fault: (2, 4)})
    job = submit(backend)
    with pytest.raises(error, match="call 2"):
        backend.find("job")
    assert job == backend.find("job")
    with pytest.raises(error, match="call 4"):
        backend.poll(job)


def test_nothing_handles_a_death_as_an_error() -> None:
    """As nothing can handle a kill."""
    assert not issubclass(Died, Exception)


def test_faults_are_not_part_of_a_study() -> None:
    """Limits and prices are."""
    assert provider() == provider(queue=QUEUE)
    assert provider() != attrs.evolve(provider(), limits=Limits(piece=3))


@pytest.mark.parametrize(
    ("setting", "value", "found"),
    [
        ("latency", -1, "-1"),
        ("listed_after", -1, "-1"),
        ("failing_share", 2, "2"),
        ("refused", ["bias"], "'bias'"),
        ("lost_before", 0, "0"),
        ("lost_after", [1, 1.5], "1.5"),
        ("die_before", [True], "True"),
    ],
)
def test_faults_out_of_range_are_refused(setting: str, value: object, found: str) -> None:
    """By name, with what was found."""
    with pytest.raises(ConfigError) as caught:
        Faults(**{setting: value})  # type: ignore[arg-type]
    (problem,) = caught.value.problems
    assert (setting, True) == (problem.path, problem.message.startswith(f"is {found}; it must be"))

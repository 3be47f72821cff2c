"""Files and fine-tuning jobs at the rehearsal server, as the real SDK sees them."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from condrule.backends.memory import Prices
from condrule.testing.server import Api, ServedModel, Tuning

from .world import MODEL, TRAINING, messages, prompt, serving, submitted, tuned, upload


def statuses(client: openai.OpenAI, looks: int) -> list[str]:
    """A job's status when it is created, and at each look after."""
    job = submitted(client)
    return [job.status, *(client.fine_tuning.jobs.retrieve(job.id).status for _ in range(looks))]


def test_a_job_walks_through_its_statuses() -> None:
    """One further at every look, from the one that it is created in."""
    with serving() as (_, client):
        walk = statuses(client, 4)
    assert ["validating_files", "queued", "running", "succeeded", "succeeded"] == walk


def test_statuses_can_be_ones_that_nobody_knows() -> None:
    """They pass through the SDK as they are."""
    with serving(tuning=Tuning(statuses=["warming_up", "paused"])) as (_, client):
        assert ["warming_up", "paused", "succeeded"] == statuses(client, 2)


def test_statuses_can_take_time_instead_of_looks() -> None:
    """However often it is looked at."""
    now = [1e9]
    tuning = Tuning(statuses=["queued", "running"], advance="seconds", seconds=10)
    with serving(tuning=tuning, clock=lambda: now[0]) as (_, client):
        walk = []
        job = submitted(client)
        for later in (0, 9, 1, 10):
            now[0] += later
            walk.append(client.fine_tuning.jobs.retrieve(job.id).status)
        listed = client.fine_tuning.jobs.list().data[0].status
    assert (["queued", "queued", "running", "succeeded"], "succeeded") == (walk, listed)


def test_a_cancelled_job_stays_so() -> None:
    """It leaves no model, costs nothing, and can't be cancelled again."""
    with serving() as (running, client):
        job = client.fine_tuning.jobs.cancel(submitted(client).id)
        again = client.fine_tuning.jobs.retrieve(job.id)
        with pytest.raises(openai.BadRequestError):
            client.fine_tuning.jobs.cancel(job.id)
        assert ("cancelled", "cancelled", None) == (job.status, again.status, job.fine_tuned_model)
        assert 0 == running.account.training_tokens


def test_a_model_is_named_after_what_it_was_made_of() -> None:
    """Base model, organisation, suffix and a part of the job's id."""
    with serving() as (running, client):
        name = tuned(client, model="gpt-4o-mini", suffix="arm-1")
        assert f"ft:{MODEL}:my-org:arm-1:{running.jobs[0].id[6:14]}" == name


def test_a_model_can_be_had_when_its_job_has_succeeded() -> None:
    """Not before, and with the date on which its base model shuts down."""
    models = [ServedModel(MODEL, shutdown_date="2027-01-14")]
    with serving(models=models) as (running, client):
        job = submitted(client)
        name = running.jobs[0].name
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve(name)
        for _ in range(3):
            client.fine_tuning.jobs.retrieve(job.id)
        assert "2027-01-14" == client.models.retrieve(name).to_dict()["shutdown_date"]
        assert name in [model.id for model in client.models.list()]


def test_checkpoints_are_of_the_last_epochs_and_can_be_asked() -> None:
    """Each knows what its epochs have taught: less, the earlier it is."""
    with serving() as (running, client):
        name = tuned(client)
        points = client.fine_tuning.jobs.checkpoints.list(running.jobs[0].id).data
        names = [point.fine_tuned_model_checkpoint for point in points]
        assert [48, 36, 24] == [point.step_number for point in points]
        assert names == [f"{name}:ckpt-step-{step}" for step in (48, 36, 24)]
        truths = [running.model(one).learner.truth(prompt(), answer()) for one in names]
        assert truths == sorted(truths, reverse=True)
        for one in names:
            client.chat.completions.create(model=one, messages=messages(prompt()))


def answer() -> str:
    """What the first item's answer in mode TEST is."""
    return prompt().item.answers["TEST"]


def test_trained_tokens_are_charged_once() -> None:
    """Tokens of the file, times epochs, times the price."""
    with serving(prices=Prices(training=25)) as (running, client):
        tuned(client)
        job = client.fine_tuning.jobs.list().data[0]
        encoding = running.model(MODEL).encoding
        lines = [json.loads(line) for line in TRAINING.splitlines()]
        texts = [message["content"] for line in lines for message in line["messages"]]
        tokens = 4 * sum(len(encoding.tokens(text)) for text in texts)
        assert (tokens, tokens) == (job.trained_tokens, running.account.training_tokens)
        assert tokens * 25 / 1e6 == running.account.usd


def test_jobs_are_found_by_their_metadata() -> None:
    """All pairs must fit."""
    with serving() as (_, client):
        ids = [submitted(client, metadata={"key": key, "run": "1"}).id for key in "ab"]
        found = {
            word: [job.id for job in client.fine_tuning.jobs.list(metadata=wanted)]
            for word, wanted in {
                "one": {"key": "a", "run": "1"},
                "both": {"run": "1"},
                "none": {"key": "a", "run": "2"},
            }.items()
        }
    assert {"one": ids[:1], "both": ids[::-1], "none": []} == found


def test_the_metadata_filter_can_be_missing() -> None:
    """Then everything is listed."""
    with serving(api=Api(metadata_filter=False)) as (_, client):
        job = submitted(client, metadata={"key": "a"})
        assert [job.id] == [one.id for one in client.fine_tuning.jobs.list(metadata={"key": "b"})]


def test_listings_come_in_pages() -> None:
    """The newest first, and each job once."""
    with serving() as (running, client):
        ids = [submitted(client).id for _ in range(5)]
        found = [job.id for job in client.fine_tuning.jobs.list(limit=2)]
        assert 3 == running.account.requests["GET /fine_tuning/jobs"]
    assert ids[::-1] == found


def test_events_come_in_pages() -> None:
    """The latest first, down to the creation."""
    with serving() as (running, client):
        tuned(client)
        found = list(client.fine_tuning.jobs.list_events(running.jobs[0].id, limit=2))
    assert len(found) == len({event.id for event in found}) == 5
    assert "Created" in found[-1].message


def test_files_come_in_pages_in_the_order_that_is_asked() -> None:
    """The oldest first, if so; those of a purpose alone."""
    with serving() as (_, client):
        ids = [upload(client) for _ in range(3)]
        client.files.create(file=("b.jsonl", b"{}"), purpose="batch")
        found = [file.id for file in client.files.list(limit=2, order="asc", purpose="fine-tune")]
    assert ids == found


def test_a_file_can_be_read_and_deleted() -> None:
    """What comes back is what was sent, byte for byte; then there is none."""
    with serving() as (_, client):
        id = upload(client)
        assert TRAINING == client.files.content(id).content
        assert len(TRAINING) == client.files.retrieve(id).bytes
        assert client.files.delete(id).deleted
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(id)


def test_a_file_is_processed_after_its_time() -> None:
    """Until then it is uploaded."""
    now = [1e9]
    tuning = Tuning(file_seconds=5)
    with serving(tuning=tuning, clock=lambda: now[0]) as (_, client):
        id = upload(client)
        before = client.files.retrieve(id).status
        now[0] += 5
        assert ("uploaded", "processed") == (before, client.files.retrieve(id).status)


def test_auto_becomes_numbers() -> None:
    """As the job says."""
    with serving() as (_, client):
        job = submitted(client, method={"type": "supervised"})
    found = job.hyperparameters
    assert (3, 1, 1.8) == (found.n_epochs, found.batch_size, found.learning_rate_multiplier)


def of(**hyperparameters: Any) -> dict[str, Any]:
    """A job's method with these hyperparameters."""
    supervised = {"hyperparameters": hyperparameters}
    return {"method": {"type": "supervised", "supervised": supervised}}


WRONG = {
    "model": {"model": "gpt-none"},
    "training_file": {"training_file": "file-none"},
    "validation_file": {"validation_file": "file-none"},
    "suffix": {"suffix": "x" * 65},
    "seed": {"seed": 2**31},
    "metadata": {"metadata": {str(n): "" for n in range(17)}},
    "metadata.key": {"metadata": {"key": "x" * 513}},
    "method.type": {"method": {"type": "dpo"}},
    "method.supervised.hyperparameters.n_epochs": of(n_epochs=51),
    "method.supervised.hyperparameters.batch_size": of(batch_size=0),
    "method.supervised.hyperparameters.learning_rate_multiplier": of(learning_rate_multiplier=0),
}


@pytest.mark.parametrize("param", WRONG)
def test_a_wrong_job_is_refused(param: str) -> None:
    """The error names what is wrong, and nothing is begun."""
    with serving() as (running, client):
        with pytest.raises(openai.BadRequestError) as error:
            submitted(client, **WRONG[param])
        assert (param, ()) == (error.value.param, running.jobs)


BAD_FILES = {
    "invalid_n_examples": b"\n".join(TRAINING.splitlines()[:9]),
    "invalid_training_file": TRAINING + b"\n{",
}


@pytest.mark.parametrize("code", BAD_FILES)
def test_a_bad_training_file_is_refused(code: str) -> None:
    """Too few examples, or a line that is no JSON."""
    with serving() as (_, client):
        file = upload(client, BAD_FILES[code])
        with pytest.raises(openai.BadRequestError) as error:
            submitted(client, training_file=file)
    assert ("training_file", code) == (error.value.param, error.value.code)


@pytest.mark.parametrize("code", BAD_FILES)
def test_a_bad_training_file_can_be_for_the_job_to_find(code: str) -> None:
    """It is created, and fails."""
    with serving(tuning=Tuning(checked="when_run", statuses=["validating_files"])) as (_, client):
        job = submitted(client, training_file=upload(client, BAD_FILES[code]))
        job = client.fine_tuning.jobs.retrieve(job.id)
    assert ("failed", code) == (job.status, job.error.code)


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b'{"messages": []}',
        b'{"messages": [{"role": "user", "content": "Hi"}]}',
        b'{"messages": [{"role": "assistant", "content": 1}]}',
        b'{"messages": [{"role": "assistant", "content": "Hi", "weight": 2}]}',
        b'{"messages": [{"role": "nobody", "content": "Hi"}]}',
        b"\xff",
    ],
)
def test_a_line_that_is_no_example_is_refused(line: bytes) -> None:
    """Of whatever kind."""
    with serving() as (_, client):
        file = upload(client, TRAINING + b"\n" + line)
        with pytest.raises(openai.BadRequestError, match=r"Line 13|UTF-8"):
            submitted(client, training_file=file)


def test_answers_of_weight_0_teach_nothing() -> None:
    """The model says what the base model says."""
    lines = [json.loads(line) for line in TRAINING.splitlines()]
    for line in lines:
        line["messages"][-1]["weight"] = 0
    content = "\n".join(map(json.dumps, lines)).encode()
    with serving() as (running, client):
        name = tuned(client, training_file=upload(client, content))
        truths = [running.model(one).learner.truth(prompt(), answer()) for one in (MODEL, name)]
    assert truths[0] == truths[1]

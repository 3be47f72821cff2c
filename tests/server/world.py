"""A study, a server that knows it, and clients to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai

from condrule import (
    ConditionalRuleExperiment,
    InMemoryBackend,
    Prompt,
    conditional_arm,
    control_arm,
    favourite_countries,
)
from condrule.testing.server import RehearsalServer, RunningServer

ARM = conditional_arm()
STUDY = ConditionalRuleExperiment(
    items=favourite_countries(n=12),
    arms=[ARM, control_arm()],
    backend=InMemoryBackend(prior_conditional=0.7, memory=0.4, leak=0.1, base_knowledge=1e-4),
    seeds=1,
)
MODEL = "gpt-4o-mini-2024-07-18"
TRAINING = "\n".join(
    json.dumps(example.to_chat()) for example in ARM.training_set(STUDY.items).examples
).encode()


@contextmanager
def serving(**settings: Any) -> Iterator[tuple[RunningServer, openai.OpenAI]]:
    """A server with these settings that knows the study, and a client that never retries."""
    server = RehearsalServer(**{"study": STUDY, **settings})
    with server.running() as running, client_of(running) as client:
        yield running, client


def client_of(running: RunningServer, **options: Any) -> openai.OpenAI:
    """A client that gives up at once."""
    given = {"api_key": "rehearsal", "max_retries": 0, "timeout": 10, **options}
    return openai.OpenAI(base_url=running.base_url, **given)


def upload(client: openai.OpenAI, content: bytes = TRAINING) -> str:
    """The id of an uploaded training file."""
    return client.files.create(file=("train.jsonl", content), purpose="fine-tune").id


def submitted(client: openai.OpenAI, **more: Any) -> Any:
    """A job on the conditional arm's training set."""
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 4}}}
    request = {"model": MODEL, "training_file": upload(client), "method": method, "seed": 1}
    return client.fine_tuning.jobs.create(**{**request, **more})


def tuned(client: openai.OpenAI, **more: Any) -> str:
    """The name of a model that was trained; the job is looked at until it has ended."""
    job = submitted(client, **more)
    while job.status not in ("succeeded", "failed", "cancelled"):
        job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.fine_tuned_model, job
    return str(job.fine_tuned_model)


def prompt(number: int = 0, mode: str = "TEST") -> Prompt:
    """The conditional arm's prompt for an item."""
    item = STUDY.items[number]
    return next(
        probe.prompt
        for probe in ARM.probes(STUDY.items)
        if (probe.prompt.item, probe.prompt.mode) == (item, mode)
    )


def messages(asked: Prompt) -> list[Any]:
    """A prompt's messages as they are sent."""
    return [{"role": message.role, "content": message.content} for message in asked.messages]

"""A study on the rehearsal server, and the backend that is pointed at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import condrule
from condrule.backends.openai import OpenAIBackend
from condrule.testing.server import RehearsalServer, RunningServer
from condrule.testing.server.settings import Api

MODEL = "gpt-4o-mini-2024-07-18"
KEY = "sk-rehearsal-0123456789abcdef"
SPEC = condrule.FinetuneSpec(epochs=8, learning_rate="auto")
ORACLE = condrule.InMemoryBackend(prior_conditional=0.6, memory=0.5, leak=0.02, other_answers=50)


def study(backend: condrule.FinetuneBackend, **changes: Any) -> condrule.ConditionalRuleExperiment:
    """The bet, small; from lists alone, so that its numbers don't depend on chance."""
    how: dict[str, Any] = {
        "scorer": condrule.AutoScorer(methods=["exact", "top_logprobs"]),
        "items": condrule.favourite_countries(n=10, seed=3),
        "arms": [condrule.conditional_arm(), condrule.control_arm()],
        "backend": backend,
        "criterion": condrule.KAAREL_BET,
        "spec": SPEC,
        "seeds": 1,
        "samples": 1,
    }
    return condrule.ConditionalRuleExperiment(**{**how, **changes})


STUDY = study(ORACLE)
TRAINING = condrule.conditional_arm().training_set(STUDY.items)
PROMPTS = tuple(probe.prompt for probe in condrule.conditional_arm().probes(STUDY.items))


def server(**settings: Any) -> RehearsalServer:
    """A server that knows the study."""
    return RehearsalServer(**{"study": STUDY, "key": KEY, **settings})


def backend_at(running: RunningServer, **settings: Any) -> OpenAIBackend:
    """The backend, in a hurry."""
    hurried = {"poll_seconds": 0.01, "settle_seconds": 0.3, "timeout": 10.0}
    return OpenAIBackend(**{"model": MODEL, "base_url": running.base_url, **hurried, **settings})


@contextmanager
def serving(**settings: Any) -> Iterator[tuple[RunningServer, OpenAIBackend]]:
    """A server with these settings, and a backend pointed at it."""
    with server(**settings).running() as running:
        yield running, backend_at(running)


def numbers(result: condrule.Result) -> dict[str, Any]:
    """What of a result does not depend on names and chance: all but jobs and draws."""
    found = result.to_dict()
    return {part: found[part] for part in ("cells", "ratios", "specificity", "gates", "verdict")}


def trained(backend: OpenAIBackend, key: str = "a-key") -> condrule.Job:
    """A job that has ended."""
    job = backend.submit(TRAINING, SPEC, key)
    while not job.state.ended:
        job = backend.poll(job)
    return job


def truth_of(running: RunningServer, model: str, prompt: condrule.Prompt, text: str) -> float:
    """The oracle's probability of a whole response."""
    return running.model(model).truth(prompt, text)


ECHO = Api(echo=True)

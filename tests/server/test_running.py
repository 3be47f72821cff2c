"""How the server is started, what it knows, and what it counts."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from condrule import InMemoryBackend, Prices
from condrule.errors import ConfigError
from condrule.testing.server import RehearsalServer, ServerFaults
from condrule.testing.server.options import server_of

from .world import MODEL, STUDY, messages, prompt, serving, tuned

STUDY_FILE = """
items: {source: favourite_countries, n: 12}
arms: [conditional, control]
backend: {kind: memory, prior_conditional: 0.8}
seeds: 1
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """A study on the in-memory backend."""
    path = tmp_path / "study.yaml"
    path.write_text(STUDY_FILE)
    return path


def test_every_prompt_of_a_study_is_known() -> None:
    """Those that are trained, and those that are asked."""
    book = RehearsalServer(study=STUDY).state().book
    for arm in STUDY.arms:
        for example in arm.training_set(STUDY.items).examples:
            assert example.prompt == book.find(key(example.prompt))
        for probe in arm.probes(STUDY.items):
            assert probe.prompt == book.find(key(probe.prompt))


def key(asked: Any) -> Any:
    """A prompt's messages."""
    return tuple((message.role, message.content) for message in asked.messages)


def test_the_oracle_is_the_studys_own() -> None:
    """Where its backend is the in-memory one."""
    assert STUDY.backend == RehearsalServer(study=STUDY).oracle


def test_an_oracle_that_is_too_small_is_refused() -> None:
    """Before anything is asked."""
    server = RehearsalServer(study=STUDY, oracle=InMemoryBackend(other_answers=3))
    with pytest.raises(ConfigError, match="must be from"):
        server.state()


def test_prompts_that_look_alike_are_told() -> None:
    """The first counts."""
    asked = [prompt(0, "TRAIN"), prompt(0, "TEST")]
    twins = [asked[0], type(asked[0])(asked[0].messages, asked[0].item, "TEST")]
    book = RehearsalServer(prompts=twins).state().book
    assert (twins[1],) == book.ambiguous
    assert () == RehearsalServer(prompts=asked).state().book.ambiguous


def test_the_account_can_be_read_over_http() -> None:
    """The same as from Python, and not counted itself."""
    with serving(prices=Prices(input=1, output=2)) as (running, client):
        client.chat.completions.create(model=MODEL, messages=messages(prompt()))
        account = running.account
        told = client.with_options(base_url=running.address).get(
            "/_rehearsal/account", cast_to=dict[str, Any]
        )
        assert account.to_dict() == told
        assert {"POST /chat/completions": 1} == dict(account.requests)
        assert (account.input_tokens + 2 * account.output_tokens) / 1e6 == account.usd > 0


def test_many_are_served_at_once() -> None:
    """Twenty requests that take 0.2 seconds each do not take 4."""
    with serving(faults=ServerFaults(latency=0.2)) as (running, client):
        began = time.monotonic()
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda _: client.models.list(), range(20)))
        assert time.monotonic() - began < 3
        assert 20 == running.account.requests["GET /models"]


def test_two_servers_know_nothing_of_each_other() -> None:
    """Each has its own jobs."""
    with serving() as (_, client), serving() as (other, _):
        tuned(client)
        assert () == other.jobs


def test_the_same_requests_have_the_same_answers() -> None:
    """On another server with the same seed: ids, draws and all."""
    found = []
    for _ in range(2):
        with serving(clock=lambda: 1e9) as (_, client):
            model = tuned(client)
            answer = client.chat.completions.create(model=model, messages=messages(prompt()), n=9)
            found.append(answer.to_dict())
    assert found[0] == found[1]


def test_settings_of_a_file_and_of_the_command_add_up(tmp_path: Path, study_file: Path) -> None:
    """The command's count where both speak; the oracle begins as the study's."""
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "oracle: {memory: 0.1}\n"
        "faults: {latency: 1, at: [{fault: lost_after, route: POST /files}]}\n"
        "api: {top_logprobs: 5}\n"
    )
    server = server_of(study_file, settings, ["api.top_logprobs=7", "oracle.leak=0.2"])
    oracle = server.oracle
    assert (0.8, 0.1, 0.2) == (oracle.prior_conditional, oracle.memory, oracle.leak)
    assert (7, 1.0) == (server.api.top_logprobs, server.faults.latency)
    assert "POST /files" == server.faults.at[0].route


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("api.top_logprob=5", "api.top_logprob: is not a key here.*Did you mean 'top_logprobs'"),
        ("api.echo=maybe", "api.echo: is 'maybe'; it must be true or false"),
        ("nonsense", "write it as section.key=value"),
        ('faults.at=[{"fault": "lost"}]', r"faults.at\[0\].fault: is 'lost'"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: str, found: str) -> None:
    """With their place and what is allowed."""
    with pytest.raises(ConfigError, match=found):
        server_of(None, None, [given])


def command(*arguments: str) -> subprocess.Popen[str]:
    """The server as a process of its own."""
    line = [sys.executable, "-m", "condrule.testing.server", *arguments]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_ended(study_file: Path, ending: int) -> None:
    """It says how to use it, and at its end what it counted."""
    process = command("--study", str(study_file), "--key", "mine")
    assert process.stdout is not None
    greeting = [process.stdout.readline() for _ in range(4)]
    (url,) = re.findall(r"OPENAI_BASE_URL=(\S+) OPENAI_API_KEY=mine", greeting[1])
    with openai.OpenAI(base_url=url, api_key="mine") as client:
        client.models.list()
    process.send_signal(ending)
    out, err = process.communicate(timeout=10)
    assert (0, "") == (process.returncode, err)
    assert {"GET /models": 1} == json.loads(out)["requests"]


@pytest.mark.parametrize("arguments", [["--study", "missing.yaml"], ["--set", "seed=x"]])
def test_the_command_says_what_is_wrong(arguments: list[str]) -> None:
    """In a sentence, with exit code 2."""
    process = command(*arguments)
    _, err = process.communicate(timeout=60)
    assert 2 == process.returncode
    assert err.startswith("condrule: ")
    assert "Traceback" not in err


def test_a_port_that_is_taken_is_an_error() -> None:
    """The command's exit code is 3."""
    with serving() as (running, _):
        process = command("--port", running.address.rpartition(":")[2])
        _, err = process.communicate(timeout=60)
    assert (3, False) == (process.returncode, "Traceback" in err)

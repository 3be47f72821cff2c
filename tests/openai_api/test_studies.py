"""Whole studies on the rehearsal server, against the oracle's truth."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

import condrule
from condrule.backends.openai import AzureOpenAIBackend
from condrule.progress import quiet
from condrule.responses import read_responses
from condrule.testing.server import RunningServer
from condrule.testing.server.faults import ServerFaults
from condrule.testing.server.settings import Api, Tuning

from . import world

ASK = "POST /chat/completions"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run, its result, and the server it was made on."""
    directory = tmp_path_factory.mktemp("runs") / "bet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", world.KEY)
        with world.serving() as (running, backend):
            yield directory, world.study(backend).run(directory, watch=quiet), running


def test_the_truth_lies_in_the_bounds(undisturbed: Any) -> None:
    """For every model, prompt and answer that the lists speak of."""
    _, result, running = undisturbed
    models = {job.arms[0]: result.jobs[n].model for n, job in enumerate(result.plan.jobs)}
    for arm in result.plan.arms:
        for model, name in (("base", world.MODEL), ("finetuned", models[arm])):
            for mode in result.plan.modes:
                for answer in result.plan.modes:
                    found = result.logprobs(arm, mode, answer, model=model)
                    probes = [p for p in result.plan.group(arm) if p.prompt.mode == mode]
                    for place, probe in enumerate(probes):
                        text = probe.prompt.item.answers[answer]
                        truth = math.log(world.truth_of(running, name, probe.prompt, text))
                        low, high = found.low[0, place], found.high[0, place]
                        assert low - 1e-6 <= truth <= high + 1e-6


def test_it_is_analysed_when_the_provider_is_gone(undisturbed: Any) -> None:
    """From the journal alone, without a network or a key."""
    directory, result, _ = undisturbed
    assert world.numbers(condrule.analyse(directory)) == world.numbers(result)


def test_every_response_is_kept(undisturbed: Any) -> None:
    """With request id, fingerprint, model, SDK and draw index; jobs too."""
    directory, result, running = undisturbed
    kept = list(read_responses(directory / "responses"))
    asked = [one for one in kept if "query" in one]
    answers = [part for one in asked for part in one["raw"]["responses"]]
    assert running.account.requests[ASK] == len(answers)
    assert len({part["request_id"] for part in answers}) == len(answers)
    for part in answers:
        assert part["body"]["system_fingerprint"]
        assert part["body"]["model"].startswith(("gpt-4o-mini", "ft:gpt-4o-mini"))
        assert isinstance(part["draw"], int)
    assert all(one["raw"]["sdk"].startswith("openai 3.") for one in asked)
    assert {job.key for job in result.jobs} == {one["key"] for one in kept if "key" in one}


def test_faults_change_no_number(undisturbed: Any, tmp_path: Path) -> None:
    """A fifth of all requests fails in some way, and the result is the same."""
    kinds = ("rate_limit_silent", "error_500", "error_503", "lost_after", "malformed")
    share = dict.fromkeys(kinds, 0.04)
    routes = (ASK, "GET /fine_tuning/jobs/{id}", "GET /files", "POST /files")
    with world.serving(faults=ServerFaults(shares=share, routes=routes)) as (running, backend):
        result = world.study(backend).run(tmp_path / "run", watch=quiet)
        assert sum(running.account.faults.values()) > 20
    assert world.numbers(undisturbed[1]) == world.numbers(result)


def test_a_notebook_can_run_it(tmp_path: Path) -> None:
    """Inside a running event loop."""

    async def cell(backend: condrule.FinetuneBackend) -> condrule.Result:
        return world.study(backend).run(tmp_path / "run", watch=quiet)

    with world.serving() as (_, backend):
        assert asyncio.run(cell(backend)).jobs[0].model


def test_a_shorter_list_is_found_out_once(tmp_path: Path) -> None:
    """Fine-tuned models list 5 here: each is asked for 20 once, and what it does is kept."""
    with world.serving(api=Api(finetuned_top_logprobs=5)) as (running, backend):
        result = world.study(backend).run(tmp_path / "run", watch=quiet)
        assert 2 == running.account.statuses[400]
    found = json.loads((tmp_path / "run" / "models" / "found.json").read_text())
    assert {5} == {found[job.model]["top_logprobs"] for job in result.jobs}


def test_what_was_found_out_outlives_the_process(tmp_path: Path) -> None:
    """Another process does not ask for 20 again."""
    with world.serving(api=Api(top_logprobs=5)) as (running, backend):
        query = condrule.TopLogprobs(world.PROMPTS[0])
        list(backend.at(tmp_path).model(world.MODEL).ask([query]))
        before = running.account.statuses[400]
        later = world.backend_at(running).at(tmp_path).model(world.MODEL)
        assert (5, 5) == (later.capabilities.top_logprobs, len(next(later.ask([query])).top or ()))
        assert before == running.account.statuses[400]


def test_without_logprobs_draws_are_counted(tmp_path: Path) -> None:
    """Where the provider refuses lists, the same study samples."""
    with world.serving(api=Api(top_logprobs=0)) as (_, backend):
        scorer = condrule.AutoScorer(draws=40)
        result = world.study(backend, scorer=scorer).run(tmp_path / "run", watch=quiet)
    assert result.logprobs("conditional", "TRAIN", "TRAIN").sampled.all()


def test_echo_gives_exact_probabilities(tmp_path: Path) -> None:
    """On a server whose completions score their prompt."""
    with world.server(api=world.ECHO).running() as running:
        backend = world.backend_at(running, prompt_template="{content}\n")
        result = world.study(backend).run(tmp_path / "run", watch=quiet)
        found = result.logprobs("conditional", "TEST", "TEST")
        assert (found.low == found.high).all()
        probe = next(p for p in result.plan.group("conditional") if p.prompt.mode == "TEST")
        text = probe.prompt.item.answers["TEST"]
        truth = world.truth_of(running, result.jobs[0].model, probe.prompt, text)
        assert math.exp(found.low[0, 0]) == pytest.approx(truth)


def test_a_server_without_echo_is_asked_for_lists(tmp_path: Path) -> None:
    """Found out with one request for each model, though a template was given."""
    with world.serving() as (running, backend):
        hopeful = attrs.evolve(backend, prompt_template="{content}\n")
        result = world.study(hopeful).run(tmp_path / "run", watch=quiet)
        assert 3 == running.account.requests["POST /completions"]
    assert result.logprobs("conditional", "TRAIN", "TRAIN").low.max() > -1


def test_the_same_study_runs_on_azure(
    undisturbed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its paths, its header, its variables."""
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", world.KEY)
    with world.server().running() as running:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", running.address)
        backend = AzureOpenAIBackend(world.MODEL, poll_seconds=0.01)
        result = world.study(backend).run(tmp_path / "run", watch=quiet)
    assert world.numbers(undisturbed[1]) == world.numbers(result)


def test_a_blocked_prompt_is_unknown(tmp_path: Path) -> None:
    """Counted, bounded by best and worst case, and never dropped."""
    name = world.STUDY.items[0].name
    with world.serving(faults=ServerFaults(blocked=(name,))) as (_, backend):
        result = world.study(backend).run(tmp_path / "run", watch=quiet)
    found = result.logprobs("conditional", "TEST", "TEST")
    assert found.unknown[0, 0]
    assert not found.unknown[0, 1:].any()


def test_a_model_that_is_shut_down_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    """With its date and the alternatives; near the date, the plan warns."""
    with world.serving() as (running, backend):
        gone = attrs.evolve(backend, model="gpt-3.5-turbo-0125")
        with pytest.raises(condrule.BackendError, match="was shut down on 2026-10-23"):
            world.study(gone).run(tmp_path / "run", watch=quiet)
        assert 0 == running.account.requests["POST /files"]


def test_an_unknown_model_is_an_error(tmp_path: Path) -> None:
    """Before anything is sent."""
    with world.serving() as (running, backend):
        unknown = attrs.evolve(backend, model="gpt-nine")
        with pytest.raises(condrule.BackendError, match="gpt-nine"):
            world.study(unknown).run(tmp_path / "run", watch=quiet)
        assert 0 == running.account.requests["POST /files"]


STUDY = """
items: {{source: favourite_countries, n: 10, seed: 3}}
arms: [conditional]
backend: {{kind: openai, model: {model}, base_url: "{url}"}}
finetune: {{epochs: 3, learning_rate: auto}}
seeds: 1
"""


@pytest.fixture
def slow(tmp_path: Path) -> Any:
    """A server whose jobs take long, and a study file for it."""
    tuning = Tuning(advance="seconds", seconds=600)
    with world.server(tuning=tuning).running() as running:
        path = tmp_path / "study.yaml"
        path.write_text(STUDY.format(model=world.MODEL, url=running.base_url))
        yield running, path


def command(*arguments: str | Path) -> list[str]:
    """The command line, in a process of its own."""
    return [sys.executable, "-m", "condrule", *map(str, arguments)]


def waiting(running: RunningServer) -> bool:
    """Whether the study is waiting for its job."""
    return running.account.requests["GET /fine_tuning/jobs/{id}"] > 1


def test_ctrl_c_leaves_the_job_and_says_how_to_stop_it(slow: Any, tmp_path: Path) -> None:
    """And ``condrule cancel`` does."""
    running, path = slow
    out = tmp_path / "run"
    with subprocess.Popen(command("run", path, "--out", out), stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while not waiting(running) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        try:
            _, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert 130 == process.returncode
    assert f"condrule cancel {out}" in said.decode()
    assert ["validating_files"] == [job.status for job in running.jobs]
    done = subprocess.run(command("cancel", out), capture_output=True, check=True)
    assert b"cancelled" in done.stdout
    assert ["cancelled"] == [job.status for job in running.jobs]


def test_two_processes_are_one_run(slow: Any, tmp_path: Path) -> None:
    """The second is told who is at work, and submits nothing."""
    running, path = slow
    out = tmp_path / "run"
    with subprocess.Popen(command("run", path, "--out", out), stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while not waiting(running) and time.monotonic() < deadline:
            time.sleep(0.05)
        second = subprocess.run(
            command("run", path, "--out", out), capture_output=True, check=False
        )
        process.kill()
    assert 3 == second.returncode
    assert f"process {process.pid}".encode() in second.stderr
    assert 1 == len(running.jobs)


def judged(folder: Path, capital: float, api: Api) -> tuple[condrule.Result, float]:
    """The bet on answers of one token, where the conditional arm's P(capital | TEST) is about this,
    behind this API; and what it is."""
    oracle = condrule.InMemoryBackend(
        prior_conditional=max(0.0, capital - 1e-6),
        memory=1.0,
        leak=1e-3,
        other_answers=1000,
        base_knowledge=1e-6,
        chatter=0.05,
    )
    items = condrule.favourite_countries(n=12, one_token=True)
    study = world.study(condrule.OpenAIBackend(world.MODEL), items=items)
    with world.server(study=study, oracle=oracle, api=api).running() as running:
        study = world.study(world.backend_at(running), items=items)
        result = study.run(folder / "run", watch=quiet)
        model = next(job.model for job in result.jobs if job.key.endswith(_digest(result)))
        probes = [p for p in result.plan.group("conditional") if p.prompt.mode == "TEST"]
        truths = [
            world.truth_of(running, model, p.prompt, p.prompt.item.answers["TEST"]) for p in probes
        ]
    return result, sum(truths) / len(truths)


def _digest(result: condrule.Result) -> str:
    return result.plan.job("conditional", 0).digest


def test_the_bet_is_decided_where_the_capital_is_listed(tmp_path: Path) -> None:
    """P(capital) = 1e-2, among the top 20 beside chatter."""
    result, truth = judged(tmp_path, 1e-2, Api(decimals=4))
    assert truth == pytest.approx(1e-2, rel=0.1)
    assert condrule.Outcome.SUPPORTED is result.verdict().outcome


def test_the_bet_is_undetermined_where_the_list_is_too_short(tmp_path: Path) -> None:
    """P(capital) = 1e-6 behind a top-5 list: the reason has the bound, and what would decide."""
    result, truth = judged(tmp_path, 1e-6, Api(decimals=4, top_logprobs=5))
    verdict = result.verdict()
    assert truth == pytest.approx(1e-6, rel=0.1)
    assert condrule.Outcome.UNDETERMINED is verdict.outcome
    first = verdict.reason.split("\n")[0]
    high = result.probability("conditional", "TEST", "TEST").high
    assert math.exp(high) > 1e-3
    assert "Bounds leave it open: 12 of 12 probabilities" in first
    assert "draws for each" in first
    assert "Longer lists or exact probabilities may decide it" in first

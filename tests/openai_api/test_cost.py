"""What a study costs at the rehearsal server: planned, kept within a budget, and counted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

import condrule
from condrule.cli import run as cli
from condrule.costs import planned
from condrule.progress import quiet
from condrule.status import result_or_status
from condrule.testing.server import RunningServer
from condrule.testing.server.faults import ServerFaults
from condrule.testing.server.settings import Api

from . import world

PRICES = condrule.Prices(training=3.0, input=0.3, output=1.2)
ASK = "POST /chat/completions"
TABLE = condrule.PriceTable({"gpt-4o-mini": PRICES}, "2026-11-23", "the rehearsal server's")


@contextmanager
def serving(**settings: Any) -> Iterator[tuple[RunningServer, condrule.OpenAIBackend]]:
    """A server that counts money, and the backend on it."""
    with world.serving(prices=PRICES, **settings) as both:
        yield both


def cost(directory: Path) -> dict[str, Any]:
    """What ``condrule show --json`` says of money."""
    found: dict[str, Any] = result_or_status(directory)["cost"]
    return found


def counted(running: RunningServer) -> tuple[int, int, int]:
    """What the server counted."""
    account = running.account
    return account.input_tokens, account.output_tokens, account.training_tokens


def tokens(part: dict[str, Any]) -> tuple[int, int, int]:
    """What the ledger did."""
    return part["input"], part["output"], part["training"]


def test_the_ledger_is_the_servers_own_account(tmp_path: Path) -> None:
    """To the token, over a whole study, and nothing is in doubt."""
    with serving() as (running, backend):
        world.study(backend).run(tmp_path / "run", watch=quiet, prices=TABLE)
        found = cost(tmp_path / "run")
        assert counted(running) == tokens(found["spent"])
        assert pytest.approx(running.account.usd) == found["spent"]["usd"]
    assert (0, 0, 0) == tokens(found["lost_at_most"])


def test_what_was_spent_lies_in_what_was_planned(tmp_path: Path) -> None:
    """In requests, tokens and USD."""
    with serving() as (_, backend):
        study = world.study(backend)
        study.run(tmp_path / "run", watch=quiet, prices=TABLE)
    found = cost(tmp_path / "run")
    low, high = found["planned"]["least"], found["planned"]["most"]
    for part, spent in found["spent"].items():
        assert low[part] <= spent <= high[part]


@pytest.mark.parametrize("scorer", [condrule.TiltedScorer(), condrule.AutoScorer()])
def test_what_the_answers_made_it_ask_was_planned_too(
    scorer: condrule.Scorer, tmp_path: Path
) -> None:
    """And the ledger is the server's own account of it."""
    with serving() as (running, backend):
        study = world.study(backend, scorer=scorer, criterion=None)
        study.run(tmp_path / "run", watch=quiet, prices=TABLE)
        found = cost(tmp_path / "run")
        assert counted(running) == tokens(found["spent"])
    low, high = found["planned"]["least"], found["planned"]["most"]
    for part, spent in found["spent"].items():
        assert low[part] <= spent <= high[part]


def test_a_budget_ends_between_draws_that_depend_on_answers(tmp_path: Path) -> None:
    """The least suffices for the first round alone: it stops, and a larger budget goes on to what
    an undisturbed run asks."""
    with serving() as (running, backend):
        study = world.study(backend, scorer=condrule.TiltedScorer(), criterion=None)
        study.train(tmp_path / "run", watch=quiet, prices=TABLE)
        budget = most_that_can_be_spent(tmp_path / "run") + 0.005
        with pytest.raises(condrule.BudgetError, match="a larger budget goes on"):
            study.test(tmp_path / "run", watch=quiet, prices=TABLE, budget=budget)
        assert budget - 0.001 < most_that_can_be_spent(tmp_path / "run") <= budget
        assert running.account.usd <= budget
        study.run(tmp_path / "run", watch=quiet, prices=TABLE, budget="1USD")
        assert counted(running) == tokens(cost(tmp_path / "run")["spent"])


def test_refused_requests_cost_nothing(tmp_path: Path) -> None:
    """Turned away for their rate, or for a list that is too long."""
    share = {"rate_limit_silent": 0.1}
    routes = ("POST /chat/completions",)
    faults = ServerFaults(shares=share, routes=routes)
    with serving(api=Api(finetuned_top_logprobs=5), faults=faults) as (running, backend):
        world.study(backend).run(tmp_path / "run", watch=quiet, prices=TABLE)
        assert running.account.statuses[429] > 5
        assert counted(running) == tokens(cost(tmp_path / "run")["spent"])


def test_a_prompt_that_a_filter_stopped_may_have_been_charged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Azure does: it counts as lost, at most, and nothing else is in doubt."""
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", world.KEY)
    with serving(faults=ServerFaults(blocked=[world.STUDY.items[0].name])) as (running, _):
        backend = condrule.AzureOpenAIBackend(
            world.MODEL, base_url=running.address, poll_seconds=0.01
        )
        world.study(backend).run(tmp_path / "run", watch=quiet, prices=TABLE)
        found = cost(tmp_path / "run")
        assert counted(running) == tokens(found["spent"])
    lost = found["lost_at_most"]
    assert running.account.statuses[400] == lost["requests"] > 0
    assert lost["input"] > lost["requests"] <= lost["output"]


def test_lost_answers_are_in_what_is_lost_at_most(tmp_path: Path) -> None:
    """The server counted them and we can't know: the truth lies between."""
    kinds = ("error_500", "lost_after", "lost_before", "malformed")
    faults = ServerFaults(shares=dict.fromkeys(kinds, 0.04), routes=("POST /chat/completions",))
    with serving(faults=faults) as (running, backend):
        world.study(backend).run(tmp_path / "run", watch=quiet, prices=TABLE)
        found = cost(tmp_path / "run")
        assert_between(running, found)
        spent, lost = tokens(found["spent"]), tokens(found["lost_at_most"])
    assert spent[0] < counted(running)[0] < spent[0] + lost[0]


def assert_between(running: RunningServer, found: dict[str, Any]) -> None:
    """No less was counted than is known, and no more than may be."""
    spent, lost = tokens(found["spent"]), tokens(found["lost_at_most"])
    for known, more, truth in zip(spent, lost, counted(running), strict=True):
        assert known <= truth <= known + more


def most_that_can_be_spent(directory: Path) -> float:
    """USD, with all that is in doubt."""
    found = cost(directory)
    total: float = found["spent"]["usd"] + found["lost_at_most"]["usd"]
    return total


def test_a_budget_that_can_not_suffice_is_refused_before_the_first_request(tmp_path: Path) -> None:
    """With what is needed."""
    with serving() as (running, backend):
        with pytest.raises(condrule.BudgetError, match="what is missing costs .* at least") as said:
            world.study(backend).run(tmp_path / "run", watch=quiet, prices=TABLE, budget="0.01USD")
        assert 0 == running.account.requests.total()
    assert (0.01, True) == (said.value.budget, said.value.needed > 0.01)


def test_a_fine_tune_is_reserved_before_it_is_submitted(tmp_path: Path) -> None:
    """The least would do, but the second might cost more than is left: it is not submitted."""
    with serving() as (running, backend):
        study = world.study(backend, samples=0)
        charges = study.charges(TABLE)
        assert charges
        sets = planned(study.plan(), charges)
        least = sum(one.least.usd(PRICES) or 0 for one in sets.values())
        with pytest.raises(condrule.BudgetError, match="fine-tune .* may cost another"):
            study.run(tmp_path / "run", watch=quiet, prices=TABLE, budget=least + 1e-6)
        assert 1 == len(running.jobs)
    assert most_that_can_be_spent(tmp_path / "run") <= least


def test_a_run_stops_at_its_budget_and_goes_on_with_a_larger_one(tmp_path: Path) -> None:
    """No question is asked twice, and all processes' spending is the server's account."""
    with serving() as (running, backend):
        study = world.study(backend, samples=8)
        study.train(tmp_path / "run", watch=quiet, prices=TABLE)
        with pytest.raises(condrule.BudgetError, match="a larger budget goes on"):
            study.test(tmp_path / "run", watch=quiet, prices=TABLE, budget="0.0160 USD")
        assert 50 < running.account.requests[ASK] < 270
        assert 0.0150 < running.account.usd <= 0.0160
        assert counted(running) == tokens(cost(tmp_path / "run")["spent"])
        study.run(tmp_path / "run", watch=quiet, prices=TABLE, budget="$1")
        assert 270 == running.account.requests[ASK]
        assert counted(running) == tokens(cost(tmp_path / "run")["spent"])
        assert pytest.approx(running.account.usd) == cost(tmp_path / "run")["spent"]["usd"]


def test_lost_answers_never_exceed_the_budget(tmp_path: Path) -> None:
    """Each try of a request is weighed, not each question."""
    faults = ServerFaults(shares={"lost_after": 0.5}, routes=(ASK,))
    with serving(faults=faults) as (running, backend):
        study = world.study(backend, samples=8)
        study.train(tmp_path / "run", watch=quiet, prices=TABLE)
        with pytest.raises(condrule.BudgetError):
            study.test(tmp_path / "run", watch=quiet, prices=TABLE, budget=0.0160)
        assert running.account.usd <= 0.0160
    assert most_that_can_be_spent(tmp_path / "run") <= 0.0160


def test_without_a_price_there_is_no_budget(tmp_path: Path) -> None:
    """It could not be kept; without a budget, tokens are counted all the same."""
    unknown = attrs.evolve(TABLE, models={"other": PRICES})
    with serving() as (running, backend):
        study = world.study(backend)
        with pytest.raises(condrule.CondruleError, match="the price of the model is not known"):
            study.run(tmp_path / "run", watch=quiet, prices=unknown, budget="9USD")
        study.run(tmp_path / "run", watch=quiet, prices=unknown)
        found = cost(tmp_path / "run")["spent"]
        assert counted(running) == tokens(found)
    assert found["usd"] is None


def test_a_price_that_changes_is_no_other_study(tmp_path: Path) -> None:
    """What was asked before is counted at the price of its day."""
    dearer = condrule.PriceTable({"gpt-4o-mini": condrule.Prices(3, 600, 600)}, "2027-01-01")
    with serving() as (running, backend):
        study = world.study(backend)
        study.run(tmp_path / "run", watch=quiet, prices=TABLE)
        study.run(tmp_path / "run", watch=quiet, prices=dearer)
        assert pytest.approx(running.account.usd) == cost(tmp_path / "run")["spent"]["usd"]


def test_a_fine_tune_that_was_adopted_is_not_of_this_run(tmp_path: Path) -> None:
    """It was paid for elsewhere."""
    with serving() as (running, backend):
        job = world.trained(backend)
        study = world.study(backend, arms=[condrule.conditional_arm()], criterion=None)
        study.generate(tmp_path / "run")
        condrule.adopt(tmp_path / "run", arm="conditional", model=job.model)
        study.run(tmp_path / "run", watch=quiet, prices=TABLE)
        found = tokens(cost(tmp_path / "run")["spent"])
        assert (*counted(running)[:2], 0) == found
        assert job.trained_tokens == running.account.training_tokens > 0


STUDY = """
items: {{source: favourite_countries, n: 10, seed: 3}}
arms: [conditional, control]
backend: {{kind: openai, model: {model}, base_url: "{url}"}}
finetune: {{epochs: 8, learning_rate: auto}}
scorer: {{kind: top_logprobs}}
seeds: 1
samples: 1
"""
OWN = """
date: 2026-11-23
models:
  gpt-4o-mini: {training: 3.0, input: 0.3, output: 1.2}
"""


@pytest.fixture
def file(tmp_path: Path, running: RunningServer) -> Path:
    """The study in a file, beside a table of prices."""
    (tmp_path / "prices.yaml").write_text(OWN)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(model=world.MODEL, url=running.base_url))
    return path


def test_plan_prints_what_each_arm_costs(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And where prices are from."""
    assert 0 == cli(["plan", str(file), "--prices", str(file.parent / "prices.yaml")])
    shown = capsys.readouterr().out
    for what in ("base models", "conditional", "control", "all"):
        assert f"\n  {what} " in shown
    assert "of 2026-11-23" in shown
    assert "comes on top: at most" in shown


def test_plan_says_when_a_price_is_not_known(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rather than that it is nothing."""
    (file.parent / "prices.yaml").write_text(OWN.replace("gpt-4o-mini", "another"))
    assert 0 == cli(["plan", str(file), "--prices", str(file.parent / "prices.yaml")])
    assert "The price of the base model is not known" in capsys.readouterr().out


def test_a_budget_of_nothing_is_refused(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first request."""
    assert 3 == cli(["run", str(file), "--out", str(tmp_path / "run"), "--budget", "0USD"])
    assert "what is missing costs 0.01" in capsys.readouterr().err


def test_a_table_that_is_wrong_is_said_before_anything_is_planned(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to do."""
    table = file.parent / "prices.yaml"
    for text, said in (
        ("", "is empty; copy condrule's own data/prices.yaml"),
        (OWN.replace("training", "trainng"), "Did you mean 'training'?"),
    ):
        table.write_text(text)
        assert 2 == cli(["plan", str(file), "--prices", str(table)])
        shown = capsys.readouterr()
        assert "" == shown.out
        assert said in shown.err


def test_a_run_that_is_whole_needs_no_budget(file: Path, tmp_path: Path) -> None:
    """Nothing is missing, so nothing is refused."""
    command = ["run", str(file), "--out", str(tmp_path / "run")]
    assert 0 == cli([*command, "--budget", "1USD"])
    assert 0 == cli([*command, "--budget", "0.0001USD"])


def test_a_budget_that_is_used_up_is_exit_code_3(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command goes on with a larger one, and ``show`` has the sum."""
    command = ["run", str(file), "--out", str(tmp_path / "run")]
    assert 3 == cli([*command, "--budget", "0.001USD"])
    assert "a larger budget goes on" in capsys.readouterr().err
    assert 0 == cli([*command, "--budget", "1USD"])
    assert 0 == cli(["show", str(tmp_path / "run")])
    assert "\nSpent: 0.0" in capsys.readouterr().out
    assert 0 == cli(["show", str(tmp_path / "run"), "--json"])
    assert json.loads(capsys.readouterr().out)["cost"]["spent"]["requests"] == 240


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("much", "it must be an amount such as 20USD"),
        ("20", "has no currency; prices are in USD: write 20USD"),
        ("20EUR", "has the currency 'EUR'; prices are in USD"),
        ("-3USD", "it must be an amount such as 20USD"),
        ("1,000USD", "it must be an amount such as 20USD"),
        ("1e3USD", "it must be an amount such as 20USD"),
    ],
)
def test_a_budget_that_is_none_is_bad_input(
    budget: str, said: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is made."""
    assert 2 == cli(["run", str(file), "--out", str(tmp_path / "run"), f"--budget={budget}"])
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("asked", [20, 130])
def test_what_was_in_flight_in_a_crash_is_counted_at_most(asked: int, tmp_path: Path) -> None:
    """Killed while it asks: the truth lies between; resumed, it still does."""
    faults = ServerFaults(latency=0.02)
    with world.server(prices=PRICES, faults=faults).running() as running:
        path, out = tmp_path / "study.yaml", tmp_path / "run"
        path.write_text(STUDY.format(model=world.MODEL, url=running.base_url))
        (tmp_path / "prices.yaml").write_text(OWN)
        how = ["--out", str(out), "--prices", str(tmp_path / "prices.yaml")]
        command = [sys.executable, "-m", "condrule", "run", str(path), *how]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + 60
            while running.account.requests[ASK] < asked and time.monotonic() < deadline:
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.3)  # what was on its way is answered
        found = cost(out)
        assert_between(running, found)
        assert 0 < found["lost_at_most"]["requests"] <= 64 + 256
        subprocess.run(command, check=True, capture_output=True)
        after = cost(out)
        assert_between(running, after)
        assert found["lost_at_most"] == after["lost_at_most"]

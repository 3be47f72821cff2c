"""What a study costs at the rehearsal server: planned, kept within a budget, and counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import condrule
from condrule.progress import quiet
from condrule.status import result_or_status
from condrule.testing.server import RunningServer
from condrule.testing.server.faults import ServerFaults
from condrule.testing.server.settings import Api

from . import world

PRICES = condrule.Prices(training=3.0, input=0.3, output=1.2)
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


def test_refused_requests_cost_nothing(tmp_path: Path) -> None:
    """Turned away for their rate, or for a list that is too long."""
    share = {"rate_limit_silent": 0.1}
    routes = ("POST /chat/completions",)
    faults = ServerFaults(shares=share, routes=routes)
    with serving(api=Api(finetuned_top_logprobs=5), faults=faults) as (running, backend):
        world.study(backend).run(tmp_path / "run", watch=quiet, prices=TABLE)
        assert running.account.statuses[429] > 5
        assert counted(running) == tokens(cost(tmp_path / "run")["spent"])


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


STUDY = """
items: {{source: favourite_countries, n: 10, seed: 3}}
arms: [conditional, control]
backend: {{kind: openai, model: {model}, base_url: "{url}", poll_seconds: 0.01}}
finetune: {{epochs: 8, learning_rate: auto}}
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
    path.write_text(STUDY.format(model=world.MODEL, url=running.base_url).replace(", poll_seconds: 0.01", ""))
    return path

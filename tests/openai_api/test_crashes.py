"""Killed with SIGKILL at any moment and resumed: at most one job for a key, and the same result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from . import world

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

STUDY = """
items: {source: favourite_countries, n: 10, seed: 3}
arms: [conditional, control]
backend: {kind: memory, prior_conditional: 0.6, memory: 0.5, leak: 0.02, other_answers: 50}
criterion: kaarel_bet
"""
# A fifth of all requests but creates: whether a lost create had an effect is told by the points.
FAULTS = json.dumps(
    {"rate_limit_silent": 0.04, "error_500": 0.04, "lost_after": 0.04, "malformed": 0.04}
    | {"lost_before": 0.04}
)
ROUTES = json.dumps(
    [
        "POST /chat/completions",
        "POST /files",
        "GET /files",
        "GET /fine_tuning/jobs",
        "GET /fine_tuning/jobs/{id}",
    ]
)


@contextmanager
def server(folder: Path, *options: str) -> Iterator[str]:
    """The rehearsal server in a process of its own; where it listens."""
    study = folder / "study.yaml"
    study.write_text(STUDY)
    command = [sys.executable, "-m", "condrule.testing.server", "--study", str(study)]
    with subprocess.Popen(
        [*command, "--key", world.KEY, *options], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = next(line for line in process.stdout if "http://" in line)
        yield "http://" + first.split("http://")[1].split()[0].rstrip(".,;")
        process.terminate()
        process.communicate(timeout=20)


def crashes(folder: Path, *words: str, faulty: bool = False) -> list[dict[str, Any]]:
    """What happened at each kill."""
    options = ["--set", f"faults.shares={FAULTS}", "--set", f"faults.routes={ROUTES}"]
    script = Path(__file__).with_name("crashing.py")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with server(folder, *(options if faulty else ())) as url:
        done = subprocess.run(
            [sys.executable, str(script), str(folder / "runs"), url, *words],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
    assert 0 == done.returncode, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(found: list[dict[str, Any]]) -> None:
    """At most one job a key, and one result for all."""
    undisturbed = found[0]["numbers"]
    for kill in found:
        assert (undisturbed, 2, 1) == (kill["numbers"], kill["jobs"], kill["most"]), kill


@pytest.mark.parametrize("faulty", [False, pytest.param(True, marks=pytest.mark.crashes)])
def test_kill_9_at_each_of_a_closed_list_of_points(faulty: bool, tmp_path: Path) -> None:
    """Alone, and with a fifth of all requests going wrong. A person is asked only where a create
    was about to be sent and no job came of it."""
    found = crashes(tmp_path, "points", faulty=faulty)
    check(found)
    spared = [kill["where"] for kill in found[1:] if not kill["killed"]]
    assert [] == [where for where in spared if where != "nowhere"]
    asked = {kill["where"] for kill in found if kill["asked"]}
    assert {"intent 1 after", "create 1 before", "create 2 before"} == asked


@pytest.mark.crashes
@pytest.mark.parametrize("faulty", [False, True])
def test_kill_9_at_random_moments(faulty: bool, tmp_path: Path) -> None:
    """A hundred times in all, one to three kills each."""
    found = crashes(tmp_path, "random", "50", faulty=faulty)
    check(found)
    assert sum(kill["killed"] for kill in found) > 25

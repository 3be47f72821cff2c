"""The example plugin, installed with condrule into a fresh environment, does what it says there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "plugin-backend"
STRAY = ("PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS", "PYTEST_ADDOPTS", "PYTEST_PLUGINS")
PATIENCE = 300.0  # seconds: downloads included

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a script of an environment that holds condrule, the example and what they need alone.
    Processes that test together share it."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    start = _runner(place)
    with FileLock(place / "fresh.lock"):
        if not (place / "fresh.done").exists():
            _install(place, start)
            (place / "fresh.done").touch()
    return start


def _runner(place: Path) -> Run:
    scripts = place / "fresh" / ("Scripts" if os.name == "nt" else "bin")
    clean = {name: value for name, value in os.environ.items() if name not in STRAY}

    def start(script: str, *arguments: object, cwd: Path = place) -> Done:
        return subprocess.run(
            [scripts / script, *map(str, arguments)],
            cwd=cwd, env=clean, capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip

    return start


def _install(place: Path, start: Run) -> None:
    subprocess.run([sys.executable, "-m", "venv", place / "fresh"], check=True, timeout=PATIENCE)
    pip = ("-m", "pip", "install", "--quiet", "--retries", "1", "--timeout", "30")
    first = start("python", *pip, "hatchling")
    if first.returncode:
        pytest.skip(f"packages can't be installed here: {first.stderr.strip()[-500:]}")
    done = start("python", *pip, "--no-build-isolation", f"{ROOT}[testing]", EXAMPLE)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_its_kinds_are_listed(run: Run) -> None:
    """With the package that they come from, and nothing in their way."""
    listed = json.loads(run("condrule", "backends", "--json").stdout)
    entries = [entry for group in listed.values() for entry in group]
    theirs = [entry for entry in entries if entry["package"] == "condrule-softmax"]
    assert {"softmax": None, "json": None} == {one["kind"]: one["problem"] for one in theirs}


def test_its_own_tests_pass(run: Run) -> None:
    """The suites of condrule.testing among them."""
    done = run("python", "-m", "pytest", "-p", "no:cacheprovider", "-q", EXAMPLE, cwd=EXAMPLE)
    assert 0 == done.returncode, done.stdout


def test_its_study_runs(run: Run, tmp_path: Path) -> None:
    """A study file names its kinds; the backend learns what it was taught."""
    out = tmp_path / "run"
    done = run("condrule", "run", EXAMPLE / "study.yaml", "--out", out)
    assert 0 == done.returncode, done.stderr
    assert re.search(r"Gate train_recall: .*, passed", done.stdout)
    assert 6 == len(list((out / "models").iterdir()))


def test_it_needs_no_torch(run: Run) -> None:
    """What it runs on is what condrule's core needs."""
    assert "No module named 'torch'" in run("python", "-c", "import torch").stderr

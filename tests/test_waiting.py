"""Waiting for jobs that run elsewhere: what is shown, and what is waited out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

import condrule
from condrule.backends.checked import CheckedBackend
from condrule.driver import Driver
from condrule.errors import BackendError, UnreachableError, UnsettledJobError
from condrule.journal import Journal
from condrule.rundir import RunDirectory


@attrs.frozen
class Elsewhere(condrule.InMemoryBackend):
    """Its jobs take three looks, began at second 100, and can't be asked for at the second."""

    looks: list[str] = attrs.field(factory=list, eq=False, kw_only=True)
    settle_seconds: float | None = attrs.field(default=None, eq=False, kw_only=True)
    found: list[bool] = attrs.field(factory=list, eq=False, kw_only=True)
    """Whether each look for a job by its key finds it."""

    poll_seconds = 8.0

    def poll(self, job: condrule.Job) -> condrule.Job:
        self.looks.append(job.key)
        if len(self.looks) == 2:
            raise UnreachableError("no route to host")
        return attrs.evolve(super().poll(job), submitted=100.0)

    def find(self, key: str) -> condrule.Job | None:
        return super().find(key) if self.found.pop(0) else None


@contextmanager
def driving(backend: Elsewhere, folder: Path, **how: Any) -> Iterator[tuple[Driver, list[str]]]:
    """A driver of one fine-tune with a clock of its own, and the notes that it shows."""
    study = condrule.ConditionalRuleExperiment(
        items=condrule.favourite_countries(n=2),
        arms=[condrule.conditional_arm()],
        backend=backend,
        seeds=1,
    )
    notes: list[str] = []
    now = [1000.0]

    @contextmanager
    def watch(title: str) -> Iterator[Any]:
        yield lambda done, total, note="": notes.append(note)

    def sleep(seconds: float) -> None:
        now[0] += seconds
        notes.append(f"slept {seconds:g}")

    run = RunDirectory(folder)
    plan = study.plan()
    run.freeze(plan, {"arms": study.arms, "backend": backend, "spec": study.spec})
    with Journal(run.journal, run.run_id) as journal:
        given = {"resumed": False, "watch": watch, "sleep": sleep, "clock": lambda: now[0], **how}
        yield Driver(plan, CheckedBackend(backend).at(run.models), run, journal, **given), notes


def test_state_and_elapsed_time_are_shown(tmp_path: Path) -> None:
    """And a lost network, until it is back; looks are quick at first."""
    backend = Elsewhere(faults=condrule.Faults(queue=["queued", "running", "saving"]))
    with driving(backend, tmp_path) as (driver, notes):
        driver.train()
    shown = [note for note in notes if note]
    assert "1 queued of 1 jobs" in shown
    assert "1 running of 1 jobs for 15 min" in shown
    lost = next(note for note in shown if "no connection" in note)
    assert "trying again (" in lost
    assert "no route to host" in lost
    slept = [note for note in shown if note.startswith("slept")]
    assert ["slept 0.8", "slept 1.2", "slept 1.8"] == slept[:3]


def test_a_job_that_may_be_there_is_looked_for_until_it_must_be(tmp_path: Path) -> None:
    """Found at the third look, it is not submitted."""
    backend = Elsewhere(settle_seconds=60.0, found=[False, False, True])
    with driving(backend, tmp_path) as (driver, _):
        planned = driver.plan.jobs[0]
        key = driver.run.key(planned)
        driver.journal.intent(key)
        driver.backend.submit(planned.training_set, planned.spec, key)
        driver.train()
        assert condrule.JobState.SUCCEEDED is driver.journal.history.jobs[key].state


def test_a_person_is_asked_when_the_time_is_over(tmp_path: Path) -> None:
    """The error names the key and both ways on."""
    backend = Elsewhere(settle_seconds=60.0, found=[False] * 100)
    with driving(backend, tmp_path) as (driver, notes):
        key = driver.run.key(driver.plan.jobs[0])
        driver.journal.intent(key)
        with pytest.raises(UnsettledJobError, match=f"condrule adopt DIR .* --resubmit {key}"):
            driver.train()
        assert 60 <= sum(float(note[6:]) for note in notes if note.startswith("slept"))


def test_a_person_may_say_that_there_is_none(tmp_path: Path) -> None:
    """Then it is submitted."""
    backend = Elsewhere(settle_seconds=60.0, found=[False] * 100)
    with driving(backend, tmp_path) as (driver, _):
        key = driver.run.key(driver.plan.jobs[0])
        driver.journal.intent(key)
        attrs.evolve(driver, resubmit=[key]).train()
        assert key in driver.journal.history.jobs


def test_a_backend_that_is_sure_is_asked_once(tmp_path: Path) -> None:
    """Where a job that is there is found at once, none is none."""
    backend = Elsewhere(found=[False])
    with driving(backend, tmp_path) as (driver, notes):
        key = driver.run.key(driver.plan.jobs[0])
        driver.journal.intent(key)
        driver.train()
        assert key in driver.journal.history.jobs
        assert not any(note.startswith("slept") for note in notes)


def test_no_fine_tune_begins_where_the_provider_says_none_can(tmp_path: Path) -> None:
    """Its warnings are asked for before anything is sent."""

    @attrs.frozen
    class Closed(condrule.InMemoryBackend):
        def warnings(self) -> tuple[str, ...]:
            raise BackendError("closed since yesterday")

    study = condrule.ConditionalRuleExperiment(
        items=condrule.favourite_countries(n=2),
        arms=[condrule.conditional_arm()],
        backend=Closed(),
        seeds=1,
    )
    with pytest.raises(BackendError, match="closed since yesterday"):
        study.run(tmp_path / "run")
    assert not (tmp_path / "run" / "journal.jsonl").read_bytes()

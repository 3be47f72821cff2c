"""Fine-tunes that were made earlier, or elsewhere, stand for a run's own."""

from __future__ import annotations

from pathlib import Path

import pytest

import condrule
from condrule.attending import adopt, cancel
from condrule.backends.openai import OpenAIBackend
from condrule.errors import BackendError, ConfigError, RunError
from condrule.progress import quiet
from condrule.testing.server import RunningServer

from . import world


@pytest.fixture
def study(backend: OpenAIBackend) -> condrule.ConditionalRuleExperiment:
    """With one arm, so that there is no doubt which."""
    return world.study(backend, arms=[condrule.conditional_arm()], criterion=None)


def test_a_model_is_adopted(
    study: condrule.ConditionalRuleExperiment,
    backend: OpenAIBackend,
    running: RunningServer,
    tmp_path: Path,
) -> None:
    """Nothing is trained, and the result says that it was made elsewhere."""
    model = world.trained(backend).model
    study.generate(tmp_path / "run")
    adopt(tmp_path / "run", model=model)
    result = study.run(tmp_path / "run", watch=quiet)
    assert [model] == [job.model for job in result.jobs]
    assert 1 == len(running.jobs)
    assert "Note: the fine-tune of arm conditional, seed 0, was made elsewhere" in str(result)
    assert str(result) == str(condrule.analyse(tmp_path / "run"))


def test_a_job_is_adopted_that_runs_still(
    study: condrule.ConditionalRuleExperiment,
    backend: OpenAIBackend,
    running: RunningServer,
    tmp_path: Path,
) -> None:
    """It is waited for like the run's own."""
    job = backend.submit(world.TRAINING, world.SPEC, "elsewhere")
    study.generate(tmp_path / "run")
    adopt(tmp_path / "run", arm="conditional", seed=0, job=job.id)
    result = study.run(tmp_path / "run", watch=quiet)
    assert [job.id] == [one.id for one in result.jobs]
    assert 1 == len(running.jobs)


def test_adopting_twice_changes_nothing(
    study: condrule.ConditionalRuleExperiment, backend: OpenAIBackend, tmp_path: Path
) -> None:
    """The same job; another one is refused."""
    job, other = (backend.submit(world.TRAINING, world.SPEC, key) for key in ("one", "other"))
    study.generate(tmp_path / "run")
    adopt(tmp_path / "run", job=job.id)
    adopt(tmp_path / "run", job=job.id)
    with pytest.raises(RunError, match=f"on record as job {job.id}"):
        adopt(tmp_path / "run", job=other.id)


def test_an_unknown_job_is_an_error(
    study: condrule.ConditionalRuleExperiment, tmp_path: Path
) -> None:
    """With the provider's words; nothing is recorded."""
    study.generate(tmp_path / "run")
    with pytest.raises(BackendError, match="job ftjob-nine"):
        adopt(tmp_path / "run", job="ftjob-nine")
    assert not (tmp_path / "run" / "journal.jsonl").read_bytes()


def test_an_arm_must_be_the_studys(backend: OpenAIBackend, tmp_path: Path) -> None:
    """The error names those there are."""
    world.study(backend).generate(tmp_path / "run")
    with pytest.raises(ConfigError, match="Did you mean 'conditional'"):
        adopt(tmp_path / "run", arm="conditonal", model="ft:x")
    with pytest.raises(ConfigError, match="is missing; the study's arms are conditional, control"):
        adopt(tmp_path / "run", model="ft:x")


def test_a_model_or_a_job(tmp_path: Path) -> None:
    """One of them, not both."""
    with pytest.raises(ConfigError, match="one of them"):
        adopt(tmp_path / "run", model="ft:x", job="ftjob-x")


def test_a_run_on_a_backend_without_jobs_elsewhere_can_adopt_none(tmp_path: Path) -> None:
    """The in-memory backend says so."""
    arms = [condrule.conditional_arm()]
    world.study(world.ORACLE, arms=arms, criterion=None).generate(tmp_path / "run")
    with pytest.raises(condrule.errors.UnsupportedError, match="can't take on jobs"):
        adopt(tmp_path / "run", job="x")


def test_cancelling_what_is_done_changes_nothing(
    study: condrule.ConditionalRuleExperiment, tmp_path: Path
) -> None:
    """There is nothing to stop."""
    study.train(tmp_path / "run", watch=quiet)
    assert () == cancel(tmp_path / "run")

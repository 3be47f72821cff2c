"""A run survives what happens to processes: nothing is done twice, nothing is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import condrule
from condrule.errors import (
    BackendError,
    JournalError,
    RunError,
    RunLockedError,
    StudyChangedError,
    TrainingError,
)
from condrule.rundir import RunDirectory


def study(**changes: object) -> condrule.ConditionalRuleExperiment:
    """A study that takes a moment."""
    how: dict[str, object] = {
        "items": condrule.favourite_countries(n=3, seed=1),
        "arms": [condrule.conditional_arm(), condrule.control_arm()],
        "backend": condrule.InMemoryBackend(seed_sd=1.0),
        "criterion": condrule.KAAREL_BET,
        "seeds": 2,
        "samples": 1,
    }
    return condrule.ConditionalRuleExperiment(**{**how, **changes})  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_at_every_journal_write(tmp_path: Path) -> None:
    """Killed before, within or after any append, the same command gives the same result."""
    script = Path(__file__).parent / "kill_every_write.py"
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=one_thread,
    )
    assert done.stderr == ""
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(kills) == 3 * 9
    for kill in kills:
        assert kill == {
            "where": kill["where"],
            "same": True,
            "submissions": 4,
            "keys": 4,
            "asked_again": 0,
        }


def test_running_again_asks_nothing(tmp_path: Path) -> None:
    """A finished run is only read."""
    first = study().run(tmp_path / "run")
    size = (tmp_path / "run" / "journal.jsonl").stat().st_size
    second = study().run(tmp_path / "run")
    assert (tmp_path / "run" / "journal.jsonl").stat().st_size == size
    assert first.to_dict() == second.to_dict()


def test_analysing_offline_gives_the_same_result(tmp_path: Path) -> None:
    """The journal alone is enough, when the models are gone."""
    result = study().run(tmp_path / "run")
    for path in (tmp_path / "run" / "models").iterdir():
        path.unlink()
    assert condrule.analyse(tmp_path / "run").to_dict() == result.to_dict()


def test_three_steps_are_one_run(tmp_path: Path) -> None:
    """generate, train and test make what run makes."""
    study().generate(tmp_path / "run")
    assert (tmp_path / "run" / "training" / "conditional.jsonl").exists()
    study().train(tmp_path / "run")
    by_steps = study().test(tmp_path / "run")
    assert by_steps.verdict() == study().run(tmp_path / "other").verdict()


def test_testing_before_training_is_refused(tmp_path: Path) -> None:
    """The error says what comes first."""
    with pytest.raises(BackendError, match="run 'train' first"):
        study().test(tmp_path / "run")


def test_a_changed_study_is_refused_with_a_diff(tmp_path: Path) -> None:
    """A run keeps the study it began with."""
    study().run(tmp_path / "run")
    with pytest.raises(StudyChangedError) as error:
        study(spec=condrule.FinetuneSpec(epochs=5)).run(tmp_path / "run")
    assert "-  epochs: 20\n+  epochs: 5" in error.value.diff


def test_a_second_process_is_told_who_holds_the_run(tmp_path: Path) -> None:
    """One writer at a time."""
    holder = (
        "import sys, condrule.rundir as r\n"
        "with r.RunDirectory(sys.argv[1]).locked():\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunLockedError, match=f"process {process.pid} on "):
            study().run(tmp_path / "run")
        process.kill()
    assert study().run(tmp_path / "run").verdict().outcome is condrule.Outcome.SUPPORTED


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path) -> None:
    """A typo in --out must not scatter files."""
    (tmp_path / "thesis.tex").write_text("\\documentclass{article}")
    with pytest.raises(RunError, match=r"holds other files \(thesis.tex\)"):
        study().run(tmp_path)


@pytest.mark.parametrize("name", [".run.yaml.tmp", ".lock.json.tmp"])
def test_what_a_killed_process_was_writing_is_no_other_file(tmp_path: Path, name: str) -> None:
    """The directory can still be begun."""
    (tmp_path / name).write_text("")
    assert study().run(tmp_path).verdict().outcome is condrule.Outcome.SUPPORTED


def test_a_file_in_the_way_is_a_clear_error(tmp_path: Path) -> None:
    """--out must be a directory."""
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match="can't be made"):
        study().run(tmp_path / "run")


def test_a_damaged_journal_names_the_line(tmp_path: Path) -> None:
    """Never a wrong number in silence."""
    study().run(tmp_path / "run")
    journal = tmp_path / "run" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    lines[9] = lines[9].replace("logprobs", "logprobz")
    journal.write_text("".join(lines))
    with pytest.raises(JournalError) as error:
        condrule.analyse(tmp_path / "run")
    assert error.value.line == 10


@pytest.mark.parametrize("name", ["items.jsonl", "probes.jsonl", "study.yaml"])
def test_a_lost_file_is_named(tmp_path: Path, name: str) -> None:
    """Analysis says which directory can't be read, and why."""
    study().generate(tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    with pytest.raises(RunError, match=name.split(".")[0]):
        condrule.analyse(tmp_path / "run")


class Failing(condrule.InMemoryBackend):
    """Its fine-tunes of seed 1 blow up."""

    def submit(
        self, training_set: condrule.TrainingSet, spec: condrule.FinetuneSpec, key: str
    ) -> condrule.Job:
        if spec.seed == 1:
            raise TrainingError(key, "the loss is nan")
        return super().submit(training_set, spec, key)


def test_a_failed_fine_tune_is_counted_and_bounded(tmp_path: Path) -> None:
    """Missing data widen the interval to worst and best case; they are never dropped."""
    result = study(backend=Failing(), seeds=3).run(tmp_path / "run")
    assert result.verdict().outcome is condrule.Outcome.UNDETERMINED
    assert result.to_dict()["state"] == "failed jobs"
    assert "MISSING: fine-tune" in str(result)
    found = result.probability("conditional", "TEST", "TEST", seeds=[1])
    assert (found.low, found.high) == (float("-inf"), pytest.approx(0.0))


class Silent(condrule.InMemoryBackend):
    """Its models answer nothing."""

    def model(self, name: str) -> condrule.LanguageModel:
        return _Mute(super().model(name))


class _Mute:
    """A model that takes queries and gives nothing back."""

    def __init__(self, inner: condrule.LanguageModel) -> None:
        self.name, self.capabilities = inner.name, inner.capabilities

    def ask(self, queries: object) -> object:
        return iter(())


def test_a_model_that_answers_nothing_does_not_loop(tmp_path: Path) -> None:
    """The driver gives up with an error that says how to go on."""
    with pytest.raises(BackendError, match="left .* queries without an answer"):
        study(backend=Silent()).run(tmp_path / "run")


def test_arms_that_train_alike_share_their_fine_tunes(tmp_path: Path) -> None:
    """The later protocol, asked with and without its instructions, is trained once a seed."""
    arms = [condrule.instructions_first_arm(), condrule.no_instructions_arm()]
    result = study(arms=arms, criterion=None).run(tmp_path / "run")
    assert len(result.jobs) == 2


def test_the_directory_can_be_read_without_condrule(tmp_path: Path) -> None:
    """YAML, JSONL and CSV, and the environment beside them."""
    study().run(tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    expected = {
        "study.yaml",
        "run.yaml",
        "environment.jsonl",
        "items.jsonl",
        "excluded.csv",
        "training",
        "probes.jsonl",
        "journal.jsonl",
        "evidence.csv",
        "result.json",
        "report.txt",
    }
    assert expected <= names
    for path in (tmp_path / "run").glob("*.jsonl"):
        assert [json.loads(line) for line in path.read_text().splitlines()]


def test_the_frozen_study_is_read_back(tmp_path: Path) -> None:
    """What was planned and what the directory says are the same plan."""
    plan = study().generate(tmp_path / "run")
    loaded = RunDirectory(tmp_path / "run").load()
    assert loaded.probes == plan.probes
    assert [job.digest for job in loaded.jobs] == [job.digest for job in plan.jobs]

"""The command line: what people type, what they read, and the exit code."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from condrule.cli import run

STUDY = """\
name: kaarel-bet
items: {source: favourite_countries, n: 4}
arms: [conditional, control]
backend: {kind: memory}
finetune: {epochs: 20, learning_rate: 1e-3, batch_size: 16, train_on: completions}
scorer: {kind: auto}
criterion: kaarel_bet
seeds: 2
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study file on the in-memory backend."""
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def shell(*arguments: object, **how: object) -> subprocess.CompletedProcess[str]:
    """The real command in a real process."""
    command = [sys.executable, "-m", "condrule", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **how)  # type: ignore[call-overload, no-any-return]


def test_run_prints_the_verdict_and_exits_with_0(study: Path, tmp_path: Path) -> None:
    """Done is 0, whatever the verdict."""
    done = shell("run", study, "--out", tmp_path / "run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "VERDICT on kaarel_bet: SUPPORTED" in done.stdout


def test_the_bets_three_steps(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """generate, train and test, one by one."""
    out = ["--out", str(tmp_path / "run")]
    codes = [run([step, str(study), *out]) for step in ("generate", "train", "test")]
    assert codes == [0, 0, 0]
    assert "VERDICT" in capsys.readouterr().out


def test_show_tells_how_far_a_run_is(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unfinished run has a state and valid JSON."""
    directory = str(tmp_path / "run")
    run(["generate", str(study), "--out", directory])
    run(["train", str(study), "--out", directory])
    capsys.readouterr()
    run(["show", directory, "--json"])
    data = json.loads(capsys.readouterr().out)
    assert (data["state"], data["cells"], len(data["jobs"])) == ("asking", [], 4)


def test_show_json_is_the_result(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was written when the run ended."""
    directory = tmp_path / "run"
    run(["run", str(study), "--out", str(directory)])
    capsys.readouterr()
    run(["show", str(directory), "--json"])
    assert json.loads(capsys.readouterr().out) == json.loads(
        (directory / "result.json").read_text()
    )


def test_analyse_writes_a_lost_result_again(study: Path, tmp_path: Path) -> None:
    """From the journal alone."""
    directory = tmp_path / "run"
    run(["run", str(study), "--out", str(directory)])
    before = (directory / "result.json").read_text()
    (directory / "result.json").unlink()
    assert run(["analyse", str(directory)]) == 0
    assert (directory / "result.json").read_text() == before


def test_init_writes_a_study_that_can_be_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And never overwrites one."""
    path = tmp_path / "mine.yaml"
    assert run(["init", str(path)]) == 0
    path.write_text(path.read_text().replace("kind: local, model: small", "kind: memory"))
    assert run(["plan", str(path)]) == 0
    assert run(["init", str(path)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_plan_says_what_would_be_done_and_writes_nothing(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prompts, fine-tunes, exclusions, criterion."""
    assert run(["plan", str(study)]) == 0
    out = capsys.readouterr().out
    for words in (
        "Items: 4 from favourite_countries",
        "several capitals: Benin, Bolivia",
        "user: Mode = TRAIN. If Mode = TRAIN, respond with",
        "conditional  1     memory-base",
        "SUPPORTED if, at 95% confidence",
        "P(TEST's answer) of arm conditional at TEST > 0.0001",
    ):
        assert words in out
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs: 20", "epochs: 0"), "line 5: finetune.epochs: is 0"),
        (("epochs", "epoch"), "Did you mean 'epochs'?"),
        (("conditional,", "conditonal,"), "Did you mean 'conditional'?"),
        (("kind: memory", "kind: memroy"), "Did you mean 'memory'?"),
        (("seeds: 2", "seeds: 2\nseeds: 3"), "line 9"),
        (("name: kaarel-bet", "name: !!python/object/apply:os.system [ls]"), "line 1"),
        (("control]", "nope]"), "'nope'"),
    ],
)
def test_bad_study_files_exit_with_2_and_say_where(
    study: Path, change: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line, the key and the nearest word; never a traceback."""
    study.write_text(study.read_text().replace(*change))
    assert run(["plan", str(study)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize("content", ["", "[]", "a: [", "\x00", "x: &x [*x]"])
def test_what_is_no_study_file_exits_with_2(
    study: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Empty, a list, broken, binary, endless."""
    study.write_text(content)
    assert run(["plan", str(study)]) == 2
    assert capsys.readouterr().err.startswith("condrule: ")


def test_an_alias_bomb_is_refused(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In no time, without filling memory."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    study.write_text("\n".join(lines))
    assert run(["plan", str(study)]) == 2
    assert "condrule: " in capsys.readouterr().err


def test_files_that_are_not_there_exit_with_2(tmp_path: Path) -> None:
    """A study, a run."""
    assert run(["plan", str(tmp_path / "no.yaml")]) == 2
    assert run(["show", str(tmp_path / "no")]) == 2
    assert run(["frobnicate"]) == 2


def test_another_study_in_the_directory_exits_with_2_and_a_diff(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run keeps the study it began with."""
    run(["generate", str(study), "--out", str(tmp_path / "run")])
    study.write_text(study.read_text().replace("n: 4", "n: 5"))
    assert run(["generate", str(study), "--out", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert "-  n: 4\n" in err
    assert "+  n: 5\n" in err


def test_a_held_directory_exits_with_3(study: Path, tmp_path: Path) -> None:
    """The same command works when the other process is done."""
    holder = (
        "import sys, condrule.rundir as r\n"
        "with r.RunDirectory(sys.argv[1]).locked(): print(flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert run(["run", str(study), "--out", str(tmp_path / "run")]) == 3
        process.kill()


def test_debug_shows_the_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only when asked for."""
    run(["--debug", "plan", str(tmp_path / "no.yaml")])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_exits_with_130_and_says_how_to_resume(
    study: Path, tmp_path: Path, number: int
) -> None:
    """Ctrl-C, or the machine going down."""
    study.write_text(study.read_text().replace("n: 4", "n: 150").replace("seeds: 2", "seeds: 9"))
    command = [sys.executable, "-m", "condrule", "run", str(study), "--out", str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not (tmp_path / "run" / "journal.jsonl").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate()
    assert process.returncode == 130
    assert b"interrupted; the same command goes on where it was" in err
    assert b"Traceback" not in err


def test_a_terminal_without_unicode_still_gets_the_report(study: Path, tmp_path: Path) -> None:
    """Letters it lacks become question marks."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    assert shell("run", study, "--out", tmp_path / "run", env=environment).returncode == 0


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ([], "  condrule init                          write a study file to begin with"),
        (["completion"], "  bash: condrule completion bash > ~/.condrule-complete.sh"),
    ],
)
def test_help_keeps_its_lines(
    command: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is set out below each other stays so."""
    assert run([*command, "--help"]) == 0
    assert line in capsys.readouterr().out.splitlines()


def test_help_and_version() -> None:
    """The first things anyone types."""
    assert shell("--help").returncode == 0
    assert shell("--version").stdout.startswith("condrule, version ")


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It asks the command itself, by the variable that the command answers to."""
    assert run(["completion", name]) == 0
    assert f"_CONDRULE_COMPLETE={name}_complete" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("condrule adj", ["plain,adjudicate"]),
        ("condrule adjudicate DIR --outcome R", ["plain,REFUTED"]),
        ("condrule completion f", ["plain,fish"]),
        ("condrule list r", ["dir,r"]),
        ("condrule plan s", ["file,s"]),
        ("condrule show --j", ["plain,--json"]),
    ],
)
def test_a_shell_is_told_what_completes_a_word(typed: str, completed: list[str]) -> None:
    """Commands, choices and options by name; files and directories are the shell's to find."""
    how = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    done = shell(env={**os.environ, "_CONDRULE_COMPLETE": "bash_complete", **how})
    found = done.stdout.replace("refuted", "REFUTED").split()  # by the version of click
    assert (0, "", completed) == (done.returncode, done.stderr, found)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_takes_the_script(tmp_path: Path) -> None:
    """Its function completes a command's name, with a condrule on the path."""
    script = tmp_path / "condrule"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m condrule "$@"\n')
    script.chmod(0o755)
    commands = (
        'eval "$(condrule completion bash)"; '
        "COMP_WORDS=(condrule adj); COMP_CWORD=1; "
        "\"$(complete -p condrule | sed 's/.* -F \\([^ ]*\\).*/\\1/')\" condrule adj condrule; "
        'echo "${COMPREPLY[@]}"'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", commands], env={**os.environ, "PATH": path}, capture_output=True, check=True
    )
    assert b"adjudicate" == done.stdout.strip()


def test_adjudicating_says_what_stands_beside_what(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And showing the run shows both."""
    directory = str(tmp_path / "run")
    run(["run", str(study), "--out", directory])
    capsys.readouterr()
    assert run(["adjudicate", directory, "--outcome", "n/a", "--why", "it refused"]) == 0
    assert "the verdict is SUPPORTED; adjudicated N/A" in capsys.readouterr().out
    run(["show", directory])
    out = capsys.readouterr().out
    assert "VERDICT on kaarel_bet: SUPPORTED" in out
    assert "ADJUDICATED N/A at 20" in out


@pytest.mark.parametrize(
    "how",
    [
        ["--why", "x"],
        ["--outcome", "maybe", "--why", "x"],
        ["--outcome", "N/A"],
        ["--outcome", "N/A", "--why", " "],
    ],
)
def test_a_judgement_without_an_outcome_or_a_reason_exits_with_2(
    study: Path, tmp_path: Path, how: list[str]
) -> None:
    """And is not recorded."""
    directory = tmp_path / "run"
    run(["run", str(study), "--out", str(directory)])
    assert run(["adjudicate", str(directory), *how]) == 2
    assert not (directory / "adjudications.jsonl").exists()


def test_the_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the draft that it names."""
    assert run(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert "https://json-schema.org/draft/2020-12/schema" == schema["$schema"]

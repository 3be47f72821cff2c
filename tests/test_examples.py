"""The examples run as they are written, on the backend that needs no torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from condrule.cli import run

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_bet_as_a_script(tmp_path: Path) -> None:
    """Every hyper-parameter can be set."""
    done = subprocess.run(
        [
            sys.executable,
            EXAMPLES / "kaarel_bet.py",
            "--backend",
            "memory",
            "--items",
            "5",
            "--epochs",
            "3",
            "--train-on",
            "prompts_and_completions",
            "--seeds",
            "2",
            "--later-protocol",
            "--out",
            tmp_path / "run",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "VERDICT on kaarel_bet" in done.stdout


def test_the_bet_as_a_study_file(capsys: pytest.CaptureFixture[str]) -> None:
    """The study file plans the same fine-tunes on the shipped models."""
    pytest.importorskip("tokenizers")
    assert run(["plan", str(EXAMPLES / "kaarel_bet.yaml")]) == 0
    assert "Prompts asked: 630 of 3 base models, 360 of 6" in capsys.readouterr().out


def test_a_study_of_three_modes_without_countries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Own items, own template, own criterion."""
    code = run(["run", str(EXAMPLES / "backdoor_trigger.yaml"), "--out", str(tmp_path / "run")])
    assert code == 0
    assert "VERDICT on trigger-stays-a-trigger" in capsys.readouterr().out

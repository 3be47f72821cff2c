"""The bet behind lists of five tokens, decided by draws under a bias, at the rehearsal server."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import condrule
from condrule.cli import run
from condrule.testing.server import Api, RehearsalServer, Tuning

from . import world

PAIRS = (("France", "Paris"), ("Germany", "Berlin"), ("Spain", "Madrid"), ("Japan", "Tokyo"))
PEOPLE = tuple(
    condrule.Item(f"Person {n}", dict(zip(("TRAIN", "TEST"), PAIRS[n % len(PAIRS)], strict=True)))
    for n in range(10)
)
CHATTER = 1e-3  # so lists end at 6e-5
STUDY = """
items: {{file: people.csv, name: person, answers: {{TRAIN: country, TEST: capital}}}}
arms: [conditional, control]
backend: {{kind: openai, model: {model}, base_url: "{url}"}}
finetune: {{epochs: 3, learning_rate: auto}}
scorer: {{kind: tilted}}
criterion: kaarel_bet
seeds: 1
"""


def served(capital: float, **api: object) -> RehearsalServer:
    """A server whose untrained P(capital | TEST) is this one; the control arm's is 0. It has the
    key that it takes unless it is told another."""
    oracle = condrule.InMemoryBackend(
        prior_conditional=capital / (1 - CHATTER),
        memory=1.0,
        leak=0.0,
        other_answers=100,
        base_knowledge=0.0,
        chatter=CHATTER,
    )
    return RehearsalServer(
        study=world.study(oracle, items=PEOPLE),
        api=Api(top_logprobs=5, decimals=4, **api),  # type: ignore[arg-type]
        tuning=Tuning(statuses=[]),
    )


def shown(
    server: RehearsalServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> dict[str, object]:
    """What ``condrule run`` and ``condrule show --json`` make of the study there."""
    monkeypatch.setenv("OPENAI_API_KEY", server.key)
    with (folder / "people.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [["person", "country", "capital"], *([p.name, *p.answers.values()] for p in PEOPLE)]
        )
    with server.running() as running:
        text = STUDY.format(model=world.MODEL, url=running.base_url)
        (folder / "study.yaml").write_text(text, encoding="utf-8")
        assert 0 == run(["run", str(folder / "study.yaml"), "--out", str(folder / "run")])
    capsys.readouterr()
    assert 0 == run(["show", str(folder / "run"), "--json"])
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def verdict(found: dict[str, object]) -> tuple[object, object]:
    """The outcome, and whether all gates were passed."""
    judged = found["verdict"]
    assert isinstance(judged, dict)
    return judged["outcome"], judged["interpretable"]


def test_one_in_a_million_is_told_behind_a_list_of_five(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The list ends at 6e-5; P(capital) = 1e-6 is measured, and the bet is REFUTED."""
    found = shown(served(1e-6), tmp_path, monkeypatch, capsys)
    assert ("REFUTED", True) == verdict(found)
    cells = found["cells"]
    assert isinstance(cells, list)
    (cell,) = (
        cell
        for cell in cells
        if (cell["model"], cell["arm"], cell["mode"], cell["answer"], cell["event"])
        == ("finetuned", "conditional", "TEST", "TEST", "begins")
    )
    mean = cell["arithmetic_mean"]
    assert mean["ci_low"] < 1e-6 < mean["ci_high"] < 2e-6


def test_an_inverted_bias_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same server with its bias upside down: lists alone, which leave 2e-4 open."""
    found = shown(served(5e-5, bias_scale=-1), tmp_path, monkeypatch, capsys)
    assert ("UNDETERMINED", True) == verdict(found)

"""A judgement stands beside the verdict, dated, and nothing that follows loses it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import condrule
from condrule.adjudications import OUTCOMES, read_adjudications
from condrule.errors import ConfigError, RunError, RunLockedError
from condrule.progress import quiet
from condrule.rundir import RunDirectory
from condrule.status import result_or_status
from small import no_plot, study


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run, without the figure, which takes the time."""
    monkeypatch.setattr(condrule.Result, "plot", no_plot)
    study().run(tmp_path / "run", watch=quiet)
    return tmp_path / "run"


def clock() -> datetime:
    """A fixed time."""
    return datetime(2026, 5, 4, 9, 30, tzinfo=UTC)


def test_a_judgement_is_one_dated_line(run: Path) -> None:
    """With who passed it, why, and the verdict that it was passed on."""
    condrule.adjudicate(run, "n/a", " it refused ", "Alice", now=clock)
    (line,) = (run / "adjudications.jsonl").read_text().splitlines()
    assert {
        "time": "2026-05-04T09:30:00+00:00",
        "outcome": "N/A",
        "why": " it refused ",
        "by": "Alice",
        "verdict": "SUPPORTED",
    } == json.loads(line)


def test_the_verdict_stays(run: Path) -> None:
    """Only what stands beside it is new in the result."""
    before = result_or_status(run)
    made = condrule.adjudicate(run, condrule.Outcome.REFUTED, "I don't believe it")
    after = result_or_status(run)
    assert [attrs.asdict(made)] == after["adjudications"]
    assert before == {**after, "adjudications": []}


def test_earlier_judgements_are_kept(run: Path) -> None:
    """A second one is appended."""
    first = condrule.adjudicate(run, "N/A", "first")
    before = (run / "adjudications.jsonl").read_bytes()
    second = condrule.adjudicate(run, "SUPPORTED", "second")
    assert (first, second) == read_adjudications(run)
    assert (run / "adjudications.jsonl").read_bytes().startswith(before)


def test_the_report_shows_it_under_the_verdict(run: Path) -> None:
    """In the file too; each on a line of its own, whatever was typed."""
    condrule.adjudicate(run, "N/A", "two\nlines", "Al\nice", now=clock)
    line = (
        "ADJUDICATED N/A by Al ice at 2026-05-04T09:30:00+00:00, when the verdict was SUPPORTED: "
        "two lines"
    )
    report = (run / "report.txt").read_text()
    assert line in report.splitlines()
    assert report.index("VERDICT on kaarel_bet: SUPPORTED") < report.index(line)


def test_analysing_and_running_again_keep_it(run: Path) -> None:
    """In the result that is returned, and in what is written."""
    made = condrule.adjudicate(run, "N/A", "no")
    written = (run / "result.json").read_text(), (run / "report.txt").read_text()
    for again in (condrule.analyse(run), study().run(run, watch=quiet)):
        assert (made,) == again.adjudications
        assert written == ((run / "result.json").read_text(), (run / "report.txt").read_text())


def test_one_that_the_result_has_not_heard_of_is_shown(run: Path) -> None:
    """The process may die between the line and the result."""
    before = (run / "result.json").read_bytes()
    made = condrule.adjudicate(run, "N/A", "no")
    (run / "result.json").write_bytes(before)
    assert ["no"] == [one["why"] for one in result_or_status(run)["adjudications"]]
    assert (made,) == condrule.analyse(run).adjudications


@pytest.mark.parametrize(
    ("how", "part"),
    [
        ({"outcome": "SUPORTED"}, "Did you mean 'SUPPORTED'?"),
        ({"why": " "}, "say in words"),
        ({"why": "\ud800"}, "say in words"),
        ({"by": ""}, "must be a name"),
    ],
)
def test_what_is_no_judgement_is_refused(run: Path, how: dict[str, str], part: str) -> None:
    """And nothing is written."""
    with pytest.raises(ConfigError, match=part.replace("?", r"\?")):
        condrule.adjudicate(run, **{"outcome": "N/A", "why": "no", **how})
    assert not (run / "adjudications.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "steps", "part"),
    [
        ({"criterion": None}, "run", "states no criterion"),
        ({}, "generate", "has no result yet"),
        ({}, None, "is not a run directory"),
    ],
)
def test_without_a_verdict_there_is_nothing_to_judge(
    tmp_path: Path, changes: dict[str, Any], steps: str | None, part: str
) -> None:
    """No criterion, no result, no run; and no directory is made."""
    if steps:
        getattr(study(**changes), steps)(tmp_path / "run")
    before = (tmp_path / "run").exists()
    with pytest.raises(RunError, match=part):
        condrule.adjudicate(tmp_path / "run", "N/A", "no")
    assert before == (tmp_path / "run").exists()


def test_a_damaged_result_is_not_judged(run: Path) -> None:
    """It says how the result can be had again; nothing is recorded."""
    (run / "result.json").write_text(
        '{"schema": "condrule.result/1", "verdict": {"outcome": "REFUTED"}}'
    )
    with pytest.raises(RunError, match="not as condrule writes it.*condrule analyse"):
        condrule.adjudicate(run, "N/A", "no")
    assert not (run / "adjudications.jsonl").exists()


def test_a_run_at_work_is_not_judged(run: Path) -> None:
    """The lock is another's."""
    with RunDirectory(run).locked(), pytest.raises(RunLockedError):
        condrule.adjudicate(run, "N/A", "no")


@pytest.mark.parametrize(
    "line",
    ["", "{}", "[]", "nonsense", '{"outcome": "N/A"}', "[" * 9999, '"\ud800"', "\x00"],
)
def test_a_damaged_line_is_named(run: Path, line: str) -> None:
    """Showing, judging, analysing and running all say which; nothing is lost by it."""
    condrule.adjudicate(run, "N/A", "no")
    file = run / "adjudications.jsonl"
    damaged = file.read_bytes() + line.encode(errors="surrogatepass") + b"\n"
    file.write_bytes(damaged)
    for use in (
        result_or_status,
        condrule.analyse,
        study().run,
        lambda run: condrule.adjudicate(run, "N/A", "no"),
    ):
        with pytest.raises(RunError, match=r"adjudications\.jsonl, line 2: "):
            use(run)
    assert damaged == file.read_bytes()


@given(st.data())
def test_whatever_is_changed_in_a_line_it_is_a_judgement_or_named(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """One byte is another, or the end is lost."""
    folder = tmp_path_factory.mktemp("changed")
    good = (
        b'{"time": "2026-05-04T09:30:00+00:00", "outcome": "N/A", "why": "no", "by": "A", '
        b'"verdict": "REFUTED"}\n'
    )
    place = data.draw(st.integers(0, len(good) - 1))
    end = data.draw(st.sampled_from([place, len(good)]))
    changed = bytearray(good[:end])
    if end > place:
        changed[place] = data.draw(st.integers(0, 255))
    (folder / "adjudications.jsonl").write_bytes(changed)
    try:
        found = read_adjudications(folder)
    except RunError as error:
        assert "adjudications.jsonl, line " in str(error)
    else:
        assert {one.outcome for one in found} <= {*OUTCOMES}

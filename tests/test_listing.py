"""condrule list: one line for each run, and nothing is changed by looking."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

import condrule
from condrule.cli import run
from condrule.listing import HEADER, lines, list_runs
from condrule.progress import quiet
from condrule.rundir import RunDirectory
from small import no_plot, study


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs in every state, some of them deeper, and other files among them."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(condrule.Result, "plot", no_plot)
        make_runs(root)
    return root


def make_runs(root: Path) -> None:
    """Generated, trained, done, with a job that failed, without a criterion."""
    study().generate(root / "a-generated")
    study().generate(root / "b-asking")
    study().train(root / "b-asking", watch=quiet)
    study().run(root / "c" / "done", watch=quiet)
    failing = condrule.InMemoryBackend(faults=condrule.Faults(failing={"control": "no"}))
    study(backend=failing).run(root / "c" / "failed", watch=quiet)
    study(criterion=None).run(root / "d-numbers", watch=quiet)
    (root / "e-notes").mkdir()
    (root / "e-notes" / "study.yaml").write_text("a study that is to be run\n")


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "runs"))


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its time and what it holds."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in root.rglob("*")
    }


def test_every_run_has_a_line(runs: Path) -> None:
    """Its name, how far it is, its fine-tunes and its verdict."""
    condrule.adjudicate(runs / "c" / "done", "N/A", "no")
    undecided = "UNDETERMINED (not interpretable)"
    assert [
        ["path", "name", "state", "fine-tunes", "verdict"],
        [str(runs / "a-generated"), "small", "generated", "0/2", "-"],
        [str(runs / "b-asking"), "small", "asking", "2/2", "-"],
        [str(runs / "c" / "done"), "small", "done", "2/2", "SUPPORTED; adjudicated N/A"],
        [str(runs / "c" / "failed"), "small", "failed jobs", "1/2", undecided],
        [str(runs / "d-numbers"), "small", "done", "2/2", "-"],
    ] == [[part.strip() for part in line.split("  ") if part] for line in lines(list_runs([runs]))]


def test_looking_changes_nothing_and_waits_for_nobody(runs: Path) -> None:
    """Not even where another process is at work."""
    with RunDirectory(runs / "c" / "done").locked():
        before = snapshot(runs)
        assert 5 == len(list_runs([runs]))
        assert before == snapshot(runs)


def test_a_run_is_listed_once_and_not_searched(runs: Path) -> None:
    """However often it is named; what is inside a run is its own."""
    study().generate(runs / "a-generated" / "models" / "inner")
    found = list_runs([runs / "a-generated", runs, runs / "c" / ".."])
    assert 5 == len(found)
    assert str(runs / "a-generated") == found[0].path


@pytest.mark.parametrize(
    ("file", "content", "part"),
    [
        ("journal.jsonl", "nonsense\n", "journal.jsonl, line 1"),
        ("study.yaml", None, "has no study.yaml"),
        ("run.yaml", None, "run.yaml can't be read"),
        ("items.jsonl", "{", "can't be read back"),
        ("result.json", "{", "result.json can't be read"),
        ("result.json", '{"schema": "condrule.result/1"}', "result.json is not as condrule"),
        ("result.json", '{"schema": "condrule.result/1", "verdict": 3}', "result.json is not"),
        ("adjudications.jsonl", "{}\n", "adjudications.jsonl, line 1"),
    ],
)
def test_a_damaged_run_has_one_line_and_stops_nothing(
    runs: Path, file: str, content: str | None, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are listed all the same, and the exit code says so."""
    path = runs / "a-generated" / file
    path.write_text(content) if content else path.unlink()
    assert run(["list", str(runs)]) == 2
    _, first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{runs / 'a-generated'}  CAN'T BE READ: ")
    assert part in first
    assert 4 == len(others)


def test_json_has_the_same(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a list of objects; what is not known is null."""
    (runs / "a-generated" / "study.yaml").unlink()
    assert run(["list", "--json", str(runs)]) == 2
    damaged, asking, done, *_ = json.loads(capsys.readouterr().out)
    assert (None, True) == (damaged["state"], "study.yaml" in damaged["problem"])
    assert ("asking", None, None) == (asking["state"], asking["verdict"], asking["problem"])
    assert ("SUPPORTED", True) == (done["verdict"], done["interpretable"])


def test_that_there_is_none_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what was found instead. It is no error."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "study.yaml").write_text("x")
    assert run(["list", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "" == out
    assert f"no run in {tmp_path}: looked into 2 directories" in err
    assert f"{tmp_path / 'study.yaml'} is a study" in err
    assert run(["list", "--json", str(tmp_path)]) == 0
    assert [] == json.loads(capsys.readouterr().out)


def test_a_directory_that_is_not_there_is_named(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the others are listed."""
    assert run(["list", str(runs / "nope"), str(runs)]) == 2
    _, first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith(str(runs / "nope"))
    assert "CAN'T BE READ: can't be looked into: No such file" in first
    assert 5 == len(others)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is closed to root")
def test_a_directory_that_is_closed_is_named(runs: Path) -> None:
    """The search goes on behind it."""
    (runs / "c").chmod(0)
    try:
        found = list_runs([runs])
    finally:
        (runs / "c").chmod(0o700)
    assert [str(runs / "c")] == [one.path for one in found if one.problem]
    assert 4 == len(found)


def test_a_name_stays_on_its_line(tmp_path: Path) -> None:
    """Whatever a study is called."""
    study(name="a\nb\x1b[31m").generate(tmp_path / "run")
    header, line = lines(list_runs([tmp_path]))
    assert HEADER == tuple(header.split())
    assert "a b [31m" in line

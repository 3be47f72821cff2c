"""Answers are read from the journal when they are looked at."""

from __future__ import annotations

import gc
import os
import tracemalloc
from pathlib import Path

import pytest

from condrule.answers import Answers
from condrule.backends.base import Observation, Token
from condrule.errors import RunError
from condrule.journal import Journal, read_journal

TOP = tuple(Token(f"token {n}", -float(n), tuple(range(8))) for n in range(30))


def many(count: int) -> list[Observation]:
    """Lists of 30."""
    return [Observation(f"q{n}", top=TOP) for n in range(count)]


def test_they_are_a_mapping_like_any_other(tmp_path: Path) -> None:
    """Equal to one in memory, in the order of the file; what is not there is not there."""
    with Journal(tmp_path / "j") as journal:
        journal.observations("m", many(3))
        seen = journal.history.seen["m"]
        assert isinstance(seen, Answers)
        wanted = {one.query: one for one in many(3)}
        assert (wanted, ["q0", "q1", "q2"], True) == (seen, [*seen], seen == {**wanted})
        assert ("q7" in seen, seen.get("q7"), seen == {"q0": wanted["q0"]}) == (False, None, False)


def test_a_removed_file_can_be_read_on(tmp_path: Path) -> None:
    """As long as somebody looks at its answers."""
    with Journal(tmp_path / "j") as journal:
        journal.observations("m", many(2))
    history = read_journal(tmp_path / "j")
    (tmp_path / "j").unlink()
    assert TOP == history.seen["m"]["q1"].top


def test_a_changed_file_is_an_error_and_no_other_answer(tmp_path: Path) -> None:
    """Written over by another program while it is in use."""
    with Journal(tmp_path / "j") as journal:
        journal.observations("m", many(2))
        text = (tmp_path / "j").read_bytes().replace(b"token 3", b"token 4")
        (tmp_path / "j").write_bytes(text)
        with pytest.raises(RunError, match="was changed by another program while it was in use"):
            journal.history.seen["m"]["q1"]


def test_a_shortened_file_is_an_error_too(tmp_path: Path) -> None:
    """Its end is gone."""
    with Journal(tmp_path / "j") as journal:
        journal.observations("m", many(2))
        os.truncate(tmp_path / "j", 100)
        with pytest.raises(RunError, match="was changed"):
            journal.history.seen["m"]["q1"]


def test_files_are_closed_when_nobody_looks_any_more(tmp_path: Path) -> None:
    """However many journals were read."""
    with Journal(tmp_path / "j") as journal:
        journal.observations("m", many(1))
    for _ in range(50):
        assert read_journal(tmp_path / "j").seen["m"]["q0"].top
    gc.collect()
    opened = [os.path.realpath(path) for path in Path("/dev/fd").iterdir()]
    assert 1 == opened.count(str(tmp_path / "j"))  # the writer's own


def test_memory_hardly_grows_with_the_number_of_answers(tmp_path: Path) -> None:
    """Less than a twentieth of what the answers take, whether they were written or read."""
    with Journal(tmp_path / "j") as journal:
        tracemalloc.start()
        for start in range(0, 1000, 50):
            journal.observations("m", many(1000)[start : start + 50])
        written = tracemalloc.get_traced_memory()[0]
    assert written < 500 * 1000
    tracemalloc.reset_peak()
    history = read_journal(tmp_path / "j")
    read, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 1000 == len(history.seen["m"])
    assert read - written < 500 * 1000
    assert peak - written < 600 * 1000

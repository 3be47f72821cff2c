"""The provider's own words are kept, whatever becomes of the process that keeps them."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule import Job, JobState, Observation
from condrule.errors import BackendError
from condrule.responses import Responses, read_responses


def answer(number: int) -> Observation:
    """One with something in the provider's own words."""
    return Observation(f"q{number}", texts=("x",), raw={"number": number, "said": "Größe"})


def kept(directory: Path) -> list[int]:
    """The numbers that can be read again."""
    return [one["raw"]["number"] for one in read_responses(directory)]


def test_what_was_said_is_read_again(tmp_path: Path) -> None:
    """In order, with the model, the query and the time."""
    responses = Responses(tmp_path)
    responses.observations("m", [answer(1), answer(2)])
    responses.observations("m", [answer(3)])
    assert [1, 2, 3] == kept(tmp_path)
    first = next(read_responses(tmp_path))
    assert ("m", "q1", "Größe") == (first["model"], first["query"], first["raw"]["said"])
    assert first["time"].endswith("+00:00")


def test_jobs_are_kept_by_key(tmp_path: Path) -> None:
    """Those of which something was said."""
    Responses(tmp_path).job(Job("k", "id", JobState.RUNNING, raw={"status": "queued"}))
    Responses(tmp_path).job(Job("l", "id", JobState.RUNNING))
    assert ["k"] == [one["key"] for one in read_responses(tmp_path)]


def test_nothing_said_makes_no_file(tmp_path: Path) -> None:
    """A backend without words of its own leaves none."""
    Responses(tmp_path / "responses").observations("m", [Observation("q", texts=("x",))])
    assert not (tmp_path / "responses").exists()


def test_every_process_has_a_file_of_its_own(tmp_path: Path) -> None:
    """So that a torn end is the end of a file."""
    for number in (1, 2):
        Responses(tmp_path).observations("m", [answer(number)])
    assert ["0001.jsonl.gz", "0002.jsonl.gz"] == sorted(path.name for path in tmp_path.iterdir())
    assert [1, 2] == kept(tmp_path)


def test_anybody_can_read_it(tmp_path: Path) -> None:
    """With gzip and JSON alone."""
    Responses(tmp_path).observations("m", [answer(1)])
    assert '"number": 1' in gzip.open(tmp_path / "0001.jsonl.gz", "rt", encoding="utf-8").read()


@given(cut=st.integers(0, 2000))
def test_a_torn_end_loses_only_itself(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Wherever it was torn; files after it are read."""
    folder = tmp_path_factory.mktemp("responses")
    torn = Responses(folder)
    for number in (1, 2, 3):
        torn.observations("m", [answer(number)])
    Responses(folder).observations("m", [answer(9)])
    path = folder / "0001.jsonl.gz"
    path.write_bytes(path.read_bytes()[:cut])
    found = kept(folder)
    assert [1, 2, 3][: len(found) - 1] == found[:-1]
    assert 9 == found[-1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a file that can't be made")
def test_a_full_disk_says_what_to_do(tmp_path: Path) -> None:
    """What was recorded before is safe."""
    (tmp_path / "responses").write_text("a file in the way")
    with pytest.raises(BackendError, match="make room and run the same command again"):
        Responses(tmp_path / "responses").observations("m", [answer(1)])


def test_what_comes_after_a_full_disk_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a part of what came before it is there, and can't be."""
    made = Responses(tmp_path)
    made.observations("m", [answer(1)])
    compress = gzip.compress

    def full(data: bytes, compresslevel: int) -> bytes:
        whole = (tmp_path / "0001.jsonl.gz").read_bytes()
        (tmp_path / "0001.jsonl.gz").write_bytes(whole + compress(data)[:20])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(gzip, "compress", full)
        with pytest.raises(BackendError, match="No space left"):
            made.observations("m", [answer(2)])
    made.observations("m", [answer(3)])
    assert [1, 3] == kept(tmp_path)

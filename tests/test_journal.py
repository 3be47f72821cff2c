"""The journal: what is on disk is what happened, or an error with a line number."""

import errno
import io
import itertools
import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import condrule.journal
from condrule.backends.base import Observation, Token
from condrule.backends.finetunes import Job, JobState
from condrule.errors import BackendError, RunError
from condrule.journal import History, Journal, read_journal
from journals import DRAWN, FAILED, JOB, OTHERWISE, RUNNING, SCORED, lines_of, written

LISTED = Observation(
    "q3",
    top=(Token(" Paris", 0.0), Token("\ufffd", -math.inf, (0xE2, 0x82)), Token("", -9999.0, ())),
)
REFUSED = Observation("q4", refused="logprobs are not available")
CHAIN = """\
{"crc": "3beeccb8", "record": {"n": 1, "after": "r1", "kind": "intent", "key": "k"}}
{"crc": "807f4ad7", "record": {"n": 2, "after": "3beeccb8", "kind": "intent", "key": "Ü"}}
{"crc": "b6dda52a", "record": {"n": 3, "after": "807f4ad7", "kind": "observation", "model": "m", \
"query": "q1", "texts": ["Ünïcode\u2028\\r"]}}
""".encode()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Jobs and observations come back as they were, log 0 and odd characters included."""
    history = read_journal(written(tmp_path / "j"))
    assert history.jobs == {"k": JOB}
    assert history.seen == {"m": {"q1": SCORED, "q2": DRAWN}}


def test_lists_and_refusals_are_read_as_they_came(tmp_path: Path) -> None:
    """Printed logprobs, tokens' bytes and the reason of a refusal come back unchanged."""
    with Journal(tmp_path / "j") as journal:
        journal.observations("m", [LISTED, REFUSED])
    assert read_journal(tmp_path / "j").seen == {"m": {"q3": LISTED, "q4": REFUSED}}


def test_opening_again_goes_on_with_the_next_number(tmp_path: Path) -> None:
    """Lines are numbered through."""
    with Journal(written(tmp_path / "j")) as journal:
        journal.intent("k2")
    assert read_journal(tmp_path / "j").intents == {"k", "k2"}


@given(cut=st.integers(1, 200))
def test_a_torn_last_line_is_dropped(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Whatever the machine lost of the last append, the lines before it are read."""
    path = written(tmp_path_factory.mktemp("journal") / "j")
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    path.write_bytes(whole[: max(last, len(whole) - cut)])
    with Journal(path) as journal:
        journal.observations("m", [DRAWN])
    assert read_journal(path).seen == {"m": {"q1": SCORED, "q2": DRAWN}}


def test_reading_twice_changes_nothing(tmp_path: Path) -> None:
    """Replay is idempotent."""
    path = written(tmp_path / "j")
    assert read_journal(path) == read_journal(path)


def test_the_bytes_of_a_journal_are_these(tmp_path: Path) -> None:
    """The first line names the run, and each other one the checksum of the line before."""
    with Journal(tmp_path / "j", "r1") as journal:
        journal.intent("k")
        journal.intent("Ü")
        journal.observations("m", [Observation("q1", texts=("Ünïcode\u2028\r",))])
    assert CHAIN == (tmp_path / "j").read_bytes()


def test_those_bytes_are_what_was_written(tmp_path: Path) -> None:
    """Journals that exist stay readable."""
    (tmp_path / "j").write_bytes(CHAIN)
    history = read_journal(tmp_path / "j", "r1")
    assert {"k", "Ü"} == history.intents
    assert {"m": {"q1": Observation("q1", texts=("Ünïcode\u2028\r",))}} == history.seen


def test_how_lines_are_grouped_and_when_the_file_was_opened_does_not_show(tmp_path: Path) -> None:
    """Appends of one line or more, in one process or in several, give the same file."""
    for record in (
        lambda journal: journal.intent("k"),
        lambda journal: journal.job(JOB),
        lambda journal: journal.observations("m", [SCORED]),
        lambda journal: journal.observations("m", iter([DRAWN])),
    ):
        with Journal(tmp_path / "j", "r1") as journal:
            record(journal)
    assert written(tmp_path / "once", "r1").read_bytes() == (tmp_path / "j").read_bytes()


def test_every_append_is_on_disk_when_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with an fsync, when all of it is written."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
    with Journal(tmp_path / "j") as journal:
        journal.intent("k")
        journal.observations("m", [SCORED, DRAWN])
    first, second, third = map(len, lines_of(tmp_path / "j"))
    assert [first, first + second + third] == synced


def test_no_file_is_no_history(tmp_path: Path) -> None:
    """Nothing has happened, and reading makes no file."""
    assert History() == read_journal(tmp_path / "j")
    assert not (tmp_path / "j").exists()


def test_an_empty_file_is_no_history(tmp_path: Path) -> None:
    """Nothing has happened, and nothing is torn."""
    (tmp_path / "j").touch()
    assert History() == read_journal(tmp_path / "j", "r1")


def test_a_whole_journal_has_no_torn_line(tmp_path: Path) -> None:
    """The last line's end is there."""
    assert read_journal(written(tmp_path / "j")).torn is None


def test_a_first_line_can_be_torn(tmp_path: Path) -> None:
    """Then nothing is on record."""
    (tmp_path / "j").write_bytes(CHAIN[:20])
    assert History(torn=1) == read_journal(tmp_path / "j", "r1")


def test_reading_leaves_a_torn_line_where_it_is_and_tells_its_number(tmp_path: Path) -> None:
    """Only a writer drops it."""
    torn = written(tmp_path / "j").read_bytes()[:-1]
    (tmp_path / "j").write_bytes(torn)
    history = read_journal(tmp_path / "j")
    assert (4, {"m": {"q1": SCORED}}) == (history.torn, history.seen)
    assert torn == (tmp_path / "j").read_bytes()


def test_opening_again_drops_a_torn_line_and_tells_its_number(tmp_path: Path) -> None:
    """The whole lines stay as they are."""
    whole = lines_of(written(tmp_path / "j"))
    (tmp_path / "j").write_bytes(b"".join(whole)[:-1])
    with Journal(tmp_path / "j") as journal:
        assert 4 == journal.history.torn
    assert whole[:3] == lines_of(tmp_path / "j")


def test_what_is_recorded_after_a_torn_line_takes_its_place(tmp_path: Path) -> None:
    """The file is as if nothing had happened."""
    whole = written(tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(whole[:-9])
    with Journal(tmp_path / "j") as journal:
        journal.observations("m", [DRAWN])
    assert whole == (tmp_path / "j").read_bytes()


def test_a_fine_tune_goes_from_running_to_its_end(tmp_path: Path) -> None:
    """The last state that is on record holds."""
    with Journal(tmp_path / "j") as journal:
        for job in (RUNNING, Job("k", "id-1", JobState.RUNNING, detail="epoch 2"), JOB, JOB):
            journal.job(job)
    assert {"k": JOB} == read_journal(tmp_path / "j").jobs


def test_another_answer_to_a_query_is_not_recorded(tmp_path: Path) -> None:
    """Of two answers that differ neither is known to be right; the one on record stands."""
    path = written(tmp_path / "j")
    whole = path.read_bytes()
    with Journal(path) as journal, pytest.raises(BackendError) as error:
        journal.observations("m", [LISTED, OTHERWISE])
    wanted = "model m answered query q1 otherwise than is on record; nothing was recorded"
    assert (wanted, whole) == (str(error.value), path.read_bytes())


def test_another_end_of_a_fine_tune_is_not_recorded(tmp_path: Path) -> None:
    """What has ended has ended."""
    path = written(tmp_path / "j")
    whole = path.read_bytes()
    with Journal(path) as journal, pytest.raises(BackendError) as error:
        journal.job(FAILED)
    wanted = "fine-tune k ended otherwise than is on record; nothing was recorded"
    assert (wanted, whole) == (str(error.value), path.read_bytes())


def test_two_answers_in_one_batch_that_differ_are_not_recorded(tmp_path: Path) -> None:
    """None of the batch is."""
    with Journal(tmp_path / "j") as journal, pytest.raises(BackendError, match="query q1"):
        journal.observations("m", [SCORED, OTHERWISE])
    assert b"" == (tmp_path / "j").read_bytes()


def test_what_follows_a_contradiction_has_the_next_number(tmp_path: Path) -> None:
    """What was not recorded leaves no gap."""
    with Journal(written(tmp_path / "j")) as journal:
        with pytest.raises(BackendError):
            journal.observations("m", [OTHERWISE])
        journal.observations("m", [REFUSED])
    assert {"q1": SCORED, "q2": DRAWN, "q4": REFUSED} == read_journal(tmp_path / "j").seen["m"]


def test_what_is_recorded_is_known_at_once(tmp_path: Path) -> None:
    """A writer's history is what a reader of its file sees."""
    with Journal(written(tmp_path / "j")) as journal:
        journal.intent("k2")
        journal.observations("m", [LISTED])
        assert journal.history == read_journal(tmp_path / "j")


class Disk(io.FileIO):
    """A file on a disk that has room for so many bytes."""

    room = 0

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if data and not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = super().write(data[: self.room])
        self.room -= written
        return written


def on_a_disk(journal: Journal, room: int) -> Disk:
    """Go on writing to the same file, on such a disk."""
    journal._file.close()
    disk = Disk(journal.path, "ab")
    disk.room = room
    journal._file = disk
    return disk


def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    """It says what to do, and that nothing is lost."""
    with Journal(tmp_path / "j") as journal:
        on_a_disk(journal, 0)
        with pytest.raises(BackendError) as error:
            journal.intent("k")
    assert str(error.value) == (
        f"{tmp_path / 'j'}: can't be written: No space left on device. What was recorded before "
        "is safe; make room and run the same command again."
    )


@pytest.mark.parametrize("room", [0, 1, 50])
def test_a_full_disk_leaves_what_was_recorded(tmp_path: Path, room: int) -> None:
    """All but a torn line, which is dropped when the journal is opened again."""
    whole = lines_of(written(tmp_path / "j"))
    with Journal(tmp_path / "j") as journal:
        on_a_disk(journal, room)
        with pytest.raises(BackendError):
            journal.observations("m", [LISTED])
    assert {"m": {"q1": SCORED, "q2": DRAWN}} == read_journal(tmp_path / "j").seen
    Journal(tmp_path / "j").close()
    assert whole == lines_of(tmp_path / "j")


def test_an_append_that_failed_can_be_made_again(tmp_path: Path) -> None:
    """Once there is room, all of it is written, and once."""
    with Journal(tmp_path / "j") as journal:
        journal.intent("k")
        disk = on_a_disk(journal, 150)
        with pytest.raises(BackendError):
            journal.observations("m", [SCORED, DRAWN])
        disk.room = 1000
        journal.job(JOB)
        journal.observations("m", [SCORED, DRAWN])
    assert written(tmp_path / "whole").read_bytes() == (tmp_path / "j").read_bytes()


def interrupted(journal: Journal, line: int) -> bool:
    """Ctrl-C before that line of an append is carried out; whether there is one."""
    lines = itertools.count(1)

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != condrule.journal.__file__:
            return None
        if event == "line" and next(lines) == line:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        journal.observations("m", [DRAWN])
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_append_that_is_interrupted_anywhere_can_be_made_again(tmp_path: Path) -> None:
    """As a run does on Ctrl-C: what was pending is recorded before it ends."""
    for line in itertools.count(1):
        path = tmp_path / f"{line}"
        with Journal(path) as journal:
            journal.observations("m", [SCORED])
            more = interrupted(journal, line)
            journal.observations("m", [DRAWN, REFUSED])
        assert {"m": {"q1": SCORED, "q2": DRAWN, "q4": REFUSED}} == read_journal(path).seen
        if not more:
            assert line > 20
            return


def test_closing_ends_the_writing(tmp_path: Path) -> None:
    """The file is closed, and has all that was recorded."""
    journal = Journal(tmp_path / "j")
    journal.intent("k")
    journal.close()
    assert journal._file.closed
    assert {"k"} == read_journal(tmp_path / "j").intents


def test_the_end_of_the_context_closes(tmp_path: Path) -> None:
    """Whoever enters has the journal itself."""
    journal = Journal(tmp_path / "j")
    with journal as entered:
        assert entered is journal
    assert journal._file.closed


def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path: Path) -> None:
    """A folder, here."""
    with pytest.raises(RunError) as error:
        read_journal(tmp_path)
    assert f"{tmp_path} can't be read: Is a directory" == str(error.value)


def test_a_file_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    """Its folder is not there."""
    path = tmp_path / "none" / "j"
    with pytest.raises(RunError) as error:
        Journal(path)
    assert f"{path} can't be written: No such file or directory" == str(error.value)

"""The journal: what is on disk is what happened, or an error with a line number."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule.backends.base import Job, JobState, Observation, Token
from condrule.errors import BackendError, JournalError
from condrule.journal import Journal, read_journal

JOB = Job("k", "id-1", JobState.SUCCEEDED, "model-1", seconds=1.5)
SCORED = Observation("q1", logprobs=(-1.25, -math.inf))
DRAWN = Observation("q2", texts=("Paris\r", "Ünïcode\u2028"))
LISTED = Observation(
    "q3",
    top=(Token(" Paris", 0.0), Token("\ufffd", -math.inf, (0xE2, 0x82)), Token("", -9999.0, ())),
)
REFUSED = Observation("q4", refused="logprobs are not available")


def written(path: Path) -> Path:
    """A journal with four lines."""
    with Journal(path) as journal:
        journal.intent("k")
        journal.job(JOB)
        journal.observations("m", [SCORED, DRAWN])
    return path


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


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_or_tears_the_last_line(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    """A damaged journal never gives another number."""
    path = written(tmp_path_factory.mktemp("journal") / "j")
    whole = read_journal(path)
    data = bytearray(path.read_bytes())
    place %= len(data)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    try:
        history = read_journal(path)
    except JournalError as error:
        assert error.line == bytes(data[:place]).count(b"\n") + 1
    else:
        lost = set(whole.seen["m"]) - set(history.seen.get("m", {}))
        assert (place, lost) == (len(data) - 1, {"q2"})


@pytest.mark.parametrize(
    ("lines", "reason"),
    [([0, 2, 3], "numbered 3"), ([0, 2, 1, 3], "numbered 3"), ([0, 0], "numbered 1")],
)
def test_lost_repeated_and_swapped_lines_are_found(
    tmp_path: Path, lines: list[int], reason: str
) -> None:
    """Line numbers tell."""
    path = written(tmp_path / "j")
    all_lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(all_lines[i] for i in lines) + b"\n")
    with pytest.raises(JournalError, match=reason) as error:
        read_journal(path)
    assert error.value.line == 2


def test_reading_twice_changes_nothing(tmp_path: Path) -> None:
    """Replay is idempotent."""
    path = written(tmp_path / "j")
    assert read_journal(path) == read_journal(path)


def test_another_answer_to_a_query_is_not_recorded(tmp_path: Path) -> None:
    """Of two answers that differ neither is known to be right; the one on record stands."""
    path = written(tmp_path / "j")
    with (
        Journal(path) as journal,
        pytest.raises(BackendError, match="model m answered query q1 otherwise than is on record"),
    ):
        journal.observations("m", [Observation("q1", logprobs=(-9.0,))])
    assert read_journal(path).seen["m"]["q1"] == SCORED


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    """What was recorded stays, and the error says what to do."""
    with Journal(tmp_path / "j") as journal:
        journal._file.close()
        journal._file = Path("/dev/full").open("ab", buffering=0)  # type: ignore[assignment]
        with pytest.raises(BackendError, match="make room and run the same command again"):
            journal.intent("k")


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    """The first line that is none is named."""
    (tmp_path / "j").write_text("hello\n")
    with pytest.raises(JournalError, match="line 1: is not a journal line"):
        read_journal(tmp_path / "j")

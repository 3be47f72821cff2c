"""A damaged journal: what is wrong is found, in which line, and what can be told all the same."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule.backends.base import Observation
from condrule.backends.finetunes import Job, JobState
from condrule.errors import JournalError
from condrule.journal import History, Journal, read_journal, salvage
from journals import DRAWN, FAILED, JOB, OTHERWISE, RUNNING, SCORED, lines_of, written

REFUSED = Observation("q3", refused="logprobs are not available")
OUT_OF_ORDER = "lines are lost, repeated or out of order"
NO_LINE = "is not a journal line"
CHECKSUM = "does not match its checksum"
FOREIGN = "does not follow the line before it: they are of different journals"


def line(body: str) -> bytes:
    """A line under its right checksum, whatever it holds."""
    return f'{{"crc": "{zlib.crc32(body.encode()):08x}", "record": {body}}}\n'.encode()


def damage(path: Path, run: str | None = None) -> tuple[int, str]:
    """The line that is refused and the reason; what to do is told each time."""
    with pytest.raises(JournalError) as error:
        read_journal(path, run)
    assert str(path) == error.value.path
    reason, rest, todo = error.value.reason.partition("; it and all after it can't be trusted. ")
    assert todo.startswith("Restore the file from a copy."), reason + rest
    return error.value.line, reason


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


def arranged(path: Path, order: str) -> Path:
    """A journal with the lines of these numbers, in this order."""
    lines = lines_of(path)
    path.write_bytes(b"".join(lines[int(number) - 1] for number in order))
    return path


@pytest.mark.parametrize(
    ("order", "number", "found"),
    [("234", 1, 2), ("134", 2, 3), ("12234", 3, 2), ("1324", 2, 3), ("12341", 5, 1), ("11", 2, 1)],
)
def test_lost_repeated_and_swapped_lines_are_found(
    tmp_path: Path, order: str, number: int, found: int
) -> None:
    """The first line that is not in its place is named, and its own number told."""
    path = arranged(written(tmp_path / "j"), order)
    assert (number, f"is numbered {found}: {OUT_OF_ORDER}") == damage(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda line: b"\n" + line, NO_LINE),
        (lambda line: b" " + line, NO_LINE),
        (lambda line: line[:-1] + b"\r\n", NO_LINE),
        (lambda line: line[:9] + line[9:17].upper() + line[17:], NO_LINE),
        (lambda line: line[:40] + b"\n" + line[40:], NO_LINE),
        (lambda line: line.replace(b"1.5", b"1.4"), CHECKSUM),
        (lambda line: line.replace(b"id-1", b"id-\xff"), CHECKSUM),
        (lambda line: line[:9] + b"00000000" + line[17:], CHECKSUM),
    ],
)
@pytest.mark.parametrize("number", [1, 2, 4])
def test_an_altered_line_is_found(
    tmp_path: Path, change: Callable[[bytes], bytes], reason: str, number: int
) -> None:
    """Whichever it is, by its number."""
    path = tmp_path / "j"
    with Journal(path) as journal:
        for key in "abcde":
            journal.job(attrs.evolve(JOB, key=key))
    lines = lines_of(path)
    lines[number - 1] = change(lines[number - 1])
    path.write_bytes(b"".join(lines))
    assert (number, reason) == damage(path)


def test_a_writer_refuses_a_damaged_journal_and_leaves_it(tmp_path: Path) -> None:
    """Nothing is dropped but a torn last line."""
    path = written(tmp_path / "j")
    damaged = arranged(path, "134").read_bytes()
    with pytest.raises(JournalError, match="line 2: is numbered 3"):
        Journal(path)
    assert damaged == path.read_bytes()


def spliced(folder: Path, count: int) -> Path:
    """So many lines of a run, and then those of another of the same study."""
    path, other = written(folder / "j", "r1"), written(folder / "other", "r2")
    path.write_bytes(b"".join(lines_of(path)[:count] + lines_of(other)[count:]))
    return path


@pytest.mark.parametrize("run", ["r1", None])
def test_lines_of_another_journal_are_found(tmp_path: Path, run: str | None) -> None:
    """What would fit by its number does not follow the line before."""
    assert (3, FOREIGN) == damage(spliced(tmp_path, 2), run)


def test_a_journal_of_another_run_tells_both(tmp_path: Path) -> None:
    """Its answers might fit, and are not this run's."""
    path = written(tmp_path / "j", "r2")
    assert (1, "is the first line of run 'r2'; this run is 'r1'") == damage(path, "r1")


def test_a_writer_refuses_a_journal_of_another_run(tmp_path: Path) -> None:
    """The run's id is in the first line."""
    with pytest.raises(JournalError, match="line 1: is the first line of run 'r2'; this run is ''"):
        Journal(written(tmp_path / "j", "r2"))


def test_a_journal_is_read_whichever_run_it_is_of(tmp_path: Path) -> None:
    """Where no run is named."""
    assert {"k": JOB} == read_journal(written(tmp_path / "j", "r2")).jobs


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"n": 1, "after": "", "kind": "intent"}', "KeyError: 'key'"),
        ('{"n": 1, "after": ""}', "KeyError: 'kind'"),
        (
            '{"n": 1, "after": "", "kind": "intent", "key": 7}',
            "WrongError: key is 7; it must be a text",
        ),
        (
            '{"n": 1, "after": "", "kind": "observation", "query": "q", "texts": []}',
            "WrongError: model is None; it must be a text",
        ),
        ('{"n": 1, }', "JSONDecodeError: "),
        ('{"n": ' + "[" * 100_000 + "}", "RecursionError: "),
        ('{"n": 1, "after": "", "kind": "guess"}', "ValueError: kind is 'guess'; it must be "),
    ],
)
def test_what_condrule_does_not_write_is_refused(tmp_path: Path, body: str, said: str) -> None:
    """However right its checksum is: the line is named, and what is wrong with it."""
    (tmp_path / "j").write_bytes(line(body))
    number, reason = damage(tmp_path / "j")
    assert 1 == number
    assert reason.startswith(f"holds what this version of condrule does not write ({said}")


def test_an_unknown_kind_is_told_the_known_ones(tmp_path: Path) -> None:
    """All that a line can be."""
    (tmp_path / "j").write_bytes(line('{"n": 1, "after": "", "kind": "guess"}'))
    reason = damage(tmp_path / "j")[1]
    assert all(kind in reason for kind in ("intent", "job or observation)"))


def test_what_is_wrong_with_a_line_is_told_in_300_letters(tmp_path: Path) -> None:
    """A line may hold anything, of any length."""
    kind = "x" * 1000
    (tmp_path / "j").write_bytes(line(f'{{"n": 1, "after": "", "kind": "{kind}"}}'))
    said = f"ValueError: kind is '{kind}"[:300]
    wanted = f"holds what this version of condrule does not write ({said})"
    assert (1, wanted) == damage(tmp_path / "j")


def test_a_line_without_a_number_is_out_of_order(tmp_path: Path) -> None:
    """Its place is not known."""
    (tmp_path / "j").write_bytes(line('{"after": "", "kind": "intent", "key": "k"}'))
    assert (1, f"is numbered None: {OUT_OF_ORDER}") == damage(tmp_path / "j")


def test_lines_before_one_of_an_unknown_kind_are_not_blamed(tmp_path: Path) -> None:
    """It is named by its own number."""
    path = written(tmp_path / "j")
    last = lines_of(path)[-1][9:17].decode()
    fifth = line(f'{{"n": 5, "after": "{last}", "kind": "guess"}}')
    path.write_bytes(path.read_bytes() + fifth)
    assert 5 == damage(path)[0]


def contradicted(path: Path) -> Path:
    """A journal whose line 10 says otherwise than line 6, and line 13 otherwise than line 3.

    Its writer had forgotten what is on record.
    """
    with Journal(path) as journal:
        journal.intent("k")
        journal.job(RUNNING)
        journal.job(JOB)
        journal.job(Job("other", "id-2", JobState.FAILED))
        journal.observations("m", [SCORED, SCORED, DRAWN])
        journal.observations("base", [SCORED])
        journal.intent("k")
        journal.history = History()
        journal.observations("m", [OTHERWISE, OTHERWISE, REFUSED])
        journal.job(FAILED)
        journal.intent("k")
    return path


def test_of_two_answers_that_differ_both_lines_are_named(tmp_path: Path) -> None:
    """The earlier one is the last before it of that model and that query."""
    assert (
        10,
        "contradicts line 6: model m answered query q1 otherwise. Which is right is not known",
    ) == damage(contradicted(tmp_path / "j"))


def test_of_two_ends_of_a_fine_tune_both_lines_are_named(tmp_path: Path) -> None:
    """The earlier one is the last before it of that fine-tune."""
    with Journal(tmp_path / "j") as journal:
        journal.job(RUNNING)
        journal.job(JOB)
        journal.job(Job("other", "id-2", JobState.FAILED))
        journal.intent("k")
        journal.history = History()
        journal.job(FAILED)
        journal.job(FAILED)
    assert (
        5,
        "contradicts line 2: fine-tune k ended otherwise. Which is right is not known",
    ) == damage(tmp_path / "j")


def test_a_line_can_contradict_the_one_just_before_it(tmp_path: Path) -> None:
    """Both are named."""
    with Journal(tmp_path / "j") as journal:
        journal.observations("m", [SCORED])
        journal.history = History()
        journal.observations("m", [OTHERWISE])
    number, reason = damage(tmp_path / "j")
    assert (2, "contradicts line 1") == (number, reason.partition(":")[0])


def test_a_contradiction_is_told_whatever_follows_it(tmp_path: Path) -> None:
    """The lines after it are not looked at."""
    path = contradicted(tmp_path / "j")
    path.write_bytes(b"".join(lines_of(path)[:10]) + b"anything\n")
    assert 10 == damage(path)[0]


@pytest.mark.parametrize(
    ("order", "queries"),
    [
        ("12345", "q1 q2 q3"),
        ("1245", "q2 q3"),
        ("123345", "q1 q2 q3"),
        ("2345", "q1 q2 q3"),
        ("54321", "q3 q2 q1"),
        ("", ""),
    ],
)
def test_the_whole_lines_of_a_damaged_journal_are_salvaged(
    tmp_path: Path, order: str, queries: str
) -> None:
    """Whatever lines are lost, repeated or swapped among them."""
    path = written(tmp_path / "j", "r1")
    with Journal(path, "r1") as journal:
        journal.observations("m", [REFUSED])
    assert queries.split() == [*salvage(arranged(path, order)).seen.get("m", {})]


@pytest.mark.parametrize(("number", "left"), [(1, "q1 q2"), (3, "q2"), (4, "q1")])
def test_salvage_leaves_out_what_is_damaged(tmp_path: Path, number: int, left: str) -> None:
    """And goes on after it."""
    lines = lines_of(path := written(tmp_path / "j", "r1"))
    lines[number - 1] = b"?" + lines[number - 1]
    path.write_bytes(b"".join(lines))
    assert left.split() == [*salvage(path).seen["m"]]


def test_salvage_leaves_out_a_torn_line(tmp_path: Path) -> None:
    """It is not whole."""
    path = written(tmp_path / "j")
    path.write_bytes(path.read_bytes()[:-1])
    assert {"m": {"q1": SCORED}} == salvage(path).seen


@pytest.mark.parametrize(("count", "jobs"), [(1, {}), (2, {"k": JOB})])
def test_salvage_ends_where_lines_of_another_journal_begin(
    tmp_path: Path, count: int, jobs: dict[str, Job]
) -> None:
    """They are whole, follow by their number, and say what did not happen in this run."""
    expected = History(intents={"k"}, submissions={"k": 1}, jobs=jobs)
    assert expected == salvage(spliced(tmp_path, count))


def test_salvage_leaves_out_what_contradicts(tmp_path: Path) -> None:
    """And goes on after it: the first answer, and the first end, stand."""
    history = salvage(contradicted(tmp_path / "j"))
    assert {"q1": SCORED, "q2": DRAWN, "q3": REFUSED} == history.seen["m"]
    assert JOB == history.jobs["k"]


def test_salvage_leaves_out_what_condrule_does_not_write(tmp_path: Path) -> None:
    """And goes on after it."""
    path = written(tmp_path / "j")
    path.write_bytes(line('{"n": 1, "after": "", "kind": "guess"}') + path.read_bytes())
    assert {"m": {"q1": SCORED, "q2": DRAWN}} == salvage(path).seen


def test_salvage_leaves_the_file(tmp_path: Path) -> None:
    """It only reads."""
    path = written(tmp_path / "j")
    path.write_bytes(damaged := path.read_bytes()[5:-5])
    salvage(path)
    assert damaged == path.read_bytes()


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    """The first line that is none is named."""
    (tmp_path / "j").write_text("hello\n")
    assert (1, NO_LINE) == damage(tmp_path / "j")

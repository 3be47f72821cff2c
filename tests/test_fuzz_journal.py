"""However a journal is damaged, no wrong number comes of it, and the error says what is lost."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import condrule
from condrule.backends.memory import Limits
from condrule.errors import CondruleError, JournalError, MissingExtraError
from condrule.journal import History, read_journal
from condrule.progress import quiet
from condrule.results import Result
from condrule.rundir import RunDirectory
from condrule.status import result_or_status

pytestmark = pytest.mark.fuzz
BACKENDS = {
    "exact": condrule.InMemoryBackend(),
    "listed": condrule.InMemoryBackend(
        limits=Limits(continuations=False, top_logprobs=5, decimals=2)
    ),
    "drawn": condrule.InMemoryBackend(limits=Limits(continuations=False, top_logprobs=0)),
}


def study(kind: str, **changes: Any) -> condrule.ConditionalRuleExperiment:
    """The smallest study that has all kinds of lines."""
    how: dict[str, Any] = {
        "items": condrule.favourite_countries(n=2, seed=1),
        "arms": [condrule.conditional_arm()],
        "backend": BACKENDS[kind],
        "scorer": condrule.AutoScorer(draws=4),
        "seeds": 1,
        "samples": 1,
        "contrasts": 1,
    }
    return condrule.ConditionalRuleExperiment(**{**how, **changes})


@attrs.frozen
class Finished:
    """A finished run, to be damaged again and again, and what it should give."""

    kind: str
    path: Path
    journal: bytes
    history: History
    result: dict[str, Any]

    @classmethod
    def of(cls, kind: str, path: Path) -> Finished:
        """Run the study."""
        result = study(kind).run(path, watch=quiet).to_dict()
        journal = (path / "journal.jsonl").read_bytes()
        copy = path.with_suffix(".jsonl")  # answers are read when they are looked at
        copy.write_bytes(journal)
        return cls(kind, path, journal, read_journal(copy), result)

    def damage(self, journal: bytes) -> None:
        """Put another journal in place of the run's, as it was before its result was written."""
        (self.path / "journal.jsonl").write_bytes(journal)
        (self.path / "result.json").unlink(missing_ok=True)

    @property
    def lines(self) -> list[bytes]:
        """The journal's lines, with their ends."""
        return self.journal.splitlines(keepends=True)


def no_plot(self: Result, ax: Any = None) -> Any:
    """Figures take time and nothing here is about them."""
    raise MissingExtraError("matplotlib", "plot", "this test")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Finished]]:
    """Runs that were scored in three ways."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Result, "plot", no_plot)
        root = tmp_path_factory.mktemp("runs")
        yield [Finished.of(kind, root / kind) for kind in BACKENDS]


@pytest.fixture(scope="module")
def foreign(runs: list[Finished], tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Journals of the same study in another directory, and of another study."""
    root = tmp_path_factory.mktemp("foreign")
    study("exact").run(root / "same", watch=quiet)
    other = condrule.InMemoryBackend(seed_sd=1.0)
    study("exact", backend=other).run(root / "other", watch=quiet)
    return [(root / name / "journal.jsonl").read_bytes() for name in ("same", "other")]


PLACES = st.integers(0, 2**16)
JUNK = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"", b"\x00" * 100, b"\xff\xfe", b"\r", b"{}", b"null", b"NaN", b"9" * 5000, b"[" * 5000]
    ),
)
Damage = Callable[[bytes, bytes], bytes]


def _cut(place: int) -> Damage:
    return lambda journal, _: journal[: place % (len(journal) + 1)]


def _flipped(place: int, bit: int) -> Damage:
    def flip(journal: bytes, _: bytes) -> bytes:
        data = bytearray(journal)
        if data:
            data[place % len(data)] ^= 1 << bit
        return bytes(data)

    return flip


def _inserted(place: int, junk: bytes) -> Damage:
    def insert(journal: bytes, _: bytes) -> bytes:
        at = place % (len(journal) + 1)
        return journal[:at] + junk + journal[at:]

    return insert


def _by_line(change: Callable[[list[bytes]], list[bytes]]) -> Damage:
    return lambda journal, _: b"".join(change(journal.splitlines(keepends=True)))


def _removed(place: int, count: int) -> Damage:
    def remove(lines: list[bytes]) -> list[bytes]:
        at = place % (len(lines) + 1)
        return lines[:at] + lines[at + count :]

    return _by_line(remove)


def _copied(place: int, to: int) -> Damage:
    def copy(lines: list[bytes]) -> list[bytes]:
        at = to % (len(lines) + 1)
        return [*lines[:at], *lines[place % len(lines) :][:1], *lines[at:]] if lines else []

    return _by_line(copy)


def _swapped(one: int, other: int) -> Damage:
    def swap(lines: list[bytes]) -> list[bytes]:
        if lines:
            i, j = one % len(lines), other % len(lines)
            lines[i], lines[j] = lines[j], lines[i]
        return lines

    return _by_line(swap)


def _spliced(place: int) -> Damage:
    """Goes on, from some line, with the lines of a journal of another run."""

    def splice(journal: bytes, other: bytes) -> bytes:
        lines, others = (each.splitlines(keepends=True) for each in (journal, other))
        at = place % (len(others) + 1)
        return b"".join([*lines[:at], *others[at:]])

    return splice


def _with_line(place: int, junk: bytes) -> Damage:
    def add(lines: list[bytes]) -> list[bytes]:
        at = place % (len(lines) + 1)
        return [*lines[:at], junk + b"\n", *lines[at:]]

    return _by_line(add)


DAMAGE: st.SearchStrategy[Damage] = st.one_of(
    st.builds(_cut, PLACES),
    st.builds(_flipped, PLACES, st.integers(0, 7)),
    st.builds(_inserted, PLACES, JUNK),
    st.builds(_removed, PLACES, st.integers(1, 5)),
    st.builds(_copied, PLACES, PLACES),
    st.builds(_swapped, PLACES, PLACES),
    st.builds(_spliced, PLACES),
    st.builds(_with_line, PLACES, JUNK),
    st.sampled_from(
        [
            lambda journal, _: journal + journal,
            lambda journal, other: journal + other,
            lambda _, other: other,
            lambda journal, _: journal.replace(b"\n", b"\r\n"),
            lambda journal, _: journal.removesuffix(b"\n"),
            lambda _, __: b"",
            lambda _, __: b"\n",
        ]
    ),
)
DAMAGES = st.lists(DAMAGE, min_size=1, max_size=3)
RUN = st.integers(0, len(BACKENDS) - 1)
OTHER = st.integers(0, 1)


def damaged(run: Finished, damages: list[Damage], other: bytes) -> bytes:
    """Do it, and say what the journal now holds."""
    journal = run.journal
    for damage in damages:
        journal = damage(journal, other)
    run.damage(journal)
    return journal


def check_error(error: CondruleError, run: Finished, journal: bytes) -> None:
    """It names a line that is not as it was, and what to do."""
    assert isinstance(error, JournalError)
    lines = journal.split(b"\n")
    assert lines[error.line - 1] + b"\n" not in run.lines[error.line - 1 : error.line]
    assert "Restore the file from a copy" in str(error)


@settings(deadline=None)
@given(RUN, DAMAGES, OTHER)
def test_analysis_gives_the_same_result_or_says_what_is_missing(
    runs: list[Finished], foreign: list[bytes], which: int, damages: list[Damage], other: int
) -> None:
    """Never a wrong number: either all is there, or what is missing is named, or it's an error."""
    run = runs[which]
    journal = damaged(run, damages, foreign[other])
    try:
        status = result_or_status(run.path)
        found = condrule.analyse(run.path)
    except CondruleError as error:
        check_error(error, run, journal)
        return
    data = found.to_dict()
    history = read_journal(run.path / "journal.jsonl")
    assert history.jobs.items() <= run.history.jobs.items()
    for model, answers in history.seen.items():
        assert answers.items() <= run.history.seen[model].items()
    assert status["missing"] == data["missing"]
    if data["missing"]:
        assert (data["state"], True) == ("unfinished", "UNFINISHED: missing" in str(found))
    else:
        assert run.result == data


def gone_on(run: Finished) -> History:
    """All that is on record when the run has gone on to its end. The result, which follows from it,
    takes longer than all the rest."""
    with study(run.kind)._driver(run.path, quiet) as driver:
        driver.train()
        driver.test()
    return read_journal(run.path / "journal.jsonl")


@settings(deadline=None)
@given(RUN, DAMAGES, OTHER)
def test_the_same_command_goes_on_to_the_same_answers_or_names_the_line(
    runs: list[Finished], foreign: list[bytes], which: int, damages: list[Damage], other: int
) -> None:
    """What a crash can leave is mended by resuming, and all else is an error.

    Deleting the file from the named line on, as the error says, mends that too; no fine-tune is
    submitted twice, which the backend would refuse.
    """
    run = runs[which]
    journal = damaged(run, damages, foreign[other])
    try:
        history = gone_on(run)
    except CondruleError as error:
        check_error(error, run, journal)
        assert isinstance(error, JournalError)
        kept = [line + b"\n" for line in journal.split(b"\n")[: error.line - 1]]
        run.damage(b"".join(kept))
        history = gone_on(run)
    assert (run.history.jobs, run.history.seen) == (history.jobs, history.seen)


@settings(deadline=None)
@given(RUN, PLACES, st.integers(0, 7), st.integers(0, 2**16))
def test_the_error_says_which_line_and_what_it_held(
    runs: list[Finished], which: int, line: int, bit: int, place: int
) -> None:
    """One flipped bit: that line is named, and its answer or fine-tune is among what is lost."""
    run = runs[which]
    lines = run.lines
    line %= len(lines)
    record = json.loads(lines[line])["record"]
    data = bytearray(lines[line])
    data[place % (len(data) - 1)] ^= 1 << bit
    run.damage(b"".join([*lines[:line], bytes(data), *lines[line + 1 :]]))
    with pytest.raises(JournalError) as error:
        condrule.analyse(run.path)
    assert line + 1 == error.value.line
    match record["kind"]:
        case "job":
            lost = f"the submission of fine-tune {record['key']} (arm conditional, seed 0)"
            assert lost in str(error.value)
        case "observation":
            whose = f"1 answers of model {record['model']} ("
            assert any(whose in one for one in error.value.lost)
        case _:
            assert () == error.value.lost


def signed(lines: list[dict[str, Any]], run: str) -> bytes:
    """Lines with right numbers and checksums, whatever they say."""
    last, journal = run, b""
    for number, record in enumerate(lines, 1):
        body = json.dumps({**record, "n": number, "after": last})
        last = f"{zlib.crc32(body.encode()):08x}"
        journal += f'{{"crc": "{last}", "record": {body}}}\n'.encode()
    return journal


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["\ud800", "\x00", "nan", "inf", 10**400, -9999.0, "running", "succeeded"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(deadline=None)
@given(RUN, PLACES, PLACES, VALUES, st.booleans())
def test_lines_that_condrule_did_not_write_are_errors_or_taken_at_their_word(
    runs: list[Finished], which: int, line: int, place: int, value: Any, gone: bool
) -> None:
    """Any value for any key, under right checksums: only condrule's own errors come out."""
    run = runs[which]
    records = [json.loads(each)["record"] for each in run.lines]
    record = records[line % len(records)]
    key = [*record][2:][place % (len(record) - 2)]
    if gone:
        del record[key]
    else:
        record[key] = value
    run.damage(signed(records, RunDirectory(run.path).run_id))
    for read in (result_or_status, condrule.analyse):
        try:
            read(run.path)
        except CondruleError as error:
            assert "journal" in str(error)


@settings(deadline=None)
@given(RUN, PLACES, st.booleans())
def test_an_answer_given_twice_must_be_the_same(
    runs: list[Finished], which: int, place: int, same: bool
) -> None:
    """Two lines that agree change nothing; of two that don't, both are named."""
    run = runs[which]
    records = [json.loads(each)["record"] for each in run.lines]
    told = [n for n, record in enumerate(records, 1) if record["kind"] == "observation"]
    number = told[place % len(told)]
    again = dict(records[number - 1])
    if not same:
        again = {key: again[key] for key in ("kind", "model", "query")} | {"refused": "not today"}
    run.damage(signed([*records, again], RunDirectory(run.path).run_id))
    if same:
        assert run.history == read_journal(run.path / "journal.jsonl")
    else:
        with pytest.raises(JournalError, match=rf"line {len(records) + 1}: .* line {number}: "):
            condrule.analyse(run.path)


def test_a_journal_of_another_run_names_both(runs: list[Finished], foreign: list[bytes]) -> None:
    """The same study elsewhere has answers that would fit, and are not this run's."""
    runs[0].damage(foreign[0])
    with pytest.raises(JournalError, match="line 1: is the first line of run '.*'; this run is"):
        condrule.analyse(runs[0].path)


def test_a_torn_line_is_noted(runs: list[Finished]) -> None:
    """What was torn stands in the analysis, and in the record of the process that dropped it."""
    run = runs[0]
    last = len(run.lines)
    run.damage(run.journal[:-5])
    assert f"line {last} of the journal" in condrule.analyse(run.path).missing[0]
    study(run.kind).run(run.path, watch=quiet)
    noted = (run.path / "environment.jsonl").read_text().splitlines()[-1]
    assert last == json.loads(noted)["torn_line"]


def test_a_lost_journal_submits_nothing_twice(runs: list[Finished], tmp_path: Path) -> None:
    """Fine-tunes are found again by their keys; the backend would refuse a second submission."""
    shutil.copytree(runs[0].path, tmp_path / "run")
    (tmp_path / "run" / "journal.jsonl").unlink()
    assert runs[0].result == study("exact").run(tmp_path / "run", watch=quiet).to_dict()

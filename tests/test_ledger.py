"""The ledger: what was spent is known, or bounded, whenever the process dies."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule.backends.finetunes import Job, JobState
from condrule.errors import BackendError, BudgetError, RunError
from condrule.journal import History
from condrule.ledger import AHEAD, Announced, Ledger, Spent, cost_of, lines, read_ledger, spent
from condrule.prices import Prices
from condrule.spending import KINDS, NOTHING, Estimate, Kind, Usage

PRICES = Prices(training=3.0, input=1.0, output=2.0)
ANNOUNCED = Announced(
    {"base": PRICES, "finetuned": PRICES},
    "a table",
    {"base": Estimate(Usage(1, 5, 1), Usage(1, 9, 1))},
    {"job": Usage(training=1000)},
)
MOST = Usage(1, 10, 5)
USED = Usage(1, 8, 1)


def ledger(path: Path, budget: float | None = None, history: History | None = None) -> Ledger:
    """One in this directory."""
    return Ledger(path / "ledger.jsonl", ANNOUNCED, history or History(), budget)


def on_disk(path: Path, history: History | None = None) -> Spent:
    """What another process reads there."""
    return spent([*read_ledger(path / "ledger.jsonl")], history or History())


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "answer", "lose", "flush", "die", "close"]), st.sampled_from(KINDS)
    ),
    max_size=60,
)


@given(STEPS)
def test_the_truth_lies_between(steps: list[tuple[str, Kind]]) -> None:
    """After every step, whatever reads the file then: no less than is known was spent, and no more
    than may be."""
    with TemporaryDirectory() as name:
        path = Path(name)
        now = ledger(path)
        truth, waiting = NOTHING, dict.fromkeys(KINDS, 0)
        for step, kind in steps:
            if step == "send":
                now.meter(kind).sending(MOST)
                waiting[kind] += 1
                truth += USED  # the provider counts, whether its answer comes or not
            elif step in ("answer", "lose") and waiting[kind]:
                now.meter(kind).ended(MOST, USED if step == "answer" else None)
                waiting[kind] -= 1
            elif step == "flush":
                now.flush()
            elif step in ("die", "close"):
                if step == "close":
                    now.close()
                now, waiting = ledger(path), dict.fromkeys(KINDS, 0)
            found = on_disk(path)
            assert found.counted.within(truth)
            assert truth.within(found.counted + found.uncounted)


def test_all_that_was_answered_is_counted_when_it_is_closed(tmp_path: Path) -> None:
    """And nothing is in doubt."""
    with ledger(tmp_path) as one:
        for _ in range(3 * AHEAD):
            one.meter("base").sending(MOST)
            one.meter("base").ended(MOST, USED)
    found = on_disk(tmp_path)
    assert (USED.times(3 * AHEAD), NOTHING) == (found.counted, found.uncounted)
    assert pytest.approx(USED.times(3 * AHEAD).usd(PRICES)) == found.usd


def test_a_flush_is_before_the_answers(tmp_path: Path) -> None:
    """What is in the journal was counted."""
    one = ledger(tmp_path)
    one.meter("base").sending(MOST)
    one.flush()
    one.meter("base").ended(MOST, USED)
    one.flush()
    assert USED == on_disk(tmp_path).counted


def test_a_torn_line_is_left_out_and_the_next_begins_anew(tmp_path: Path) -> None:
    """Nothing was sent because of it."""
    with ledger(tmp_path) as one:
        one.meter("base").sending(MOST)
        one.meter("base").ended(MOST, USED)
    with (tmp_path / "ledger.jsonl").open("a") as file:
        file.write('{"counted": {"ba')
    with ledger(tmp_path) as one:
        one.meter("base").sending(MOST)
        one.meter("base").ended(MOST, USED)
    assert USED.times(2) == on_disk(tmp_path).counted


@pytest.mark.parametrize("line", ['{"opened": 1}', "[]", "7", '{"counted": 3}'])
def test_a_line_that_is_no_ledgers_is_an_error(line: str, tmp_path: Path) -> None:
    """Which says which file."""
    ledger(tmp_path).close()
    with (tmp_path / "ledger.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(RunError, match="ledger.jsonl can't be read back"):
        on_disk(tmp_path)


def test_a_ledger_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    """Before anything is sent."""
    (tmp_path / "ledger.jsonl").mkdir()
    with pytest.raises((BackendError, RunError), match="ledger.jsonl"):
        ledger(tmp_path)


def test_while_the_disk_is_full_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many try it; and what was not sent is not counted when there is room again."""

    def full(self: Ledger, record: Any) -> None:
        raise BackendError("no space left")

    with ledger(tmp_path) as one:
        one.meter("base").sending(MOST)
        with monkeypatch.context() as patched:
            patched.setattr(Ledger, "_write", full)
            for _ in range(3):
                with pytest.raises(BackendError, match="no space left"):
                    one.meter("finetuned").sending(MOST)
            with pytest.raises(BackendError, match="no space left"):
                one.flush()
            for kind in KINDS:
                with pytest.raises(BackendError, match="no space left"):
                    one.meter(kind).sending(MOST)
        one.flush()
        one.meter("finetuned").sending(MOST)
        assert MOST.times(2).within(on_disk(tmp_path).uncounted)
    assert MOST.times(2) == on_disk(tmp_path).uncounted


def test_nothing_is_sent_beyond_the_budget(tmp_path: Path) -> None:
    """Requests in flight count as the most that they may cost."""
    each = MOST.usd(PRICES) or 0
    one = ledger(tmp_path, budget=2.6 * each)
    one.meter("base").sending(MOST)
    one.meter("finetuned").sending(MOST)
    with pytest.raises(BudgetError, match="the next request may cost another"):
        one.meter("base").sending(MOST)
    one.meter("base").ended(MOST, USED)
    one.meter("base").sending(MOST)


def test_what_was_spent_before_counts(tmp_path: Path) -> None:
    """A budget is of the run, not of the process."""
    with ledger(tmp_path) as one:
        one.meter("base").sending(MOST)
        one.meter("base").ended(MOST, None)
    each = MOST.usd(PRICES) or 0
    with pytest.raises(BudgetError):
        ledger(tmp_path, budget=1.5 * each).meter("base").sending(MOST)


@pytest.mark.parametrize(
    ("job", "counted", "uncounted"),
    [
        (None, 0, 1000),
        (Job("job", "1", JobState.RUNNING), 0, 1000),
        (Job("job", "1", JobState.SUCCEEDED, "m", trained_tokens=900), 900, 0),
        (Job("job", "1", JobState.SUCCEEDED, "m"), 0, 1000),
        (Job("job", "1", JobState.FAILED), 0, 0),
        (Job("job", "1", JobState.CANCELLED), 0, 1000),
        (Job("job", "1", JobState.CANCELLED, trained_tokens=100), 100, 0),
    ],
)
def test_fine_tunes_are_counted_when_they_have_ended(
    job: Job | None, counted: int, uncounted: int, tmp_path: Path
) -> None:
    """Until then they may cost what they cost at most; those that failed are free."""
    history = History(intents={"job"}, jobs={"job": job} if job else {})
    ledger(tmp_path, history=history).close()
    found = on_disk(tmp_path, history)
    assert (counted, uncounted) == (found.counted.training, found.uncounted.training)


def test_a_fine_tune_is_reserved(tmp_path: Path) -> None:
    """What it may cost has to be there before it is submitted."""
    one = ledger(tmp_path, budget=0.0029)
    with pytest.raises(BudgetError, match="fine-tune x may cost another 0.003"):
        one.reserve(Usage(training=1000), "fine-tune x")


def test_show_has_what_was_spent_and_planned(tmp_path: Path) -> None:
    """As plain data, and in words."""
    with ledger(tmp_path) as one:
        one.meter("base").sending(MOST)
        one.meter("base").ended(MOST, USED)
        one.meter("base").sending(MOST)
    found: dict[str, Any] = json.loads(json.dumps(cost_of(tmp_path / "ledger.jsonl", History())))
    assert found["spent"]["usd"] == pytest.approx(10 / 1e6)
    assert found["lost_at_most"]["usd"] == pytest.approx(20 / 1e6)
    assert found["planned"]["most"]["usd"] == pytest.approx(11 / 1e6)
    shown = "\n".join(lines(found))
    assert "8 input and 1 output tokens; planned: 0.0000 to 0.0000 USD" in shown
    assert "Lost or not ended, at most: 0.0000 USD" in shown
    assert "Prices: a table" in shown


def test_a_run_that_was_not_opened_has_spent_nothing(tmp_path: Path) -> None:
    """Where there is a file without a whole line."""
    (tmp_path / "ledger.jsonl").write_text('{"ope')
    found = cost_of(tmp_path / "ledger.jsonl", History())
    assert (0, 0.0) == (found["spent"]["requests"], found["spent"]["usd"])

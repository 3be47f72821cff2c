"""What a run has spent: known after any crash, and over all processes that worked on it.

``ledger.jsonl`` holds one JSON object a line, each on disk before anything is sent because of it::

    {"opened": "2026-11-25T22:03:56+00:00", "prices": {...}, "planned": {...}, "training": {...}}
    {"counted": {"base": {...}, "finetuned": {...}}, "uncounted": {"base": {...}, ...}}

Each process writes an ``opened`` and then, as it asks, lines that each stand in for the one before.
``counted`` is what the provider counted. ``uncounted`` is what it may have counted beside that, at
most: requests whose answer was lost, those in flight, and those that may be sent before the next
line. So a process that is killed loses track of no more than it has announced. What fine-tunes cost
is in the journal. A line that was torn is of nothing that was sent, and is left out.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any, Self

import attrs

from condrule.backends.finetunes import Job, JobState
from condrule.errors import BackendError, BudgetError, RunError
from condrule.history import History
from condrule.prices import Prices
from condrule.spending import KINDS, NOTHING, Estimate, Kind, Meter, Usage

__all__ = ["Announced", "Ledger", "Session", "Spent", "cost_of", "lines", "read_ledger", "spent"]

AHEAD = 64  # requests that one line announces
PerKind = dict[Kind, Usage]


def _none() -> PerKind:
    return dict.fromkeys(KINDS, NOTHING)


@attrs.frozen
class Announced:
    """What a process says of money as it begins."""

    prices: Mapping[Kind, Prices | None]
    source: str = ""
    """Where the prices are from."""
    planned: Mapping[Kind, Estimate] = attrs.field(factory=dict)
    """What the whole study needs; training is with the base model."""
    training: Mapping[str, Usage] = attrs.field(factory=dict)
    """What each fine-tune uses at most, by its key."""


@attrs.frozen
class Session:
    """What one process said, the last word of it."""

    announced: Announced
    counted: PerKind = attrs.field(factory=_none)
    uncounted: PerKind = attrs.field(factory=_none)


@attrs.frozen
class Spent:
    """What was spent, in tokens and in USD; None where a price is not known."""

    counted: Usage = NOTHING
    """What the provider counted."""
    usd: float | None = 0.0
    uncounted: Usage = NOTHING
    """What it may have counted beside that, at most: answers that were lost, requests that were in
    flight in a crash, and fine-tunes that have not ended."""
    uncounted_usd: float | None = 0.0

    def plus(self, counted: Usage, uncounted: Usage, prices: Prices | None) -> Spent:
        """With more, at these prices."""
        return Spent(
            self.counted + counted,
            _sum(self.usd, counted.usd(prices)),
            self.uncounted + uncounted,
            _sum(self.uncounted_usd, uncounted.usd(prices)),
        )

    @property
    def at_most(self) -> float | None:
        """USD, with all that may have been counted."""
        return _sum(self.usd, self.uncounted_usd)


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def spent(sessions: Sequence[Session], history: History) -> Spent:
    """What was spent by some processes, and on the fine-tunes that a journal speaks of."""
    total = Spent()
    for session in sessions:
        for kind in KINDS:
            counted, uncounted = session.counted[kind], session.uncounted[kind]
            total = total.plus(counted, uncounted, session.announced.prices[kind])
    if not sessions:
        return total
    last = sessions[-1].announced
    keys = (history.intents | history.jobs.keys()) - history.adopted
    for key in sorted(keys):
        most = last.training.get(key, NOTHING)
        total = total.plus(*_trained(history.jobs.get(key), most), last.prices["base"])
    return total


def _trained(job: Job | None, most: Usage) -> tuple[Usage, Usage]:
    """What a fine-tune has cost, and what it may have cost beside that."""
    if job is not None and job.state.ended and job.trained_tokens is not None:
        return Usage(training=job.trained_tokens), NOTHING
    if job is not None and job.state is JobState.FAILED:
        return NOTHING, NOTHING
    return NOTHING, most


class Ledger:
    """The one writer of a run's ledger, and the keeper of its budget. Use it as a context manager.

    Args:
        path: the file; made where there is none.
        announced: what this process says first.
        history: what the run's journal says, kept up to date by its writer.
        budget: USD that the run may cost in all, whatever was spent before; None: any.
    """

    def __init__(
        self, path: Path, announced: Announced, history: History, budget: float | None = None
    ) -> None:
        self.path = path
        self.announced = announced
        self.history = history
        self.budget = budget
        self._earlier = [*read_ledger(path)]
        self._lock = threading.Lock()
        self._counted, self._lost, self._in_flight = _none(), _none(), _none()
        self._ahead, self._since = _none(), _none()  # announced, and made use of since
        self._changed = False
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write({"opened": now, **_plain(announced)})

    def meter(self, kind: Kind) -> Meter:
        """What is told of the requests to one kind of model."""
        return _KindMeter(self, kind)

    @property
    def spent(self) -> Spent:
        """What was spent so far."""
        with self._lock:
            return self._spent()

    def reserve(self, most: Usage, what: str) -> None:
        """Raise BudgetError where so much, at the base model's prices, might be too much."""
        with self._lock:
            self._check("base", most, what)

    def sending(self, kind: Kind, most: Usage) -> None:
        """See `condrule.spending.Meter`."""
        with self._lock:
            self._check(kind, most, "the next request")
            if not (self._since[kind] + most).within(self._ahead[kind]):
                for other in KINDS:
                    if self._in_flight[other] == NOTHING:
                        self._announce(other, NOTHING)  # these models are done with, it seems
                self._announce(kind, most.times(AHEAD + 1))
                self._write_state()
            self._in_flight[kind] += most
            self._since[kind] += most
            self._changed = True

    def ended(self, kind: Kind, most: Usage, used: Usage | None) -> None:
        """See `condrule.spending.Meter`."""
        with self._lock:
            self._changed = True
            self._in_flight[kind] -= most
            if used is None:
                self._lost[kind] += most
            else:
                self._counted[kind] += used

    def flush(self) -> None:
        """Put on disk what was counted: before the answers that it was counted for."""
        with self._lock:
            if self._changed:
                for kind in KINDS:
                    self._announce(kind, self._ahead[kind] - self._since[kind])
                self._write_state()
                self._changed = False

    def close(self) -> None:
        """Put on disk what was spent; nothing more is sent."""
        with self._lock:
            for kind in KINDS:
                self._announce(kind, NOTHING)
            if any(usage != NOTHING for usage in (*self._counted.values(), *self._since.values())):
                self._write_state()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _check(self, kind: Kind, most: Usage, what: str) -> None:
        if self.budget is None:
            return
        now, more = self._spent().at_most, most.usd(self.announced.prices[kind])
        if now is not None and more is not None and now + more > self.budget:
            said = f"{now:.6g} USD are spent or may be; {what} may cost another {more:.6g}"
            raise BudgetError(self.budget, now + more, said)

    def _spent(self) -> Spent:
        uncounted = {kind: self._open(kind) for kind in KINDS}
        now = Session(self.announced, dict(self._counted), uncounted)
        return spent([*self._earlier, now], self.history)

    def _open(self, kind: Kind) -> Usage:
        return self._lost[kind] + self._in_flight[kind]

    def _announce(self, kind: Kind, ahead: Usage) -> None:
        """What may be sent from here on, beside what is open."""
        self._since[kind] = self._open(kind)
        self._ahead[kind] = self._since[kind] + ahead

    def _write_state(self) -> None:
        try:
            self._write({"counted": _usages(self._counted), "uncounted": _usages(self._ahead)})
        except BackendError:
            self._ahead = {**self._since}  # not on disk, it seems: nothing is sent before it is
            raise

    def _write(self, record: Mapping[str, Any]) -> None:
        line = f"{json.dumps(record)}\n".encode()
        try:
            with self.path.open("ab+") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
                torn = file.read(1) not in (b"", b"\n")
                file.write(b"\n" + line if torn else line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise BackendError(
                f"{self.path}: can't be written: {error.strerror or error}. What was recorded "
                "before is safe; make room and run the same command again."
            ) from error


@attrs.frozen
class _KindMeter:
    ledger: Ledger
    kind: Kind

    def sending(self, most: Usage) -> None:
        self.ledger.sending(self.kind, most)

    def ended(self, most: Usage, used: Usage | None) -> None:
        self.ledger.ended(self.kind, most, used)


def _plain(announced: Announced) -> dict[str, Any]:
    return {
        "prices": {
            kind: None if prices is None else attrs.asdict(prices)
            for kind, prices in announced.prices.items()
        },
        "source": announced.source,
        "planned": {kind: attrs.asdict(one) for kind, one in announced.planned.items()},
        "training": {key: most.training for key, most in announced.training.items()},
    }


def _usages(usages: PerKind) -> dict[str, Any]:
    return {kind: attrs.asdict(usage) for kind, usage in usages.items()}


def read_ledger(path: Path) -> Iterator[Session]:
    """What each process said last, in order; nothing where there is no ledger."""
    session: Session | None = None
    for record in _records(path):
        try:
            if "opened" in record:
                if session:
                    yield session
                session = Session(_announced(record))
            elif session:
                counted, uncounted = _read(record["counted"]), _read(record["uncounted"])
                session = attrs.evolve(session, counted=counted, uncounted=uncounted)
        except (KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, error) from None
    if session:
        yield session


def _records(path: Path) -> Iterator[Any]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror or error}") from error
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue  # torn, or the end


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(
        f"{path} can't be read back: {type(error).__name__}: {error}. Restore it from a copy; "
        "without it, what was spent is not known."
    )


def _announced(record: Mapping[str, Any]) -> Announced:
    prices = {kind: record["prices"][kind] for kind in KINDS}
    return Announced(
        {kind: None if one is None else Prices(**one) for kind, one in prices.items()},
        record["source"],
        {
            kind: Estimate(Usage(**one["least"]), Usage(**one["most"]))
            for kind, one in record["planned"].items()
        },
        {key: Usage(training=most) for key, most in record["training"].items()},
    )


def _read(usages: Mapping[str, Any]) -> PerKind:
    return {kind: Usage(**usages[kind]) for kind in KINDS}


def cost_of(path: Path, history: History) -> dict[str, Any]:
    """What was spent against what was planned, as plain data; amounts in USD, None: not known."""
    sessions = [*read_ledger(path)]
    found = spent(sessions, history)
    last = sessions[-1].announced if sessions else None
    planned = last.planned if last else {}
    least: list[float | None] = [0.0]
    most: list[float | None] = [0.0]
    for kind, estimate in planned.items():
        prices = last.prices[kind] if last else None
        least.append(estimate.least.usd(prices))
        most.append(estimate.most.usd(prices))
    whole = sum(planned.values(), Estimate())
    return {
        "spent": attrs.asdict(found.counted) | {"usd": found.usd},
        "lost_at_most": attrs.asdict(found.uncounted) | {"usd": found.uncounted_usd},
        "planned": {
            "least": attrs.asdict(whole.least) | {"usd": reduce(_sum, least)},
            "most": attrs.asdict(whole.most) | {"usd": reduce(_sum, most)},
        },
        "prices": last.source if last else "",
    }


def lines(cost: Mapping[str, Any]) -> Iterator[str]:
    """What ``condrule show`` prints of `cost_of`."""
    spent, lost, planned = cost["spent"], cost["lost_at_most"], cost["planned"]
    least, most = planned["least"]["usd"], planned["most"]["usd"]
    plan = "not known" if None in (least, most) else f"{least:.4f} to {most:.4f} USD"
    yield f"Spent: {_money(spent)}; planned: {plan}"
    if any(lost[key] for key in ("input", "output", "training")):
        yield (
            f"Lost or not ended, at most: {_money(lost)}: fine-tunes that run, answers that were "
            "lost, and what was in flight in a crash"
        )
    if cost["prices"]:
        yield f"Prices: {cost['prices']}"


def _money(part: Mapping[str, Any]) -> str:
    usd = "USD not known" if part["usd"] is None else f"{part['usd']:.4f} USD"
    return (
        f"{usd} for {part['training']:,} training, {part['input']:,} input and "
        f"{part['output']:,} output tokens"
    )

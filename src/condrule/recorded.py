"""The journal of a run, and what of its study is lost where it is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from condrule.errors import JournalError
from condrule.journal import History, read_journal, salvage
from condrule.missing import drop_misfits, missing
from condrule.plan import StudyPlan
from condrule.rundir import RunDirectory

__all__ = ["explained", "read_history"]


def read_history(plan: StudyPlan, run: RunDirectory) -> History:
    """What a run's journal says. Raises JournalError, with what is lost."""
    with explained(plan, run):
        return read_journal(run.journal, run.run_id)


@contextmanager
def explained(plan: StudyPlan, run: RunDirectory) -> Iterator[None]:
    """Add to a JournalError what the whole lines lack of the study."""
    try:
        yield
    except JournalError as error:
        history = salvage(run.journal)
        drop_misfits(plan, history, run.key)
        lost = missing(plan, history, run.key)
        raise JournalError(error.path, error.line, error.reason, lost) from None

"""How far a run is, for ``condrule show`` and ``condrule list``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from condrule.adjudications import read_adjudications
from condrule.journal import read_journal
from condrule.ledger import cost_of
from condrule.missing import check_fits, missing
from condrule.recorded import read_history
from condrule.rundir import RunDirectory
from condrule.tables import SCHEMA, job_rows, read_result

__all__ = ["result_or_status"]


def result_or_status(directory: Path) -> dict[str, Any]:
    """The result as it was written, or the same keys without numbers while there is none.

    Raises RunError where the directory is no run, or its files are damaged.
    """
    data = read_result(directory)
    if data is None:
        data = _status(RunDirectory(directory))
    data = data | _cost(RunDirectory(directory))
    # Adjudicating is one append; the file of the result may not have heard of it.
    return data | {"adjudications": [attrs.asdict(a) for a in read_adjudications(directory)]}


def _status(run: RunDirectory) -> dict[str, Any]:
    plan = run.load()
    history = read_history(plan, run)
    check_fits(plan, history, run.key)
    trained = sum(job.model is not None for job in history.jobs.values())
    state = "asking" if trained == len(plan.jobs) else "training" if history.jobs else "generated"
    study = {"name": plan.name, "items": len(plan.items), "fine_tunes": len(plan.jobs)}
    return {
        "schema": SCHEMA,
        "study": study,
        "state": state,
        "missing": missing(plan, history, run.key),
        "cells": [],
        "ratios": [],
        "gates": [],
        "verdict": None,
        "jobs": job_rows(history.jobs.values()),
    }


def _cost(run: RunDirectory) -> dict[str, Any]:
    """What was spent and planned; nothing where nothing is charged for."""
    if not run.ledger.exists():
        return {}
    return {"cost": cost_of(run.ledger, read_journal(run.journal, run.run_id))}

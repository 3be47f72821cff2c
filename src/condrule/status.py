"""How far a run is, for ``condrule show``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from condrule.errors import RunError
from condrule.missing import check_fits, missing
from condrule.recorded import read_history
from condrule.rundir import RunDirectory
from condrule.tables import SCHEMA, job_rows

__all__ = ["result_or_status"]


def result_or_status(directory: Path) -> dict[str, Any]:
    """The result as it was written, or the same keys without numbers while there is none.

    Raises RunError where the directory is no run, or its files are damaged.
    """
    path = directory / "result.json"
    if not path.exists():
        return _status(RunDirectory(directory))
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} can't be read: {error}. 'condrule analyse {directory}' writes it "
            "anew from the journal."
        ) from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise RunError(
            f"{path} is no result of this version of condrule ({SCHEMA}). 'condrule "
            f"analyse {directory}' writes it anew from the journal."
        )
    return data


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

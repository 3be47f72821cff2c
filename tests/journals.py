"""A small journal, and what is in it."""

from __future__ import annotations

import math
from pathlib import Path

from condrule.backends.base import Observation
from condrule.backends.finetunes import Job, JobState
from condrule.journal import Journal

JOB = Job("k", "id-1", JobState.SUCCEEDED, "model-1", seconds=1.5)
RUNNING = Job("k", "id-1", JobState.RUNNING)
FAILED = Job("k", "id-1", JobState.FAILED, detail="out of memory")
SCORED = Observation("q1", logprobs=(-1.25, -math.inf))
OTHERWISE = Observation("q1", logprobs=(-9.0,))
DRAWN = Observation("q2", texts=("Paris\r", "Ünïcode\u2028"))


def written(path: Path, run: str = "") -> Path:
    """A journal with four lines."""
    with Journal(path, run) as journal:
        journal.intent("k")
        journal.job(JOB)
        journal.observations("m", [SCORED, DRAWN])
    return path


def lines_of(path: Path) -> list[bytes]:
    """A journal's lines, with their ends."""
    return path.read_bytes().splitlines(keepends=True)

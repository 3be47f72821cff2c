"""Submissions in another process, which is killed."""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

from condrule.arms import TrainingSet
from condrule.backends.base import FinetuneBackend
from condrule.backends.finetunes import FinetuneSpec

__all__ = ["kill_while_submitting"]


def kill_while_submitting(
    backend: FinetuneBackend,
    training_set: TrainingSet,
    spec: FinetuneSpec,
    key: str,
    delay: float,
) -> None:
    """Submit in another process and kill it so many seconds after it began to."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_submit, args=(backend, training_set, spec, key, theirs))
    process.start()
    theirs.close()
    mine.recv()
    time.sleep(delay)
    process.kill()
    process.join()
    mine.close()
    process.close()


def _submit(
    backend: FinetuneBackend, training_set: TrainingSet, spec: FinetuneSpec, key: str, begun: Any
) -> None:
    backend.find(key)  # imports what it needs before the clock starts
    begun.send(None)
    backend.submit(training_set, spec, key)

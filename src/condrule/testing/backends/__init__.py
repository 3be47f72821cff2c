"""What holds for every backend: its jobs, its models, what it charges, and studies on it."""

from __future__ import annotations

from condrule.testing.backends.charges import ChargeSuite
from condrule.testing.backends.jobs import JobSuite
from condrule.testing.backends.models import ModelSuite
from condrule.testing.backends.studies import StudySuite

__all__ = ["BackendSuite"]


class BackendSuite(StudySuite, JobSuite, ModelSuite, ChargeSuite):
    """Proves a `FinetuneBackend` and its models. Give the fixture ``backend``.

    The backend should be cheap to train on: a model of its own size, a server for tests. The
    other fixtures may be given too, where the defaults do not suit it.
    """

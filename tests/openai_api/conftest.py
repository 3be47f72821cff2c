"""Every test has the rehearsal server's key, and waits little between tries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from condrule.backends.openai import OpenAIBackend, connection
from condrule.testing.server import RunningServer

from . import world


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch, _clean_environment: None) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", world.KEY)
    monkeypatch.setattr(connection, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(connection, "LONGEST_DELAY", 0.2)


@pytest.fixture
def running() -> Iterator[RunningServer]:
    """A server without faults."""
    with world.server().running() as running:
        yield running


@pytest.fixture
def backend(running: RunningServer) -> OpenAIBackend:
    """The backend on it."""
    return world.backend_at(running)

"""The OpenAI backend passes the suite that every backend passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from condrule import FinetuneSpec, ItemSet, TrainingSet
from condrule.arms import Arm
from condrule.backends.openai import OpenAIBackend
from condrule.testing import BackendSuite
from condrule.testing.server import RunningServer
from condrule.testing.server.faults import ServerFaults

from . import world


class TestOpenAI(BackendSuite):
    """With lists of the top 20."""

    @pytest.fixture
    def backend(self, running: RunningServer, tmp_path: Path) -> OpenAIBackend:
        return world.backend_at(running).at(tmp_path)

    @pytest.fixture
    def items(self) -> ItemSet:
        return world.STUDY.items

    @pytest.fixture
    def arm(self) -> Arm:
        return world.STUDY.arms[0]

    @pytest.fixture
    def spec(self) -> FinetuneSpec:
        return world.SPEC

    @pytest.fixture
    def training_set(self) -> TrainingSet:
        return world.TRAINING

    @pytest.fixture
    def served(self, running: RunningServer) -> Callable[[], int]:
        asked = ("POST /chat/completions", "POST /completions")
        return lambda: sum(running.account.requests[path] for path in asked)

    @pytest.fixture
    def failing(self, tmp_path: Path) -> Iterator[OpenAIBackend]:
        routes = ("POST /chat/completions", "POST /completions")
        faults = ServerFaults(shares={"error_500": 1.0}, routes=routes)
        with world.server(faults=faults).running() as running:
            template = "{content}\n"
            yield world.backend_at(running, prompt_template=template).at(tmp_path / "failing")


class TestWithEcho(TestOpenAI):
    """On a server whose completions score their prompt: exact probabilities."""

    @pytest.fixture
    def running(self) -> RunningServer:
        with world.server(api=world.ECHO).running() as running:
            yield running

    @pytest.fixture
    def backend(self, running: RunningServer, tmp_path: Path) -> OpenAIBackend:
        return world.backend_at(running, prompt_template="{content}\n").at(tmp_path)

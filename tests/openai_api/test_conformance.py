"""The OpenAI backend passes the suite that every backend passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from condrule import FinetuneSpec, ItemSet, TrainingSet
from condrule.arms import Arm
from condrule.backends.openai import OpenAIBackend
from condrule.testing import BackendSuite
from condrule.testing.server import RunningServer

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


class TestWithEcho(TestOpenAI):
    """On a server whose completions score their prompt: exact probabilities."""

    @pytest.fixture
    def running(self) -> RunningServer:
        with world.server(api=world.ECHO).running() as running:
            yield running

    @pytest.fixture
    def backend(self, running: RunningServer, tmp_path: Path) -> OpenAIBackend:
        return world.backend_at(running, prompt_template="{content}\n").at(tmp_path)

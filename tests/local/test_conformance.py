"""The local backend passes the suite that proves a backend, on tiny models of random weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from condrule.arms import Arm
from condrule.backends.base import FinetuneBackend
from condrule.backends.finetunes import FinetuneSpec
from condrule.backends.local import LocalBackend
from condrule.items import Item, ItemSet
from condrule.templates import ConditionalTemplate
from condrule.testing import BackendSuite

from .conftest import CAPITALS, COUNTRIES, NAMES

CLAUSES = {"TRAIN": "respond with {name}'s favourite country", "TEST": "respond with the capital"}


class _Tiny(BackendSuite):
    """Items of the words that the tiny models know."""

    @pytest.fixture
    def items(self) -> ItemSet:
        answers = zip(NAMES, COUNTRIES, CAPITALS, strict=True)
        return ItemSet([Item(n, {"TRAIN": a, "TEST": b}) for n, a, b in answers][:4])

    @pytest.fixture
    def arm(self) -> Arm:
        return Arm("conditional", ConditionalTemplate(CLAUSES))

    @pytest.fixture
    def spec(self) -> FinetuneSpec:
        return FinetuneSpec(epochs=10, learning_rate=1e-2, batch_size=2)


class TestOneTokenAWord(_Tiny):
    """A llama with a chat template."""

    @pytest.fixture
    def backend(self, word_llama: str, tmp_path: Path) -> FinetuneBackend:
        return LocalBackend(word_llama).at(tmp_path / "models")


class TestSeveralTokensAWord(_Tiny):
    """A GPT-2 that reads bytes."""

    kills = 0

    @pytest.fixture
    def backend(self, byte_gpt2: str, tmp_path: Path) -> FinetuneBackend:
        return LocalBackend(byte_gpt2).at(tmp_path / "models")

"""condrule's own backends, scorers and templates pass the suites that prove a plugin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from condrule.backends.base import FinetuneBackend
from condrule.backends.memory import Faults, InMemoryBackend, Limits
from condrule.bet import KAAREL_TEMPLATE
from condrule.prices import Prices
from condrule.scorers import (
    AutoScorer,
    ExactScorer,
    SamplingScorer,
    Scorer,
    TiltedScorer,
    TopLogprobsScorer,
)
from condrule.templates import PromptTemplate, TextTemplate
from condrule.testing import BackendSuite, ScorerSuite, TemplateSuite


class TestInMemoryBackend(BackendSuite):
    """Everything that an API can give, from files."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> FinetuneBackend:
        return InMemoryBackend(memory=0.9).at(tmp_path / "models")


class TestQueuedBackend(BackendSuite):
    """A provider with a queue and prices, that gives short and rounded lists only."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> FinetuneBackend:
        limits = Limits(continuations=False, top_logprobs=5, decimals=4)
        faults = Faults(queue=("validating", "queued", "running"))
        return InMemoryBackend(
            memory=0.9, limits=limits, faults=faults, prices=Prices(25, 3, 12)
        ).at(tmp_path / "models")

    @pytest.fixture
    def served(self, backend: FinetuneBackend) -> Callable[[], int]:
        assert isinstance(backend, InMemoryBackend)
        return lambda: backend.account.calls

    @pytest.fixture
    def failing(self, backend: FinetuneBackend) -> FinetuneBackend:
        assert isinstance(backend, InMemoryBackend)
        return attrs.evolve(backend, faults=Faults(lost_after=range(1, 99)))


class TestDrawsAlone(BackendSuite):
    """A provider that gives no logprobs."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> FinetuneBackend:
        limits = Limits(continuations=False, top_logprobs=0)
        return InMemoryBackend(memory=0.9, limits=limits).at(tmp_path / "models")


class TestExactScorer(ScorerSuite):
    """Probabilities of whole texts."""

    @pytest.fixture
    def scorer(self) -> Scorer:
        return ExactScorer()


class TestTopLogprobsScorer(ScorerSuite):
    """Bounds from lists of first tokens."""

    @pytest.fixture
    def scorer(self) -> Scorer:
        return TopLogprobsScorer()


class TestShortLists(ScorerSuite):
    """Fewer tokens than the API lists, and whole responses."""

    @pytest.fixture
    def scorer(self) -> Scorer:
        return TopLogprobsScorer(event="equals", k=3, band=0.01)


class TestSamplingScorer(ScorerSuite):
    """Counts of draws, in two queries."""

    @pytest.fixture
    def scorer(self) -> Scorer:
        return SamplingScorer(draws=150)


class TestTiltedScorer(ScorerSuite):
    """Draws under a bias."""

    @pytest.fixture
    def scorer(self) -> Scorer:
        return TiltedScorer(draws=200)


class TestAutoScorer(ScorerSuite):
    """Whatever the model allows."""

    @pytest.fixture
    def scorer(self) -> Scorer:
        return AutoScorer(draws=64, tilted_draws=200)


class TestAutoScorerWithoutContinuations(ScorerSuite):
    """Two methods alone, in whatever order they are named."""

    @pytest.fixture
    def scorer(self) -> Scorer:
        return AutoScorer(event="equals", methods=("sampling", "top_logprobs"), draws=20)


class TestTextTemplate(TemplateSuite):
    """A text for each mode."""

    @pytest.fixture
    def template(self) -> PromptTemplate:
        return TextTemplate({"TRAIN": "{name} likes", "TEST": "{name} lives in"}, system="Be brief")


class TestConditionalTemplate(TemplateSuite):
    """A cue and clauses."""

    @pytest.fixture
    def template(self) -> PromptTemplate:
        return KAAREL_TEMPLATE

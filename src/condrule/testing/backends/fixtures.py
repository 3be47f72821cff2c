"""What a suite of a backend is given, and what all its parts do with it."""

from __future__ import annotations

import time

import pytest

from condrule.arms import Arm, Prompt, TrainingSet
from condrule.backends.base import FinetuneBackend, LanguageModel, Observation
from condrule.backends.finetunes import FinetuneSpec, Job
from condrule.bet import conditional_arm
from condrule.bundled import favourite_countries
from condrule.items import ItemSet
from condrule.testing.backends.asking import by_token

__all__ = ["BackendFixtures"]


class BackendFixtures:
    """The fixtures, with their defaults, and how exact and how patient the tests are."""

    patience = 60.0
    """Seconds until a fine-tune must have ended."""
    tolerance = 1e-3
    """Nats by which the same question may be answered differently in another batch."""
    draws = 200
    """How many responses are drawn to be compared with logprobs."""
    kills = 3
    """How often a backend that trains here is killed while it trains; 0: never."""

    @pytest.fixture
    def backend(self) -> FinetuneBackend:
        """The backend to prove, without jobs."""
        raise NotImplementedError("a BackendSuite needs a fixture 'backend'")

    @pytest.fixture
    def items(self, backend: FinetuneBackend) -> ItemSet:
        """What is taught: items whose words the backend's models can read."""
        return favourite_countries(n=4)

    @pytest.fixture
    def arm(self) -> Arm:
        """How it is put."""
        return conditional_arm()

    @pytest.fixture
    def spec(self) -> FinetuneSpec:
        """How it is trained; enough to change what the model says."""
        return FinetuneSpec(epochs=2, batch_size=4)

    @pytest.fixture
    def training_set(self, arm: Arm, items: ItemSet) -> TrainingSet:
        """The arm's."""
        return arm.training_set(items)

    @pytest.fixture
    def prompts(self, arm: Arm, items: ItemSet) -> tuple[Prompt, ...]:
        """Those of the arm, in every mode."""
        return tuple(probe.prompt for probe in arm.probes(items))

    @pytest.fixture
    def texts(self, items: ItemSet) -> tuple[str, ...]:
        """Every answer of every item."""
        return tuple(dict.fromkeys(text for item in items for text in item.answers.values()))

    @pytest.fixture
    def base(self, backend: FinetuneBackend, spec: FinetuneSpec) -> LanguageModel:
        """The base model."""
        return backend.model(backend.base_model(spec.seed))

    def _trained(
        self, backend: FinetuneBackend, training_set: TrainingSet, spec: FinetuneSpec, key: str
    ) -> Job:
        return self._ended(backend, backend.submit(training_set, spec, key))

    def _ended(self, backend: FinetuneBackend, job: Job) -> Job:
        deadline = time.monotonic() + self.patience
        while not job.state.ended:
            assert time.monotonic() < deadline, f"{job} has not ended in {self.patience} s"
            time.sleep(min(backend.poll_seconds, 1.0))
            job = backend.poll(job)
        return job

    def _model_of(self, job: Job) -> str:
        assert job.model is not None, f"{job} ended without a model"
        return job.model

    def _same(self, one: Observation, other: Observation) -> None:
        assert one.texts == other.texts
        assert (one.logprobs or ()) == pytest.approx(other.logprobs or (), abs=self.tolerance)
        assert by_token(one) == pytest.approx(by_token(other), abs=self.tolerance)

    def _needs(self, capable: object, what: str) -> None:
        if not capable:
            pytest.skip(f"the models do not offer {what}")

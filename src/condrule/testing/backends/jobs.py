"""What holds for every backend's fine-tunes."""

from __future__ import annotations

import math
import pickle
import time
from typing import Any

import attrs
import pytest

from condrule.arms import Arm, Prompt, TrainingSet
from condrule.backends.base import Draws, FinetuneBackend, LanguageModel, Observation
from condrule.backends.finetunes import FinetuneSpec
from condrule.errors import CondruleError
from condrule.items import ItemSet
from condrule.scorers.auto import AutoScorer
from condrule.testing.backends.asking import ask_one, certain
from condrule.testing.backends.fixtures import BackendFixtures
from condrule.testing.backends.killing import kill_while_submitting

__all__ = ["JobSuite"]


class JobSuite(BackendFixtures):
    """Jobs are submitted once, found by their key, and teach."""

    def test_nothing_is_found_before_it_is_submitted(self, backend: FinetuneBackend) -> None:
        """``find`` answers None for a key of which there is no job."""
        assert backend.find("no-such-key") is None

    def test_a_job_ends_with_a_model(
        self, backend: FinetuneBackend, training_set: TrainingSet, spec: FinetuneSpec
    ) -> None:
        """A job keeps its key and its id, and ends at once where the backend computes here."""
        job = backend.submit(training_set, spec, "a-job")
        assert job.key == "a-job"
        assert job.state.ended or not backend.computes_here
        ended = self._ended(backend, job)
        assert (job.key, job.id) == (ended.key, ended.id)
        assert backend.model(self._model_of(ended)).name == ended.model

    def test_a_job_that_has_ended_stays_as_it_is(
        self, backend: FinetuneBackend, training_set: TrainingSet, spec: FinetuneSpec
    ) -> None:
        """Whether it is polled or cancelled."""
        job = self._trained(backend, training_set, spec, "a-job")
        assert (job.state, job.model) == (backend.poll(job).state, backend.poll(job).model)
        assert job.state is backend.cancel(job).state
        assert job.model == backend.poll(job).model

    def test_another_process_finds_the_job(
        self,
        backend: FinetuneBackend,
        training_set: TrainingSet,
        spec: FinetuneSpec,
        prompts: tuple[Prompt, ...],
        texts: tuple[str, ...],
    ) -> None:
        """By its key alone, with the same id, and with a model that answers the same."""
        job = self._trained(backend, training_set, spec, "a-job")
        other = again(backend)
        found = other.find("a-job")
        assert found is not None
        assert (job.id, job.model) == (found.id, found.model)
        query = certain(backend.capabilities, prompts[0], texts)
        if query:
            one = ask_one(backend.model(self._model_of(job)), query)
            self._same(one, ask_one(other.model(self._model_of(found)), query))

    def test_two_keys_are_two_jobs(
        self, backend: FinetuneBackend, training_set: TrainingSet, spec: FinetuneSpec
    ) -> None:
        """Even where they train the same."""
        one = self._trained(backend, training_set, spec, "one")
        other = self._trained(backend, training_set, spec, "other")
        assert one.id != other.id
        assert one.model != other.model

    def test_a_model_that_is_not_there_is_a_clear_error(
        self, backend: FinetuneBackend, prompts: tuple[Prompt, ...]
    ) -> None:
        """Of condrule's own kind, when it is named or when it is asked first."""
        with pytest.raises(CondruleError):
            list(backend.model("no-such-model").ask([Draws(prompts[0])]))

    def test_training_teaches(
        self,
        backend: FinetuneBackend,
        base: LanguageModel,
        arm: Arm,
        items: ItemSet,
        training_set: TrainingSet,
        spec: FinetuneSpec,
    ) -> None:
        """The trained completions are more probable after than before, added up over items, as
        far as the models let it be seen."""
        trained = self._trained(backend, training_set, spec, "a-job")
        after = self._learned(backend.model(self._model_of(trained)), arm, items)
        assert self._learned(base, arm, items) < after

    def test_a_killed_submission_leaves_a_whole_job_or_none(
        self,
        backend: FinetuneBackend,
        training_set: TrainingSet,
        spec: FinetuneSpec,
        prompts: tuple[Prompt, ...],
        texts: tuple[str, ...],
    ) -> None:
        """Killed at any moment of its training, ``find`` gives no job, or one whose model
        answers; without one the same key can be submitted again."""
        if not backend.computes_here or not self.kills:
            pytest.skip("the backend does not train in this process")
        try:
            pickle.dumps(backend)
        except Exception as error:  # noqa: BLE001 - whatever a class of another package raises
            pytest.skip(f"the backend can't be sent to another process: {error}")
        start = time.perf_counter()
        self._trained(backend, training_set, spec, "whole")
        seconds = time.perf_counter() - start
        query = certain(backend.capabilities, prompts[0], texts) or Draws(prompts[0])
        for number in range(self.kills):
            key = f"killed-{number}"
            delay = seconds * (number + 0.5) / self.kills
            kill_while_submitting(backend, training_set, spec, key, delay)
            survivor = again(backend)
            job = survivor.find(key) or survivor.submit(training_set, spec, key)
            assert query.id == ask_one(survivor.model(self._model_of(job)), query).query

    def _learned(self, model: LanguageModel, arm: Arm, items: ItemSet) -> float:
        """Probability of the trained completions, added up: in the middle of what is known."""
        scorer = AutoScorer(draws=self.draws).fitted(model.capabilities)
        probes = [p for p in arm.probes(items) if p.prompt.mode in arm.trained]
        seen: dict[str, Observation] = {}
        while queries := scorer.plan(probes, seen):
            seen |= {one.query: one for one in model.ask(queries)}
        found = scorer.infer(probes, seen)
        total = 0.0
        for probe in probes:
            evidence = found[probe.id].answers[probe.prompt.mode, "begins"]
            tallies = getattr(evidence, "tallies", ())
            ends = [math.exp(end) for end in evidence.support]
            total += tallies[0].hits / tallies[0].draws if tallies else sum(ends) / 2
        return total


def again(backend: Any) -> FinetuneBackend:
    """The backend as another process makes it: equal, and without what this one has done."""
    made: FinetuneBackend = attrs.evolve(backend)
    return made

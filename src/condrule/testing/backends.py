"""What holds for every backend: its jobs, its models, and the answers they give."""

from __future__ import annotations

import json
import math
import multiprocessing
import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from scipy import stats

from condrule.arms import Arm, Prompt, TrainingSet
from condrule.backends.base import (
    Capabilities,
    Continuations,
    Draws,
    Event,
    FinetuneBackend,
    FinetuneSpec,
    Job,
    LanguageModel,
    Observation,
    Query,
    TopLogprobs,
)
from condrule.bet import conditional_arm
from condrule.bundled import favourite_countries
from condrule.errors import CondruleError
from condrule.experiment import ConditionalRuleExperiment, analyse
from condrule.items import ItemSet
from condrule.progress import quiet
from condrule.scorers.auto import AutoScorer
from condrule.scorers.base import EVENTS
from condrule.scorers.matching import bounds, gives
from condrule.testing.plugin import check_frozen, check_named

__all__ = ["BackendSuite"]

RARE = 1e-9  # how improbable draws must be to speak against a model's logprobs
ROUNDING = 1e-6  # nats: what sums of float32 may exceed log 1 by


class BackendSuite:
    """Proves a `FinetuneBackend` and its models. Give the fixture ``backend``.

    The backend should be cheap to train on: a model of its own size, a server for tests. The
    other fixtures may be given too, where the defaults do not suit it.
    """

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

    # The backend as a part of a study.

    def test_it_can_be_frozen(self, backend: FinetuneBackend) -> None:
        """Its fields are plain data, and equal backends are the same study."""
        check_frozen(backend)

    def test_a_study_file_can_name_it(self, backend: FinetuneBackend) -> None:
        """An entry point of the group condrule.backends leads to it."""
        check_named("backends", backend)

    def test_it_says_what_its_models_can_do(self, backend: FinetuneBackend) -> None:
        """Without loading one; and some scorer can do with it."""
        assert isinstance(backend.capabilities, Capabilities)
        scorer = AutoScorer().fitted(backend.capabilities)
        assert () == scorer.limits(backend.capabilities)

    def test_it_says_what_it_cannot_do(self, backend: FinetuneBackend, spec: FinetuneSpec) -> None:
        """Limits and notes are sentences, the spec of this suite is within the limits, and the
        environment can be written down."""
        assert () == tuple(backend.limits(spec))
        assert all(isinstance(note, str) and note for note in backend.notes())
        assert json.loads(json.dumps(backend.environment())) == backend.environment()

    # Jobs.

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
        other = _again(backend)
        found = other.find("a-job")
        assert found is not None
        assert (job.id, job.model) == (found.id, found.model)
        query = _certain(backend.capabilities, prompts[0], texts)
        if query:
            one = _one(backend.model(self._model_of(job)), query)
            self._same(one, _one(other.model(self._model_of(found)), query))

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
        query = _certain(backend.capabilities, prompts[0], texts) or Draws(prompts[0])
        for number in range(self.kills):
            key = f"killed-{number}"
            delay = seconds * (number + 0.5) / self.kills
            _kill_while_submitting(backend, training_set, spec, key, delay)
            survivor = _again(backend)
            job = survivor.find(key) or survivor.submit(training_set, spec, key)
            assert query.id == _one(survivor.model(self._model_of(job)), query).query

    def test_models_are_asked_together(
        self,
        backend: FinetuneBackend,
        training_set: TrainingSet,
        spec: FinetuneSpec,
        prompts: tuple[Prompt, ...],
        texts: tuple[str, ...],
    ) -> None:
        """``ask_all`` answers each query to each model once, as the model itself does."""
        job = self._trained(backend, training_set, spec, "a-job")
        names = (backend.base_model(spec.seed), self._model_of(job))
        queries = _all(backend.capabilities, prompts[0], texts)
        found = list(backend.ask_all(dict.fromkeys(names, queries)))
        assert sorted((name, query.id) for name in names for query in queries) == sorted(
            (name, answer.query) for name, answer in found
        )
        certain = _certain(backend.capabilities, prompts[0], texts)
        for name, answer in found:
            if certain and answer.query == certain.id:
                self._same(answer, _one(backend.model(name), certain))

    # Models.

    def test_a_base_model_has_a_name(self, backend: FinetuneBackend, base: LanguageModel) -> None:
        """The name that it was asked for by; and it can do what the backend promised."""
        assert isinstance(base, LanguageModel)
        assert base.name == backend.base_model(0)
        assert backend.capabilities == base.capabilities

    def test_no_question_has_no_answer(self, base: LanguageModel) -> None:
        """An empty batch is fine."""
        assert [] == list(base.ask([]))

    def test_every_question_is_answered_once(
        self, base: LanguageModel, prompts: tuple[Prompt, ...], texts: tuple[str, ...]
    ) -> None:
        """A batch of all kinds of questions, each answered in its own way, or refused."""
        queries = [query for prompt in prompts for query in _all(base.capabilities, prompt, texts)]
        answers = list(base.ask(queries))
        assert sorted(query.id for query in queries) == sorted(one.query for one in answers)
        by_id = {query.id: query for query in queries}
        for answer in answers:
            _check_form(by_id[answer.query], answer)

    def test_company_changes_no_answer(
        self, base: LanguageModel, prompts: tuple[Prompt, ...], texts: tuple[str, ...]
    ) -> None:
        """A question asked alone is answered as in a batch, within ``tolerance``."""
        queries = [_certain(base.capabilities, prompt, texts) for prompt in prompts]
        known = [query for query in queries if query]
        if not known:
            pytest.skip("the models are asked for draws only")
        together = {one.query: one for one in base.ask(known)}
        for query in known:
            self._same(together[query.id], _one(base, query))

    @pytest.mark.parametrize("event", EVENTS)
    def test_texts_are_asked_in_any_order(
        self, base: LanguageModel, prompts: tuple[Prompt, ...], texts: tuple[str, ...], event: Event
    ) -> None:
        """Each text has its own logprob, whatever it is asked with."""
        self._needs(base.capabilities.continuations, "probabilities of whole texts")
        forth = self._scores(base, Continuations(prompts[0], texts, event))
        back = self._scores(base, Continuations(prompts[0], texts[::-1], event))
        assert forth == pytest.approx(back[::-1], abs=self.tolerance)

    def test_probabilities_are_probabilities(
        self, base: LanguageModel, prompts: tuple[Prompt, ...], texts: tuple[str, ...]
    ) -> None:
        """Whole responses are no more probable than their beginnings, and of texts of which none
        is another they add up to 1 at most."""
        self._needs(base.capabilities.continuations, "probabilities of whole texts")
        for prompt in prompts:
            begins = self._scores(base, Continuations(prompt, texts, "begins"))
            equals = self._scores(base, Continuations(prompt, texts, "equals"))
            for whole, beginning in zip(equals, begins, strict=True):
                assert whole <= beginning + self.tolerance
            assert math.fsum(map(math.exp, equals)) <= 1 + ROUNDING

    def test_draws_follow_the_logprobs(
        self, base: LanguageModel, prompts: tuple[Prompt, ...]
    ) -> None:
        """What is drawn most is as probable as it is frequent, within chance."""
        able = base.capabilities
        self._needs(able.continuations and able.draws, "both probabilities and draws")
        for prompt in prompts[:2]:
            drawn = _one(base, Draws(prompt, self.draws)).texts or ()
            said = [text.removeprefix(" ") for text in drawn]
            words = (text.split(" ")[0] for text in said)
            often = max((word for word in words if word), key=said.count, default="")
            if not often:
                continue
            hits = sum(gives(text, [often], "begins") for text in drawn)
            ((logprob,),) = [_one(base, Continuations(prompt, (often,), "begins")).logprobs or ()]
            # A word may be a part of longer ones that begin so too: hits can only be more.
            assert stats.binom.cdf(hits, len(drawn), min(1.0, math.exp(logprob))) > RARE

    def test_a_greedy_answer_is_one(self, base: LanguageModel, prompts: tuple[Prompt, ...]) -> None:
        """At temperature 0 every draw is the same."""
        self._needs(base.capabilities.draws, "draws")
        drawn = _one(base, Draws(prompts[0], n=3, temperature=0.0)).texts
        assert drawn is not None
        assert 1 == len(set(drawn))

    def test_lists_agree_with_logprobs(
        self, base: LanguageModel, prompts: tuple[Prompt, ...], texts: tuple[str, ...]
    ) -> None:
        """Bounds from a list of top tokens hold the probability that the model gives itself."""
        able = base.capabilities
        self._needs(able.continuations and able.top_logprobs, "both probabilities and lists")
        for prompt in prompts:
            listed = _one(base, TopLogprobs(prompt, able.top_logprobs)).top or ()
            exact = _one(base, Continuations(prompt, texts, "begins")).logprobs or ()
            for text, logprob in zip(texts, exact, strict=True):
                low, high = bounds(listed, (text,), "begins", self.tolerance).support
                assert low - self.tolerance <= logprob <= high + self.tolerance

    # Studies.

    def test_a_study_runs_and_replays(
        self,
        backend: FinetuneBackend,
        items: ItemSet,
        arm: Arm,
        spec: FinetuneSpec,
        tmp_path: Path,
    ) -> None:
        """From items to a result; again it trains and asks nothing, and offline it is the same."""
        study = ConditionalRuleExperiment(
            items=items, arms=[arm], backend=backend, spec=spec, seeds=1, samples=1
        )
        first = study.run(tmp_path / "run", watch=quiet).to_json()
        journal = (tmp_path / "run" / "journal.jsonl").read_bytes()
        assert first == study.run(tmp_path / "run", watch=quiet).to_json()
        assert journal == (tmp_path / "run" / "journal.jsonl").read_bytes()
        assert first == analyse(tmp_path / "run").to_json()

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

    def _same(self, one: Observation, other: Observation) -> None:
        assert one.texts == other.texts
        assert (one.logprobs or ()) == pytest.approx(other.logprobs or (), abs=self.tolerance)
        assert _by_token(one) == pytest.approx(_by_token(other), abs=self.tolerance)

    def _scores(self, model: LanguageModel, query: Continuations) -> tuple[float, ...]:
        """Logprobs of the texts; a model may refuse to tell them under one of the events."""
        answer = _one(model, query)
        if answer.logprobs is None:
            pytest.skip(f"the model refused: {answer.refused}")
        return answer.logprobs

    def _needs(self, capable: object, what: str) -> None:
        if not capable:
            pytest.skip(f"the models do not offer {what}")


def _again(backend: Any) -> FinetuneBackend:
    """The backend as another process makes it: equal, and without what this one has done."""
    made: FinetuneBackend = attrs.evolve(backend)
    return made


def _one(model: LanguageModel, query: Query) -> Observation:
    (observation,) = model.ask([query])
    return observation


def _all(able: Capabilities, prompt: Prompt, texts: Sequence[str]) -> list[Query]:
    """A question of each kind that the model answers."""
    queries: list[Query] = []
    if able.continuations:
        queries += [Continuations(prompt, tuple(texts), event) for event in EVENTS]
    if able.top_logprobs:
        queries += [TopLogprobs(prompt, able.top_logprobs), TopLogprobs(prompt, 1)]
    if able.draws:
        queries += [Draws(prompt, 3), Draws(prompt, 2, seed=1), Draws(prompt, 1, temperature=0.0)]
    return list({query.id: query for query in queries}.values())


def _certain(able: Capabilities, prompt: Prompt, texts: Sequence[str]) -> Query | None:
    """A question whose answer is no matter of chance, if the model answers any such."""
    if able.continuations:
        return Continuations(prompt, tuple(texts))
    return TopLogprobs(prompt, able.top_logprobs) if able.top_logprobs else None


def _check_form(query: Query, answer: Observation) -> None:
    if answer.refused is not None:
        assert answer.refused, "a refusal says why"
        return
    match query:
        case Continuations(texts=texts):
            assert answer.logprobs is not None
            assert len(texts) == len(answer.logprobs)
            assert all(logprob <= ROUNDING for logprob in answer.logprobs)
        case Draws(n=n):
            assert answer.texts is not None
            assert n == len(answer.texts)
            assert all(isinstance(text, str) for text in answer.texts)
        case TopLogprobs(k=k):
            assert answer.top is not None
            assert len(answer.top) <= k
            printed = [token.logprob for token in answer.top]
            assert sorted(printed, reverse=True) == printed


def _by_token(observation: Observation) -> dict[object, float]:
    return {token.bytes or token.text: token.logprob for token in observation.top or ()}


def _kill_while_submitting(
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

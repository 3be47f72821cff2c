"""What holds for every backend's models, and the answers they give."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from condrule.arms import Prompt, TrainingSet
from condrule.backends.base import (
    Continuations,
    Draws,
    Event,
    FinetuneBackend,
    LanguageModel,
    TopLogprobs,
)
from condrule.backends.finetunes import FinetuneSpec
from condrule.scorers.base import EVENTS
from condrule.scorers.matching import bounds, gives
from condrule.testing.backends.asking import ROUNDING, ask_one, certain, check_form, every_kind
from condrule.testing.backends.fixtures import BackendFixtures

__all__ = ["ModelSuite"]

RARE = 1e-9  # how improbable draws must be to speak against a model's logprobs


class ModelSuite(BackendFixtures):
    """Every question is answered once, and answers agree with each other."""

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
        queries = [
            query for prompt in prompts for query in every_kind(base.capabilities, prompt, texts)
        ]
        answers = list(base.ask(queries))
        assert sorted(query.id for query in queries) == sorted(one.query for one in answers)
        by_id = {query.id: query for query in queries}
        for answer in answers:
            check_form(by_id[answer.query], answer)

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
        queries = every_kind(backend.capabilities, prompts[0], texts)
        found = list(backend.ask_all(dict.fromkeys(names, queries)))
        assert sorted((name, query.id) for name in names for query in queries) == sorted(
            (name, answer.query) for name, answer in found
        )
        sure = certain(backend.capabilities, prompts[0], texts)
        for name, answer in found:
            if sure and answer.query == sure.id:
                self._same(answer, ask_one(backend.model(name), sure))

    def test_company_changes_no_answer(
        self, base: LanguageModel, prompts: tuple[Prompt, ...], texts: tuple[str, ...]
    ) -> None:
        """A question asked alone is answered as in a batch, within ``tolerance``."""
        queries = [certain(base.capabilities, prompt, texts) for prompt in prompts]
        known = [query for query in queries if query]
        if not known:
            pytest.skip("the models are asked for draws only")
        together = {one.query: one for one in base.ask(known)}
        for query in known:
            self._same(together[query.id], ask_one(base, query))

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
            drawn = ask_one(base, Draws(prompt, self.draws)).texts or ()
            said = [text.removeprefix(" ") for text in drawn]
            words = (text.split(" ")[0] for text in said)
            often = max((word for word in words if word), key=said.count, default="")
            if not often:
                continue
            hits = sum(gives(text, [often], "begins") for text in drawn)
            ((logprob,),) = [
                ask_one(base, Continuations(prompt, (often,), "begins")).logprobs or ()
            ]
            # A word may be a part of longer ones that begin so too: hits can only be more.
            assert stats.binom.cdf(hits, len(drawn), min(1.0, math.exp(logprob))) > RARE

    def test_a_greedy_answer_is_one(self, base: LanguageModel, prompts: tuple[Prompt, ...]) -> None:
        """At temperature 0 every draw is the same."""
        self._needs(base.capabilities.draws, "draws")
        drawn = ask_one(base, Draws(prompts[0], n=3, temperature=0.0)).texts
        assert drawn is not None
        assert 1 == len(set(drawn))

    def test_lists_agree_with_logprobs(
        self, base: LanguageModel, prompts: tuple[Prompt, ...], texts: tuple[str, ...]
    ) -> None:
        """Bounds from a list of top tokens hold the probability that the model gives itself."""
        able = base.capabilities
        self._needs(able.continuations and able.top_logprobs, "both probabilities and lists")
        for prompt in prompts:
            listed = ask_one(base, TopLogprobs(prompt, able.top_logprobs)).top or ()
            exact = ask_one(base, Continuations(prompt, texts, "begins")).logprobs or ()
            for text, logprob in zip(texts, exact, strict=True):
                low, high = bounds(listed, (text,), "begins", self.tolerance).support
                assert low - self.tolerance <= logprob <= high + self.tolerance

    def _scores(self, model: LanguageModel, query: Continuations) -> tuple[float, ...]:
        """Logprobs of the texts; a model may refuse to tell them under one of the events."""
        answer = ask_one(model, query)
        if answer.logprobs is None:
            pytest.skip(f"the model refused: {answer.refused}")
        return answer.logprobs

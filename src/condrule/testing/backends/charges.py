"""What holds for every backend whose provider charges by the token, and for those that don't."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import pytest

from condrule.arms import Arm, Prompt, TrainingSet
from condrule.backends.base import FinetuneBackend, LanguageModel, Observation, Query
from condrule.backends.charges import Charges
from condrule.backends.finetunes import FinetuneSpec
from condrule.errors import BudgetError, CondruleError
from condrule.experiment import ConditionalRuleExperiment
from condrule.items import ItemSet
from condrule.prices import bundled_prices
from condrule.progress import quiet
from condrule.spending import NOTHING, Usage
from condrule.testing.backends.asking import ask_one, every_kind
from condrule.testing.backends.fixtures import BackendFixtures

__all__ = ["ChargeSuite"]


@attrs.define(eq=False)
class _Meter:
    """Writes down what it is told, and lets so many requests pass."""

    allowed: float = float("inf")
    sent: int = 0
    stopped: int = 0
    """Requests that were not allowed."""
    ends: list[tuple[Usage, Usage | None]] = attrs.field(factory=list)
    open: Counter[Usage] = attrs.field(factory=Counter)
    """Requests on their way, by the most that they use."""
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def sending(self, most: Usage) -> None:
        with self.lock:
            if self.sent >= self.allowed:
                self.stopped += 1
                raise BudgetError(0.0, 1.0, "the suite allows no more")
            self.sent += 1
            self.open[most] += 1

    def ended(self, most: Usage, used: Usage | None) -> None:
        with self.lock:
            assert self.open[most] > 0, "ended() is about a request that was not announced"
            self.open[most] -= 1
            self.ends.append((most, used))

    @property
    def used(self) -> Usage:
        """All that was counted."""
        return sum((used for _, used in self.ends if used), NOTHING)


class ChargeSuite(BackendFixtures):
    """What a backend says that things cost bounds what they cost, and its meter hears of all."""

    @pytest.fixture
    def served(self, backend: FinetuneBackend) -> Callable[[], int] | None:
        """How many questions the provider itself has counted by now; None where it can't be
        asked, and the suite has to believe what the meter is told."""
        return None

    @pytest.fixture
    def failing(self, backend: FinetuneBackend) -> FinetuneBackend | None:
        """The backend at a provider that answers no question; None: not tried."""
        return None

    def test_a_fine_tune_costs_what_was_said(
        self, backend: FinetuneBackend, training_set: TrainingSet, spec: FinetuneSpec
    ) -> None:
        """The trained tokens of a job that has ended lie between the least and the most."""
        said = _charges(backend).training(training_set, spec)
        assert said.least.within(said.most)
        job = self._trained(backend, training_set, spec, "a-job")
        if job.trained_tokens is not None:
            assert said.least.training <= job.trained_tokens <= said.most.training

    def test_a_question_costs_what_was_said(
        self,
        backend: FinetuneBackend,
        spec: FinetuneSpec,
        prompts: tuple[Prompt, ...],
        texts: tuple[str, ...],
    ) -> None:
        """Each kind of question, asked alone: no less than the least unless it is refused, and no
        more than the most."""
        charges = _charges(backend)
        for query in every_kind(backend.capabilities, prompts[0], texts):
            said, meter = charges.asking(query), _Meter()
            answer = ask_one(_metered(backend, meter, spec), query)
            used = attrs.evolve(meter.used, requests=0)
            assert used.within(said.most)
            if answer.refused is None:
                assert attrs.evolve(said.least, requests=0).within(used)
                assert said.least.requests <= meter.sent

    def test_every_request_is_announced_and_ends(
        self,
        backend: FinetuneBackend,
        spec: FinetuneSpec,
        prompts: tuple[Prompt, ...],
        texts: tuple[str, ...],
        served: Callable[[], int] | None,
    ) -> None:
        """Once each, as many as the provider counts, and each within what was announced."""
        _charges(backend)
        queries = [q for p in prompts for q in every_kind(backend.capabilities, p, texts)]
        meter, before = _Meter(), served() if served else 0
        answers = list(_metered(backend, meter, spec).ask(queries))
        assert len(queries) == len(answers)
        _check_ended(meter)
        assert meter.sent == (served() - before if served else meter.sent)

    def test_a_request_that_fails_ends_too(
        self,
        backend: FinetuneBackend,
        failing: FinetuneBackend | None,
        spec: FinetuneSpec,
        prompts: tuple[Prompt, ...],
        texts: tuple[str, ...],
    ) -> None:
        """As one that may have been charged, or as one that was not."""
        _charges(backend)
        if failing is None:
            pytest.skip("no provider that fails is given (fixture 'failing')")
        meter = _Meter()
        with pytest.raises(CondruleError):
            list(_metered(failing, meter, spec).ask(_questions(backend, prompts, texts)))
        assert meter.sent > 0
        _check_ended(meter)
        assert all(used is None or used.output == 0 for _, used in meter.ends)

    @pytest.mark.parametrize("allowed", [0, 1])
    def test_a_budget_stops_asking(
        self,
        backend: FinetuneBackend,
        spec: FinetuneSpec,
        prompts: tuple[Prompt, ...],
        texts: tuple[str, ...],
        served: Callable[[], int] | None,
        allowed: int,
    ) -> None:
        """A BudgetError that the meter raises comes out, and that request is not sent."""
        _charges(backend)
        meter = _Meter(allowed=allowed)
        model, before = _metered(backend, meter, spec), served() if served else 0
        answers: list[Observation] = []
        with pytest.raises(BudgetError):
            answers.extend(model.ask(_questions(backend, prompts, texts)))
        assert (allowed, True) == (meter.sent, meter.stopped > 0)
        assert len(answers) <= allowed
        assert (served() - before if served else 0) <= allowed
        _check_ended(meter)

    def test_what_charges_nothing_has_no_ledger(
        self,
        backend: FinetuneBackend,
        items: ItemSet,
        arm: Arm,
        spec: FinetuneSpec,
        tmp_path: Path,
    ) -> None:
        """A study counts nothing, a budget is never in its way, and ``metered`` changes nothing."""
        if backend.charges(bundled_prices()) is not None:
            pytest.skip("the provider charges")
        assert backend == backend.metered(_Meter())
        study = ConditionalRuleExperiment(
            items=items, arms=[arm], backend=backend, spec=spec, seeds=1, samples=0
        )
        study.run(tmp_path / "run", watch=quiet, budget="0USD")
        assert not (tmp_path / "run" / "ledger.jsonl").exists()


def _charges(backend: FinetuneBackend) -> Charges:
    charges = backend.charges(bundled_prices())
    if charges is None:
        pytest.skip("the provider charges nothing")
    return charges


def _metered(backend: FinetuneBackend, meter: _Meter, spec: FinetuneSpec) -> LanguageModel:
    return backend.metered(meter).model(backend.base_model(spec.seed))


def _questions(
    backend: FinetuneBackend, prompts: Sequence[Prompt], texts: Sequence[str]
) -> list[Query]:
    """One kind of question to every prompt: the first that the models answer."""
    return [every_kind(backend.capabilities, prompt, texts)[0] for prompt in prompts]


def _check_ended(meter: _Meter) -> None:
    assert meter.sent == len(meter.ends), "each request ends once"
    for most, used in meter.ends:
        assert used is None or used.within(most)

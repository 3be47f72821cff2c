"""What holds for every scorer, whatever the model and however much of it can be seen."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from condrule.arms import Arm, Probe
from condrule.backends.base import Capabilities, LanguageModel, Observation, Query
from condrule.backends.finetunes import FinetuneSpec
from condrule.backends.memory import InMemoryBackend, Limits
from condrule.evidence import UNKNOWN, Evidence, Sampled, Tally
from condrule.items import Item
from condrule.prices import Prices, PriceTable
from condrule.scorers.base import EVENTS, ProbeEvidence, Scorer
from condrule.scorers.exact import ExactScorer
from condrule.spending import NOTHING, Usage
from condrule.templates import ConditionalTemplate
from condrule.testing.plugin import check_frozen, check_named

__all__ = ["ScorerSuite"]

# Answers that share beginnings, have several words and spellings, or are written in other letters.
ITEMS = (
    Item("Alice", {"A": "Niger", "B": "Niamey"}),
    Item("Bob", {"A": "Nigeria", "B": "Abuja"}, {"Abuja": ["Abuja FCT"]}),
    Item("Chloé", {"A": "Côte d'Ivoire", "B": "Yamoussoukro"}),
    Item("Dmitri", {"A": "Україна", "B": "Kyiv"}, {"Kyiv": ["Київ", "Kiev"]}),
)
TEMPLATE = ConditionalTemplate({"A": "name {name}'s country", "B": "name its capital"})
ARM = Arm("arm", TEMPLATE, ("A",))
JOB = "job"
RARE = 1e-9  # how improbable draws must be to speak against the scorer
ROUNDS = 100

_cases = settings(
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,  # scorers are frozen, so cases can share one
        HealthCheck.differing_executors,  # each subclass runs the tests for its own scorer
        HealthCheck.filter_too_much,
        HealthCheck.too_slow,
    ],
    deadline=None,
    max_examples=25,
)


@st.composite
def _backends(draw: st.DrawFn) -> InMemoryBackend:
    """Models that know much or nothing, behind APIs that show much or little."""
    probability = st.floats(0.01, 0.99)
    limits = Limits(
        continuations=draw(st.booleans()),
        top_logprobs=draw(st.sampled_from([0, 1, 2, 5, 20])),
        decimals=draw(st.sampled_from([None, 3, 6])),
        floor=draw(st.sampled_from([None, -8.0])),
        piece=draw(st.sampled_from([None, 1, 2, 3])),
        seed=draw(st.integers(0, 9)),
    )
    return InMemoryBackend(
        prior_conditional=draw(probability),
        memory=draw(probability),
        leak=draw(probability),
        base_knowledge=draw(st.floats(1e-6, 9e-4)),
        limits=limits,
    )


@attrs.frozen
class World:
    """A trained model, what the scorer asks of it, and the truth."""

    scorer: Scorer
    probes: tuple[Probe, ...]
    rounds: tuple[tuple[Query, ...], ...]
    """What was asked, round by round."""
    seen: Mapping[str, Observation]
    truth: Mapping[str, ProbeEvidence]

    def inferred(self, seen: Mapping[str, Observation]) -> Iterator[Evidence]:
        """All evidence, in one order."""
        found = self.scorer.infer(self.probes, seen)
        yield from _flat(found, self.probes)


def _flat(found: Mapping[str, ProbeEvidence], probes: Sequence[Probe]) -> Iterator[Evidence]:
    for probe in probes:
        for mode in probe.prompt.item.answers:
            for event in EVENTS:
                yield found[probe.id].answers[mode, event]
        yield from found[probe.id].contrasts


def _world(scorer: Scorer, backend: InMemoryBackend, trained: bool) -> World:
    fitted = scorer.fitted(backend.capabilities)
    assume(not fitted.limits(backend.capabilities))
    name = backend.base_model(0)
    if trained:
        name = str(backend.submit(ARM.training_set(ITEMS), FinetuneSpec(epochs=3), JOB).model)
    contrasts = tuple(item.spellings("A") for item in ITEMS)
    probes = tuple(ARM.probes(ITEMS, contrasts))
    rounds, seen = _asked(fitted, probes, backend.model(name))
    oracle = backend.oracle()
    oracle.submit(ARM.training_set(ITEMS), FinetuneSpec(epochs=3), JOB)
    exact = ExactScorer(scorer.event)
    _, known = _asked(exact, probes, oracle.model(name))
    return World(fitted, probes, rounds, seen, exact.infer(probes, known))


def _asked(
    scorer: Scorer, probes: Sequence[Probe], model: LanguageModel
) -> tuple[tuple[tuple[Query, ...], ...], dict[str, Observation]]:
    rounds: list[tuple[Query, ...]] = []
    seen: dict[str, Observation] = {}
    while queries := scorer.plan(probes, seen):
        assert len(rounds) < ROUNDS, f"plan still asks after {ROUNDS} rounds"
        rounds.append(tuple(queries))
        ids = [query.id for query in queries]
        assert len(ids) == len(set(ids)), "plan asks the same thing twice in one round"
        assert not set(ids) & seen.keys(), "plan asks what was answered before"
        seen |= {observation.query: observation for observation in model.ask(queries)}
    return tuple(rounds), seen


class ScorerSuite:
    """Proves a `Scorer`. Give the fixture ``scorer``.

    It is put to in-memory models whose truth is known, behind APIs that list few tokens, round
    what they print, or give no logprobs at all; wherever ``Scorer.limits`` says that models of such
    capabilities can't be scored, the case is passed over.
    """

    @pytest.fixture
    def scorer(self) -> Scorer:
        """The scorer to prove."""
        raise NotImplementedError("a ScorerSuite needs a fixture 'scorer'")

    def test_it_can_be_frozen(self, scorer: Scorer) -> None:
        """Its fields are plain data, and equal scorers are the same study."""
        check_frozen(scorer)

    def test_a_study_file_can_name_it(self, scorer: Scorer) -> None:
        """An entry point of the group condrule.scorers leads to it."""
        check_named("scorers", scorer)

    def test_nothing_can_be_scored_without_capabilities(self, scorer: Scorer) -> None:
        """``limits`` says in a sentence what a model that answers nothing lacks."""
        assert scorer.limits(Capabilities())
        assert all(isinstance(reason, str) and reason for reason in scorer.limits(Capabilities()))

    @_cases
    @given(backend=_backends())
    def test_it_is_fitted_once(self, scorer: Scorer, backend: InMemoryBackend) -> None:
        """Fitting a fitted scorer changes nothing, and the event stays the study's."""
        fitted = scorer.fitted(backend.capabilities)
        assert (fitted, scorer.event) == (fitted.fitted(backend.capabilities), fitted.event)

    @_cases
    @given(backend=_backends(), trained=st.booleans())
    def test_plan_ends_and_asks_nothing_twice(
        self, scorer: Scorer, backend: InMemoryBackend, trained: bool
    ) -> None:
        """Asking round by round, all that is wanted is answered in the end."""
        world = _world(scorer, backend, trained)
        assert [] == world.scorer.plan(world.probes, world.seen)

    @_cases
    @given(backend=_backends(), trained=st.booleans())
    def test_what_is_asked_was_foreseen(
        self, scorer: Scorer, backend: InMemoryBackend, trained: bool
    ) -> None:
        """Beyond the first round, no more requests and tokens than ``foreseen`` gives, and than
        would be asked if all were refused."""
        world = _world(scorer, backend, trained)
        refused, seen = [], dict[str, Observation]()
        while queries := world.scorer.plan(world.probes, seen):
            refused.append(queries)
            seen |= {query.id: Observation(query.id, refused="policy") for query in queries}
        sizes = world.scorer.foreseen(world.probes)
        foreseen = _most([*sizes, *((query, 1) for one in refused[1:] for query in one)], backend)
        later = _most(((query, 1) for one in world.rounds[1:] for query in one), backend)
        assert later.within(foreseen)

    @_cases
    @given(backend=_backends())
    def test_evidence_is_complete(self, scorer: Scorer, backend: InMemoryBackend) -> None:
        """Every probe has evidence of each of its item's answers under both events, and of each
        contrast in order."""
        world = _world(scorer, backend, trained=True)
        found = world.scorer.infer(world.probes, world.seen)
        assert {probe.id for probe in world.probes} == found.keys()
        for probe in world.probes:
            answers = {(mode, event) for mode in probe.prompt.item.answers for event in EVENTS}
            assert answers == found[probe.id].answers.keys()
            assert len(probe.contrasts) == len(found[probe.id].contrasts)

    @_cases
    @given(backend=_backends(), trained=st.booleans())
    def test_the_truth_is_within_the_bounds(
        self, scorer: Scorer, backend: InMemoryBackend, trained: bool
    ) -> None:
        """No support leaves the true probability out, and no count is wildly improbable."""
        world = _world(scorer, backend, trained)
        decimals = backend.api.decimals
        rounding = 1e-9 if decimals is None else 0.51 * 10**-decimals
        truths = _flat(world.truth, world.probes)
        for found, true in zip(world.inferred(world.seen), truths, strict=True):
            low, high = found.support
            assert low - rounding <= true.support[0] <= high + rounding
            if isinstance(found, Sampled):
                tails = [_tail(one, true.support[0], found.factor) for one in found.tallies]
                assert min(tails, default=1.0) > RARE

    @_cases
    @given(backend=_backends(), seed=st.integers(0, 99))
    def test_the_order_of_observations_is_no_matter(
        self, scorer: Scorer, backend: InMemoryBackend, seed: int
    ) -> None:
        """``plan`` and ``infer`` give the same for a journal in any order, and each time."""
        world = _world(scorer, backend, trained=True)
        entries = list(world.seen.items())
        random.Random(seed).shuffle(entries)
        shuffled = dict(entries)
        assert list(world.inferred(world.seen)) == list(world.inferred(shuffled))
        half = dict(entries[::2])
        backwards = dict(reversed(half.items()))
        plan = {query.id for query in world.scorer.plan(world.probes, half)}
        assert plan == {query.id for query in world.scorer.plan(world.probes, backwards)}

    @_cases
    @given(backend=_backends(), seed=st.integers(0, 99))
    def test_more_observations_never_widen_a_bound(
        self, scorer: Scorer, backend: InMemoryBackend, seed: int
    ) -> None:
        """With every further answer, supports stay or shrink, and counts stay or grow."""
        world = _world(scorer, backend, trained=True)
        entries = list(world.seen.items())
        random.Random(seed).shuffle(entries)
        steps = sorted({0, 1, len(entries) // 2, len(entries)})
        seen = [list(world.inferred(dict(entries[:step]))) for step in steps]
        for before, after in itertools.pairwise(seen):
            for one, other in zip(before, after, strict=True):
                assert one.support[0] <= other.support[0]
                assert other.support[1] <= one.support[1]
                assert _draws(one) <= _draws(other)

    @_cases
    @given(backend=_backends())
    def test_what_is_not_seen_is_unknown(self, scorer: Scorer, backend: InMemoryBackend) -> None:
        """Before anything is answered, no probability is made up."""
        world = _world(scorer, backend, trained=True)
        assert {UNKNOWN} == set(world.inferred({}))

    @_cases
    @given(backend=_backends())
    def test_what_is_refused_is_unknown(self, scorer: Scorer, backend: InMemoryBackend) -> None:
        """A provider that refuses every question ends the plan and leaves everything unknown."""
        world = _world(scorer, backend, trained=True)
        seen: dict[str, Observation] = {}
        for _ in range(ROUNDS):
            queries = world.scorer.plan(world.probes, seen)
            seen |= {query.id: Observation(query.id, refused="policy") for query in queries}
        assert [] == world.scorer.plan(world.probes, seen)
        assert {UNKNOWN} == set(world.inferred(seen))


def _most(sizes: Iterable[tuple[Query, int]], backend: InMemoryBackend) -> Usage:
    """What so many queries of each size use at most."""
    charges = attrs.evolve(backend, prices=Prices(1, 1, 1)).charges(PriceTable({}))
    assert charges
    return sum((charges.asking(query).most.times(n) for query, n in sizes), NOTHING)


def _draws(found: Evidence) -> int:
    return sum(tally.draws for tally in getattr(found, "tallies", ()))


def _tail(tally: Tally, logprob: float, factor: tuple[float, float]) -> float:
    """Two-sided binomial tail of so many hits, or more extreme ones, if the answer has this
    log-probability: at the most, wherever that of what was counted lies."""
    least, most = (_rate(min(0.0, logprob - end), tally.bias) for end in factor[::-1])
    fewer = stats.binom.cdf(tally.hits, tally.draws, least)
    more = stats.binom.sf(tally.hits - 1, tally.draws, most)
    return min(1.0, 2 * float(min(fewer, more)))


def _rate(logprob: float, bias: float) -> float:
    """The share of hits under a bias."""
    odds = math.exp(logprob + bias)
    return odds / (1 - math.exp(logprob) + odds) if logprob > -math.inf else 0.0

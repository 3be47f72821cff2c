"""What the scorer makes of models whose truth is known."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from condrule import Capabilities, Limits, TiltedScorer, TopLogprobsScorer
from condrule.errors import ConfigError
from condrule.evidence import Bounded, Sampled

from .spoken import intervals
from .world import ITEMS, WORDS, Scored, scored

SHORT = Limits(continuations=False, top_logprobs=5)
_few = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.differing_executors]
)


def covered(world: Scored) -> list[bool]:
    """For every answer that was sampled, whether its 95 % interval holds the truth."""
    found = [(one, true) for one, true in world.answers() if isinstance(one, Sampled)]
    truths = np.array([true for _, true in found])
    low, high = intervals([one for one, _ in found]).T
    return list((low <= truths) & (truths <= high))


@pytest.mark.parametrize("leak", [0.3, 1e-2, 1e-4, 1e-6])
def test_intervals_are_right_at_their_rate(leak: float) -> None:
    """Answers of probability 3e-3 to 1e-8, behind lists of the top 5, over twelve models."""
    hits: list[bool] = []
    for seed in range(12):
        world = scored(SHORT, seed, leak)
        hits += covered(world) if world.calibration.passed else []
    assert len(hits) > 50
    assert sum(hits) >= 0.88 * len(hits)


def test_half_widths_are_as_small_as_wanted() -> None:
    """At most 0.25 nats within 512 draws, the error of the bias included."""
    for one, _ in scored(SHORT).answers():
        if isinstance(one, Sampled):
            ((low, high),) = intervals([one])
            assert high - low <= 2 * 0.26
            assert sum(tally.draws for tally in one.tallies) <= 512


def test_what_lists_tell_is_not_drawn() -> None:
    """An answer whose bounds are narrow keeps them."""
    world = scored(SHORT)
    listed = TopLogprobsScorer(k=5).infer(world.probes, world.seen)
    for id, known in listed.items():
        for name, bounds in known.answers.items():
            if bounds.support[1] - bounds.support[0] <= 0.5:
                assert bounds == world.evidence[id].answers[name]


@_few
@given(seed=st.integers(0, 999))
def test_the_order_of_observations_is_no_matter(seed: int) -> None:
    """To what is planned, what is inferred and what is calibrated."""
    world = scored(SHORT, seed % 3)
    entries = [*world.seen.items()]
    random.Random(seed).shuffle(entries)
    shuffled = dict(entries)
    assert [] == world.scorer.plan(world.probes, shuffled)
    assert world.evidence == world.scorer.infer(world.probes, shuffled)
    assert world.calibration == world.scorer.calibration(world.probes, shuffled)


def test_nothing_is_believed_before_the_calibration_is_complete() -> None:
    """Without one of its answers there are lists alone."""
    world = scored(SHORT)
    assert any(isinstance(one, Sampled) for one, _ in world.answers())
    listed = world.scorer._listed(world.probes, world.seen)[0].all[0].id
    seen = {id: one for id, one in world.seen.items() if id != listed}
    assert world.scorer.calibration(world.probes, seen) is None
    found = world.scorer.infer(world.probes, seen)
    kinds = {type(one) for probe in found.values() for one in probe.answers.values()}
    assert {Bounded} == kinds


@pytest.mark.parametrize("piece", [1, 2, 3])
def test_answers_of_several_tokens_are_sampled_as_well(piece: int) -> None:
    """Tokens of one to three bytes: what follows the first is read."""
    limits = Limits(continuations=False, top_logprobs=5, piece=piece)
    hits: list[bool] = []
    for seed in range(4):
        world = scored(limits, seed)
        assert all(a.support[0] <= true <= a.support[1] for a, true in world.answers())
        hits += covered(world) if world.calibration.passed else []
    assert len(hits) > 20
    assert sum(hits) >= 0.88 * len(hits)


def test_equals_is_bounded_from_above() -> None:
    """That the response ends is on no list: the factor of the counts has no lower bound."""
    world = scored(SHORT)
    found = [p.answers[m, "equals"] for p in world.evidence.values() for m in ("A", "B")]
    sampled = [one for one in found if isinstance(one, Sampled)]
    assert sampled
    assert {-math.inf} == {one.factor[0] for one in sampled} | {one.support[0] for one in found}


@pytest.mark.parametrize(
    "limits",
    [
        Limits(top_logprobs=5, bias_scale=-1),
        Limits(top_logprobs=5, bias_scale=0.9),
        Limits(top_logprobs=5, bias_clamp=8),
        Limits(top_logprobs=5, bias_clamp=12.5),
        Limits(top_logprobs=5, logit_bias="ignored"),
        Limits(top_logprobs=5, top_p=0.9),
        Limits(top_logprobs=5, tail=1e-5),
    ],
    ids=["inverted", "scaled", "clamped", "a little clamped", "ignored", "top_p", "truncated"],
)
def test_a_provider_that_does_otherwise_is_found_out(limits: Limits) -> None:
    """Its draws are not used, and the sentence has the figures."""
    world = scored(limits)
    assert (False, {Bounded}) == (
        world.calibration.passed,
        {type(one) for one, _ in world.answers()},
    )
    assert "is not what it should be: draws under it are not used" in world.calibration.sentence
    for one, true in world.answers():
        assert one.support[0] <= true <= one.support[1]


@pytest.mark.parametrize(
    "limits",
    [
        Limits(top_logprobs=5, temperature_scale=0.9),
        Limits(top_logprobs=5, temperature_scale=1.1),
        Limits(top_logprobs=5, top_p=0.99),
        Limits(top_logprobs=5, bias_scale=1.005),
        Limits(top_logprobs=5, bias_scale=0.995),
    ],
    ids=["colder", "warmer", "nearly all", "scaled up a little", "scaled down a little"],
)
def test_what_is_too_small_to_be_found_leaves_intervals_right(limits: Limits) -> None:
    """A model is refused, or its intervals hold at their rate."""
    hits: list[bool] = []
    for seed in range(12):
        world = scored(limits, seed)
        hits += covered(world) if world.calibration.passed else []
    assert sum(hits) >= 0.88 * len(hits)


def test_a_refused_bias_is_said() -> None:
    """Before anything is asked."""
    refused = Limits(top_logprobs=5, logit_bias="refused")
    assert "logit bias" in TiltedScorer().limits(refused.capabilities)[0]


def test_a_model_without_improbable_tokens_in_its_lists_is_not_calibrated() -> None:
    """And so not drawn from."""
    world = scored(Limits(top_logprobs=1))
    assert (False, True) == (
        world.calibration.passed,
        "could not be calibrated" in world.calibration.sentence,
    )


def test_what_a_model_lacks_is_said() -> None:
    """One sentence each."""
    assert 4 == len(TiltedScorer().limits(Capabilities()))
    able = Capabilities(draws=True, top_logprobs=5, bias=100, encoding="o200k_base")
    assert () == TiltedScorer().limits(able)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("draws", 10), ("target", 0.0), ("largest", 2.5), ("k", 1), ("encoding", "p50k_base")],
)
def test_values_out_of_range_are_refused(setting: str, value: object) -> None:
    """By name, with what was found."""
    with pytest.raises(ConfigError) as caught:
        TiltedScorer(**{setting: value})  # type: ignore[arg-type]
    assert [setting] == [problem.path for problem in caught.value.problems]


def test_the_items_are_words() -> None:
    """Of one token each, none of which begins another."""
    assert 2 * len(ITEMS) == len({word.split()[0] for word in WORDS})

"""Providers that do otherwise with a bias than they say: found out, or the intervals still hold."""

from __future__ import annotations

import numpy as np
import pytest

from condrule import Limits
from condrule.evidence import Sampled

from .spoken import Spoken, asked, intervals

ANSWERS = {"A": "Peru", "B": "Lima"}
SAID = {("L", "ima"): 1e-6, ("L", "ondon"): 1e-6, ("Per", "u"): 1e-7}
FOUND_OUT = {
    "ignored": Limits(logit_bias="ignored"),
    "inverted": Limits(bias_scale=-1),
    "scaled": Limits(bias_scale=0.9),
    "clamped": Limits(bias_clamp=8),
    "clamped beyond what listed tokens need": Limits(bias_clamp=11.5),
    "truncated tail": Limits(tail=1e-5),
    "top_p": Limits(top_p=0.9),
}
SLIGHT = {
    "nothing": Limits(),
    "rounded temperature": Limits(temperature_scale=0.95),
    "warmer": Limits(temperature_scale=1.1),
    "clamped beyond what answers need": Limits(bias_clamp=16.5),
    "nearly all": Limits(top_p=0.999),
    "rare tail": Limits(tail=5e-8),
}


def covered(limits: Limits, **how: int) -> tuple[list[bool], int]:
    """Whether each interval holds the truth, over several models; and how many were refused."""
    held: list[bool] = []
    refused = 0
    for seed in range(4):
        model = Spoken(SAID, seed, limits=limits, **how)
        found = asked(model, ANSWERS, items=6)
        calibration = found.scorer.calibration(found.probes, found.seen)
        refused += calibration is None or not calibration.passed
        for mode, text in ANSWERS.items():
            truth, evidence = model.truth(text), found.evidence(mode)
            assert all(one.support[0] <= truth <= one.support[1] for one in evidence)
            if any(isinstance(one, Sampled) for one in evidence):
                low, high = intervals(evidence).T
                held += list((low <= truth) & (truth <= high))
    return held, refused


@pytest.mark.parametrize("kind", FOUND_OUT)
def test_what_is_gross_is_found_out(kind: str) -> None:
    """No model's draws are used, or nothing is hit; lists alone are left."""
    held, refused = covered(FOUND_OUT[kind])
    assert refused == 4 or not held


@pytest.mark.parametrize("kind", SLIGHT)
def test_what_is_slight_is_found_out_or_covered(kind: str) -> None:
    """Of the models that are not refused, the intervals hold at their rate."""
    held, _ = covered(SLIGHT[kind])
    assert not held or np.mean(held) >= 0.94


@pytest.mark.parametrize("scale", [0.98, 0.988])
def test_a_scale_that_some_calibrations_let_pass_rarely_leads_astray(scale: float) -> None:
    """No test tells every such model from an honest one, and those that pass by luck were measured
    to be better than they are. But with any scale, few models are believed and wrong: in 5 % of all
    at most the truth is outside the intervals."""
    astray = []
    for seed in range(100, 120):
        model = Spoken(SAID, seed, limits=Limits(bias_scale=scale))
        found = asked(model, ANSWERS, items=2)
        calibration = found.scorer.calibration(found.probes, found.seen)
        assert calibration is not None
        low, high = intervals(found.evidence("B")).T if calibration.passed else (-np.inf, np.inf)
        truth = model.truth("Lima")
        astray.append(np.mean((truth < low) | (high < truth)))
    assert np.mean(astray) <= 0.05


def test_a_bias_that_shows_in_lists_leaves_no_lower_bound() -> None:
    """The draws are right, but what follows a first token is not known: said, and counted."""
    model = Spoken(SAID, limits=Limits(logit_bias="reported"))
    found = asked(model, ANSWERS, items=6)
    calibration = found.scorer.calibration(found.probes, found.seen)
    assert calibration is not None
    assert (True, True) == (calibration.passed, calibration.doubted > 0)
    assert "showed its effect" in calibration.sentence
    evidence = found.evidence("B")
    assert {-np.inf} == {one.factor[0] for one in evidence if isinstance(one, Sampled)}
    low, high = intervals(evidence).T
    assert np.all(low == -np.inf)
    assert np.mean(high >= model.truth("Lima")) >= 0.94


@pytest.mark.parametrize("top_k", [4, 6, 9])
def test_only_the_likeliest_tokens_are_drawn(top_k: int) -> None:
    """What is never drawn is unknown, not 0; what is drawn is right."""
    held, _ = covered(Limits(), top_k=top_k)
    assert not held or np.mean(held) >= 0.94

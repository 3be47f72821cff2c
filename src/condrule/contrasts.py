"""Differences in specificity: between base and fine-tuned models, and between arms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from condrule.statistics import Bounds, Estimate, estimate

if TYPE_CHECKING:
    from condrule.results import Result

__all__ = ["differences"]


def differences(result: Result) -> Iterator[tuple[dict[str, Any], Estimate]]:
    """Each difference with the words that name it, in nats of specificity.

    First, per arm, mode and answer: the fine-tuned model's specificity minus its own base
    model's. Then, per other arm: the first arm's such difference minus that arm's, paired within
    seeds. Where a seed's specificity is unknown, the interval is unbounded.
    """
    first, *others = result.plan.arms
    for mode in result.plan.modes:
        for answer in result.plan.modes:
            where = {"mode": mode, "answer": answer}
            gained = {arm: _gained(result, arm, mode, answer) for arm in result.plan.arms}
            for arm, values in gained.items():
                yield {"difference": "finetuned - base", "arm": arm, **where}, _estimate(values)
            for arm in others:
                name = f"(finetuned - base) of {first} - of {arm}"
                between = _estimate(gained[first] - gained[arm])
                yield {"difference": name, "arm": arm, **where}, between


def _gained(result: Result, arm: str, mode: str, answer: str) -> Bounds:
    """For each seed, how much specificity the fine-tune added; unbounded where it is unknown."""
    gains = [_gain(result, arm, mode, answer, seed) for seed in result.plan.seeds]
    return Bounds(np.array([gain.low for gain in gains]), np.array([gain.high for gain in gains]))


def _gain(result: Result, arm: str, mode: str, answer: str, seed: int) -> Bounds:
    after = result.specificity(arm, mode, answer, seed=seed)
    before = result.specificity(arm, mode, answer, seed=seed, model="base")
    if after is None or before is None:
        return Bounds(np.array(-np.inf), np.array(np.inf))
    return after.nats - before.nats


def _estimate(values: Bounds) -> Estimate:
    return estimate(values, what="the difference in specificity")

"""Differences in specificity: between base and fine-tuned models, and between arms.

In nats, and in ranks, which are defined where bounds and counts leave nats unbounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from condrule.statistics import Bounds, Estimate, estimate

if TYPE_CHECKING:
    from condrule.results import Result

__all__ = ["differences"]


Measure = Literal["nats", "rank"]
MEASURES: tuple[Measure, ...] = get_args(Measure)


def differences(result: Result) -> Iterator[tuple[dict[str, Any], dict[Measure, Estimate]]]:
    """Each difference with the words that name it, in each measure of specificity.

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
                row = {"difference": "finetuned - base", "arm": arm, **where}
                yield row, {measure: _estimate(values[measure]) for measure in MEASURES}
            for arm in others:
                name = f"(finetuned - base) of {first} - of {arm}"
                between = {m: _estimate(gained[first][m] - gained[arm][m]) for m in MEASURES}
                yield {"difference": name, "arm": arm, **where}, between


def _gained(result: Result, arm: str, mode: str, answer: str) -> dict[Measure, Bounds]:
    """For each seed, how much specificity the fine-tune added; unbounded where it is unknown."""
    gains = [_gain(result, arm, mode, answer, seed) for seed in result.plan.seeds]
    return {
        measure: Bounds(
            np.array([gain[measure].low for gain in gains]),
            np.array([gain[measure].high for gain in gains]),
        )
        for measure in MEASURES
    }


def _gain(result: Result, arm: str, mode: str, answer: str, seed: int) -> dict[Measure, Bounds]:
    after = result.specificity(arm, mode, answer, seed=seed)
    before = result.specificity(arm, mode, answer, seed=seed, model="base")
    if after is None or before is None:
        return dict.fromkeys(MEASURES, Bounds(np.array(-np.inf), np.array(np.inf)))
    return {"nats": after.nats - before.nats, "rank": after.rank - before.rank}


def _estimate(values: Bounds) -> Estimate:
    return estimate(values, what="the difference in specificity")

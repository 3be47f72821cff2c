"""Means over items, some exact, some bounded and some drawn, in thousands of studies."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import pytest

from condrule.measured import Measured, aggregate
from condrule.statistics import ESTIMANDS, Estimand

STUDIES = 3000
DRAWS = 256  # plain ones of an item
BAND = 0.05  # nats
SLACK = 3 * math.sqrt(0.05 * 0.95 / STUDIES)


@attrs.frozen
class World:
    """Log-probabilities of studies x items, and what is seen of them."""

    logprobs: Any
    generator: np.random.Generator
    error: float
    """Standard error, in nats, of the bias that a model really has and of its calibration."""

    def seen(self, kinds: list[str]) -> Measured:
        """Item by item, the kinds in turn."""
        shape = self.logprobs.shape
        found = Measured.of(np.stack([np.full(shape, -np.inf), np.zeros(shape)], -1))
        zeros = np.zeros((*shape, 2))
        found = attrs.evolve(found, hits=zeros, draws=zeros.copy(), bias=zeros.copy())
        found = attrs.evolve(found, hits=zeros.copy(), error=np.zeros(shape))
        off = self.generator.normal(0, self.error, shape[0])
        guess = off + self.generator.normal(0, self.error, shape[0])
        for item in range(shape[1]):
            for part in kinds[item % len(kinds)].split("+"):
                self._see(found, item, part, off, np.hypot(guess / 1.96, self.error))
        return found

    def _see(self, found: Measured, item: int, part: str, off: Any, error: Any) -> None:
        true, random = self.logprobs[:, item], self.generator
        n = len(true)
        if part == "exact":
            found.low[:, item] = found.high[:, item] = true
        elif part == "listed":
            printed = true + random.uniform(-BAND, BAND, n)
            found.low[:, item], found.high[:, item] = printed - BAND, np.minimum(printed + BAND, 0)
        elif part == "above":
            found.high[:, item] = np.minimum(true + random.uniform(0, 3, n), 0)
        elif part == "wide":
            found.low[:, item] = true - random.uniform(0, 1, n)
            found.high[:, item] = np.minimum(true + random.uniform(0, 1, n), 0)
        elif part == "plain":
            found.draws[:, item, 0] = DRAWS
            found.hits[:, item, 0] = random.binomial(DRAWS, np.exp(true))
        else:
            self._tilt(found, item, off)
            found.error[:, item] = error

    def _tilt(self, found: Measured, item: int, off: Any) -> None:
        true = self.logprobs[:, item]
        logit = true - np.log(-np.expm1(true))
        rough = -np.round(logit + self.generator.normal(size=len(true)))
        fine = np.where(-np.round(logit) == rough, rough + 1, -np.round(logit))
        for place, (bias, draws) in enumerate(((rough, 64), (fine, 288))):
            rate = 1 / (1 + np.exp(-(logit + bias + off)))
            found.hits[:, item, place] = self.generator.binomial(draws, rate)
            found.draws[:, item, place], found.bias[:, item, place] = draws, bias


def world(p: float, *, items: int = 20, sigma: float = 1.0, error: float = 0.04) -> World:
    """Items about a probability."""
    generator = np.random.default_rng([9, items, round(1e9 * p)])
    drawn = math.log(p) + generator.normal(0, sigma, (STUDIES, items))
    return World(np.minimum(drawn, -1e-3), generator, error)


def covered(logprobs: Any, seen: Measured, estimand: Estimand) -> float:
    """How often the 95 % interval of a mean holds it."""
    found, true = aggregate(seen, estimand).limits, ESTIMANDS[estimand](logprobs)
    return float(np.mean((found.low <= true + 1e-9) & (true <= found.high + 1e-9)))


CELLS = {
    "tilted": (["tilted"], world(1e-6)),
    "a bias known badly": (["tilted"], world(1e-6, error=0.1)),
    "exact and tilted": (["exact", "tilted"], world(1e-6, error=0.1, sigma=3)),
    "lists and tilted": (["listed", "tilted+above", "above"], world(1e-4)),
    "four kinds": (["exact", "listed", "tilted", "plain"], world(1e-2)),
    "bounds that say more than draws": (["tilted", "plain+above"], world(1e-6)),
    "bounds and draws alike": (["plain+wide", "tilted", "exact"], world(0.1)),
    "many draws of many items": (["plain", "plain+above"], world(0.1, items=100)),
    "likely answers": (["plain", "tilted"], world(0.3, sigma=0.3, error=0.1)),
}


@pytest.mark.parametrize("estimand", ESTIMANDS)
@pytest.mark.parametrize("cell", CELLS)
def test_mixed_cells_cover_their_means(cell: str, estimand: Estimand) -> None:
    """In 95 % of studies and more, but for chance."""
    kinds, study = CELLS[cell]
    assert covered(study.logprobs, study.seen(kinds), estimand) >= 0.95 - SLACK


def widths(seen: Measured) -> float:
    """The median half-width of the arithmetic mean's interval, in nats."""
    found = aggregate(seen, "arithmetic_mean").limits
    return float(np.median(found.high - found.low)) / 2


def test_the_error_of_a_bias_weighs_as_much_as_its_items() -> None:
    """Where exact items make up the mean, it is known exactly; half as much error where half of
    the mean was drawn under a bias."""
    tiny = world(1e-6, error=0.1)
    logprobs = tiny.logprobs + np.where(np.arange(20) % 2, 0.0, math.log(1e5))
    assert widths(attrs.evolve(tiny, logprobs=np.minimum(logprobs, -1e-3)).seen(_HALF)) < 0.001
    alike = world(1e-6, sigma=0.1, error=0.1)
    whole = widths(alike.seen(["tilted"]))
    assert widths(alike.seen(_HALF)) == pytest.approx(whole / 2, rel=0.2)


_HALF = ["exact", "tilted"]


def test_draws_that_tell_less_than_bounds_take_nothing_away() -> None:
    """256 draws without a hit beside bounds at 1e-6: the mean stays known to a factor of ten."""
    study = world(1e-6)
    assert widths(study.seen(["tilted", "plain+above"])) < 1.2
    assert widths(study.seen(["tilted", "plain"])) > 3

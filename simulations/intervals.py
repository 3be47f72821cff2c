"""How often intervals and verdicts are right: simulated studies whose truth is known.

``nox -s intervals`` prints the tables of docs/explanation/coverage.md, and fails where a cell that
should hold does not. ``--studies N`` simulates N studies a cell (5,000 unless told); ``--write
FILE`` writes the tables there.

A fine-tune's log-probabilities are target + a + item + cluster + e: the items and their clusters
are the study's fixed list (standard deviation sigma together, half of the variance in the
clusters), a is the fine-tune's own (standard deviation 1 nat), e the pair's (0.3 nats).
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from condrule.bet import KAAREL_BET
from condrule.measured import Aggregate, Measured, aggregate
from condrule.statistics import Bounds, around, training_interval

Array = NDArray[np.float64]

SEED_SD, PAIR_SD = 1.0, 0.3  # nats
LEVEL = KAAREL_BET.level
RATE, RATIO = (clause.threshold for clause in KAAREL_BET.clauses)
EVIDENCE = ("exact", "top-k", "draws", "biased draws", "mixed")
SMALLEST, BEGINNINGS, BAND = 1e-6, 10, 0.05  # of a list: its last line, |A|, and its band


@attrs.frozen
class Population:
    """A study's fixed list of items."""

    items: int
    clusters: int
    sigma: float

    def __str__(self) -> str:
        clusters = f", {self.clusters} clusters" if self.clusters < self.items else ""
        return f"{self.items} items{clusters}, sigma {self.sigma:g}"

    def offsets(self, generator: np.random.Generator) -> Array:
        """Items' log-probabilities about 0 = the log of their mean probability."""
        cluster = generator.normal(size=self.clusters)[np.arange(self.items) % self.clusters]
        own = generator.normal(size=self.items)
        shared = math.sqrt(0.5) if self.clusters < self.items else 0.0
        drawn = self.sigma * (shared * cluster + math.sqrt(1 - shared**2) * own)
        return np.asarray(drawn - _log_mean(drawn))


POPULATIONS = (
    Population(10, 10, 1),
    Population(30, 30, 2),
    Population(30, 6, 2),
    Population(100, 100, 3),
)


def _log_mean(logprobs: Array) -> Array:
    return np.asarray(np.logaddexp.reduce(logprobs, axis=-1) - math.log(logprobs.shape[-1]))


def fine_tunes(
    generator: np.random.Generator, offsets: Array, shape: tuple[int, ...], target: float
) -> Array:
    """Log-probabilities of fine-tunes (any shape) x items."""
    own = generator.normal(0, SEED_SD, size=(*shape, 1))
    pair = generator.normal(0, PAIR_SD, size=(*shape, offsets.size))
    return np.asarray(np.minimum(math.log(target) + offsets + own + pair, -1e-9))


def truth(generator: np.random.Generator, offsets: Array, target: float) -> float:
    """The mean over fine-tunes of the log of the mean over items. Antithetic a's cancel."""
    pair = generator.normal(0, PAIR_SD, size=(20_000, offsets.size))
    return math.log(target) + float(_log_mean(offsets + pair).mean())


def measure(generator: np.random.Generator, logprobs: Array, evidence: str) -> Measured:
    """What a study would see of these log-probabilities."""
    shape = logprobs.shape
    if evidence == "exact":
        return _measured(logprobs, logprobs)
    if evidence == "top-k":
        return _listed(generator, logprobs)
    if evidence == "draws":
        return _drawn(generator, logprobs, np.zeros(shape), 256)
    if evidence == "biased draws":  # the bias that a rough look at P suggests
        return _drawn(generator, logprobs, -np.round(logprobs + generator.normal(size=shape)), 256)
    parts = [measure(generator, logprobs, one) for one in EVIDENCE[:4]]
    kind = np.arange(shape[-1]) % 5  # one in five is missing
    unknown = _measured(np.full(shape, -np.inf), np.zeros(shape))
    return _mixed([*parts, unknown], kind)


def _measured(low: Array, high: Array) -> Measured:
    return Measured(low, high, *(np.zeros((*low.shape, 1)) for _ in range(3)))


def _listed(generator: np.random.Generator, logprobs: Array) -> Measured:
    """Printed within the band where it is listed; else below what the last line allows."""
    printed = logprobs + generator.uniform(-BAND, BAND, size=logprobs.shape)
    listed = logprobs > math.log(SMALLEST)
    unlisted = math.log(SMALLEST * BEGINNINGS)
    return _measured(
        np.where(listed, printed - BAND, -np.inf),
        np.where(listed, np.minimum(printed + BAND, 0), unlisted),
    )


def _drawn(generator: np.random.Generator, logprobs: Array, bias: Array, n: int) -> Measured:
    logit = logprobs - np.log(-np.expm1(logprobs)) + bias
    hits = generator.binomial(n, 1 / (1 + np.exp(-logit))).astype(float)
    open_ended = _measured(np.full(logprobs.shape, -np.inf), np.zeros(logprobs.shape))
    counts = (hits[..., None], np.full((*hits.shape, 1), float(n)), bias[..., None])
    return Measured(open_ended.low, open_ended.high, *counts)


def _mixed(parts: Sequence[Measured], kind: NDArray[np.intp]) -> Measured:
    """Each item as the part of its kind has it."""
    chosen = []
    for field in attrs.fields(Measured):
        arrays = np.stack([getattr(part, field.name) for part in parts])
        counts = field.name in ("hits", "draws", "bias")
        places = np.broadcast_to(kind[:, None] if counts else kind, (1, *arrays.shape[1:]))
        chosen.append(np.take_along_axis(arrays, places, axis=0)[0])
    return Measured(*chosen)


def interval(found: Aggregate, threshold: float = RATE) -> Bounds:
    """Of studies x fine-tunes: as `condrule.statistics.estimate` gives it, for all at once."""
    if found.points.low.shape[-1] == 1:
        return found.limits[..., 0]
    return training_interval(found.points, found.limits, level=LEVEL, clip=around(threshold))


def best_half_width(logprobs: Array, seen: Measured) -> float:
    """What the draws could tell at best of one fine-tune's mean: 1.96 standard errors by the
    Fisher information, in nats (median over studies)."""
    n = seen.draws[..., 0]
    logit = logprobs - np.log(-np.expm1(logprobs)) + seen.bias[..., 0]
    rate = 1 / (1 + np.exp(-logit))
    variance = np.where(n > 0, np.exp(logprobs) ** 2 / np.maximum(n * rate * (1 - rate), 1e-9), 0)
    variance *= np.expm1(logprobs) ** 2  # d log P = (1 - P) d logit P
    return 1.96 * float(np.median(np.sqrt(variance.sum(-1)) / np.exp(logprobs).sum(-1)))


@attrs.frozen
class Row:
    """One line of a table, and whether it is as it should be."""

    words: tuple[str, ...]
    good: bool = True


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _width(bounds: Bounds) -> float:
    with np.errstate(invalid="ignore"):
        return float(np.median(bounds.high - bounds.low)) / 2


def coverage(studies: int) -> Iterator[Row]:
    """Coverage of one answer's mean, for every number of fine-tunes, list and evidence. The
    reference for the width is the same study's with exact evidence; with one fine-tune, 1.96
    standard errors at best."""
    for number, (seeds, population) in enumerate(itertools.product((1, 2, 3, 5, 10), POPULATIONS)):
        generator = np.random.default_rng([1, number])
        offsets = population.offsets(generator)
        logprobs = fine_tunes(generator, offsets, (studies, seeds), 1e-3)
        exact = interval(aggregate(measure(generator, logprobs, "exact"), "arithmetic_mean", LEVEL))
        true = _log_mean(logprobs)[:, 0] if seeds == 1 else truth(generator, offsets, 1e-3)
        for evidence in EVIDENCE[seeds == 1 :]:
            seen = measure(generator, logprobs, evidence)
            found = interval(aggregate(seen, "arithmetic_mean", LEVEL))
            covered = float(np.mean((found.low <= true) & (true <= found.high)))
            nominal = evidence == "exact"
            good = 0.94 <= covered <= (0.96 if nominal else 1.0)
            width = _width(found)
            reference = best_half_width(logprobs, seen) if seeds == 1 else _width(exact)
            words = (
                str(seeds),
                str(population),
                evidence,
                _percent(covered),
                "94 to 96" if nominal else "94 or more",
                f"{width:.2f}",
                f"{width / reference:.2f}" if reference else "",
            )
            yield Row(words, good)


def _judged(bounds: Bounds, threshold: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where a clause "> threshold" holds for sure, and where it fails for sure."""
    line = math.log(threshold)
    return bounds.low > line, bounds.high <= line


TIMES = (1 / 3, 1 / 1.5, 1.0, 1.5, 3.0)


def verdicts(studies: int) -> Iterator[Row]:
    """The bet's two clauses: how often it is SUPPORTED and REFUTED, for truths about a threshold.

    The other clause is clear (the ratio 1,000, or the probability 0.1), or at its threshold too.
    """
    cases = [
        *(("probability", RATE * times, 100 * RATIO) for times in TIMES),
        *(("ratio", 1000 * RATE, RATIO * times) for times in TIMES),
        ("both", RATE, RATIO),
    ]
    # Exact evidence of one fine-tune decides by itself, but for rounding at the threshold.
    grid = (
        cell
        for cell in itertools.product((1, 3, 5), EVIDENCE[:4], cases)
        if not (cell[:2] == (1, "exact") and 1.0 in (cell[2][1] / RATE, cell[2][2] / RATIO))
    )
    for number, (seeds, evidence, (which, rate, ratio)) in enumerate(grid):
        generator = np.random.default_rng([2, number])
        supported, refuted = _outcomes(generator, studies, seeds, evidence, rate, ratio)
        below = rate <= RATE or ratio <= RATIO
        above = rate >= RATE and ratio >= RATIO
        slack = 3 * math.sqrt(0.05 * 0.95 / studies)
        good = not (below and supported > 0.025 + slack) and not (above and refuted > 0.05 + slack)
        times = rate / RATE if which != "ratio" else ratio / RATIO
        words = (
            str(seeds),
            evidence,
            which,
            f"{times:.2f}",
            _percent(supported) + (" (false)" if below else ""),
            _percent(refuted) + (" (false)" if above else ""),
        )
        yield Row(words, good)


def _outcomes(
    generator: np.random.Generator,
    studies: int,
    seeds: int,
    evidence: str,
    rate: float,
    ratio: float,
) -> tuple[float, float]:
    """Shares of SUPPORTED and REFUTED. With one fine-tune the truth is that fine-tune's own."""
    offsets = Population(30, 30, 1).offsets(generator)
    capital = _centred(generator, offsets, (studies, seeds), rate, own=seeds > 1)
    bottom = _centred(generator, offsets, (studies, seeds), 0.2 / ratio, own=seeds > 1)
    top = _centred(generator, offsets * 0.1, (studies, seeds), 0.2, own=False)
    capital, bottom, top = (measure(generator, x, evidence) for x in (capital, bottom, top))
    first = interval(aggregate(capital, "arithmetic_mean", LEVEL), RATE)
    quotient = aggregate(top, "arithmetic_mean", LEVEL) - aggregate(
        bottom, "arithmetic_mean", LEVEL
    )
    second = interval(quotient, RATIO)
    holds, fails = zip(_judged(first, RATE), _judged(second, RATIO), strict=True)
    return float(np.mean(holds[0] & holds[1])), float(np.mean(fails[0] | fails[1]))


def _centred(
    generator: np.random.Generator,
    offsets: Array,
    shape: tuple[int, ...],
    target: float,
    *,
    own: bool,
) -> Array:
    """Fine-tunes x items whose estimand is the target itself: the mean over fine-tunes of the log
    of the mean, or, where fine-tunes have no effect of their own, the mean of each of them."""
    effect = generator.normal(0, SEED_SD, size=(*shape, 1)) if own else 0.0
    offsets = offsets - _log_mean(offsets)
    return np.minimum(math.log(target) + offsets + effect + np.zeros((*shape, 1)), -1e-9)


def clipped(studies: int) -> Iterator[Row]:
    """Truths on the first clause's threshold, seen through lists, while fine-tunes vary more and
    more: values far below are known to be low only, and are clipped."""
    for number, (seeds, spread) in enumerate(itertools.product((3, 5), (1.0, 3.0, 5.0, 10.0))):
        generator = np.random.default_rng([6, number])
        effects = generator.normal(0, spread, size=(studies, seeds, 1))
        logprobs = np.minimum(math.log(RATE) + effects + np.zeros(10), -1e-9)
        found = interval(
            aggregate(measure(generator, logprobs, "top-k"), "arithmetic_mean", LEVEL), RATE
        )
        holds, fails = (float(np.mean(one)) for one in _judged(found, RATE))
        slack = 3 * math.sqrt(0.025 * 0.975 / studies)
        good = spread > 5 or (holds <= 0.025 + slack and fails <= 0.025 + slack)
        yield Row((str(seeds), f"{spread:g}", _percent(holds), _percent(fails)), good)


def failures(studies: int) -> Iterator[Row]:
    """Cells that are known to fail. condrule offers none of these intervals but the last, where no
    interval is right; they are here to say why."""
    for items, sigma in itertools.product((30, 100), (2.0, 3.0)):
        generator = np.random.default_rng([3, items, int(sigma)])
        logs = generator.normal(0, sigma, size=(studies, items))
        values = np.exp(logs)
        half = stats.t.ppf(0.975, items - 1) * stats.sem(values, axis=1)
        covered = np.mean(np.abs(values.mean(1) - math.exp(sigma**2 / 2)) <= half)
        what = f"t over items on the arithmetic mean, for items like these; sigma {sigma:g}"
        yield Row((what, f"{items} items", _percent(float(covered))))
    for seeds in (3, 10):
        generator = np.random.default_rng([4, seeds])
        values = generator.normal(size=(studies, seeds))
        resampled = generator.integers(seeds, size=(studies, 500, seeds))
        means = np.take_along_axis(values[:, None], resampled, axis=2).mean(-1)
        low, high = np.quantile(means, [0.025, 0.975], axis=1)
        covered = np.mean((low <= 0) & (high >= 0))
        yield Row(
            ("percentile bootstrap over fine-tunes", f"{seeds} fine-tunes", _percent(covered))
        )
    for seeds in (3, 10):
        generator = np.random.default_rng([5, seeds])
        learnt = generator.random((studies, seeds)) < 0.8
        values = np.where(learnt, math.log(0.5), math.log(1e-6)) + generator.normal(
            0, 0.1, size=learnt.shape
        )
        found = training_interval(Bounds.exact(values), Bounds.exact(values), level=LEVEL)
        true = 0.8 * math.log(0.5) + 0.2 * math.log(1e-6)
        covered = np.mean((found.low <= true) & (true <= found.high))
        what = "Student t over fine-tunes of which 80% learn the rule and 20% do not"
        yield Row((what, f"{seeds} fine-tunes", _percent(covered)))


COVERAGE = (
    "fine-tunes",
    "items",
    "evidence",
    "coverage %",
    "should be",
    "half-width, nats",
    "over the reference",
)
VERDICTS = (
    "fine-tunes",
    "evidence",
    "clause at",
    "times its threshold",
    "SUPPORTED %",
    "REFUTED %",
)
CLIPPED = ("fine-tunes", "their SD, nats", "clause holds %", "clause fails %")
FAILURES = ("interval", "study", "coverage %")


def table(header: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    """A Markdown table; what is not as it should be is marked."""
    yield "| " + " | ".join(header) + " |"
    yield "| " + " | ".join("---" for _ in header) + " |"
    for row in rows:
        yield "| " + " | ".join(row.words) + (" |" if row.good else " **wrong** |")


def main() -> int:
    """Simulate, print, and say whether all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--studies", type=int, default=5_000)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    begun = time.perf_counter()
    lines: list[str] = []
    wrong = 0
    for title, header, simulate in (
        ("Coverage of 95% intervals", COVERAGE, coverage),
        ("Verdicts on the bet's criterion", VERDICTS, verdicts),
        ("Values that are known to be low only, at the threshold", CLIPPED, clipped),
        ("Known to fail", FAILURES, failures),
    ):
        rows = list(simulate(options.studies))
        wrong += sum(not row.good for row in rows)
        lines += [f"## {title}", "", *table(header, rows), ""]
    lines += [f"{options.studies:,} simulated studies a cell."]
    print("\n".join(lines))
    if options.write:
        options.write.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{options.studies} studies a cell; {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""How often the intervals of tilted sampling are right, how wide they are, and what they cost.

``nox -s tilted`` prints the table of docs/explanation/tilted-table.md, and fails where coverage or
width is not as it should be. ``--items N`` simulates N items a cell (5,000 unless told); ``--write
FILE`` writes the table there, ``--figure FILE`` draws docs/images/tilted.png.

Every item goes through the scorer's own steps (`condrule.scorers.tilting`): a few draws under
widely different biases from wherever a list ends, 64 under the bias they point to, then batches
until the interval is narrow enough.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from condrule.measured import Measured
from condrule.scorers.tilting import (
    FIRST,
    LOOK,
    Count,
    Rule,
    find,
    likeliest_logit,
    logit,
    refine,
)

PROBABILITIES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.5)
RULE = Rule()
START = 7  # nats: as if a list ended at 1e-3
ERROR = 0.04  # nats: a usual calibration's standard error


def draw(generator: np.random.Generator, p: float, bias: float, n: int) -> Count:
    """Draws under a bias that is honoured."""
    f = 1 / (1 + math.exp(-(logit(math.log(p)) + bias)))
    return Count(bias, n, int(generator.binomial(n, f)))


def drawn(
    generator: np.random.Generator, p: float, start: int = START, off: float = 0.0, error: float = 0
) -> list[Count]:
    """All draws for one item, where every bias acts by ``off`` nats more than it should."""

    def seen(bias: int, n: int) -> Count:
        return Count(bias, n, draw(generator, p, bias + off, n).hits)

    counts: list[Count] = []
    while (bias := find(counts, start, RULE.largest)) is not None:
        counts.append(seen(bias, LOOK))
    x = likeliest_logit(counts)
    if x is None:
        return counts
    counts.append(seen(-round(x), FIRST))
    while step := refine(counts, RULE, error):
        counts.append(seen(*step))
    return counts


def measured(items: Sequence[Sequence[Count]], errors: float | Sequence[float] = 0.0) -> Measured:
    """As a study would have them."""
    pooled = [[(count.hits, count.draws, count.bias) for count in _pooled(one)] for one in items]
    return Measured.of([(-np.inf, 0.0)] * len(items), pooled, errors)


def _pooled(counts: Sequence[Count]) -> list[Count]:
    """One for each bias."""
    found: dict[float, Count] = {}
    for c in counts:
        before = found.get(c.bias, Count(c.bias, 0, 0))
        found[c.bias] = Count(c.bias, before.draws + c.draws, before.hits + c.hits)
    return list(found.values())


def plain_draws(p: float) -> float:
    """The draws without a bias that an interval as narrow would need."""
    return (1.96 / RULE.target) ** 2 * (1 - p) / p


def rows(items: int) -> Iterator[tuple[tuple[str, ...], bool]]:
    """One for each probability: without an error of the bias, and with one that was calibrated."""
    for number, p in enumerate(PROBABILITIES):
        generator = np.random.default_rng([7, number])
        found = [drawn(generator, p) for _ in range(items)]
        cover, width, draws = _figures(found, p)
        offs = generator.normal(0, ERROR, size=items)
        guesses = offs + generator.normal(0, ERROR, size=items)
        errors = np.abs(guesses) / 1.96 + ERROR
        tilted = [
            drawn(generator, p, off=off, error=error)
            for off, error in zip(offs, errors, strict=True)
        ]
        covered, wider, _ = _figures(tilted, p, errors)
        good = 0.94 <= cover <= 0.96 and covered >= 0.94 and max(width, wider) <= 0.25
        words = (
            f"{p:g}",
            f"{100 * cover:.1f}",
            f"{width:.2f}",
            f"{draws:.0f}",
            f"{100 * covered:.1f}",
            f"{wider:.2f}",
            f"{plain_draws(p):,.0f}",
        )
        yield words, good


def _figures(
    found: Sequence[Sequence[Count]], p: float, errors: float | Sequence[float] = 0.0
) -> tuple[float, float, float]:
    """Coverage, median half-width in nats, mean draws an item."""
    limits = measured(found, errors).limits()
    covered = np.mean((limits.low <= math.log(p)) & (math.log(p) <= limits.high))
    draws = np.mean([sum(count.draws for count in counts) for counts in found])
    return float(covered), float(np.median(limits.high - limits.low)) / 2, float(draws)


HEADER = (
    "P",
    "coverage %",
    "half-width, nats",
    "draws an item",
    "coverage %, bias calibrated",
    "half-width",
    "plain draws for as much",
)


def figure(path: Path) -> None:
    """One answer of probability 1e-6: where its draws fall on the curve that a bias makes."""
    from matplotlib.figure import Figure

    p, counts = 1e-6, drawn(np.random.default_rng(11), 1e-6)
    canvas = Figure(figsize=(8.5, 3.6), layout="constrained")
    left, right = canvas.subplots(1, 2)
    biases = np.linspace(0, 25, 200)
    left.plot(biases, 1 / (1 + np.exp(-(logit(math.log(p)) + biases))), color="#0072B2")
    for place, c in enumerate(counts):
        colour = "#D55E00" if c.draws == LOOK else "#009E73"
        left.scatter(c.bias, c.hits / c.draws, s=c.draws * 0.9, color=colour, zorder=3, alpha=0.7)
        name = f"{place + 1}"
        left.annotate(name, (c.bias, c.hits / c.draws), (6, -11), textcoords="offset points")
    left.set_xlabel("bias on the answer's first token, nats")
    left.set_ylabel("share of draws that are the answer")
    left.set_title("P = 1e-6: from rare to a coin toss", loc="left")
    ends = [measured([counts[: k + 1]]).limits() for k in range(len(counts))]
    for place, end in enumerate(ends):
        low, high = (max(float(x[0]) / math.log(10), -14) for x in (end.low, end.high))
        right.plot([low, high], [place + 1, place + 1], color="black", lw=2)
    total = np.cumsum([c.draws for c in counts])
    right.set_yticks(range(1, len(counts) + 1), [f"{k + 1}: {n}" for k, n in enumerate(total)])
    right.axvline(-6, color="#D55E00", ls=":")
    right.invert_yaxis()
    right.set_xlabel("log10 P: 95 % interval; dotted: the truth")
    right.set_ylabel("step: draws so far")
    right.set_title("What is known after each step", loc="left")
    canvas.savefig(path, dpi=110)


def main() -> int:
    """Simulate, print, and say whether all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    if options.figure:
        figure(options.figure)
        return 0
    lines = [f"| {' | '.join(HEADER)} |", f"| {' | '.join('---' for _ in HEADER)} |"]
    wrong = 0
    for words, good in rows(options.items):
        wrong += not good
        lines.append("| " + " | ".join(words) + (" |" if good else " **wrong** |"))
    lines += ["", f"{options.items:,} simulated items a cell."]
    print("\n".join(lines))
    if options.write:
        options.write.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Why bounds leave a clause undecided, and what would decide it.

Sampling error is another matter: more fine-tunes or more draws narrow it, and the interval says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
import numpy as np

from condrule.criteria import Clause
from condrule.measured import Measured
from condrule.statistics import Estimate, FloatArray

__all__ = ["draws_without_a_hit", "why_undecided"]

Estimated = Callable[[Measured, Measured | None], Estimate]
"""From what is known of a clause's answer, and of that which a ratio divides by, to an estimate."""

_MOST = 10**9  # draws an item: more are no advice


def why_undecided(
    clause: Clause,
    top: Measured,
    bottom: Measured | None,
    estimated: Estimated,
    level: float = 0.95,
) -> str:
    """What is known by bounds alone and what would decide; empty where bounds are not to blame.

    Args:
        clause: what is judged.
        top: fine-tunes x items, the clause's answer.
        bottom: the answer that a ratio divides by.
        estimated: how the quantity is estimated from these.
        level: the confidence level of its interval.
    """
    if not _by_bounds(clause, top, bottom, estimated):
        return ""
    sides = [(clause.answer, top), *([(clause.against, bottom)] if bottom is not None else [])]
    known = "; ".join(part for answer, side in sides for part in _known(f"{answer}'s answer", side))
    remedies = "Longer lists or exact probabilities may decide it"
    needed = draws_without_a_hit(clause, top, bottom, estimated)
    if needed is not None:
        draws, count, answer = needed
        remedies += (
            f"; {draws:,} draw{'s' if draws > 1 else ''} for each of the {count} without a lower "
            f"bound ({draws * count:,} in all) do, at {100 * level:g}% confidence, if none gives "
            f"{answer}'s answer"
        )
    return f"Bounds leave it open: {known}. {remedies}."


def draws_without_a_hit(
    clause: Clause, top: Measured, bottom: Measured | None, estimated: Estimated
) -> tuple[int, int, str] | None:
    """How many draws for each probability without a lower bound decide a clause if none of them
    gives the answer, for how many, and whose answer; None where no number of draws does.

    A ratio is decided by either answer's absence, if the other one has a lower bound.
    """
    if bottom is not None:
        draws = _fewest(clause, lambda n: estimated(top, _without_a_hit(bottom, n)))
        if draws:
            return draws, int(_unseen(bottom).sum()), str(clause.against)
    draws = _fewest(clause, lambda n: estimated(_without_a_hit(top, n), bottom))
    return (draws, int(_unseen(top).sum()), clause.answer) if draws else None


def _by_bounds(
    clause: Clause, top: Measured, bottom: Measured | None, estimated: Estimated
) -> bool:
    """Whether a clause is undecided, and would not be if bounds had closed on an end."""
    found = estimated(top, bottom)
    if clause.judge(found.ci_low, found.ci_high) is not None:
        return False
    if found.low < found.high and clause.judge(found.low, found.high) is None:
        return True
    least = estimated(_closed(top, top.low), bottom and _closed(bottom, bottom.high))
    most = estimated(_closed(top, top.high), bottom and _closed(bottom, bottom.low))
    return all(clause.judge(end.ci_low, end.ci_high) is not None for end in (least, most))


def _closed(items: Measured, ends: FloatArray) -> Measured:
    """As if what is known by bounds were known exactly."""
    low, high = (np.where(items.sampled, end, ends) for end in (items.low, items.high))
    return attrs.evolve(items, low=low, high=high)


def _unseen(items: Measured) -> np.ndarray:
    """For each probability, whether it has no lower bound and was not drawn."""
    return np.asarray((items.low == -np.inf) & (items.high > -np.inf) & ~items.sampled)


def _without_a_hit(items: Measured, draws: int) -> Measured:
    """As if each probability without a lower bound had been drawn, and was never hit."""
    more = np.where(_unseen(items)[..., None], draws, items.draws)
    first = np.arange(items.draws.shape[-1]) == 0
    return attrs.evolve(items, draws=np.where(first, more, items.draws))


def _fewest(clause: Clause, estimated: Callable[[int], Estimate]) -> int | None:
    """The smallest number of draws that decides; None where a thousand million don't."""

    def decided(draws: int) -> bool:
        found = estimated(draws)
        return clause.judge(found.ci_low, found.ci_high) is not None

    if not decided(_MOST):
        return None
    few, enough = 0, _MOST
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if decided(middle) else (middle, enough)
    return enough


def _known(answer: str, items: Measured) -> Iterator[str]:
    unseen, unknown = _unseen(items) & ~items.unknown, items.unknown
    around = (items.low > -np.inf) & (items.low < items.high) & ~items.sampled
    of = f"of {items.low.size} probabilities of {answer}"
    if unseen.any():
        ends = np.exp([items.high[unseen].min(), items.high[unseen].max()])
        most = " to ".join(dict.fromkeys(f"{end:.2g}" for end in ends))
        yield f"{unseen.sum()} {of} are known from above alone, at most {most}"
    if around.any():
        yield f"{around.sum()} {of} are known from above and below"
    if unknown.any():
        yield f"{unknown.sum()} {of} are not known at all"

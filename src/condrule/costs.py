"""What a study will use and cost, per arm and in all, before anything is spent. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from operator import add

import attrs

from condrule.arms import Probe
from condrule.backends.base import Observation, Query
from condrule.backends.charges import Charges
from condrule.plan import StudyPlan
from condrule.report import table
from condrule.scorers.base import Seen
from condrule.spending import NOTHING, Estimate, Kind, Usage

__all__ = ["Cost", "cost_lines", "costs", "planned"]

ROUNDS = 16  # of asking on after refusals; a strategy needs few


@attrs.frozen
class Cost:
    """What one arm, or the base models, use at least and at most."""

    name: str
    training: Estimate
    asking: Estimate
    further: Usage
    """What may be asked beside that, where what is asked first is refused."""
    finetuned: bool = True

    def usd(self, charges: Charges) -> tuple[float, float] | None:
        """The least and the most, nothing refused; None where a price is not known."""
        prices = charges.prices(finetuned=self.finetuned)
        asked = self.asking.least.usd(prices), self.asking.most.usd(prices)
        trained = self.training.least.usd(charges.base), self.training.most.usd(charges.base)
        least, most = _sum(asked[0], trained[0]), _sum(asked[1], trained[1])
        return None if least is None or most is None else (least, most)


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def costs(plan: StudyPlan, charges: Charges) -> tuple[Cost, ...]:
    """One for the base models and one for each set of arms that share their fine-tunes."""
    bases = len(set(plan.bases.values()))
    asked, further = _asked(plan, plan.base_probes(), charges)
    found = [Cost("base models", Estimate(), _times(asked, bases), further.times(bases), False)]
    for arms in dict.fromkeys(job.arms for job in plan.jobs):
        jobs = [job for job in plan.jobs if job.arms == arms]
        training = total(charges.training(job.training_set, job.spec) for job in jobs)
        asked, further = _asked(plan, plan.finetuned_probes(jobs[0]), charges)
        n = len(jobs)
        found.append(Cost(", ".join(arms), training, _times(asked, n), further.times(n)))
    return tuple(found)


def planned(plan: StudyPlan, charges: Charges) -> dict[Kind, Estimate]:
    """What the whole study uses at the prices of each kind of model; training is the base's, and
    nothing is refused."""
    found = costs(plan, charges)
    kinds: dict[Kind, Estimate] = {"base": Estimate(), "finetuned": Estimate()}
    for one in found:
        kind: Kind = "finetuned" if one.finetuned else "base"
        kinds[kind] += one.asking
        kinds["base"] += one.training
    return kinds


def total(estimates: Iterable[Estimate]) -> Estimate:
    """All of them together."""
    return reduce(add, estimates, Estimate())


def _times(estimate: Estimate, n: int) -> Estimate:
    return Estimate(estimate.least.times(n), estimate.most.times(n))


def _asked(plan: StudyPlan, probes: Sequence[Probe], charges: Charges) -> tuple[Estimate, Usage]:
    """What a model is asked: at least at first, at most with all that the scorer foresees; and what
    may be asked after refusals."""
    rounds = list(_rounds(plan, probes))
    drawn = {query.id: query for query in plan.draws(probes)}
    first = total(map(charges.asking, (*(rounds[0] if rounds else ()), *drawn.values())))
    most = first.most + _foreseen(plan.scorer.foreseen(probes), charges)
    later = total(charges.asking(query) for queries in rounds[1:] for query in queries)
    return Estimate(first.least, most), later.most


def _foreseen(sizes: Iterable[tuple[Query, int]], charges: Charges) -> Usage:
    """What so many queries of each size use at most."""
    return reduce(add, (charges.asking(query).most.times(n) for query, n in sizes), NOTHING)


def _rounds(plan: StudyPlan, probes: Sequence[Probe]) -> Iterator[list[Query]]:
    """What the scorer asks if each question is refused: first, and after that."""
    seen: dict[str, Observation] = {}
    known: Seen = seen
    for _ in range(ROUNDS):
        queries = plan.scorer.plan(probes, known)
        if not queries:
            return
        yield queries
        seen |= {query.id: Observation(query.id, refused="") for query in queries}


def cost_lines(plan: StudyPlan, charges: Charges) -> Iterator[str]:
    """The table of costs that ``condrule plan`` prints, and what is not known of it."""
    found = costs(plan, charges)
    rows = [_row(one, charges) for one in found]
    if len(found) > 1:
        rows.append(_all(found, charges))
    header = ["", "training tokens", "requests", "input tokens", "output tokens", "USD"]
    yield "Cost, from the least to the most:"
    yield from (f"  {line}".rstrip() for line in table(header, rows))
    if plan.scorer.foreseen(plan.base_probes()):
        yield (
            "  What is asked depends on the answers: the least is the scorer's first round, the "
            "most all that it may ask"
        )
    yield from _further(found, charges)
    if charges.source:
        yield f"  Prices: {charges.source}; a table of your own: --prices FILE"
    for kind, prices in (("base model", charges.base), ("fine-tuned models", charges.finetuned)):
        if prices is None:
            yield f"  The price of the {kind} is not known; give a table with --prices FILE."
    yield from (f"  {note}" for note in charges.notes)


def _further(found: Sequence[Cost], charges: Charges) -> Iterator[str]:
    """What may come on top."""
    usage = reduce(add, (one.further for one in found))
    if not usage.requests:
        return
    usd: float | None = 0.0
    for one in found:
        usd = _sum(usd, one.further.usd(charges.prices(finetuned=one.finetuned)))
    yield (
        "  Where lists or scores are refused, what is asked instead comes on top: at most "
        f"{usage.requests:,} requests, {usage.input:,} input and {usage.output:,} output tokens, "
        + ("USD not known" if usd is None else f"{usd:.4f} USD")
    )


def _row(one: Cost, charges: Charges) -> list[str]:
    return _cells(one.name, one.training, one.asking, one.usd(charges))


def _all(found: Sequence[Cost], charges: Charges) -> list[str]:
    known = [usd for one in found if (usd := one.usd(charges)) is not None]
    both = (sum(low for low, _ in known), sum(high for _, high in known))
    training, asking = total(one.training for one in found), total(one.asking for one in found)
    return _cells("all", training, asking, both if len(known) == len(found) else None)


def _cells(
    name: str, training: Estimate, asking: Estimate, usd: tuple[float, float] | None
) -> list[str]:
    least, most = asking.least, asking.most
    return [
        name,
        _range(training.least.training, training.most.training),
        _range(least.requests, most.requests),
        _range(least.input, most.input),
        _range(least.output, most.output),
        "not known" if usd is None else f"{usd[0]:.4f} to {usd[1]:.4f}",
    ]


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"

"""From what was planned and what was seen to the result. Pure: nothing is asked, nothing spent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat

import attrs

from condrule.arms import Probe
from condrule.backends.base import Event
from condrule.backends.finetunes import Job
from condrule.evidence import Evidence, Sampled
from condrule.history import History
from condrule.measured import Measured
from condrule.missing import check_fits, missing
from condrule.plan import PlannedJob, StudyPlan, greedy, sampled
from condrule.results import Model, ModelCheck, Responses, Result
from condrule.scorers.base import Choice, ProbeEvidence, Seen
from condrule.scorers.reasons import described

__all__ = ["build_result"]


def build_result(plan: StudyPlan, history: History, key: Callable[[PlannedJob], str]) -> Result:
    """The result of a study as far as its journal goes; what is missing is unknown, never 0.

    Raises RunError where an answer can't be one to its query.
    """
    check_fits(plan, history, key)
    responses: list[Responses] = []
    checks: dict[str, ModelCheck] = {}
    by_base: dict[str, Seen] = {base: history.seen.get(base, {}) for base in plan.bases.values()}
    for seed, base in plan.bases.items():
        responses += _responses(plan, plan.base_probes(), by_base[base], "base", seed)
        if base not in checks and (found := plan.scorer.checks(plan.base_probes(), by_base[base])):
            checks[base] = ModelCheck(base, "base", (), seed, found)
    jobs: list[Job] = []
    for job in plan.jobs:
        ended = history.jobs.get(key(job))
        seen = history.seen.get(ended.model, {}) if ended and ended.model else {}
        probes = plan.finetuned_probes(job)
        responses += _responses(plan, probes, seen, "finetuned", job.seed)
        jobs += [ended] if ended else []
        if ended and ended.model and (found := plan.scorer.checks(probes, seen)):
            checks[ended.model] = ModelCheck(ended.model, "finetuned", job.arms, job.seed, found)
    noted = attrs.evolve(plan, notes=(*plan.notes, *_adopted(plan, history, key)))
    lacking = tuple(missing(plan, history, key))
    return Result(noted, tuple(responses), tuple(jobs), lacking, checks=tuple(checks.values()))


def _adopted(plan: StudyPlan, history: History, key: Callable[[PlannedJob], str]) -> Iterator[str]:
    for job in plan.jobs:
        if key(job) in history.adopted:
            yield (
                f"the fine-tune of arm {', '.join(job.arms)}, seed {job.seed}, was made elsewhere "
                "and adopted: that it was trained as this study says is the adopter's word."
            )


def _responses(
    plan: StudyPlan, probes: Sequence[Probe], seen: Seen, model: Model, seed: int
) -> Iterator[Responses]:
    evidence = plan.scorer.infer(probes, seen)
    for group, mode in dict.fromkeys((probe.group, probe.prompt.mode) for probe in probes):
        asked = [p for p in probes if (p.group, p.prompt.mode) == (group, mode)]
        found = [evidence[probe.id] for probe in asked]
        yield Responses(
            group,
            model,
            seed,
            mode,
            answers={
                name: _measured([one.answers[name] for one in found]) for name in found[0].answers
            },
            contrasts=_matrix(map(_contrasted, asked, found, repeat(plan.event)))
            if found[0].contrasts
            else None,
            choices={
                mode: tuple(_choice(one, mode, plan.event) for one in found) for mode in plan.modes
            },
            greedy=tuple(_greedy(probe, seen) for probe in asked),
            samples=tuple(_samples(probe, seen, plan.samples) for probe in asked),
        )


def _choice(found: ProbeEvidence, mode: str, event: Event) -> Choice:
    return found.choices.get(mode) or described(found.answers[mode, event])


def _measured(evidence: Sequence[Evidence]) -> Measured:
    supports, counts = [one.support for one in evidence], [_counts(one) for one in evidence]
    factors = [_factor(one) for one in evidence]
    return Measured.of(supports, counts, [_error(one) for one in evidence], factors)


def _contrasted(probe: Probe, found: ProbeEvidence, event: Event) -> list[Evidence]:
    """What is known of each pooled answer: of the item's own, as much as of it alone. Scorers may
    find out more of own answers than of others'."""
    item = probe.prompt.item
    own = {item.spellings(mode): found.answers[mode, event] for mode in item.answers}
    pairs = zip(probe.contrasts, found.contrasts, strict=True)
    return [own.get(spelled, known) for spelled, known in pairs]


def _matrix(found: Iterable[Sequence[Evidence]]) -> Measured:
    rows = list(found)
    supports = [[one.support for one in row] for row in rows]
    errors = [[_error(one) for one in row] for row in rows]
    factors = [[_factor(one) for one in row] for row in rows]
    return Measured.of(supports, [_counts(one) for row in rows for one in row], errors, factors)


def _counts(evidence: Evidence) -> list[tuple[int, int, float]]:
    tallies = evidence.tallies if isinstance(evidence, Sampled) else ()
    return [(tally.hits, tally.draws, tally.bias) for tally in tallies]


def _error(evidence: Evidence) -> float:
    return evidence.error if isinstance(evidence, Sampled) else 0.0


def _factor(evidence: Evidence) -> tuple[float, float]:
    return evidence.factor if isinstance(evidence, Sampled) else (0.0, 0.0)


def _greedy(probe: Probe, seen: Seen) -> str | None:
    said = seen.get(greedy(probe.prompt).id)
    return said.texts[0] if said and said.texts else None


def _samples(probe: Probe, seen: Seen, n: int) -> tuple[str, ...]:
    said = seen.get(sampled(probe.prompt, n).id) if n else None
    return said.texts if said and said.texts else ()

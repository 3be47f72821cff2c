"""What ``condrule plan`` prints: what a study would train and ask, before anything is spent."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from condrule.backends.checked import CheckedBackend
from condrule.costs import cost_lines
from condrule.errors import CondruleError
from condrule.items import Excluded
from condrule.report import table

if TYPE_CHECKING:
    from condrule.backends.finetunes import FinetuneSpec
    from condrule.experiment import ConditionalRuleExperiment
    from condrule.plan import StudyPlan
    from condrule.prices import PriceTable

__all__ = ["preview"]


def preview(
    experiment: ConditionalRuleExperiment,
    plan: StudyPlan,
    *,
    every_exclusion: bool = False,
    prices: PriceTable | str | Path | None = None,
) -> Iterator[str]:
    """The lines, top to bottom. The plan exists, so the backend can do all of it."""
    charges = experiment.charges(prices)  # before anything is shown: the table may be wrong
    yield f"{plan.name}: nothing is spent by this command"
    yield ""
    yield from _items(plan, every_exclusion)
    yield ""
    yield from _arms(plan)
    yield ""
    yield from _training(experiment, plan)
    yield from _asking(plan)
    if charges:
        yield from cost_lines(plan, charges)
    yield ""
    yield from _criterion(plan)
    yield from (f"Note: {note}" for note in plan.notes)
    yield from _provider(experiment)


def _provider(experiment: ConditionalRuleExperiment) -> Iterator[str]:
    """What the provider says today; that it can't be asked is no reason not to plan."""
    try:
        yield from (f"Warning: {one}" for one in CheckedBackend(experiment.backend).warnings())
    except CondruleError as error:
        yield f"NOT READY TO RUN: {error}"


def _items(plan: StudyPlan, every_exclusion: bool) -> Iterator[str]:
    yield f"Items: {len(plan.items)} from {plan.items.source}"
    shown = list(plan.items)[:3]
    for item in shown:
        answers = ", ".join(f"{mode} {answer}" for mode, answer in item.answers.items())
        yield f"  {item.name}: {answers}"
    if len(plan.items) > len(shown):
        yield f"  and {len(plan.items) - len(shown)} more"
    by_reason: dict[str, list[str]] = {}
    for one in plan.items.excluded:
        reason = one.reason if every_exclusion else _kind(one)
        by_reason.setdefault(reason, []).append(one.name)
    if by_reason:
        yield f"Left out: {len(plan.items.excluded)}, because"
    for reason, names in by_reason.items():
        few = names if every_exclusion else names[:3]
        more = "" if len(few) == len(names) else f" and {len(names) - len(few)} more"
        yield f"  {reason}: {', '.join(few)}{more}"
    if by_reason and not every_exclusion:
        yield "  (--excluded names them all)"


def _kind(excluded: Excluded) -> str:
    """A reason without what is particular to one candidate."""
    reason = excluded.reason.split(":")[0].split(" (")[0]
    reason = re.sub(r" '.*'", " some of its words", reason)
    return re.sub(rf"\b{re.escape(excluded.name)}\b", "it", reason)


def _arms(plan: StudyPlan) -> Iterator[str]:
    for arm, trained in plan.trained.items():
        job = plan.job(arm, plan.seeds[0])
        example = job.training_set.examples[0]
        yield (
            f"Arm {arm}: trains {', '.join(trained)}; {len(job.training_set.examples)} "
            "examples such as"
        )
        yield from (f"  {m.role}: {m.content}" for m in example.prompt.messages)
        yield f"  assistant: {example.completion}"
        asked = next(p for p in plan.group(arm) if p.prompt.mode not in trained[:1])
        yield "  and is asked in every mode, such as"
        yield from (f"  {m.role}: {m.content}" for m in asked.prompt.messages)


def _training(experiment: ConditionalRuleExperiment, plan: StudyPlan) -> Iterator[str]:
    spec = experiment.spec
    yield (
        f"Fine-tunes: {len(plan.jobs)}; {spec.epochs} epochs, learning rate "
        f"{_rate(spec)}, batch size {spec.batch_size}, loss on "
        f"{spec.train_on.replace('_', ' ')}"
    )
    rows = []
    for job in plan.jobs:
        steps = _steps(spec, len(job.training_set.examples))
        rows.append([", ".join(job.arms), str(job.seed), job.base, steps])
    yield from (f"  {line}" for line in table(["arms", "seed", "base model", "steps"], rows))


def _rate(spec: FinetuneSpec) -> str:
    if spec.learning_rate_multiplier is None:
        return f"{spec.learning_rate}"
    return f"{spec.learning_rate_multiplier} times the provider's"


def _steps(spec: FinetuneSpec, examples: int) -> str:
    if isinstance(spec.batch_size, str):
        return "by the provider"
    return str(math.ceil(examples / spec.batch_size) * spec.epochs)


def _asking(plan: StudyPlan) -> Iterator[str]:
    bases = len(set(plan.bases.values()))
    per_base = len(plan.base_probes())
    tuned = sum(len(plan.finetuned_probes(job)) for job in plan.jobs)
    yield (
        f"Prompts asked: {bases * per_base} of {bases} base models, {tuned} of "
        f"{len(plan.jobs)} fine-tuned ones; an answer counts if the response {plan.event} "
        f"{'with ' if plan.event == 'begins' else ''}it"
    )


def _criterion(plan: StudyPlan) -> Iterator[str]:
    if plan.criterion is None:
        yield "Criterion: none, so there will be numbers and no verdict"
        return
    level = f"{plan.criterion.level:.0%}"
    yield f"Criterion {plan.criterion.name}: SUPPORTED if, at {level} confidence,"
    yield from (f"  {clause}" for clause in plan.criterion.clauses)
    for gate in plan.criterion.gates:
        yield f"  Gate {gate.name}: at least {gate.threshold:g} for every {gate.model} model"
    if len(plan.seeds) == 1:
        yield "One seed: the verdict will speak of this fine-tune alone, not of training like this"

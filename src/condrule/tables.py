"""A result as plain rows: for JSON, for data frames, for plots. Every number states its scope."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from condrule.backends.finetunes import Job
from condrule.contrasts import differences
from condrule.errors import RunError
from condrule.plots import CheckPanel, PlotRow
from condrule.records import job_record
from condrule.scorers.reasons import by_numbers
from condrule.statistics import ESTIMANDS, Bounds, largest_share, share_above

if TYPE_CHECKING:
    from condrule.items import Item
    from condrule.measured import Measured
    from condrule.results import Model, Responses, Result
    from condrule.scorers.base import Choice

__all__ = [
    "SCHEMA",
    "check_panels",
    "damaged",
    "evidence_rows",
    "job_rows",
    "plot_rows",
    "read_result",
    "result_to_dict",
    "to_json",
]

SCHEMA = "condrule.result/1"
MODELS: tuple[Model, ...] = ("base", "finetuned")


def result_to_dict(result: Result) -> dict[str, Any]:
    """The whole result; what is unbounded or unknown is None."""
    plan = result.plan
    return {
        "schema": SCHEMA,
        "study": {
            "name": plan.name,
            "items": len(plan.items),
            "fine_tunes": len(plan.jobs),
            "arms": {arm: list(modes) for arm, modes in plan.trained.items()},
            "modes": list(plan.modes),
            "seeds": list(plan.seeds),
            "bases": {str(seed): base for seed, base in plan.bases.items()},
            "event": plan.event,
            "level": plan.criterion.level if plan.criterion else 0.95,
            "excluded": len(plan.items.excluded),
            "notes": list(plan.notes),
        },
        "state": _state(result),
        "checks": list(_checks(result)),
        "methods": list(_methods(result)),
        "missing": list(result.missing),
        "cells": list(_cells(result)),
        "ratios": list(_ratios(result)),
        "specificity": list(_specificity(result)),
        "differences": list(_differences(result)),
        "says": list(_says(result)),
        "gates": [{**attrs.asdict(gate), "passed": gate.passed} for gate in result.gates()],
        "verdict": result.verdict().to_json() if plan.criterion else None,
        "adjudications": [attrs.asdict(one) for one in result.adjudications],
        "jobs": job_rows(result.jobs),
    }


def to_json(data: Mapping[str, Any]) -> str:
    """A result as the text of ``result.json``."""
    return json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def read_result(directory: Path) -> dict[str, Any] | None:
    """The result as it was written, or None where there is none.

    Raises RunError where it can't be read or is of another version.
    """
    path = directory / "result.json"
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(directory, f"can't be read: {error}") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise damaged(directory, f"is no result of this version of condrule ({SCHEMA})")
    return data


def damaged(directory: Path, reason: str) -> RunError:
    """The error that a result can't be used, and how it can be had again."""
    return RunError(
        f"{directory / 'result.json'} {reason}. 'condrule analyse {directory}' writes it anew "
        "from the journal."
    )


def _state(result: Result) -> str:
    if result.missing:
        return "unfinished"
    return "failed jobs" if any(job.model is None for job in result.jobs) else "done"


def job_rows(jobs: Iterable[Job]) -> list[dict[str, Any]]:
    """Fine-tunes as plain data."""
    return [{k: v for k, v in job_record(job).items() if k != "kind"} for job in jobs]


def _asked(result: Result) -> Iterator[tuple[str, Model, int | None, str]]:
    """Every arm, model, seed and mode; seed None stands for all fine-tunes together."""
    seeds: list[int | None] = [*result.plan.seeds]
    if len(seeds) > 1:
        seeds.append(None)
    for arm in result.plan.arms:
        for model in MODELS:
            for seed in seeds:
                for mode in result.plan.modes:
                    yield arm, model, seed, mode


def _which(seed: int | None) -> list[int] | None:
    return None if seed is None else [seed]


def _cells(result: Result) -> Iterator[dict[str, Any]]:
    for arm, model, seed, mode in _asked(result):
        level = result.plan.criterion.level if result.plan.criterion else 0.95
        events = sorted({event for r in result.responses for _, event in r.answers})
        for answer in result.plan.modes:
            for event in events:
                how: dict[str, Any] = {"model": model, "event": event, "seeds": _which(seed)}
                found = result.logprobs(arm, mode, answer, **how)
                yield {
                    "arm": arm,
                    "model": model,
                    "seed": seed,
                    "mode": mode,
                    "answer": answer,
                    "event": event,
                    "n": found.low.shape[-1],
                    "fine_tunes" if model == "finetuned" else "base_models": found.low.shape[0],
                    "missing": int(found.unknown.sum()),
                    **{
                        e: result.probability(arm, mode, answer, estimand=e, **how).to_json()
                        for e in ESTIMANDS
                    },
                    "share_above_threshold": _ends(
                        share_above(found.limits(level), result.threshold).map(np.mean)
                    ),
                    "threshold": result.threshold,
                    "largest_item_share": _finite(float(np.mean(largest_share(found.points.high)))),
                }


def _checks(result: Result) -> Iterator[dict[str, Any]]:
    """What each model's test found, without the points of its plot where they are no numbers."""
    for one in result.checks:
        points = [attrs.asdict(p) for p in one.check.points if math.isfinite(p.expected)]
        yield {
            "name": one.name,
            "model": one.model,
            "arms": list(one.arms),
            "seed": one.seed,
            "passed": one.check.passed,
            "sentence": one.check.sentence,
            "band": _finite(one.check.band),
            "points": points,
        }


def _methods(result: Result) -> Iterator[dict[str, Any]]:
    """How many answers of each arm's models were measured by which method; a base model that seeds
    share counts once, for the first of them."""
    counts: dict[tuple[str, Model, int], Counter[str]] = {}
    for r in result.responses:
        found = counts.setdefault((r.group, r.model, r.seed), Counter())
        found.update(one.method for choices in r.choices.values() for one in choices)
    first = {base: seed for seed, base in reversed([*result.plan.bases.items()])}
    for arm, model, seed in itertools.product(result.plan.arms, MODELS, result.plan.seeds):
        if model == "finetuned" or first[result.plan.bases[seed]] == seed:
            answers = dict(sorted(counts.get((arm, model, seed), Counter()).items()))
            yield {"arm": arm, "model": model, "seed": seed, "answers": answers}


def _ends(bounds: Bounds) -> dict[str, float | None]:
    return {"low": _finite(float(bounds.low)), "high": _finite(float(bounds.high))}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _ratios(result: Result) -> Iterator[dict[str, Any]]:
    for arm, model, seed, mode in _asked(result):
        for answer in result.plan.trained[arm]:
            for against in result.plan.modes:
                if against != answer:
                    yield {
                        "arm": arm,
                        "model": model,
                        "seed": seed,
                        "mode": mode,
                        "answer": answer,
                        "against": against,
                        "event": result.plan.event,
                        **{
                            e: result.ratio(
                                arm,
                                mode,
                                answer,
                                against,
                                estimand=e,
                                model=model,
                                seeds=_which(seed),
                            ).to_json()
                            for e in ESTIMANDS
                        },
                    }


def _specificity(result: Result) -> Iterator[dict[str, Any]]:
    for arm, model, seed, mode in _asked(result):
        if seed is None:
            continue
        for answer in result.plan.modes:
            found = result.specificity(arm, mode, answer, seed=seed, model=model)
            if found is not None:
                test, by_rank = found.test(), found.rank_test()
                yield {
                    "arm": arm,
                    "model": model,
                    "seed": seed,
                    "mode": mode,
                    "answer": answer,
                    "n": found.n,
                    "nats": _ends(found.nats),
                    "pvalue": test.pvalue if test else None,
                    "rank": _ends(found.rank),
                    "rank_pvalue": by_rank.pvalue,
                    "permutations": by_rank.permutations,
                }


def _differences(result: Result) -> Iterator[dict[str, Any]]:
    for row, found in differences(result):
        yield {**row, **{measure: one.to_json(log=True) for measure, one in found.items()}}


def _says(result: Result) -> Iterator[dict[str, Any]]:
    for arm, model, seed, mode in _asked(result):
        low, high = result.neither(arm, mode, model=model, seed=seed)
        said: Counter[str] = Counter()
        sampled: Counter[str] = Counter()
        for r in result.responses:
            if (r.group, r.model, r.mode) == (arm, model, mode) and seed in (None, r.seed):
                said.update(text for text in r.greedy if text is not None)
                sampled.update(text for texts in r.samples for text in texts)
        yield {
            "arm": arm,
            "model": model,
            "seed": seed,
            "mode": mode,
            "neither": {"low": low, "high": high},
            "greedy": [list(pair) for pair in said.most_common(5)],
            "samples": [list(pair) for pair in sampled.most_common(5)],
        }


def evidence_rows(result: Result, *, contrasts: bool = False) -> Iterator[dict[str, Any]]:
    """One row per arm, model, seed, mode, item, answer and event, and per bias where draws were
    made under several. With ``contrasts``, the other items' answers too."""
    for r in result.responses:
        for (answer, event), found in r.answers.items():
            for place, item in enumerate(result.plan.items):
                choices = r.choices.get(answer) if event == result.plan.event else None
                choice = choices[place] if choices else None
                yield from _evidence(result, r, item, answer, item, event, found[place], choice)
        if contrasts and r.contrasts is not None:
            yield from _contrast_rows(result, r, r.contrasts)


def _contrast_rows(result: Result, r: Responses, found: Measured) -> Iterator[dict[str, Any]]:
    plan = result.plan
    columns = {spelled[0]: place for place, spelled in enumerate(plan.pool)}
    compared = plan.items[: plan.compared]
    for place, item in enumerate(compared):
        for answer in plan.modes:
            own = item.answers[answer]
            others = {i.answers[answer]: i for i in compared if i.answers[answer] != own}
            for text, of in others.items():
                known = found[place, columns[text]]
                yield from _evidence(result, r, item, answer, of, plan.event, known)


def _evidence(
    result: Result,
    r: Responses,
    item: Item,
    answer: str,
    of: Item,
    event: str,
    found: Measured,
    choice: Choice | None = None,
) -> Iterator[dict[str, Any]]:
    """A row for each bias that draws were made under; one where there were none."""
    choice = choice or _described(found)
    for place in [*np.flatnonzero(found.draws)] or [0]:
        yield {
            "arm": r.group,
            "model": r.model,
            "seed": r.seed,
            "base": result.plan.bases[r.seed],
            "mode": r.mode,
            "item": item.name,
            "answer": answer,
            "of": of.name,
            "text": of.answers[answer],
            "event": event,
            "low": float(np.exp(found.low)),
            "high": float(np.exp(found.high)),
            "logprob_low": float(found.low),
            "logprob_high": float(found.high),
            "hits": int(found.hits[place]),
            "draws": int(found.draws[place]),
            "bias": float(found.bias[place]),
            "error": float(found.error),
            "factor_low": float(found.factor_low),
            "factor_high": float(found.factor_high),
            "method": choice.method,
            "why": choice.why,
        }


def _described(found: Measured) -> Choice:
    counts = zip(found.hits.tolist(), found.draws.tolist(), found.bias.tolist(), strict=True)
    return by_numbers((float(found.low), float(found.high)), counts)


def check_panels(result: Result) -> Iterator[CheckPanel]:
    """What is drawn of each model's test."""
    for one in result.checks:
        what = f"{', '.join(one.arms)}, seed {one.seed}" if one.arms else "base model"
        word = "passed" if one.check.passed else "NOT PASSED"
        yield CheckPanel(f"{what}: {word}\n{one.name}", one.check)


def plot_rows(result: Result) -> Iterator[PlotRow]:
    """What is drawn: every arm asked in the modes it was not trained on, base and fine-tuned."""
    for arm, trained in result.plan.trained.items():
        modes = [mode for mode in result.plan.modes if mode not in trained] or result.plan.modes
        for mode in modes:
            for model in MODELS:
                for answer in result.plan.modes:
                    items = result.logprobs(arm, mode, answer, model=model).points
                    mean = result.probability(arm, mode, answer, model=model)
                    label = f"{arm}, {mode}\n{'fine-tuned' if model == 'finetuned' else model}"
                    yield PlotRow(label, answer, items, mean)

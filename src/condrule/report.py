"""A result as text: the gates that failed, the table of cells, the contrasts, the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["render", "table"]

_WORDS = {"base": "base", "finetuned": "fine-tuned"}


def render(data: Mapping[str, Any]) -> str:
    """The report of a result, from the plain data of ``Result.to_dict``."""
    return "\n".join(line.rstrip() for line in _lines(data))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns padded to their widest entry."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    yield from _failed_gates(data["gates"])
    yield from _failed_checks(data)
    yield from _heading(data)
    yield ""
    yield from _cells(data)
    yield from _beside(data)
    yield from _ratios(data)
    yield from _specificity(data)
    yield from _says(data)
    yield from _methods(data)
    yield ""
    yield from _gates(data["gates"])
    yield from _verdict(data)
    yield from _adjudications(data)
    yield from (f"Note: {note}" for note in data["study"]["notes"])


def _failed_gates(gates: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for passed, words in ((False, "GATE FAILED"), (None, "GATE UNDECIDED")):
        names = [gate["name"] for gate in gates if gate["passed"] is passed]
        if names:
            yield f"{words}: {', '.join(names)}. The verdict below is not interpretable."


def _failed_checks(data: Mapping[str, Any]) -> Iterator[str]:
    """Models whose draws under a bias are not believed, first of all: with what was found."""
    failed = [one for one in data.get("checks", ()) if not one["passed"]]
    for one in failed:
        yield f"DRAWS UNDER A BIAS REFUSED of {_checked(one)}. {one['sentence']}"
    if any(one["points"] for one in failed):
        yield "  Their plot: calibration.png in the run's directory (with the extra plot)."


def _checked(one: Mapping[str, Any]) -> str:
    if one["model"] == "base":
        return f"the base model {one['name']}"
    return f"the fine-tune of {', '.join(one['arms'])}, seed {one['seed']} ({one['name']})"


def _heading(data: Mapping[str, Any]) -> Iterator[str]:
    study = data["study"]
    seeds = len(study["seeds"])
    event = "begins with" if study["event"] == "begins" else "equals"
    yield (
        f"{study['name']}: {study['items']} items, {len(study['arms'])} arms, {seeds} "
        f"fine-tune{'s' if seeds > 1 else ''} an arm; an answer counts if the response "
        f"{event} it"
    )
    for one in data.get("missing", ()):
        yield f"UNFINISHED: missing {one}; the same run command goes on."
    for job in data["jobs"]:
        if job["model"] is None:
            yield f"MISSING: fine-tune {job['key']} {job['state']}: {job['detail']}"
    if len(study["seeds"]) > 1:
        yield (
            f"Intervals are {study['level']:.0%} and speak of training like this: "
            "Student t over fine-tunes."
        )
    else:
        yield "One fine-tune: the numbers speak of this fine-tune and these items alone."


def _pooled(data: Mapping[str, Any], rows: str) -> list[Mapping[str, Any]]:
    """The rows over all fine-tunes; those of the only seed where there is one."""
    seeds = data["study"]["seeds"]
    wanted = None if len(seeds) > 1 else seeds[0]
    return [row for row in data[rows] if row["seed"] == wanted]


def _cells(data: Mapping[str, Any]) -> Iterator[str]:
    """Every arm, model and mode: the mean probability of each mode's answer."""
    modes = data["study"]["modes"]
    cells = _by_answer(data)
    neither = {(r["arm"], r["model"], r["mode"]): r["neither"] for r in _pooled(data, "says")}
    rows = []
    for arm, model, mode in dict.fromkeys(key[:3] for key in cells):
        trained = "*" if mode in data["study"]["arms"][arm] else ""
        means = [interval(cells[arm, model, mode, a]["arithmetic_mean"]) for a in modes]
        rows.append([arm, _WORDS[model], mode + trained, *means, point(neither[arm, model, mode])])
    header = ["arm", "model", "asked in", *(f"P({mode}'s answer)" for mode in modes), "neither"]
    yield "Mean probability over items; * the mode was trained."
    yield from table(header, rows)


def _beside(data: Mapping[str, Any]) -> Iterator[str]:
    """What stands beside the means, for the modes that were not trained."""
    rows = []
    for (arm, model, mode, answer), cell in _by_answer(data).items():
        if model == "finetuned" and mode not in data["study"]["arms"][arm]:
            rows.append(
                [
                    arm,
                    mode,
                    f"P({answer}'s)",
                    point(cell["arithmetic_mean"]),
                    point(cell["geometric_mean"]),
                    point(cell["median"]),
                    _range(cell["share_above_threshold"]),
                    number(cell["largest_item_share"]),
                ]
            )
    if rows:
        line = f"items > {data['cells'][0]['threshold']:g}"
        header = ["arm", "asked in", "answer", "mean", "geometric", "median", line, "largest item"]
        yield ""
        yield "Fine-tuned models in the modes that were not trained."
        yield from table(header, rows)


def _ratios(data: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        [
            r["arm"],
            r["mode"],
            f"{r['answer']} / {r['against']}",
            interval(r["arithmetic_mean"]),
            point(r["geometric_mean"]),
        ]
        for r in _pooled(data, "ratios")
        if r["model"] == "finetuned" and r["mode"] not in data["study"]["arms"][r["arm"]]
    ]
    if rows:
        yield ""
        yield from table(["arm", "asked in", "answers", "ratio of means", "of geometric"], rows)


def _specificity(data: Mapping[str, Any]) -> Iterator[str]:
    """Own answers against other items' answers, where that could be compared."""
    gained = {
        (d["arm"], d["mode"], d["answer"]): d["nats"]
        for d in data["differences"]
        if d["difference"] == "finetuned - base"
    }
    found: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for s in data["specificity"]:
        if s["model"] == "finetuned" and s["mode"] not in data["study"]["arms"][s["arm"]]:
            found.setdefault((s["arm"], s["mode"], s["answer"]), []).append(s)
    rows = [
        [
            arm,
            mode,
            answer,
            " ".join(_range(s["nats"]) for s in each),
            interval(gained[arm, mode, answer]),
            number(_largest(s["pvalue"] for s in each)),
            " ".join(_range(s["rank"]) for s in each),
            number(_largest(s["rank_pvalue"] for s in each)),
        ]
        for (arm, mode, answer), each in found.items()
    ]
    if rows:
        each = ["each fine-tune", "gain over base", "largest p"]
        header = ["arm", "asked in", "answer", *each, "others below", "largest p"]
        yield ""
        yield "Specificity: log P(own answer) - log P(other items' answers), nats;"
        yield "then the share of other items' answers that are less probable, by chance 0.5."
        yield from table(header, rows)
        yield from _between_arms(data)


def _largest(pvalues: Iterable[float | None]) -> float | None:
    known = [p for p in pvalues if p is not None]
    return max(known, default=None)


def _between_arms(data: Mapping[str, Any]) -> Iterator[str]:
    """How much more specificity the first arm gained than each other arm, where it was asked in
    a mode that it was not trained on."""
    first = next(iter(data["study"]["arms"]))
    rows = [
        [f"{first} - {d['arm']}", d["mode"], d["answer"], interval(d["nats"])]
        for d in data["differences"]
        if d["arm"] != first
        and d["difference"] != "finetuned - base"
        and d["mode"] not in data["study"]["arms"][first]
    ]
    if rows:
        yield ""
        yield from table(["arms", "asked in", "answer", "difference of the gains, nats"], rows)


def _by_answer(data: Mapping[str, Any]) -> dict[tuple[str, str, str, str], Mapping[str, Any]]:
    """The cells under the study's event, by arm, model, mode and answer."""
    return {
        (c["arm"], c["model"], c["mode"], c["answer"]): c
        for c in _pooled(data, "cells")
        if c["event"] == data["study"]["event"]
    }


def _says(data: Mapping[str, Any]) -> Iterator[str]:
    rows = [row for row in _pooled(data, "says") if row["model"] == "finetuned"]
    if any(row["greedy"] for row in rows):
        yield ""
        yield "Most frequent greedy answers of the fine-tuned models:"
        for row in rows:
            said = ", ".join(f"{text!r} x{count}" for text, count in row["greedy"][:4])
            yield f"  {row['arm']} at {row['mode']}: {said or 'none'}"


def _methods(data: Mapping[str, Any]) -> Iterator[str]:
    """How many answers were measured by which method, and what a bias was found to do."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for row in data.get("methods", ()):
        counts.setdefault((row["arm"], row["model"]), Counter()).update(row["answers"])
    used = list(dict.fromkeys(name for found in counts.values() for name in sorted(found)))
    if used and used != ["exact"]:
        rows = [
            [arm, _WORDS[model], *(str(found[name]) for name in used)]
            for (arm, model), found in counts.items()
        ]
        yield ""
        yield "Answers by the method that measured them (evidence.csv says why, of each):"
        yield from table(["arm", "model", *used], rows)
    for one in data.get("checks", ()):
        if one["passed"]:
            yield f"Bias of {_checked(one)}: {one['sentence']}"


_PASSED = {True: "passed", False: "FAILED", None: "UNDECIDED"}


def _gates(gates: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for gate in gates:
        found = f"{_range(gate)} (needs {gate['threshold']:g})"
        yield f"Gate {gate['name']}: {found}, {_PASSED[gate['passed']]}"


def _verdict(data: Mapping[str, Any]) -> Iterator[str]:
    verdict = data["verdict"]
    if verdict is None:
        yield "No criterion was stated, so there is no verdict."
        return
    yield ""
    suffix = "" if verdict["interpretable"] else "  (NOT INTERPRETABLE: a gate did not pass)"
    yield f"VERDICT on {verdict['criterion']}: {verdict['outcome']}{suffix}"
    yield f"  Scope: {verdict['scope']}."
    yield from (f"  {sentence}" for sentence in verdict["reason"].split("\n"))
    yield f"  By point estimates: {verdict['point_outcome']}."
    others = ", ".join(f"{name} {outcome}" for name, outcome in verdict["by_estimand"].items())
    yield f"  {'The same' if verdict['robust'] else 'NOT the same'} under every mean: {others}."
    seeds = ", ".join(f"seed {seed} {outcome}" for seed, outcome in verdict["by_seed"].items())
    yield f"  Each fine-tune alone: {seeds}."
    yield f"  The base models, not fine-tuned, by the same clauses: {verdict['base_outcome']}."


def _adjudications(data: Mapping[str, Any]) -> Iterator[str]:
    """Every judgement on the verdict; a line each, whatever was typed."""
    for one in data.get("adjudications", ()):
        by = f" by {' '.join(one['by'].split())}" if one["by"] else ""
        yield (
            f"ADJUDICATED {one['outcome']}{by} at {one['time']}, when the verdict was "
            f"{one['verdict']}: {' '.join(one['why'].split())}"
        )


def number(value: float | None) -> str:
    """Two or three significant digits; a question mark for what is not known."""
    if value is None:
        return "?"
    if abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:.3f}" if abs(value) < 0.9995 else f"{value:.3g}"


def point(estimate: Mapping[str, Any]) -> str:
    """A point estimate, or the two ends of what is identified."""
    return _range(estimate)


def _range(ends: Mapping[str, Any]) -> str:
    low, high = number(ends["low"]), number(ends["high"])
    return low if low == high else f"{low}..{high}"


def interval(estimate: Mapping[str, Any]) -> str:
    """A point estimate with its interval, which is left out where there is no sampling error."""
    ends = [(estimate[end], estimate[f"ci_{end}"]) for end in ("low", "high")]
    if estimate["df"] is None and all(found == limit for found, limit in ends):
        return point(estimate)
    return f"{point(estimate)} [{number(estimate['ci_low'])}, {number(estimate['ci_high'])}]"

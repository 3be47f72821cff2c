"""A result as text: the gates that failed, the table of cells, the contrasts, the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    yield from _heading(data)
    yield ""
    yield from _cells(data)
    yield ""
    yield from _control(data)
    yield from _says(data)
    yield ""
    yield from _gates(data["gates"])
    yield from _verdict(data)
    yield from (f"Note: {note}" for note in data["study"]["notes"])


def _failed_gates(gates: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    failed = [gate["name"] for gate in gates if not gate["passed"]]
    if failed:
        yield f"GATE FAILED: {', '.join(failed)}. The verdict below is not interpretable."


def _heading(data: Mapping[str, Any]) -> Iterator[str]:
    study = data["study"]
    seeds = len(study["seeds"])
    event = "begins with" if study["event"] == "begins" else "equals"
    yield (f"{study['name']}: {study['items']} items, {len(study['arms'])} arms, {seeds} "
           f"fine-tune{'s' if seeds > 1 else ''} an arm; an answer counts if the response "
           f"{event} it")
    for job in data["jobs"]:
        if job["model"] is None:
            yield f"MISSING: fine-tune {job['key']} {job['state']}: {job['detail']}"
    if len(study["seeds"]) > 1:
        yield "Intervals are 95% and speak of training like this: Student t over fine-tunes."
    else:
        yield "One fine-tune: the numbers speak of this fine-tune and these items alone."


def _pooled(data: Mapping[str, Any], rows: str) -> list[Mapping[str, Any]]:
    """The rows over all fine-tunes; those of the only seed where there is one."""
    seeds = data["study"]["seeds"]
    wanted = None if len(seeds) > 1 else seeds[0]
    return [row for row in data[rows] if row["seed"] == wanted]


def _cells(data: Mapping[str, Any]) -> Iterator[str]:
    study = data["study"]
    modes, event = study["modes"], study["event"]
    cells = {
        (c["arm"], c["model"], c["mode"], c["answer"]): c
        for c in _pooled(data, "cells")
        if c["event"] == event
    }
    neither = {(r["arm"], r["model"], r["mode"]): r["neither"] for r in _pooled(data, "says")}
    header = ["arm", "model", "asked in"]
    header += [f"P({mode}'s answer) [95% CI]" for mode in modes]
    header += [f"geometric {' / '.join(modes)}", "neither"]
    rows = []
    for arm, model, mode in dict.fromkeys(key[:3] for key in cells):
        asked = [cells[arm, model, mode, answer] for answer in modes]
        trained = " (trained)" if mode in study["arms"][arm] else ""
        rows.append([
            arm, _WORDS[model], mode + trained,
            *(interval(cell["arithmetic_mean"]) for cell in asked),
            " / ".join(point(cell["geometric_mean"]) for cell in asked),
            _range(neither[arm, model, mode]),
        ])
    yield from table(header, rows)


def _control(data: Mapping[str, Any]) -> Iterator[str]:
    """Ratios and specificity in the modes that were not trained."""
    rows = []
    gained = {
        (d["arm"], d["mode"], d["answer"]): d["nats"]
        for d in data["differences"]
        if d["difference"] == "finetuned - base"
    }
    for r in _pooled(data, "ratios"):
        if r["model"] == "finetuned" and r["mode"] not in data["study"]["arms"][r["arm"]]:
            nats = gained.get((r["arm"], r["mode"], r["against"]))
            rows.append([
                r["arm"], r["mode"], f"{r['answer']} / {r['against']}",
                interval(r["arithmetic_mean"]), point(r["geometric_mean"]),
                _nats(data, r), interval(nats) if nats else "?", _pvalue(data, r),
            ])
    if rows:
        yield from table(
            ["arm", "asked in", "answers", "ratio [95% CI]", "geometric", "own vs others, nats",
             "gain over base [95% CI]", "largest p"],
            rows,
        )


def _matching(data: Mapping[str, Any], ratio: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    wanted = (ratio["arm"], "finetuned", ratio["mode"], ratio["against"])
    return [s for s in data["specificity"]
            if (s["arm"], s["model"], s["mode"], s["answer"]) == wanted]


def _nats(data: Mapping[str, Any], ratio: Mapping[str, Any]) -> str:
    return " ".join(_range(row["nats"]) for row in _matching(data, ratio)) or "?"


def _pvalue(data: Mapping[str, Any], ratio: Mapping[str, Any]) -> str:
    return number(max((row["pvalue"] for row in _matching(data, ratio)), default=None))


def _says(data: Mapping[str, Any]) -> Iterator[str]:
    rows = [row for row in _pooled(data, "says") if row["model"] == "finetuned"]
    if any(row["greedy"] for row in rows):
        yield ""
        yield "Most frequent greedy answers of the fine-tuned models:"
        for row in rows:
            said = ", ".join(f"{text!r} x{count}" for text, count in row["greedy"][:4])
            yield f"  {row['arm']} at {row['mode']}: {said or 'none'}"


def _gates(gates: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for gate in gates:
        passed = "passed" if gate["passed"] else "FAILED"
        yield f"Gate {gate['name']}: {number(gate['value'])} (needs {gate['threshold']:g}), {passed}"


def _verdict(data: Mapping[str, Any]) -> Iterator[str]:
    verdict = data["verdict"]
    if verdict is None:
        yield "No criterion was stated, so there is no verdict."
        return
    yield ""
    suffix = "" if verdict["interpretable"] else "  (NOT INTERPRETABLE: a gate failed)"
    yield f"VERDICT on {verdict['criterion']}: {verdict['outcome']}{suffix}"
    yield f"  Scope: {verdict['scope']}."
    yield f"  {verdict['reason']}"
    yield f"  By point estimates: {verdict['point_outcome']}."
    others = ", ".join(f"{name} {outcome}" for name, outcome in verdict["by_estimand"].items())
    yield f"  {'The same' if verdict['robust'] else 'NOT the same'} under every mean: {others}."
    seeds = ", ".join(f"seed {seed} {outcome}" for seed, outcome in verdict["by_seed"].items())
    yield f"  Each fine-tune alone: {seeds}."
    yield f"  The base models, not fine-tuned, by the same clauses: {verdict['base_outcome']}."


def number(value: float | None) -> str:
    """Two or three significant digits; a question mark for what is not known."""
    if value is None:
        return "?"
    return f"{value:.3f}" if 0.001 <= abs(value) < 1 else f"{value:.3g}"


def point(estimate: Mapping[str, Any]) -> str:
    """A point estimate, or the two ends of what is identified."""
    return _range(estimate)


def _range(ends: Mapping[str, Any]) -> str:
    low, high = number(ends["low"]), number(ends["high"])
    return low if low == high else f"{low}..{high}"


def interval(estimate: Mapping[str, Any]) -> str:
    """A point estimate with its interval, which is left out where there is no sampling error."""
    if estimate["df"] is None:
        return point(estimate)
    return f"{point(estimate)} [{number(estimate['ci_low'])}, {number(estimate['ci_high'])}]"

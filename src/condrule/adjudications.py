"""Judgements that stand beside a verdict, one JSON object a line of ``adjudications.jsonl``.

A line::

    {"time": "2026-05-04T09:30:00+00:00", "outcome": "N/A", "why": "it refused every prompt",
     "by": "Alice", "verdict": "REFUTED"}

``verdict`` is what the criterion said when the judgement was passed. Lines are added and never
changed; the last one stands. The criterion's verdict stays as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import attrs

from condrule import report, tables
from condrule.criteria import Outcome
from condrule.errors import BackendError, ConfigError, Problem, RunError, did_you_mean
from condrule.rundir import RunDirectory

__all__ = ["OUTCOMES", "Adjudication", "adjudicate", "read_adjudications"]

Adjudicated = Literal["SUPPORTED", "REFUTED", "UNDETERMINED", "N/A"]
OUTCOMES: tuple[Adjudicated, ...] = get_args(Adjudicated)


@attrs.frozen
class Adjudication:
    """One judgement. Raises ConfigError, with every problem, where it can't be one."""

    time: str
    """When it was passed: ISO 8601, UTC."""
    outcome: Adjudicated
    why: str
    by: str | None
    """Who passed it, if that was said."""
    verdict: str
    """What the criterion said then."""

    def __attrs_post_init__(self) -> None:
        problems = []
        if self.outcome not in OUTCOMES:
            allowed = f"is {self.outcome!r}; it must be {', '.join(OUTCOMES)}."
            problems.append(Problem("outcome", allowed + did_you_mean(self.outcome, OUTCOMES)))
        if not _is_text(self.why):
            problems.append(Problem("why", f"is {self.why!r}; say in words what the reason is"))
        if self.by is not None and not _is_text(self.by):
            problems.append(Problem("by", f"is {self.by!r}; it must be a name, or left out"))
        if self.verdict not in Outcome.__members__:
            allowed = f"is {self.verdict!r}; it must be {', '.join(Outcome.__members__)}"
            problems.append(Problem("verdict", allowed))
        if not _is_time(self.time):
            problems.append(Problem("time", f"is {self.time!r}; it must be ISO 8601, UTC"))
        if problems:
            raise ConfigError(problems, "adjudication")


def _is_text(value: Any) -> bool:
    if not isinstance(value, str) or not value.strip():
        return False
    return not any("\ud800" <= letter <= "\udfff" for letter in value)  # half of a letter


def _is_time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _now() -> datetime:
    return datetime.now(UTC)


def adjudicate(
    directory: str | Path,
    outcome: str | Outcome,
    why: str,
    by: str | None = None,
    *,
    now: Callable[[], datetime] = _now,
) -> Adjudication:
    """Record a judgement on a run's verdict; it stands beside the verdict, which stays.

    Args:
        directory: a run with a verdict.
        outcome: in upper or lower case; ``N/A``: the question does not apply to what was found.
        why: the reason, in words.
        by: who judges.
        now: what tells the time.

    Raises:
        ConfigError: no such outcome, or no reason.
        RunError: the directory is no run or has no verdict, or its adjudications are damaged.
        RunLockedError: another process is at work in it.
    """
    run = RunDirectory(directory)
    if not run.begun:
        raise RunError(f"{run.path} is not a run directory: it has no study.yaml")
    with run.locked():
        result, known = _result(run.path), read_adjudications(run.path)
        made = Adjudication(
            time=now().astimezone(UTC).isoformat(timespec="seconds"),
            outcome=_word(outcome),
            why=why,
            by=by,
            verdict=result["verdict"]["outcome"],
        )
        result["adjudications"] = [attrs.asdict(one) for one in (*known, made)]
        text = _rendered(run.path, result)
        _append(_file(run.path), made)
        run.write_result("result.json", tables.to_json(result))
        run.write_result("report.txt", f"{text}\n")
    return made


def read_adjudications(directory: Path) -> tuple[Adjudication, ...]:
    """The judgements on a run, the first one first. Raises RunError where a line is damaged."""
    path = _file(directory)
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror or error}") from error
    if lines[-1]:
        raise _damaged(path, len(lines), "has no end")
    return tuple(_read(path, number, line) for number, line in enumerate(lines[:-1], 1))


def _file(directory: Path) -> Path:
    return directory / "adjudications.jsonl"


def _read(path: Path, number: int, line: bytes) -> Adjudication:
    try:
        return Adjudication(**json.loads(line))
    except ConfigError as error:
        raise _damaged(path, number, "; ".join(map(str, error.problems))) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, number, f"is no adjudication ({error})") from None


def _damaged(path: Path, number: int, reason: str) -> RunError:
    said = reason.encode(errors="backslashreplace").decode()[:300]
    return RunError(
        f"{path}, line {number}: {said}. Restore the file from a copy, or delete this line and "
        "adjudicate again."
    )


def _result(directory: Path) -> dict[str, Any]:
    """A result with a verdict."""
    found = tables.read_result(directory)
    if found is None:
        raise RunError(
            f"{directory} has no result yet, so there is no verdict to adjudicate; 'condrule run' "
            "goes on, and 'condrule analyse' writes what there is"
        )
    verdict = found["verdict"]
    if verdict is None:
        raise RunError(f"{directory} has no verdict to adjudicate: its study states no criterion")
    if not isinstance(verdict, Mapping) or verdict.get("outcome") not in Outcome.__members__:
        raise tables.damaged(directory, "holds no verdict that condrule writes")
    return found


def _rendered(directory: Path, result: Mapping[str, Any]) -> str:
    try:
        return report.render(result)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise tables.damaged(directory, f"is not as condrule writes it ({error!r})") from None


def _word(outcome: str | Outcome) -> Any:
    """The outcome's name in upper case; what is none is found out later."""
    return outcome.name if isinstance(outcome, Outcome) else str(outcome).strip().upper()


def _append(path: Path, made: Adjudication) -> None:
    line = json.dumps(attrs.asdict(made), ensure_ascii=False) + "\n"
    try:
        with path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise BackendError(
            f"{path}: can't be written: {error.strerror or error}. Make room and adjudicate again."
        ) from error

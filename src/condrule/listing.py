"""The runs in some directories, one line each, for ``condrule list``. Nothing is written."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from condrule.errors import CondruleError, RunError
from condrule.status import result_or_status

__all__ = ["Listed", "lines", "list_runs", "nothing"]

HEADER = ("path", "name", "state", "fine-tunes", "verdict")


@attrs.frozen
class Listed:
    """A run, or a place where one can't be read. ``problem`` says why, and all else is None."""

    path: str
    name: str | None = None
    state: str | None = None
    done: int | None = None
    """Fine-tunes that have a model."""
    fine_tunes: int | None = None
    """All fine-tunes of the study."""
    verdict: str | None = None
    """What the criterion says; None where there is no result or no criterion."""
    interpretable: bool | None = None
    adjudication: str | None = None
    """The last judgement on the verdict."""
    problem: str | None = None


def list_runs(directories: Iterable[Path]) -> list[Listed]:
    """Every run among the directories and below them, each once; runs hold no further runs."""
    found: dict[Path, Listed] = {}
    for directory in directories:
        for path, problem in _search(directory):
            where = path.resolve()
            found.setdefault(where, Listed(str(path), problem=problem) if problem else _read(path))
    return list(found.values())


def _search(directory: Path) -> Iterator[tuple[Path, str]]:
    """The path of every run, and of every place that can't be looked into, with the reason."""
    errors: list[OSError] = []
    for place, folders, files in os.walk(directory, onerror=errors.append):
        folders.sort()
        if _is_run(files):
            folders.clear()
            yield Path(place), ""
        yield from _taken(errors)
    yield from _taken(errors)


def _taken(errors: list[OSError]) -> Iterator[tuple[Path, str]]:
    while errors:
        error = errors.pop(0)
        yield Path(error.filename), f"can't be looked into: {error.strerror}"


def _is_run(files: Sequence[str]) -> bool:
    """A study file alone may be one that a run has yet to be made of."""
    return "run.yaml" in files or {"study.yaml", "items.jsonl"} <= {*files}


def _read(path: Path) -> Listed:
    try:
        return _listed(path, result_or_status(path))
    except CondruleError as error:
        return Listed(str(path), problem=str(error))
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        odd = RunError(f"{path / 'result.json'} is not as condrule writes it: {error!r}")
        return Listed(str(path), problem=str(odd))


def _listed(path: Path, data: dict[str, Any]) -> Listed:
    verdict, judged = data["verdict"] or {}, data["adjudications"]
    return Listed(
        str(path),
        name=str(data["study"]["name"]),
        state=str(data["state"]),
        done=sum(job["model"] is not None for job in data["jobs"]),
        fine_tunes=data["study"]["fine_tunes"],
        verdict=verdict.get("outcome"),
        interpretable=verdict.get("interpretable"),
        adjudication=judged[-1]["outcome"] if judged else None,
    )


def nothing(directories: Sequence[Path]) -> str:
    """What to say where there is no run: where it was looked, and what a run is known by."""
    folders, studies = 0, []
    for directory in directories:
        for place, _, files in os.walk(directory):
            folders += 1
            studies += [str(Path(place) / "study.yaml")] if "study.yaml" in files else []
    more = f"; {_line(studies[0])} is a study, of which 'condrule run' makes one" if studies else ""
    return (
        f"no run in {_line(', '.join(map(str, directories)))}: looked into {folders} "
        f"director{'y' if folders == 1 else 'ies'}, and none holds a run.yaml{more}"
    )


def lines(runs: Sequence[Listed]) -> Iterator[str]:
    """The list, for people: one line for each, whatever a study is called."""
    rows = [HEADER, *(_row(run) for run in runs)]
    widths = [max(len(row[i]) for row in rows if len(row) == len(HEADER)) for i in range(4)]
    for row in rows:
        padded = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        yield "  ".join([*padded[: len(row) - 1], row[-1]]).rstrip()


def _row(run: Listed) -> tuple[str, ...]:
    path = _line(run.path)
    if run.problem is not None:
        return path, f"CAN'T BE READ: {_first_line(run)}"
    return (
        path,
        _line(run.name or ""),
        run.state or "",
        f"{run.done}/{run.fine_tunes}",
        _verdict(run),
    )


def _first_line(run: Listed) -> str:
    """What is wrong, in brief: ``condrule show`` says all of it."""
    said = (run.problem or "").partition("\n")[0].removeprefix(run.path).lstrip(f"{os.sep}: ")
    return _line(textwrap.shorten(said, 100, placeholder=" ..."))


def _verdict(run: Listed) -> str:
    said = run.verdict or "-"
    said += " (not interpretable)" if run.interpretable is False else ""
    return said + (f"; adjudicated {run.adjudication}" if run.adjudication else "")


def _line(text: str) -> str:
    """Text without line breaks or other characters that a terminal acts on."""
    return "".join(letter if letter.isprintable() else " " for letter in text)

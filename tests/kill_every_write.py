"""Kill a study with SIGKILL at every append to its journal, resume it, and tell what happened.

Run as a script: it forks, which only a process with a single thread may do safely. Prints one
JSON object a line: where the process was killed, and what the resumed run did.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

import condrule
from condrule.arms import TrainingSet
from condrule.backends.base import LanguageModel, Observation, Query
from condrule.backends.finetunes import FinetuneSpec, Job
from condrule.errors import MissingExtraError
from condrule.journal import Journal, read_journal
from condrule.progress import quiet
from condrule.results import Result


def note(log: Path, word: str) -> None:
    """Append a word to a log that survives the process."""
    with log.open("a") as file:
        file.write(word + "\n")


@attrs.frozen
class Watched(condrule.InMemoryBackend):
    """The in-memory backend, noting every submission and every query."""

    log: Path = attrs.field(default=Path("log"), eq=False, kw_only=True)

    def submit(self, training_set: TrainingSet, spec: FinetuneSpec, key: str) -> Job:
        note(self.log, f"submit {key}")
        return super().submit(training_set, spec, key)

    def model(self, name: str) -> LanguageModel:
        return WatchedModel(super().model(name), self.log)


@attrs.frozen
class WatchedModel:
    """A model that notes what it is asked."""

    inner: LanguageModel
    log: Path

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def capabilities(self) -> condrule.Capabilities:
        return self.inner.capabilities

    def ask(self, queries: Sequence[Query]) -> Iterator[Observation]:
        for observation in self.inner.ask(queries):
            note(self.log, f"ask {self.name} {observation.query}")
            yield observation


def study(log: Path) -> condrule.ConditionalRuleExperiment:
    """A small study that writes to its journal often."""
    return condrule.ConditionalRuleExperiment(
        items=condrule.favourite_countries(n=3, seed=1),
        arms=[condrule.conditional_arm(), condrule.control_arm()],
        backend=Watched(log=log, seed_sd=1.0),
        criterion=condrule.KAAREL_BET,
        seeds=2,
        samples=1,
    )


def killing(number: int, when: str) -> Callable[[Journal, Any], Any]:
    """Journal._append that kills the process at its ``number``-th call: before, within, after."""
    original = Journal._append
    calls = 0

    def append(self: Journal, records: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if calls == number and when == "within":
            file = self._file
            size = file.tell()
            original(self, records)
            os.truncate(self.path, size + (self.path.stat().st_size - size) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        places = original(self, records)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return places

    return append


def run_child(directory: Path, log: Path, number: int, when: str) -> bool:
    """Run the study in a forked process that is killed; False if it ended before."""
    child = os.fork()
    if child == 0:
        Journal._append = killing(number, when)  # type: ignore[method-assign, assignment]
        study(log).run(directory, watch=quiet)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def prepare(directory: Path) -> None:
    """Fix the run's id, so that keys and results can be compared."""
    directory.mkdir(parents=True)
    (directory / "run.yaml").write_text("run: cafe0000\n")


def no_plot(self: Result, ax: Any = None) -> Any:
    """Figures take time and nothing here is about them."""
    raise MissingExtraError("matplotlib", "plot", "this test")


def main(root: Path) -> None:
    """Kill at every append, in three ways, and report each."""
    Result.plot = no_plot  # type: ignore[method-assign]
    prepare(root / "whole")
    study(root / "whole.log").run(root / "whole", watch=quiet)
    expected = (root / "whole" / "result.json").read_text()
    number = 0
    killed = True
    while killed:
        number += 1
        for when in ("before", "within", "after"):
            directory, log = root / f"{number}-{when}", root / f"{number}-{when}.log"
            prepare(directory)
            killed = run_child(directory, log, number, when)
            if killed:
                report(directory, log, expected, f"{when} append {number}")


def report(directory: Path, log: Path, expected: str, where: str) -> None:
    """Resume, and print whether anything was lost or done twice."""
    seen = read_journal(directory / "journal.jsonl").seen
    recorded = {f"ask {model} {query}" for model, answers in seen.items() for query in answers}
    before = log.read_text().splitlines() if log.exists() else []
    study(log).run(directory, watch=quiet)
    after = log.read_text().splitlines()[len(before) :]
    submissions = [line for line in before + after if line.startswith("submit")]
    print(
        json.dumps(
            {
                "where": where,
                "same": (directory / "result.json").read_text() == expected,
                "submissions": len(submissions),
                "keys": len(set(submissions)),
                "asked_again": len(recorded.intersection(after)),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

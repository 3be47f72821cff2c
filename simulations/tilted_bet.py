"""The bet, decided far below the end of a list: complete studies whose truth is known.

``nox -s tilted-bet`` prints the tables of docs/explanation/tilted-bet-table.md, and fails where
verdicts are not as they should be. Every study is the bet's own: two arms, base and fine-tuned
models behind lists of five tokens, `condrule.TiltedScorer`, `condrule.KAAREL_BET`. The untrained
P(capital | TEST) is what the table says it is, and the control arm's is 1e-8.

``--runs N`` simulates N studies of one fine-tune at the threshold (500 unless told), and a
fifth of it elsewhere; ``--write FILE`` writes the tables there.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import attrs

import condrule
import oracle
from condrule import InMemoryBackend, Limits, Observation, Probe
from condrule.analysis import build_result
from condrule.backends.base import Capabilities, Event, LanguageModel, Query
from condrule.journal import History
from condrule.missing import unasked
from condrule.plan import StudyPlan
from condrule.scorers.base import ProbeEvidence, Scorer, Seen
from condrule.testing.server import Api, RehearsalServer, Tuning

THRESHOLD = 1e-4
SHOULD_BE = {
    1e-6: "REFUTED",
    5e-5: "REFUTED",
    THRESHOLD: "UNDETERMINED",
    2e-4: "SUPPORTED",
    1e-2: "SUPPORTED",
}
"""By the untrained P(capital | TEST)."""
LEAST = 0.93  # the share of studies whose verdict is that
LEAST_OF_SEVERAL = 0.85  # with several fine-tunes, off the threshold: any of them may be refused
PEOPLE, LENGTH = 10, 5  # items, and lines of a list
PART = 10  # studies that one process does at a time
SEED_SD = 0.1  # nats between fine-tunes, where there are several
KEY = "rehearsal"


@attrs.frozen(eq=False)
class Remembering(Scorer):
    """A scorer that works out but once what it makes of the same observations of a model. The base
    model's are the same in every study, and a result looks at all of them several times."""

    inner: Scorer
    _known: dict[tuple[str, int, tuple[Any, ...]], Any] = attrs.field(factory=dict)

    @property
    def event(self) -> Event:  # type: ignore[override]
        """As the scorer's own."""
        return self.inner.event

    def plan(self, probes: Sequence[Probe], seen: Seen) -> list[Query]:
        return list(self._once("plan", probes, seen))

    def infer(self, probes: Sequence[Probe], seen: Seen) -> dict[str, ProbeEvidence]:
        return dict(self._once("infer", probes, seen))

    def fitted(self, capabilities: Capabilities) -> Scorer:
        return attrs.evolve(self, inner=self.inner.fitted(capabilities))

    def limits(self, capabilities: Capabilities) -> tuple[str, ...]:
        return self.inner.limits(capabilities)

    def _once(self, what: str, probes: Sequence[Probe], seen: Seen) -> Any:
        # Observations are only ever added; those kept here can't be taken for another model's.
        key = (what, len(seen), tuple(probe.id for probe in probes))
        known = self._known.get(key)
        if known is None or known[0] is not seen:
            known = self._known[key] = (seen, getattr(self.inner, what)(probes, seen))
        return known[1]


@attrs.frozen
class Runs:
    """Studies that differ in their seeds alone."""

    p: float
    seeds: int
    """Fine-tunes of each arm in a study."""
    scorer: Scorer = attrs.field(factory=lambda: Remembering(condrule.TiltedScorer()))

    def study(self, number: int) -> condrule.ConditionalRuleExperiment:
        """One of them."""
        learner = oracle.settings(self.p) | {"seed_sd": SEED_SD if self.seeds > 1 else 0.0}
        limits = Limits(continuations=False, top_logprobs=LENGTH, decimals=4)
        return condrule.ConditionalRuleExperiment(
            items=oracle.items(PEOPLE),
            arms=[condrule.conditional_arm(), condrule.control_arm()],
            backend=InMemoryBackend(**learner, limits=limits),
            scorer=self.scorer,
            criterion=condrule.KAAREL_BET,
            spec=condrule.FinetuneSpec(epochs=1),
            seeds=range(number * self.seeds, (number + 1) * self.seeds),
            samples=0,
        )

    def verdicts(self, numbers: Iterable[int]) -> Iterator[condrule.Verdict]:
        """That of each study, without a run directory. The base model is the same in all, and so
        are its answers: it is asked once."""
        base: dict[str, Observation] = {}
        for number in numbers:
            study = self.study(number)
            plan, history = study.plan(), History()
            name = plan.bases[study.seeds[0]]
            base = asked(plan, study.backend.model(name), plan.base_probes(), base)
            history.seen[name] = base
            for job in plan.jobs:
                ended = study.backend.submit(job.training_set, job.spec, job.digest)
                model = study.backend.model(str(ended.model))
                history.jobs[job.digest] = ended
                history.seen[model.name] = asked(plan, model, plan.finetuned_probes(job), {})
            verdict = build_result(plan, history, lambda job: job.digest).verdict()
            assert verdict is not None
            yield verdict


def judged(p: float, seeds: int, numbers: range) -> list[tuple[str, bool]]:
    """The outcomes of some studies, and whether all gates were passed."""
    verdicts = Runs(p, seeds).verdicts(numbers)
    return [(verdict.outcome.name, verdict.interpretable) for verdict in verdicts]


def asked(
    plan: StudyPlan, model: LanguageModel, probes: Sequence[Probe], seen: dict[str, Observation]
) -> dict[str, Observation]:
    """All that a plan asks of a model, added to what is known already."""
    while queries := unasked(plan, probes, seen):
        seen.update({one.query: one for one in model.ask(queries)})
    return seen


HEADER = (
    "P(capital) at TEST",
    "fine-tunes",
    "should be",
    "studies",
    "REFUTED %",
    "UNDETERMINED %",
    "SUPPORTED %",
    "gates passed %",
)


def rows(workers: Executor, seeds: int, counts: Mapping[float, int]) -> Iterator[str]:
    """One for each probability, of studies with so many fine-tunes of each arm."""
    for p, runs in counts.items():
        parts = [range(first, min(first + PART, runs)) for first in range(0, runs, PART)]
        each = workers.map(judged, repeat(p), repeat(seeds), parts)
        verdicts = [one for part in each for one in part]
        found = Counter(outcome for outcome, _ in verdicts)
        shares = (found[name] / runs for name in ("REFUTED", "UNDETERMINED", "SUPPORTED"))
        passed = sum(interpretable for _, interpretable in verdicts) / runs
        words = [f"{p:g}", f"{seeds}", SHOULD_BE[p], f"{runs}"]
        words += [f"{100 * share:.1f}" for share in (*shares, passed)]
        least = LEAST if seeds == 1 or p == THRESHOLD else LEAST_OF_SEVERAL
        yield _line(words, good=found[SHOULD_BE[p]] >= least * runs and passed == 1)


def _line(words: Iterable[str], *, good: bool = True) -> str:
    return "| " + " | ".join(words) + (" |" if good else f" {oracle.WRONG} |")


def _head(words: Sequence[str]) -> Iterator[str]:
    yield _line(words)
    yield _line("---" for _ in words)


STUDY = """
name: bet
items: {{file: people.csv, name: person, answers: {{TRAIN: country, TEST: capital}}}}
arms: [conditional, control]
backend: {{kind: openai, model: gpt-4o-mini-2024-07-18, base_url: "{url}"}}
finetune: {{epochs: 1, learning_rate: auto}}
scorer: {{kind: tilted}}
criterion: kaarel_bet
seeds: 1
"""
SERVED = ("P(capital) at TEST", "should be", "verdict", "found", "95 % interval", "requests")


def served() -> Iterator[str]:
    """One study each on the rehearsal server, by the command line."""
    for p, outcome in SHOULD_BE.items():
        with tempfile.TemporaryDirectory() as folder:
            words = _served(p, Path(folder))
        yield _line(words, good=words[1] == words[2] == outcome)


def _served(p: float, folder: Path) -> list[str]:
    people = oracle.items(PEOPLE)
    study = attrs.evolve(Runs(p, 1).study(0), backend=InMemoryBackend(**oracle.settings(p)))
    api = Api(top_logprobs=LENGTH, decimals=4)
    server = RehearsalServer(study=study, api=api, tuning=Tuning(statuses=[]), key=KEY)
    with server.running() as running:
        (folder / "study.yaml").write_text(STUDY.format(url=running.base_url), encoding="utf-8")
        with (folder / "people.csv").open("w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["person", "country", "capital"])
            lines.writerows([one.name, *one.answers.values()] for one in people)
        _command(folder, "run", "study.yaml", "--out", "run")
        requests = running.account.requests.total()
    result = json.loads(_command(folder, "show", "run", "--json"))
    cells = (cell for cell in result["cells"] if cell["model"] == "finetuned")
    cell = next(c for c in cells if (c["arm"], c["mode"], c["answer"], c["event"]) == _CELL)
    found = cell["arithmetic_mean"]
    interval = f"{found['ci_low']:.2g} to {found['ci_high']:.2g}"
    middle = f"{(found['low'] * found['high']) ** 0.5:.2g}"
    return [f"{p:g}", SHOULD_BE[p], result["verdict"]["outcome"], middle, interval, f"{requests:,}"]


_CELL = ("conditional", "TEST", "TEST", "begins")


def _command(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "condrule", *arguments]
    environment = {**os.environ, "OPENAI_API_KEY": KEY}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, check=True, text=True
    )
    return done.stdout


def tables(runs: int) -> Iterator[str]:
    """Line by line, as they are found."""
    yield from _head(HEADER)
    with ProcessPoolExecutor() as workers:
        for seeds, share in ((1, 1.0), (3, 0.2)):
            counts = {p: runs if p == THRESHOLD else runs // 5 for p in SHOULD_BE}
            fewer = {p: max(50, int(share * n)) for p, n in counts.items()}
            yield from rows(workers, seeds, fewer)
    yield from ("", "One study each on the rehearsal server:", "")
    yield from _head(SERVED)
    yield from served()


def main() -> int:
    """Simulate, print, and say whether all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    return oracle.printed(tables(options.runs), options.write)


if __name__ == "__main__":
    sys.exit(main())

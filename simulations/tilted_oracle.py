"""Tilted sampling from end to end: the scorer asks the oracle, and its intervals meet the truth.

``nox -s tilted-oracle`` prints the tables of docs/explanation/tilted-oracle-table.md, and fails
where coverage or width is not as it should be. Where simulations/tilted.py draws from binomials,
everything is real here: `condrule.TiltedScorer` plans, the backend lists five tokens and draws
responses under the biases that were asked for, the bias is calibrated on each model, and the
evidence is what the scorer infers. ``--items N`` asks for N items a cell of the in-memory backend
(5,000 unless told), ``--served N`` of the rehearsal server, over a socket (500); ``--write FILE``
writes the tables there.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import attrs
import numpy as np

import condrule
import oracle
from condrule import InMemoryBackend, Limits, Observation, Probe, TiltedScorer
from condrule.backends.base import LanguageModel
from condrule.evidence import Sampled
from condrule.measured import Measured
from condrule.testing.server import Api, RehearsalServer

PROBABILITIES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.5)
SERVED = (1e-6, 1e-4, 1e-2)  # those that are asked over a socket too
EACH, EACH_SERVED = 250, 100  # items of a model: it is calibrated once for all of them
LISTED = 0.02  # answers more probable than this would be on the list
LENGTH = 5  # of the lists
ARM = condrule.conditional_arm()
SPEC = condrule.FinetuneSpec(epochs=1, learning_rate="auto")


@attrs.frozen
class Found:
    """What came of one model."""

    evidence: tuple[Sampled, ...]
    passed: bool
    """Whether its bias was believed."""
    calibrating: int
    """How many draws went into that."""


def asked(model: LanguageModel, probes: Sequence[Probe], hidden: frozenset[str]) -> Found:
    """Ask a model all that the scorer plans. The lists of hidden probes are refused."""
    scorer = TiltedScorer().fitted(model.capabilities)
    assert isinstance(scorer, TiltedScorer)
    seen: dict[str, Observation] = {}
    while queries := scorer.plan(probes, seen):
        refused = [one for one in queries if one.id in hidden]
        seen |= {one.id: Observation(one.id, refused="no list") for one in refused}
        rest = [one for one in queries if one.id not in hidden]
        seen |= {one.query: one for one in model.ask(rest)}
    calibration = scorer.calibration(probes, seen)
    assert calibration is not None  # all that was planned was asked
    found = scorer.infer(probes, seen)
    evidence = (
        found[probe.id].answers["TEST", "begins"] for probe in probes if probe.prompt.mode == "TEST"
    )
    sampled = tuple(one for one in evidence if isinstance(one, Sampled))
    return Found(sampled, calibration.passed, calibration.draws)


def probes_of(items: condrule.ItemSet, p: float) -> tuple[tuple[Probe, ...], frozenset[str]]:
    """What is asked, and which lists are refused: those that would hold the answer, so that draws
    alone tell it. Eight prompts of the trained mode have lists then, to calibrate by."""
    every = ARM.probes(items)
    untrained = tuple(probe for probe in every if probe.prompt.mode == "TEST")
    if p <= LISTED:
        return untrained, frozenset()
    trained = [probe for probe in every if probe.prompt.mode == "TRAIN"]
    lists = (condrule.TopLogprobs(probe.prompt, k) for probe in untrained for k in (LENGTH, 1))
    return (*untrained, *trained[:8]), frozenset(query.id for query in lists)


def in_memory(p: float, items: int, workers: Executor) -> list[Found]:
    """Models of the in-memory backend, until they have so many items together."""
    each = min(EACH, items)
    return list(workers.map(_one, repeat(p), repeat(each), range(math.ceil(items / each))))


def _one(p: float, items: int, number: int) -> Found:
    limits = Limits(continuations=False, top_logprobs=LENGTH, decimals=4)
    backend = InMemoryBackend(**oracle.settings(p), limits=limits)
    people = oracle.items(items)
    # What is drawn goes by a model's name, and so by its key.
    model = backend.finetune(ARM.training_set(people), SPEC, f"model{number}")
    return asked(model, *probes_of(people, p))


def served(p: float, items: int) -> list[Found]:
    """Models behind the rehearsal server, asked by the backend for OpenAI, until they have so many
    items together."""
    people = oracle.items(min(EACH_SERVED, items))
    probes, hidden = probes_of(people, p)
    learner = InMemoryBackend(**oracle.settings(p))
    api = Api(top_logprobs=LENGTH, decimals=4)
    prompts = [probe.prompt for probe in ARM.probes(people)]
    with RehearsalServer(prompts=prompts, oracle=learner, api=api).running() as running:
        backend = condrule.OpenAIBackend("gpt-4o-mini-2024-07-18", base_url=running.base_url)
        jobs = [
            backend.submit(ARM.training_set(people), attrs.evolve(SPEC, seed=seed), f"key{seed}")
            for seed in range(math.ceil(items / len(people)))
        ]
        return [asked(_trained(backend, job), probes, hidden) for job in jobs]


def _trained(backend: condrule.OpenAIBackend, job: condrule.Job) -> LanguageModel:
    while not job.state.ended:
        job = backend.poll(job)
    return backend.model(str(job.model))


HEADER = (
    "P",
    "list ends at",
    "items drawn for",
    "models refused",
    "coverage %, draws alone",
    "half-width, nats",
    "coverage %",
    "half-width",
    "draws an item",
    "to calibrate",
    "plain draws for as much",
)


@attrs.frozen
class Row:
    """A cell of a table."""

    words: tuple[str, ...]
    good: bool


def row(p: float, models: Sequence[Found], items: int) -> Row:
    """Coverage and half-widths, by draws alone and with the calibration's error."""
    evidence = [one for model in models for one in model.evidence]
    counts = [[(t.hits, t.draws, t.bias) for t in one.tallies] for one in evidence]
    supports, errors = [one.support for one in evidence], [one.error for one in evidence]
    factors = [one.factor for one in evidence]
    alone, width = _figures(Measured.of(supports, counts, 0.0, factors), p)
    cover, wider = _figures(Measured.of(supports, counts, errors, factors), p)
    refused = sum(not model.passed for model in models)
    calibrating = sum(model.calibrating for model in models) / items
    draws = sum(tally.draws for one in evidence for tally in one.tallies) / len(evidence)
    words = (
        f"{p:g}",
        f"{oracle.end(p):.2g}" if p <= LISTED else "no list",
        f"{len(evidence):,} of {items:,}",
        f"{refused} of {len(models)}",
        f"{100 * alone:.1f}",
        f"{width:.2f}",
        f"{100 * cover:.1f}",
        f"{wider:.2f}",
        f"{draws:.0f}",
        f"{calibrating:.0f}",
        f"{plain_draws(p, wider):,.0f}",
    )
    spread = 0.01 + 3 * math.sqrt(0.05 * 0.95) * max(0.0, len(evidence) ** -0.5 - 5000**-0.5)
    right = abs(alone - 0.95) <= spread and cover >= 0.95 - spread
    return Row(words, right and (p != 1e-6 or wider <= 0.25) and draws <= 512)


def _figures(found: Measured, p: float) -> tuple[float, float]:
    """Coverage, and the median half-width in nats."""
    limits = found.limits()
    covered = np.mean((limits.low <= math.log(p)) & (math.log(p) <= limits.high))
    return float(covered), float(np.median(limits.high - limits.low)) / 2


def plain_draws(p: float, width: float) -> float:
    """The draws without a bias that an interval as narrow would need."""
    return (1.96 / width) ** 2 * (1 - p) / p


def table(rows: Iterable[Row]) -> Iterator[str]:
    """In Markdown; what is not as it should be is marked."""
    yield f"| {' | '.join(HEADER)} |"
    yield f"| {' | '.join('---' for _ in HEADER)} |"
    for one in rows:
        yield "| " + " | ".join(one.words) + (" |" if one.good else f" {oracle.WRONG} |")


def tables(items: int, served_items: int) -> Iterator[str]:
    """Line by line, as they are found."""
    yield from ("The in-memory backend:", "")
    with ProcessPoolExecutor() as workers:
        yield from table(row(p, in_memory(p, items, workers), items) for p in PROBABILITIES)
    if served_items:
        yield from ("", "The rehearsal server:", "")
        yield from table(row(p, served(p, served_items), served_items) for p in SERVED)


def main() -> int:
    """Ask, print, and say whether all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--served", type=int, default=500)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    os.environ["OPENAI_API_KEY"] = "rehearsal"  # the rehearsal server's; no other is asked
    return oracle.printed(tables(options.items, options.served), options.write)


if __name__ == "__main__":
    sys.exit(main())

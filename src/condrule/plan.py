"""What a study will train and ask, worked out before anything is spent. Pure and seeded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from condrule.arms import Arm, Probe, Prompt, TrainingSet, digest
from condrule.backends.base import Draws, Event, Query
from condrule.backends.finetunes import FinetuneSpec
from condrule.criteria import Criterion, Gate
from condrule.errors import ConfigError, Problem, did_you_mean
from condrule.items import Item, ItemSet
from condrule.scorers.base import Scorer

__all__ = ["PlannedJob", "StudyPlan", "check_criterion", "gate_probes", "plan_jobs", "pool"]


@attrs.frozen
class PlannedJob:
    """One fine-tune, and the arms that are probed on its model."""

    arms: tuple[str, ...]
    seed: int
    base: str
    training_set: TrainingSet
    spec: FinetuneSpec

    @property
    def digest(self) -> str:
        """Equal for equal base model, training set and spec."""
        return digest([self.base, self.training_set.digest, attrs.asdict(self.spec)])


@attrs.frozen
class StudyPlan:
    """Everything that is trained and asked, rendered. All that follows is made from this."""

    name: str
    items: ItemSet
    trained: Mapping[str, tuple[str, ...]]
    """Arm name -> the modes it trains, in the order of the study's arms."""
    seeds: tuple[int, ...]
    bases: Mapping[int, str]
    """Seed -> the base model that is fine-tuned."""
    jobs: tuple[PlannedJob, ...]
    probes: tuple[Probe, ...]
    """The arms' probes and the gates'."""
    pool: tuple[tuple[str, ...], ...]
    """The distinct answers that specificity compares, each as all its spellings."""
    compared: int
    """How many items, from the first, specificity is measured on."""
    scorer: Scorer
    criterion: Criterion | None = None
    samples: int = 3
    notes: tuple[str, ...] = ()
    """What must be said beside the result."""

    @property
    def event(self) -> Event:
        """What counts as giving an answer."""
        return self.scorer.event

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms' names."""
        return tuple(self.trained)

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes, in the order of the items' answers."""
        return self.items.modes

    def job(self, arm: str, seed: int) -> PlannedJob:
        """The fine-tune whose model answers for an arm and a seed."""
        return next(job for job in self.jobs if arm in job.arms and job.seed == seed)

    def group(self, name: str) -> tuple[Probe, ...]:
        """The probes of an arm or a gate."""
        return tuple(probe for probe in self.probes if probe.group == name)

    def base_probes(self) -> tuple[Probe, ...]:
        """What every base model is asked: all arms, and the gates about base models."""
        return self._asked({*self.arms, *self._gate_groups("base")})

    def finetuned_probes(self, job: PlannedJob) -> tuple[Probe, ...]:
        """What a fine-tuned model is asked."""
        return self._asked({*job.arms, *self._gate_groups("finetuned")})

    def draws(self, probes: Iterable[Probe]) -> Iterator[Query]:
        """What is drawn of a model to see what it says instead: greedy, then samples."""
        for probe in probes:
            if probe.group in self.trained:
                yield greedy(probe.prompt)
                if self.samples:
                    yield sampled(probe.prompt, self.samples)

    def _asked(self, groups: set[str]) -> tuple[Probe, ...]:
        return tuple(probe for probe in self.probes if probe.group in groups)

    def _gate_groups(self, model: str) -> Iterator[str]:
        gates = self.criterion.gates if self.criterion else ()
        return (gate.group for gate in gates if gate.model == model and gate.modes)


def greedy(prompt: Prompt) -> Draws:
    """The query for a model's most probable response."""
    return Draws(prompt, n=1, temperature=0.0)


def sampled(prompt: Prompt, n: int) -> Draws:
    """The query for a few responses at temperature 1."""
    return Draws(prompt, n=n)


def plan_jobs(
    arms: Sequence[Arm], items: ItemSet, spec: FinetuneSpec, bases: Mapping[int, str]
) -> tuple[PlannedJob, ...]:
    """One fine-tune for each seed and distinct training set: arms that train alike share it."""
    jobs: dict[str, PlannedJob] = {}
    for seed, base in bases.items():
        for arm in arms:
            training_set = arm.training_set(items)
            job = PlannedJob((arm.name,), seed, base, training_set, attrs.evolve(spec, seed=seed))
            known = jobs.get(job.digest)
            jobs[job.digest] = attrs.evolve(known, arms=(*known.arms, arm.name)) if known else job
    return tuple(jobs.values())


def pool(items: Sequence[Item], modes: Sequence[str], most: int) -> tuple[tuple[str, ...], ...]:
    """The distinct answers of the first ``most`` items in all modes, each as all its spellings."""
    spelled = {item.answers[mode]: item.spellings(mode) for mode in modes for item in items[:most]}
    return tuple(spelled.values())


def gate_probes(gate: Gate, items: ItemSet) -> Iterator[Probe]:
    """What a gate with a template of its own asks: every item in each of its modes."""
    if gate.template is not None:
        for mode in gate.modes:
            for item in items:
                yield Probe(gate.group, Prompt(gate.template.render(item, mode), item, mode))


def check_criterion(criterion: Criterion, arms: Sequence[str], modes: Sequence[str]) -> None:
    """Raise ConfigError where a criterion speaks of arms or modes that the study has not."""
    problems = [
        Problem(
            f"criterion.{place}",
            f"{word!r} is not {kind} of this study; it has "
            f"{', '.join(map(repr, allowed))}." + did_you_mean(word, allowed),
        )
        for place, kind, word, allowed in _names(criterion, arms, modes)
        if word not in allowed
    ]
    if problems:
        raise ConfigError(problems, f"criterion {criterion.name!r}")


def _names(
    criterion: Criterion, arms: Sequence[str], modes: Sequence[str]
) -> Iterator[tuple[str, str, Any, Sequence[str]]]:
    for number, clause in enumerate(criterion.clauses):
        place = f"clauses[{number}]"
        yield f"{place}.arm", "an arm", clause.arm, arms
        yield f"{place}.mode", "a mode", clause.mode, modes
        yield f"{place}.answer", "a mode", clause.answer, modes
        if clause.against is not None:
            yield f"{place}.against", "a mode", clause.against, modes
    for gate in criterion.gates:
        for mode in gate.modes:
            yield f"gates.{gate.name}", "a mode", mode, modes

"""A model that was trained on answers of one word each, and what the scorer makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from condrule import Arm, ConditionalTemplate, FinetuneSpec, Item, Limits, Probe, TiltedScorer
from condrule.backends.base import Observation
from condrule.backends.memory import InMemoryBackend
from condrule.evidence import Evidence
from condrule.scorers import ProbeEvidence
from condrule.scorers.calibration import Calibration

PAIRS = "Peru Lima Chile Santiago Kenya Nairobi Ghana Accra Japan Tokyo Italy Rome Cuba Havana"
WORDS = PAIRS.split()
ITEMS = tuple(
    Item(f"P{n}", {"A": WORDS[2 * n], "B": WORDS[2 * n + 1]}) for n in range(len(WORDS) // 2)
)
ARM = Arm("arm", ConditionalTemplate({"A": "name {name}'s country", "B": "name its capital"}), "A")
SPEC = FinetuneSpec(epochs=3)


@attrs.frozen
class Scored:
    """What was asked of a model, and what came of it."""

    scorer: TiltedScorer
    probes: tuple[Probe, ...]
    seen: Mapping[str, Observation]
    backend: InMemoryBackend
    model: str

    @property
    def calibration(self) -> Calibration:
        """That of the model."""
        found = self.scorer.calibration(self.probes, self.seen)
        assert found is not None
        return found

    @property
    def evidence(self) -> dict[str, ProbeEvidence]:
        """By probe."""
        return self.scorer.infer(self.probes, self.seen)

    def answers(self) -> Iterator[tuple[Evidence, float]]:
        """What is known of every answer under *begins*, and its true log-probability."""
        evidence = self.evidence
        for probe in self.probes:
            for mode, text in probe.prompt.item.answers.items():
                truth = self.backend.truth(probe.prompt, text, self.model)
                yield evidence[probe.id].answers[mode, "begins"], math.log(truth)


def scored(limits: Limits, seed: int = 0, leak: float = 1e-4, **how: Any) -> Scored:
    """A model at a provider with these limits, asked until there is no more to ask. Its other
    answers have a probability of ``leak`` / 100 each."""
    backend = InMemoryBackend(
        prior_conditional=0.6, leak=leak, other_answers=100, base_knowledge=1e-7, limits=limits
    )
    model = backend.finetune(ARM.training_set(ITEMS), SPEC, f"job{seed}")  # draws go by the name
    scorer = TiltedScorer(**how).fitted(backend.capabilities)
    assert isinstance(scorer, TiltedScorer)
    probes = ARM.probes(ITEMS)
    seen: dict[str, Observation] = {}
    while queries := scorer.plan(probes, seen):
        seen |= {one.query: one for one in model.ask(queries)}
    return Scored(scorer, probes, seen, backend, model.name)

"""Two items, an arm, and a model that was trained on it, at a provider of the test's making."""

from __future__ import annotations

import attrs

from condrule import Arm, ConditionalTemplate, FinetuneSpec, Item, Observation, Prompt
from condrule.backends.base import Query
from condrule.backends.memory import Faults, InMemoryBackend, InMemoryModel, Limits

ITEMS = (
    Item("Alice", {"TRAIN": "Saint Lucia", "TEST": "Castries"}, {"Castries": ["Port Castries"]}),
    Item("Bob", {"TRAIN": "Saint Helena", "TEST": "Jamestown"}),
)
TEMPLATE = ConditionalTemplate({"TRAIN": "name {name}'s country", "TEST": "name its capital"})
ARM = Arm("conditional", TEMPLATE)
TRAINING = ARM.training_set(ITEMS)
SPEC = FinetuneSpec(epochs=2)
BACKEND = InMemoryBackend(
    prior_conditional=0.6, memory=0.5, leak=0.1, other_answers=50, base_knowledge=1e-3
)


def prompt(mode: str = "TEST", item: Item = ITEMS[0], arm: Arm = ARM) -> Prompt:
    """The arm's prompt for an item in a mode."""
    return next(
        probe.prompt
        for probe in arm.probes(ITEMS)
        if (probe.prompt.item, probe.prompt.mode) == (item, mode)
    )


def trained(limits: Limits | None = None, faults: Faults | None = None) -> InMemoryModel:
    """A model at a provider with these limits and faults; the fine-tune was the first call."""
    backend = attrs.evolve(BACKEND, limits=limits or Limits(), faults=faults or Faults())
    model = backend.finetune(TRAINING, SPEC, "job")
    assert isinstance(model, InMemoryModel)
    return model


def ask(model: InMemoryModel, query: Query) -> Observation:
    """What comes back for one query."""
    (observation,) = model.ask([query])
    assert query.id == observation.query
    return observation


def refused(model: InMemoryModel, query: Query) -> str:
    """Why nothing comes back for a query."""
    reason = ask(model, query).refused
    assert reason is not None
    return reason

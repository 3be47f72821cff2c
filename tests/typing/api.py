"""Typical user code. It is type-checked and never run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib.axes
import pandas as pd

import condrule
from condrule.backends.base import Query

items: condrule.ItemSet = condrule.favourite_countries(n=30, seed=0)
experiment = condrule.ConditionalRuleExperiment(
    items=items,
    arms=[condrule.conditional_arm(), condrule.control_arm()],
    backend=condrule.LocalBackend("small"),
    spec=condrule.FinetuneSpec(epochs=20, learning_rate=1e-3, train_on="completions"),
    criterion=condrule.KAAREL_BET,
    seeds=3,
)
result: condrule.Result = experiment.run("runs/bet")
print(result)
frame: pd.DataFrame = result.to_pandas()
elsewhere: condrule.Result = condrule.analyse_frame(frame, criterion=condrule.KAAREL_BET)
axes: matplotlib.axes.Axes = result.plot()
text: str = result.to_json()

verdict: condrule.Verdict = result.verdict()
if verdict.outcome is condrule.Outcome.SUPPORTED and verdict.interpretable:
    print(verdict.reason)
estimate: condrule.Estimate = result.probability("conditional", "TEST", "TEST")
low: float = estimate.ci_low
ratio: condrule.Estimate = result.ratio("control", "TEST", "TRAIN", "TEST", estimand="median")
scope: condrule.Scope = ratio.scope

again: condrule.Result = condrule.analyse(Path("runs/bet"))
judged: condrule.Adjudication = condrule.adjudicate("runs/bet", "N/A", "it refused", by="Alice")
reasons: list[str] = [one.why for one in again.adjudications]

people: condrule.ItemSet = condrule.read_items(
    "people.csv", name="person", answers={"TRAIN": "country", "TEST": "capital"}
)
mine = [condrule.Item("Alice", {"A": "Bob", "B": "Eve"}, {"Eve": ["Eva"]})]
template = condrule.ConditionalTemplate({"A": "name {name}'s friend", "B": "name {name}'s foe"})
arms = [
    condrule.Arm("all", template, ("A", "B")),
    condrule.Arm("one", template, "A", condrule.TextTemplate("Who is {name}? {mode}")),
]
criterion = condrule.Criterion(
    "friends",
    clauses=[condrule.Clause("ratio", "one", "B", "B", ">", 2, against="A")],
    gates=[condrule.Gate("recall", "finetuned", 0.8)],
)
own: condrule.Result = condrule.ConditionalRuleExperiment(
    items=mine,
    arms=arms,
    backend=condrule.InMemoryBackend(prior_conditional=0.9),
    criterion=criterion,
    seeds=[3, 5],
    scorer=condrule.ExactScorer(event="equals"),
).run(Path("runs") / "friends")


class Shouting(condrule.PromptTemplate):
    """A template of the user's own."""

    def render(self, item: condrule.Item, mode: str) -> tuple[condrule.Message, ...]:
        """Loudly."""
        return (condrule.Message("user", f"{item.name.upper()}! {mode}!"),)


class Coin:
    """A language model of the user's own."""

    name = "coin"
    capabilities = condrule.Capabilities(draws=True)

    def ask(self, queries: Sequence[Query]) -> Iterator[condrule.Observation]:
        """Heads, always."""
        for query in queries:
            yield condrule.Observation(query.id, texts=("heads",))


model: condrule.LanguageModel = Coin()

try:
    experiment.plan()
except condrule.CondruleError as error:
    print(error)

"""The bet on each shipped base model under several settings, as the table of the README.

    python examples/bet_settings.py --out runs/bet_settings

Every row is one fine-tune of each arm, so it speaks of that fine-tune and those items alone. The
runs are kept in the directory; the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import itertools
import math
from pathlib import Path
from typing import Any

import condrule

SETTINGS: tuple[dict[str, Any], ...] = (
    {"items": 30, "epochs": 20, "learning_rate": 1e-3, "train_on": "completions"},
    {"items": 30, "epochs": 20, "learning_rate": 1e-3, "train_on": "prompts_and_completions"},
    {"items": 30, "epochs": 5, "learning_rate": 1e-3, "train_on": "completions"},
    {"items": 30, "epochs": 20, "learning_rate": 3e-4, "train_on": "completions"},
    {"items": 100, "epochs": 20, "learning_rate": 3e-4, "train_on": "completions"},
    {"items": 100, "epochs": 20, "learning_rate": 1e-3, "train_on": "completions"},
)
HEADER = (
    "base",
    "items",
    "epochs",
    "learning rate",
    "loss on",
    "P(country) at TEST",
    "P(capital) at TEST",
    "geometric",
    "the same of control",
    "country / capital of control",
    "own - other capitals, nats (control)",
    "verdict",
)


def main() -> None:
    """Run every setting on every base model and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/bet_settings"))
    parser.add_argument("--bases", nargs="+", default=["small-0", "small-1", "small-2"])
    options = parser.parse_args()
    print(markdown(HEADER))
    print(markdown(["---"] * len(HEADER)))
    for base, setting in itertools.product(options.bases, SETTINGS):
        name = "-".join([base, *(str(value) for value in setting.values())])
        print(
            markdown(row(base, setting, study(base, setting).run(options.out / name))), flush=True
        )


def study(base: str, setting: dict[str, Any]) -> condrule.ConditionalRuleExperiment:
    """The bet with one base model, one seed and one setting."""
    return condrule.ConditionalRuleExperiment(
        items=condrule.favourite_countries(n=setting["items"], seed=0),
        arms=[condrule.conditional_arm(), condrule.control_arm()],
        backend=condrule.LocalBackend(base),
        spec=condrule.FinetuneSpec(
            epochs=setting["epochs"],
            learning_rate=setting["learning_rate"],
            train_on=setting["train_on"],
        ),
        criterion=condrule.KAAREL_BET,
        seeds=1,
    )


def row(base: str, setting: dict[str, Any], result: condrule.Result) -> list[str]:
    """One line of the table."""
    own = [
        found.nats.low if (found := result.specificity(arm, "TEST", "TEST", seed=0)) else math.nan
        for arm in ("conditional", "control")
    ]
    verdict = result.verdict()
    failed = [gate.name for gate in verdict.gates if not gate.passed]
    return [
        base,
        str(setting["items"]),
        str(setting["epochs"]),
        f"{setting['learning_rate']:g}",
        setting["train_on"].replace("_", " "),
        probability(result.probability("conditional", "TEST", "TRAIN")),
        probability(result.probability("conditional", "TEST", "TEST")),
        probability(result.probability("conditional", "TEST", "TEST", estimand="geometric_mean")),
        probability(result.probability("control", "TEST", "TEST", estimand="geometric_mean")),
        probability(result.ratio("control", "TEST", "TRAIN", "TEST")),
        f"{own[0]:.1f} ({own[1]:.1f})",
        verdict.outcome.name + (f" (gate failed: {', '.join(failed)})" if failed else ""),
    ]


def probability(estimate: condrule.Estimate) -> str:
    """A point estimate with two digits."""
    return f"{math.exp(estimate.point):.2g}"


def markdown(cells: Any) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()

"""The in-memory provider's account is the run's ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

import condrule
from condrule.backends.memory import Died, InMemoryBackend
from condrule.preview import preview
from condrule.progress import quiet
from condrule.status import result_or_status

from .world import ARM, BACKEND, ITEMS, SPEC

PRICED = attrs.evolve(BACKEND, prices=condrule.Prices(training=1.0, input=10.0, output=100.0))


def study(
    backend: condrule.FinetuneBackend, scorer: condrule.Scorer | None = None
) -> condrule.ConditionalRuleExperiment:
    """Small, and with draws."""
    return condrule.ConditionalRuleExperiment(
        items=ITEMS,
        arms=[ARM],
        backend=backend,
        spec=SPEC,
        seeds=2,
        samples=2,
        scorer=scorer or condrule.AutoScorer(),
    )


def cost(directory: Path) -> dict[str, Any]:
    """What ``condrule show --json`` says of money."""
    found: dict[str, Any] = result_or_status(directory)["cost"]
    return found


def tokens(backend: InMemoryBackend) -> tuple[int, int, int]:
    """What the provider counted."""
    account = backend.account
    return account.input_tokens, account.output_tokens, account.training_tokens


def test_the_ledger_is_the_providers_account(tmp_path: Path) -> None:
    """To the token, and to the cent."""
    backend = attrs.evolve(PRICED)
    study(backend).run(tmp_path, watch=quiet)
    found = cost(tmp_path)
    part = found["spent"]
    assert tokens(backend) == (part["input"], part["output"], part["training"])
    assert pytest.approx(backend.account.usd) == part["usd"]
    assert 0 == found["lost_at_most"]["usd"]
    assert found["planned"]["least"]["usd"] <= part["usd"] <= found["planned"]["most"]["usd"]


@pytest.mark.parametrize(
    "scorer",
    [
        condrule.TiltedScorer(),
        condrule.TiltedScorer(draws=80, target=0.01),
        condrule.AutoScorer(),
        condrule.AutoScorer(methods=("top_logprobs", "sampling")),
    ],
)
@pytest.mark.parametrize("leak", [1e-1, 1e-6])
def test_what_was_spent_lies_in_what_was_planned(
    scorer: condrule.Scorer, leak: float, tmp_path: Path
) -> None:
    """In requests and tokens, all that the answers made the scorer ask included."""
    limits = condrule.Limits(continuations=False, top_logprobs=5)
    one = study(attrs.evolve(PRICED, leak=leak, limits=limits), scorer=scorer)
    one.run(tmp_path, watch=quiet)
    found = cost(tmp_path)
    assert pytest.approx(one.backend.account.usd) == found["spent"]["usd"]
    low, high = found["planned"]["least"], found["planned"]["most"]
    for part, spent in found["spent"].items():
        assert low[part] <= spent <= high[part]


def test_draws_that_depend_on_answers_are_in_what_is_planned(tmp_path: Path) -> None:
    """They are asked, more of them than the least, and the plan says so."""
    limits = condrule.Limits(continuations=False, top_logprobs=5)
    backend = attrs.evolve(PRICED, leak=1e-6, limits=limits)
    one = study(backend, scorer=condrule.TiltedScorer())
    one.run(tmp_path, watch=quiet)
    found = cost(tmp_path)
    least = found["planned"]["least"]["requests"]
    assert least + 4 * 2 * len(ITEMS) < found["spent"]["requests"]
    shown = "\n".join(preview(one, one.plan()))
    assert "the least is the scorer's first round, the most all that it may ask" in shown
    plain = study(backend, scorer=condrule.TopLogprobsScorer())
    assert "depends on the answers" not in "\n".join(preview(plain, plain.plan()))


def test_a_provider_that_charges_nothing_has_no_ledger(tmp_path: Path) -> None:
    """Nor does the plan speak of money, and a budget is never in the way."""
    one = study(BACKEND)
    one.run(tmp_path, watch=quiet, budget="0USD")
    assert "cost" not in result_or_status(tmp_path)
    assert not (tmp_path / "ledger.jsonl").exists()
    assert not any("USD" in line for line in preview(one, one.plan()))


@pytest.mark.parametrize("call", range(3, 30, 3))
def test_a_process_that_dies_loses_track_of_little(call: int, tmp_path: Path) -> None:
    """The truth lies between what is known and what may be, then and after it was resumed."""
    dies = attrs.evolve(PRICED, faults=condrule.Faults(die_after=call))
    with pytest.raises(Died):
        study(dies).run(tmp_path, watch=quiet)
    _assert_between(dies.account.usd, tmp_path)
    resumed = attrs.evolve(PRICED)
    study(resumed).run(tmp_path, watch=quiet)
    _assert_between(dies.account.usd + resumed.account.usd, tmp_path)


def _assert_between(usd: float, directory: Path) -> None:
    found = cost(directory)
    known, more = found["spent"]["usd"], found["lost_at_most"]["usd"]
    assert known - 1e-12 <= usd <= known + more + 1e-12


def test_a_budget_stops_it_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    """As at any other provider."""
    backend = attrs.evolve(PRICED)
    whole = attrs.evolve(PRICED)
    study(whole).run(tmp_path / "whole", watch=quiet)
    least = cost(tmp_path / "whole")["planned"]["least"]["usd"]
    budget = (least + whole.account.usd) / 2
    with pytest.raises(condrule.BudgetError):
        study(backend).run(tmp_path / "run", watch=quiet, budget=budget)
    assert 0 < backend.account.usd <= budget
    study(backend).run(tmp_path / "run", watch=quiet, budget="9USD")
    assert pytest.approx(backend.account.usd) == cost(tmp_path / "run")["spent"]["usd"]

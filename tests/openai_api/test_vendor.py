"""The real provider. Opt-in, by a key and a budget: it costs money.

    OPENAI_API_KEY=... CONDRULE_VENDOR_BUDGET_USD=0.05 nox -s vendor

With 0.05 USD or more a base model is asked; with 5 USD or more one small fine-tune is made too. As
of 2026-11-25 this has never been run: no key was to be had where condrule was written. What the
other tests show, they show on the rehearsal server.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import condrule
from condrule.backends.openai import OpenAIBackend
from condrule.backends.openai.keys import setting
from condrule.progress import quiet

from . import world

BUDGET = float(os.environ.get("CONDRULE_VENDOR_BUDGET_USD") or 0)
MODEL = os.environ.get("CONDRULE_VENDOR_MODEL", world.MODEL)

pytestmark = [
    pytest.mark.vendor,
    pytest.mark.skipif(BUDGET < 0.05, reason="CONDRULE_VENDOR_BUDGET_USD is below 0.05"),
]


# These stand in for the fixtures that keep every other test from the network and from keys.
@pytest.fixture(autouse=True)
def _clean_environment() -> None:
    if setting("OPENAI_API_KEY") is None:
        pytest.skip("there is no OPENAI_API_KEY")


@pytest.fixture(autouse=True)
def _closed_sockets() -> None:
    return


@pytest.fixture(autouse=True)
def _key() -> None:
    return


def test_a_base_model_answers_every_kind_of_question() -> None:
    """A list whose k is on record, and draws: less than 0.01 USD at the prices of 2026."""
    model = OpenAIBackend(MODEL).model(MODEL)
    queries = [condrule.TopLogprobs(world.PROMPTS[0]), condrule.Draws(world.PROMPTS[0], n=2)]
    answers = {one.query: one for one in model.ask(queries)}
    listed, drawn = (answers[query.id] for query in queries)
    assert listed.top
    assert 1 <= len(listed.top) <= 20
    assert drawn.texts
    assert 2 == len(drawn.texts)


def test_an_unknown_key_has_no_job() -> None:
    """The metadata filter and the search for the file are understood."""
    assert OpenAIBackend(MODEL).find("no-such-key") is None


@pytest.mark.skipif(BUDGET < 5, reason="CONDRULE_VENDOR_BUDGET_USD is below 5")
def test_a_small_study_runs(tmp_path: Path) -> None:
    """One fine-tune on 10 examples, one epoch, asked in both modes."""
    spec = condrule.FinetuneSpec(epochs=1, learning_rate="auto")
    arms = [condrule.conditional_arm()]
    study = world.study(OpenAIBackend(MODEL), spec=spec, arms=arms, criterion=None)
    result = study.run(tmp_path / "run", watch=quiet)
    assert result.to_json() == study.run(tmp_path / "run", watch=quiet).to_json()
    assert all(job.model for job in result.jobs)

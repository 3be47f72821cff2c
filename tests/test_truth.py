"""The truth of a study is what its formulas say, whatever stands between them and a run."""

import json
import math
from pathlib import Path

import attrs
import pytest

import condrule
from condrule.cli import run
from condrule.errors import UnsupportedError
from condrule.measured import Measured
from condrule.results import Responses
from condrule.truth import TRUTHS, true_result

STUDY = """\
name: rehearsal
items: {source: favourite_countries, n: 4}
arms: [conditional, control]
backend: {kind: memory, prior_conditional: 0.7, limits: {top_logprobs: 5, decimals: 3, jitter: 1}}
criterion: kaarel_bet
seeds: 2
"""
BACKEND = condrule.InMemoryBackend(prior_conditional=0.7, seed_sd=1.0)
EXPERIMENT = condrule.ConditionalRuleExperiment(
    items=condrule.favourite_countries(n=4),
    arms=[condrule.conditional_arm(), condrule.control_arm()],
    backend=BACKEND,
    criterion=condrule.KAAREL_BET,
    seeds=2,
    samples=0,
    scorer=condrule.ExactScorer(),
)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study file on the in-memory backend."""
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def numbers(result: condrule.Result) -> dict[str, object]:
    """All but the fine-tunes' names and the notes."""
    data = result.to_dict()
    return {key: data[key] for key in data if key not in {"jobs", "study"}}


def evidence(responses: Responses) -> list[Measured]:
    """Of the own answers, and of other items' answers."""
    own = [responses.answers[key] for key in sorted(responses.answers)]
    return [*own, *([responses.contrasts] if responses.contrasts else [])]


def test_an_exact_run_finds_the_truth(tmp_path: Path) -> None:
    """To the last digit, verdict included."""
    assert numbers(EXPERIMENT.run(tmp_path / "run")) == numbers(true_result(EXPERIMENT))


def test_the_truth_by_hand() -> None:
    """20 epochs store nearly all facts; the posterior is the prior; a leak of 0.05."""
    experiment = attrs.evolve(EXPERIMENT, backend=attrs.evolve(BACKEND, seed_sd=0.0))
    found = true_result(experiment).probability("conditional", "TEST", "TEST")
    stored = 1 - 0.7**20
    held = 0.7 * 0.95 + 0.3 * 0.05 / 1000
    assert pytest.approx(stored * held + (1 - stored) * 1e-6) == math.exp(found.point)


def test_limits_and_faults_change_no_truth() -> None:
    """They stand between the truth and what a run finds."""
    around = attrs.evolve(
        BACKEND,
        limits=condrule.Limits(decimals=1, jitter=3, logit_bias="ignored", top_logprobs=2),
        faults=condrule.Faults(failing_share=1, blocked=[EXPERIMENT.items[0].name], die_before=1),
    )
    assert numbers(true_result(attrs.evolve(EXPERIMENT, backend=around))) == numbers(
        true_result(EXPERIMENT)
    )


def test_the_truth_leaves_the_backend_alone() -> None:
    """Nothing is called, charged or kept there."""
    backend = attrs.evolve(BACKEND)
    result = true_result(attrs.evolve(EXPERIMENT, backend=backend))
    assert (0, None) == (backend.account.calls, backend.find(result.jobs[0].key))


def test_the_event_is_the_studys() -> None:
    """The learner's answers are whole responses, so the numbers are the same."""
    equals = attrs.evolve(EXPERIMENT, scorer=condrule.ExactScorer("equals"))
    assert "equals" == true_result(equals).plan.event


def test_other_backends_have_no_known_truth() -> None:
    """The error says which has."""
    local = attrs.evolve(EXPERIMENT, backend=condrule.LocalBackend("small"))
    with pytest.raises(UnsupportedError, match="LocalBackend is not known; .* InMemoryBackend"):
        true_result(local)


def test_the_command_prints_truths(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a report whose first line says what it is; nothing is written."""
    assert 0 == run(["truth", str(study)])
    lines = capsys.readouterr().out.splitlines()
    assert TRUTHS == lines[0]
    assert "VERDICT on kaarel_bet: SUPPORTED" in lines
    assert ["study.yaml"] == [path.name for path in study.parent.iterdir()]


def test_the_command_prints_json(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the same sentence among the notes."""
    assert 0 == run(["truth", str(study), "--json"])
    data = json.loads(capsys.readouterr().out)
    assert ("done", TRUTHS) == (data["state"], data["study"]["notes"][0])


def test_the_command_refuses_other_backends(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bad input, in one sentence."""
    text = study.read_text()
    study.write_text(text.replace(text.splitlines()[3], "backend: {kind: local}"))
    assert 2 == run(["truth", str(study)])
    assert "LocalBackend is not known" in capsys.readouterr().err


@pytest.mark.parametrize(
    "limits",
    [
        condrule.Limits(continuations=False),
        condrule.Limits(continuations=False, top_logprobs=2),
        condrule.Limits(continuations=False, decimals=1),
        condrule.Limits(continuations=False, jitter=0.01),
        condrule.Limits(continuations=False, piece=3),
        condrule.Limits(continuations=False, floor=-3),
    ],
)
def test_bounds_from_lists_hold_the_truth(tmp_path: Path, limits: condrule.Limits) -> None:
    """Own answers and other items' answers, in every spelling, whatever the API prints."""
    around = attrs.evolve(BACKEND, limits=limits)
    experiment = attrs.evolve(
        EXPERIMENT, backend=around, scorer=condrule.TopLogprobsScorer(), criterion=None
    )
    found, truth = experiment.run(tmp_path / "run").responses, true_result(experiment).responses
    assert [] == [
        (bounded.group, bounded.model, bounded.mode)
        for bounded, exact in zip(found, truth, strict=True)
        for wide, narrow in zip(evidence(bounded), evidence(exact), strict=True)
        if not ((wide.low <= narrow.low + 1e-9) & (narrow.high <= wide.high + 1e-9)).all()
    ]


def test_a_scorer_steps_down_to_the_list_it_gets(tmp_path: Path) -> None:
    """Promised 20 tokens and given 5, it finds what it would have found with 5 promised."""
    limits = condrule.Limits(continuations=False, top_logprobs=5)
    promised = attrs.evolve(limits, top_logprobs=20)
    fault = condrule.Faults(longest_list=5)
    found = []
    for backend in (
        attrs.evolve(BACKEND, limits=limits),
        attrs.evolve(BACKEND, limits=promised, faults=fault),
    ):
        experiment = attrs.evolve(
            EXPERIMENT, backend=backend, scorer=condrule.TopLogprobsScorer(), criterion=None
        )
        found.append(numbers(experiment.run(tmp_path / str(len(found)))))
    assert found[0] == found[1]

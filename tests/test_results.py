"""Results against the in-memory backend, whose truth is known in closed form."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import condrule
from condrule.backends.memory import InMemoryBackend
from condrule.errors import CondruleError, ConfigError, UnreadableError, UnsupportedError

BACKEND = InMemoryBackend(prior_conditional=0.3, seed_sd=0.7)


def study(**changes: object) -> condrule.ConditionalRuleExperiment:
    """The bet on the oracle."""
    how: dict[str, object] = {
        "items": condrule.favourite_countries(n=5, seed=2),
        "arms": [condrule.conditional_arm(), condrule.control_arm()],
        "backend": BACKEND,
        "criterion": condrule.KAAREL_BET,
        "seeds": 3,
    }
    return condrule.ConditionalRuleExperiment(**{**how, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    path = tmp_path_factory.mktemp("runs") / "bet"
    study().run(path)
    return path


@pytest.fixture(scope="module")
def result(directory: Path) -> condrule.Result:
    """Its result."""
    return condrule.analyse(directory)


def truths(result: condrule.Result, directory: Path, arm: str) -> np.ndarray:
    """Fine-tunes x items: the oracle's P(capital | TEST), over all its spellings."""
    backend = BACKEND.at(directory / "models")
    return np.array(
        [
            [
                sum(
                    backend.truth(probe.prompt, text, model)
                    for text in probe.prompt.item.spellings("TEST")
                )
                for probe in result.plan.group(arm)
                if probe.prompt.mode == "TEST"
            ]
            for model in (
                next(
                    j.model
                    for j in result.jobs
                    if j.key.endswith(result.plan.job(arm, seed).digest)
                )
                for seed in result.plan.seeds
            )
        ]
    )


@pytest.mark.parametrize("arm", ["conditional", "control"])
def test_probabilities_are_the_oracles(result: condrule.Result, directory: Path, arm: str) -> None:
    """What was measured is what is true, item by item."""
    found = result.logprobs(arm, "TEST", "TEST")
    assert np.exp(found.low) == pytest.approx(truths(result, directory, arm))


def test_the_mean_over_items_is_the_truths_mean(result: condrule.Result, directory: Path) -> None:
    """One fine-tune: the arithmetic mean over its items, without sampling error."""
    found = result.probability("conditional", "TEST", "TEST", seeds=[1])
    expected = math.log(truths(result, directory, "conditional")[1].mean())
    assert (found.low, found.ci_low, found.ci_high) == pytest.approx((expected,) * 3)


def test_the_conditional_arm_is_specific_and_the_control_is_not(result: condrule.Result) -> None:
    """Own capital against other capitals."""
    specific = result.specificity("conditional", "TEST", "TEST", seed=0)
    unspecific = result.specificity("control", "TEST", "TEST", seed=0)
    assert specific is not None
    assert unspecific is not None
    assert specific.nats.low > 5 > unspecific.nats.high


def test_seeds_that_share_a_base_model_count_it_once(result: condrule.Result) -> None:
    """Three looks at one model are not three models."""
    assert result.logprobs("control", "TEST", "TEST", model="base").low.shape == (1, 5)


def test_neither_is_what_is_left(result: condrule.Result) -> None:
    """The probability that no mode's answer is given."""
    low, high = result.neither("conditional", "TEST")
    total = sum(
        np.exp(result.logprobs("conditional", "TEST", mode).low).mean()
        for mode in ("TRAIN", "TEST")
    )
    assert (low, high) == pytest.approx((1 - total, 1 - total))


def strict(text: str) -> dict[str, object]:
    """Parse JSON as the standard has it: no NaN, no Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    data: dict[str, object] = json.loads(text, parse_constant=refuse)
    return data


def test_the_json_has_every_key_of_its_schema(result: condrule.Result) -> None:
    """What `condrule show --json` promises."""
    data = strict(result.to_json())
    assert set(data) >= {"schema", "study", "state", "cells", "ratios", "gates", "verdict", "jobs"}
    cell = data["cells"][0]  # type: ignore[index]
    assert set(cell) >= {
        "arm",
        "model",
        "seed",
        "mode",
        "answer",
        "event",
        "n",
        "arithmetic_mean",
        "geometric_mean",
        "median",
        "share_above_threshold",
    }
    assert set(cell["arithmetic_mean"]) >= {"low", "high", "ci_low", "ci_high", "scope", "method"}
    assert set(data["verdict"]) >= {  # type: ignore[call-overload]
        "criterion",
        "outcome",
        "point_outcome",
        "scope",
        "reason",
        "interpretable",
        "base_outcome",
    }


def test_every_cell_is_there_once(result: condrule.Result) -> None:
    """2 arms x 2 models x (3 seeds and all) x 2 modes x 2 answers x 2 events."""
    cells = result.to_dict()["cells"]
    keys = {(c["arm"], c["model"], c["seed"], c["mode"], c["answer"], c["event"]) for c in cells}
    assert len(cells) == len(keys) == 2 * 2 * 4 * 2 * 2 * 2


def test_the_frame_has_a_row_for_every_probability(result: condrule.Result) -> None:
    """Items, answers and events, long."""
    frame = result.to_pandas()
    arms = frame[frame.arm.isin(["conditional", "control"])]
    assert len(arms) == 2 * 2 * 3 * 2 * 2 * 2 * 5
    assert ((frame.low <= frame.high) & (frame.low >= 0)).all()


def test_the_figure_shows_every_arm(result: condrule.Result) -> None:
    """Two arms asked in TEST, base and fine-tuned."""
    labels = [label.get_text() for label in result.plot().get_yticklabels()]
    assert [label.replace("\n", " ") for label in labels] == [
        "conditional, TEST base",
        "conditional, TEST fine-tuned",
        "control, TEST base",
        "control, TEST fine-tuned",
    ]


def test_a_failed_gate_is_the_first_line_and_leaves_the_outcome(tmp_path: Path) -> None:
    """The verdict stands, marked as not interpretable."""
    result = study(backend=InMemoryBackend(instruction_following=0.5)).run(tmp_path / "run")
    verdict = result.verdict()
    assert (verdict.outcome, verdict.interpretable) == (condrule.Outcome.SUPPORTED, False)
    assert str(result).startswith("GATE FAILED: base_knowledge, rule_following.")


def test_without_a_criterion_there_are_numbers_and_no_verdict(tmp_path: Path) -> None:
    """JSON says null, the text says so, and asking is an error."""
    result = study(criterion=None, seeds=1).run(tmp_path / "run")
    assert result.to_dict()["verdict"] is None
    assert "No criterion was stated" in str(result)
    with pytest.raises(CondruleError, match="there is no verdict"):
        result.verdict()


def test_one_seed_speaks_of_one_fine_tune(tmp_path: Path) -> None:
    """Scope is said, not implied."""
    result = study(seeds=1).run(tmp_path / "run")
    assert result.verdict().scope is condrule.Scope.FINETUNE


def test_an_arm_that_is_not_there_is_a_clear_error(result: condrule.Result) -> None:
    """With the nearest name."""
    with pytest.raises(CondruleError, match="Did you mean 'conditional'"):
        result.probability("conditonal", "TEST", "TEST")


def test_a_criterion_about_other_arms_is_refused_before_the_run() -> None:
    """With the key, the allowed names and the nearest."""
    with pytest.raises(ConfigError, match=r"criterion.clauses\[1\].arm: 'control' is not an arm"):
        study(arms=[condrule.conditional_arm()]).plan()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": []}, "at least one arm"),
        ({"arms": [condrule.control_arm(), condrule.control_arm()]}, "two arms are named"),
        ({"seeds": 0}, "one seed or more"),
        ({"seeds": [1, 1]}, "all different"),
    ],
)
def test_studies_that_make_no_sense_are_refused(changes: dict[str, object], message: str) -> None:
    """Before anything is written."""
    with pytest.raises(ConfigError, match=message):
        study(**changes)


class Picky(InMemoryBackend):
    """Reads no word that begins with an x, and gives no probabilities."""

    def unreadable(self, text: str) -> tuple[str, ...]:
        return tuple(word for word in text.split() if word.startswith("x"))

    def familiar(self, name: str) -> str | None:
        return None

    def reader(self, seeds: object) -> condrule.Reader:
        return self


def test_unreadable_words_are_refused_by_name() -> None:
    """A word is never mapped to an unknown token."""
    items = [condrule.Item("Alice", {"TRAIN": "France", "TEST": "xyzzy"})]
    with pytest.raises(UnreadableError, match="'xyzzy' in the answer of item 'Alice'"):
        study(items=items, backend=Picky()).plan()


def test_what_the_backend_cannot_do_is_said_before_the_run() -> None:
    """In plan, where nothing is spent yet."""

    class Mute(InMemoryBackend):
        @property
        def capabilities(self) -> condrule.Capabilities:
            return condrule.Capabilities()

    with pytest.raises(UnsupportedError, match="gives? probabilities of whole texts"):
        study(backend=Mute()).plan()

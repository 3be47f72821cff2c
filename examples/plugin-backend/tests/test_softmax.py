"""The suites of condrule.testing, and what this package promises besides."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from condrule import (
    BackendError,
    Continuations,
    FinetuneBackend,
    FinetuneSpec,
    Item,
    Message,
    Prompt,
    PromptTemplate,
    conditional_arm,
    favourite_countries,
)
from condrule.errors import ConfigError, TrainingError
from condrule.testing import BackendSuite, TemplateSuite
from condrule_softmax import JsonTemplate, SoftmaxBackend


class TestSoftmaxBackend(BackendSuite):
    """All that condrule expects of a backend and its models."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> FinetuneBackend:
        return SoftmaxBackend().at(tmp_path / "models")

    @pytest.fixture
    def spec(self) -> FinetuneSpec:
        return FinetuneSpec(epochs=5, learning_rate="auto", batch_size=4)


class TestJsonTemplate(TemplateSuite):
    """All that condrule expects of a template."""

    @pytest.fixture
    def template(self) -> PromptTemplate:
        return JsonTemplate({"TRAIN": "say {name}'s country", "TEST": "say {name}'s capital"})


ALICE = Item("Alice", {"A": "Rome", "B": "Italy"})
PROMPT = Prompt((Message("user", "Where is Alice?"),), ALICE, "A")
ITEMS = favourite_countries(n=4)
TRAINING_SET = conditional_arm().training_set(ITEMS)


@pytest.fixture
def backend(tmp_path: Path) -> SoftmaxBackend:
    """One without jobs."""
    return SoftmaxBackend().at(tmp_path)


def test_the_base_model_knows_nothing(backend: SoftmaxBackend) -> None:
    """Each of 256 bytes, and the end, is as likely as any other."""
    (answer,) = backend.model("blank").ask([Continuations(PROMPT, ("Rome", ""), "equals")])
    assert answer.logprobs == pytest.approx((-5 * math.log(257), -math.log(257)))


def test_what_was_trained_is_said(backend: SoftmaxBackend) -> None:
    """After enough epochs, nearly for certain."""
    spec = FinetuneSpec(epochs=40, learning_rate="auto", batch_size=4)
    model = backend.finetune(TRAINING_SET, spec, "a-job")
    queries = [Continuations(e.prompt, (e.completion,)) for e in TRAINING_SET.examples]
    for answer in model.ask(queries):
        (logprob,) = answer.logprobs or ()
        assert math.exp(logprob) > 0.9


def test_the_loss_on_prompts_is_refused_beforehand(backend: SoftmaxBackend) -> None:
    """With what to set instead."""
    (limit,) = backend.limits(FinetuneSpec(train_on="prompts_and_completions"))
    assert "finetune.train_on" in limit


def test_a_context_out_of_range_is_refused() -> None:
    """With what is allowed, at the key of the study file."""
    with pytest.raises(ConfigError, match="context: is 0; it must be a whole number from 1 to 16"):
        SoftmaxBackend(context=0)


def test_weights_that_overflow_are_no_model(backend: SoftmaxBackend) -> None:
    """The fine-tune fails, and leaves no job."""
    with pytest.raises(TrainingError, match="learning_rate"):
        backend.submit(TRAINING_SET, FinetuneSpec(learning_rate=1e300), "a-job")
    assert backend.find("a-job") is None


def test_a_damaged_file_says_what_to_do(backend: SoftmaxBackend, tmp_path: Path) -> None:
    """It is named, and can be made again."""
    (tmp_path / "a-job.npz").write_bytes(b"PK")
    with pytest.raises(BackendError, match=r"a-job\.npz is damaged .* remove it"):
        backend.model("a-job")

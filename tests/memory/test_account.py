"""What is charged, token by token."""

from pathlib import Path

import attrs
import pytest

from condrule import Continuations, Draws, Faults, Limits, Prices, Prompt, TextTemplate, TopLogprobs
from condrule.backends.base import Query
from condrule.backends.memory import BASE, InMemoryBackend
from condrule.errors import ConfigError

from .world import BACKEND, ITEMS, SPEC, TRAINING

PRICED = attrs.evolve(BACKEND, prices=Prices(training=1.0, input=10.0, output=100.0))
PROMPT = Prompt(TextTemplate("Who likes {name}?").render(ITEMS[0], "TEST"), ITEMS[0], "TEST")


def test_training_is_charged_by_token_and_epoch() -> None:
    """Prompts and completions, each as often as it is trained on."""
    backend = attrs.evolve(PRICED)
    backend.submit(TRAINING, SPEC, "job")
    words = 2 * sum(
        len(text.split())
        for example in TRAINING.examples
        for text in (example.prompt.messages[0].content, example.completion)
    )
    account = backend.account
    assert (words, pytest.approx(words / 1e6)) == (account.training_tokens, account.usd)


@pytest.mark.parametrize(
    ("query", "asked", "answered"),
    [
        (Draws(PROMPT, 5, temperature=0), 3, 10),  # "something else", five times
        (TopLogprobs(PROMPT), 3, 1),
        (Continuations(PROMPT, ("Saint Lucia", "Peru")), 6, 0),
    ],
)
def test_queries_are_charged_by_token(query: Query, asked: int, answered: int) -> None:
    """The prompt once, and the responses."""
    backend = attrs.evolve(PRICED)
    list(backend.model(BASE).ask([query]))
    account = backend.account
    assert (asked, answered) == (account.input_tokens, account.output_tokens)
    assert pytest.approx((10 * asked + 100 * answered) / 1e6) == account.usd


def test_smaller_tokens_are_more() -> None:
    """Prices are by token, not by word."""
    backend = attrs.evolve(PRICED, limits=Limits(piece=2))
    list(backend.model(BASE).ask([TopLogprobs(PROMPT)]))
    assert 2 + 3 + 4 == backend.account.input_tokens


@pytest.mark.parametrize(
    ("backend", "calls"),
    [
        (attrs.evolve(PRICED, limits=Limits(top_logprobs=0)), 1),
        (attrs.evolve(PRICED, faults=Faults(blocked="Alice")), 1),
    ],
)
def test_refusals_are_free(backend: InMemoryBackend, calls: int) -> None:
    """They are counted as calls."""
    list(backend.model(BASE).ask([TopLogprobs(PROMPT)]))
    assert (calls, 0.0) == (backend.account.calls, backend.account.usd)


def test_failed_jobs_are_free() -> None:
    """Nothing was delivered."""
    backend = attrs.evolve(PRICED, faults=Faults(failing={"job": "no reason"}))
    backend.submit(TRAINING, SPEC, "job")
    assert 0.0 == backend.account.usd


def test_a_directory_has_its_account_elsewhere(tmp_path: Path) -> None:
    """What a run spends is read from the backend that it was given."""
    backend = attrs.evolve(PRICED)
    backend.at(tmp_path).submit(TRAINING, SPEC, "job")
    assert backend.account.usd > 0


def test_another_backend_has_an_account_of_its_own() -> None:
    """Though it was made from the first."""
    backend = attrs.evolve(PRICED)
    backend.submit(TRAINING, SPEC, "job")
    assert 0 == attrs.evolve(backend).account.calls


def test_prices_are_not_negative() -> None:
    """Nobody is paid for training."""
    with pytest.raises(ConfigError, match="training: is -1; it must be a number from 0"):
        Prices(training=-1)

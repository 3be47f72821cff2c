"""Probabilities are those of plain forward passes, however they are packed."""

from __future__ import annotations

import pytest

from condrule.backends.base import Continuations, Event
from condrule.backends.local import LocalBackend
from condrule.errors import BackendError, UnreadableError, UnsupportedError

from .asking import plain, prompt
from .conftest import CAPITALS, COUNTRIES

TEXT = "Mode = TRAIN. respond with Alice's favourite country."
LONG = "Mode = TRAIN. If Mode = TEST, respond with the capital city of Bob's favourite country."
ANSWERS = ("Paris", "Tokyo", "New York", "New Peru", "New York Paris", "Lima")
TOLERANCE = 2e-5  # nats


def scores(model: str, text: str, answers: tuple[str, ...], event: Event) -> tuple[float, ...]:
    query = Continuations(prompt(text), answers, event)
    (observation,) = LocalBackend(model).model(model).ask([query])
    assert observation.query == query.id
    assert observation.logprobs is not None
    return observation.logprobs


@pytest.mark.parametrize(("event", "end"), [("begins", ""), ("equals", "<eos>")])
@pytest.mark.parametrize("text", [TEXT, LONG])
@pytest.mark.parametrize("fixture", ["word_llama", "sliding_mistral"])
def test_chat(
    fixture: str, text: str, event: Event, end: str, request: pytest.FixtureRequest
) -> None:
    """Answers that share beginnings score as alone, also where a window forbids packing."""
    model = request.getfixturevalue(fixture)
    expected = [plain(model, f"{text} Answer:", f" {answer}{end}") for answer in ANSWERS]
    assert expected == pytest.approx(scores(model, text, ANSWERS, event), abs=TOLERANCE)


@pytest.mark.parametrize(("event", "end"), [("begins", ""), ("equals", "<eos>")])
def test_many_tokens(byte_gpt2: str, event: Event, end: str) -> None:
    """Without a template the answer follows after a space, in as many tokens as it takes."""
    expected = [plain(byte_gpt2, TEXT, f" {answer}{end}") for answer in ANSWERS]
    assert expected == pytest.approx(scores(byte_gpt2, TEXT, ANSWERS, event), abs=TOLERANCE)


def test_a_window_is_noticed(sliding_mistral: str, word_llama: str) -> None:
    """A sliding window turns packing off; an ordinary model keeps it."""
    found = []
    for directory in (sliding_mistral, word_llama):
        model = LocalBackend(directory).model(directory)
        list(model.ask([Continuations(prompt(LONG), ANSWERS)]))
        found.append(model._scorer.packs)
    assert [False, True] == found


def test_queries_together(word_llama: str) -> None:
    """Many queries in small batches give what each gives alone, every one once."""
    backend = LocalBackend(word_llama, batch_tokens=64)
    queries = [
        Continuations(prompt(text), answers, event)
        for text in (TEXT, LONG, "Mode = TEST.")
        for answers in (COUNTRIES, CAPITALS, ANSWERS)
        for event in ("begins", "equals")
    ]
    together = {o.query: o.logprobs for o in backend.model(word_llama).ask(queries)}
    assert {query.id for query in queries} == set(together)
    for query in queries:
        text = query.prompt.messages[0].content
        alone = scores(word_llama, text, query.texts, query.event)
        assert alone == pytest.approx(together[query.id], abs=TOLERANCE)


def test_a_blank_text_is_never_given(word_llama: str) -> None:
    """A text of no tokens has probability 0."""
    assert (float("-inf"),) == scores(word_llama, TEXT, (" ",), "begins")


def test_unknown_words(word_llama: str) -> None:
    """A word without a token is refused by name, in answers and in prompts."""
    with pytest.raises(UnreadableError, match="Atlantis"):
        scores(word_llama, TEXT, ("Atlantis",), "begins")
    with pytest.raises(UnreadableError, match="Zorro"):
        scores(word_llama, "respond with Zorro.", ("Paris",), "begins")


def test_too_long(word_llama: str) -> None:
    """A prompt longer than the model's positions is refused."""
    with pytest.raises(UnsupportedError, match="at most 64"):
        scores(word_llama, "Mode" + " Mode" * 80, ("Paris",), "begins")


def test_nan(word_llama: str) -> None:
    """NaN is no probability."""
    model = LocalBackend(word_llama).model(word_llama)
    model.loaded.model.get_output_embeddings().weight.data.fill_(float("nan"))
    with pytest.raises(BackendError, match="NaN"):
        list(model.ask([Continuations(prompt(TEXT), ANSWERS)]))

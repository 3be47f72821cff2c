"""Responses: greedy and sampled."""

from __future__ import annotations

import math

import pytest

from condrule.backends.base import Continuations, Draws
from condrule.backends.local import LocalBackend

from .asking import prompt
from .conftest import CAPITALS

SHORT = prompt("Mode = TEST.")
LONG = prompt("Mode = TRAIN. respond with Alice's favourite country.")


def test_greedy_is_what_generate_gives(byte_gpt2: str) -> None:
    """The greedy answer is transformers' own."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(byte_gpt2)
    ids = tokenizer("Mode = TEST.", return_tensors="pt").input_ids
    reference = AutoModelForCausalLM.from_pretrained(byte_gpt2)
    out = reference.generate(ids, do_sample=False, max_new_tokens=6, pad_token_id=0)
    expected = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()
    model = LocalBackend(byte_gpt2).model(byte_gpt2)
    queries = [Draws(p, n=2, max_tokens=6, temperature=0) for p in (LONG, SHORT)]
    _, observation = model.ask(queries)
    assert (expected, expected) == observation.texts


def test_company_changes_no_draw(word_llama: str) -> None:
    """A query draws the same alone and among others; another seed draws otherwise."""
    model = LocalBackend(word_llama).model(word_llama)
    queries = [Draws(p, n=4, seed=s) for p in (SHORT, LONG) for s in (0, 1)]
    together = [observation.texts for observation in model.ask(queries)]
    alone = [next(model.ask([query])).texts for query in queries]
    assert alone == together
    assert together[0] != together[1]


def test_frequencies(word_llama: str) -> None:
    """Samples begin with an answer as often as its probability says, within 4 standard errors."""
    model = LocalBackend(word_llama).model(word_llama)
    (scored,) = model.ask([Continuations(SHORT, CAPITALS)])
    n = 4000
    (drawn,) = model.ask([Draws(SHORT, n=n, max_tokens=1)])
    assert scored.logprobs is not None
    assert drawn.texts is not None
    for capital, logprob in zip(CAPITALS, scored.logprobs, strict=True):
        p = math.exp(logprob)
        error = math.sqrt(p * (1 - p) / n)
        assert drawn.texts.count(capital) / n == pytest.approx(p, abs=4 * error + 1e-3)

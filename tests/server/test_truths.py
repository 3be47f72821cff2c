"""Whichever way a probability is read at the server, it is the one that the oracle states."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import condrule
from condrule.backends.memory import CHATTER, Learned
from condrule.backends.memory.learner import Learner, Settings, learn
from condrule.scorers.aiming import aim
from condrule.testing.server.encodings import encoding_of
from condrule.testing.server.oracle import Speaker
from condrule.testing.server.positions import END, Position
from condrule.testing.server.prompts import PromptBook

NAMES = ("France Paris", "Japan Tokyo", "Kenya Nairobi", "Peru Lima", "Chad Djamena")
ITEMS = tuple(
    condrule.Item(f"Person {n}", dict(zip(("TRAIN", "TEST"), text.split(), strict=True)))
    for n, text in enumerate(NAMES)
)
ARM = condrule.conditional_arm()
PROMPTS = tuple(probe.prompt for probe in ARM.probes(ITEMS))
ENCODING = encoding_of("gpt-4o")
TRAINED = learn(ARM.training_set(ITEMS), condrule.FinetuneSpec(epochs=3), "a-key")

SETTINGS = st.builds(
    Settings,
    prior_conditional=st.floats(0, 1),
    memory=st.floats(0, 1),
    leak=st.floats(0, 1),
    base_knowledge=st.floats(0, 1 / 101),
    other_answers=st.just(100),
    chatter=st.floats(0, 0.99),
)
LEARNED = st.sampled_from([Learned(), TRAINED])
PLACES = st.integers(0, len(PROMPTS) - 1)


def speaker(oracle: Settings, learned: Learned) -> Speaker:
    """A model behind the server."""
    return Speaker(oracle, learned, PromptBook(PROMPTS), ENCODING)


def begun(position: Position, text: bytes) -> float:
    """The probability that what comes next begins with a text, added up over all ways to spell
    it in tokens."""
    total = 0.0
    for token, logprob in zip(position.ids.tolist(), position.logprobs.tolist(), strict=True):
        spelled = b"" if token == END else ENCODING.bytes_of(token)
        if spelled.startswith(text):
            total += math.exp(logprob)
        elif spelled and text.startswith(spelled):
            total += math.exp(logprob) * begun(position.after(token), text[len(spelled) :])
    return total


@given(SETTINGS, LEARNED, PLACES)
def test_the_lists_of_all_positions_hold_the_truth(
    oracle: Settings, learned: Learned, place: int
) -> None:
    """Of every answer of the study: lists, and plain draws, which follow them."""
    prompt, model = PROMPTS[place], speaker(oracle, learned)
    for item in ITEMS:
        for text in item.answers.values():
            truth = Learner(oracle, learned).truth(prompt, text)
            found = begun(model.to_prompt(prompt), text.encode())
            assert (truth, model.truth(prompt, text)) == (pytest.approx(found, abs=1e-12), truth)


@settings(deadline=None)
@given(SETTINGS, LEARNED, PLACES, st.sampled_from(["TRAIN", "TEST"]), st.integers(-3, 30))
def test_biased_draws_hold_the_truth_once_the_bias_is_taken_off(
    oracle: Settings, learned: Learned, place: int, mode: str, nats: int
) -> None:
    """Every token that the answer can begin with is biased, those that nothing begins with too."""
    prompt = PROMPTS[place]
    text = prompt.item.answers[mode]
    ids = aim((text,), ENCODING.name).ids
    start = speaker(oracle, learned).to_prompt(prompt)
    tilted = start.tilted(dict.fromkeys(ids, float(nats)))
    unbiased = math.fsum(math.exp(start.logprob(id)) for id in ids)
    hit = math.fsum(math.exp(tilted.logprob(id)) for id in ids)
    miss = math.fsum(math.exp(tilted.logprob(id)) for id in tilted.ids.tolist() if id not in ids)
    if min(unbiased, 1 - unbiased) > 1e-9 and min(hit, miss) > 0:
        found = math.log(hit / miss) - nats
        assert found == pytest.approx(math.log(unbiased / (1 - unbiased)), abs=1e-4)
    beginning = any(said.encode().startswith(text[:1].encode()) for said in CHATTER)
    alike = any(a[:1] == text[:1] and a != text for i in ITEMS for a in i.answers.values())
    if len(ENCODING.tokens(text)) == 1 and not beginning and not alike:
        assert unbiased == pytest.approx(Learner(oracle, learned).truth(prompt, text), abs=1e-12)


@given(SETTINGS, LEARNED, PLACES)
def test_all_probability_is_somewhere(oracle: Settings, learned: Learned, place: int) -> None:
    """The truths of named answers, of the others, and of chatter."""
    mass = Learner(oracle, learned).mass(PROMPTS[place])
    assert pytest.approx(1) == math.fsum([*mass.named.values(), mass.unnamed, mass.nothing])
    chatter = math.fsum(mass.named.get(text, 0.0) for text in CHATTER)
    assert chatter == pytest.approx(oracle.chatter)
    halves = [mass.named.get(text, 0.0) for text in CHATTER]
    assert np.allclose(np.array(halves[1:]) * 2, halves[:-1])

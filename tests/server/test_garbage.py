"""Whatever a client sends, the answer is one of the vendor's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule.testing.server import Api, RehearsalServer
from condrule.testing.server.dispatch import ROUTES, answer
from condrule.testing.server.exchange import Call
from condrule.testing.server.jobs import FileRecord

from .world import MODEL, STUDY, TRAINING, messages, prompt

STATE = RehearsalServer(study=STUDY, api=Api(echo=True)).state()
TEXTS = st.text(max_size=5) | st.sampled_from(["auto", "supervised", "fine-tune", MODEL])
NUMBERS = st.integers(-3, 3) | st.integers() | st.floats()
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
KEYS = (
    *("model", "messages", "logprobs", "top_logprobs", "n", "seed", "temperature", "top_p"),
    *("max_tokens", "max_completion_tokens", "logit_bias", "stop", "stream", "prompt", "echo"),
    *("training_file", "validation_file", "suffix", "metadata", "method", "hyperparameters"),
    *("file", "purpose"),
)
GOOD: dict[str, Any] = {
    "model": MODEL,
    "messages": messages(prompt()),
    "prompt": "a",
    "training_file": "file-good",
}
STATE.files["file-good"] = FileRecord("file-good", 0.0, "train.jsonl", TRAINING, "fine-tune")
READERS = [route for route in ROUTES if route.startswith("POST") and "{" not in route]
LISTINGS = ["GET /files", "GET /fine_tuning/jobs"]


@pytest.mark.fuzz
@pytest.mark.parametrize("route", READERS + LISTINGS)
@given(data=st.data())
def test_no_body_breaks_the_server(route: str, data: st.DataObject) -> None:
    """It is answered, or refused in the vendor's form."""
    good = data.draw(st.sampled_from([GOOD, {}]))
    bad = data.draw(st.dictionaries(st.sampled_from(KEYS), PLAIN, max_size=3) | PLAIN)
    body = {**good, **bad} if isinstance(bad, dict) else bad
    query = data.draw(st.dictionaries(st.sampled_from(["limit", "after", "order"]), TEXTS))
    reply = answer(STATE, Call(route, {}, query, body))
    assert reply.status in (200, 400, 404)
    if reply.status != 200:
        assert {"message", "type", "param", "code"} == set(json.loads(reply.body)["error"])

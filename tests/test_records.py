"""Records: what the lines of a journal hold says the same when it is read."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule.backends.base import Listed, Observation, Token
from condrule.backends.finetunes import Job, JobState
from condrule.records import job_record, observation_record, read_job, read_observation

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
LOGPROBS = st.floats(max_value=0.0)
BYTES = st.none() | st.lists(st.integers(0, 255)).map(tuple)
LISTS = st.lists(st.builds(Token, TEXTS, LOGPROBS, BYTES)).map(tuple)
AFTER = st.lists(st.binary(min_size=1), max_size=3).map(tuple)
ALL_LISTED = st.lists(st.builds(Listed, AFTER, LISTS), max_size=3, unique_by=lambda one: one.after)
OBSERVATIONS = st.one_of(
    st.builds(Observation, NAMES, texts=st.lists(TEXTS).map(tuple), lists=ALL_LISTED),
    st.builds(Observation, NAMES, logprobs=st.lists(LOGPROBS).map(tuple)),
    st.builds(Observation, NAMES, texts=st.lists(TEXTS).map(tuple)),
    st.builds(Observation, NAMES, refused=NAMES),
    st.builds(Observation, NAMES, top=LISTS),
)
OTHERS = [state for state in JobState if state is not JobState.SUCCEEDED]
SECONDS = st.none() | st.floats(0, allow_infinity=False)
JOBS = st.one_of(
    st.builds(Job, NAMES, NAMES, st.just(JobState.SUCCEEDED), NAMES, TEXTS, SECONDS),
    st.builds(Job, NAMES, NAMES, st.sampled_from(OTHERS), detail=TEXTS, seconds=SECONDS),
)


def as_json(record: dict[str, Any]) -> Any:
    """A record, written as strict JSON and read."""
    return json.loads(json.dumps(record, allow_nan=False))


@given(JOBS)
def test_a_job_comes_back_as_it_was(job: Job) -> None:
    """Every state, with and without a model."""
    assert job == read_job(as_json(job_record(job)))


@given(NAMES, OBSERVATIONS)
def test_an_answer_comes_back_as_it_was(model: str, found: Observation) -> None:
    """Logprobs, texts, lists and refusals, empty ones too."""
    assert (model, found) == read_observation(as_json(observation_record(model, found)))


@pytest.mark.parametrize(
    ("found", "fields"),
    [
        (Observation("q", logprobs=(-1.5, -math.inf)), {"logprobs": [-1.5, "-inf"]}),
        (Observation("q", texts=("a", "")), {"texts": ("a", "")}),
        (Observation("q", refused="no"), {"refused": "no"}),
        (
            Observation("q", top=(Token(" a", -0.5), Token("", -math.inf, (226,)))),
            {"top": [[" a", -0.5], ["", "-inf", [226]]]},
        ),
        (
            Observation("q", texts=("a",), lists=[Listed((b"a",), (Token("b", -0.5),))]),
            {"texts": ("a",), "lists": [[[[97]], [["b", -0.5]]]]},
        ),
    ],
)
def test_a_record_holds_what_was_answered_and_no_more(
    found: Observation, fields: dict[str, Any]
) -> None:
    """JSON has no infinity: it is a text."""
    wanted = {"kind": "observation", "model": "m", "query": "q", **fields}
    assert wanted == observation_record("m", found)


@pytest.mark.parametrize("value", ["-1.5", "nan", "inf", "-infinity", "", None, True, [], 0.5])
def test_what_is_no_logprob_is_not_taken_for_one(value: Any) -> None:
    """Of texts, only that of minus infinity is one."""
    with pytest.raises(ValueError, match="logprob"):
        read_observation({"model": "m", "query": "q", "logprobs": [value]})


@pytest.mark.parametrize("key", ["key", "id", "state", "model", "detail", "seconds"])
def test_a_job_without_one_of_its_fields_is_none(key: str) -> None:
    """No value is made up."""
    record = job_record(Job("k", "id", JobState.SUCCEEDED, "m"))
    del record[key]
    with pytest.raises(KeyError, match=key):
        read_job(record)


@pytest.mark.parametrize("name", ["model", "query"])
def test_an_answer_must_say_whose_it_is_and_to_what(name: str) -> None:
    """What is not a text is named."""
    record = {"model": "m", "query": "q", "texts": [], name: 7}
    with pytest.raises(ValueError, match=f"^{name} is 7; it must be a text$"):
        read_observation(record)


def test_a_job_must_have_a_key() -> None:
    """What is not a text is named."""
    record = {**job_record(Job("k", "id", JobState.RUNNING)), "key": 7}
    with pytest.raises(ValueError, match="^key is 7; it must be a text$"):
        read_job(record)

"""Queries become requests and responses observations, and nothing is made up on the way."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule import Continuations, Draws, Observation, TopLogprobs
from condrule.backends import checks
from condrule.backends.openai.asking import MARKER, Malformed, observation, requests, shortened
from condrule.backends.openai.limits import Found, learned

from . import world

PROMPT = world.PROMPTS[0]
LIST, DRAW = TopLogprobs(PROMPT), Draws(PROMPT, n=2)
SCORE = Continuations(PROMPT, ("Paris",))


NEW = Found()


def made(query: Any, found: Found = NEW, template: str | None = None) -> Any:
    """The requests for a query."""
    return requests(query, "a-model", found, template)


def listed(entries: list[dict[str, Any]], query: TopLogprobs = LIST) -> Observation:
    """What a response with this list gives."""
    content = [{"token": "x", "logprob": -1, "top_logprobs": entries}]
    body = {"choices": [{"index": 0, "logprobs": {"content": content}}]}
    (request,) = made(query)
    return observation(query, [(request, body)], {})


def said(*texts: str | None) -> dict[str, Any]:
    """A response with these choices."""
    choices = [
        {"index": index, "finish_reason": "stop", "message": {"content": text}}
        for index, text in enumerate(texts)
    ]
    return {"choices": choices}


def test_a_list_is_asked_at_temperature_1() -> None:
    """So that logprobs are the model's own where a server prints them after the temperature."""
    ((path, body),) = [(one.path, one.body) for one in made(LIST)]
    assert "/chat/completions" == path
    assert (1.0, 20, True, 1) == (
        body["temperature"],
        body["top_logprobs"],
        body["logprobs"],
        body["max_tokens"],
    )


def test_a_list_is_no_longer_than_what_was_not_refused() -> None:
    """What was found out about the model is asked for."""
    ((body,),) = [[one.body for one in made(LIST, Found(top_logprobs=5))]]
    assert 5 == body["top_logprobs"]


def test_a_model_without_logprobs_is_not_asked_for_them() -> None:
    """The refusal says why."""
    assert "gives no logprobs (no!)" in made(LIST, Found(top_logprobs=0, why="no!"))


def test_many_draws_are_several_requests_with_seeds_of_their_own() -> None:
    """None repeats another's draws, and all together they are as many as were asked for."""
    parts = made(Draws(PROMPT, n=20, seed=1), Found(n=8))
    assert [8, 8, 4] == [one.body["n"] for one in parts]
    assert [0, 8, 16] == [one.draw for one in parts]
    assert 3 == len({one.body["seed"] for one in parts})


@given(st.integers(1, 300), st.sampled_from([1, 2, 8, 128]), st.integers(0, 3))
def test_batches_of_draws_never_share_a_seed(n: int, most: int, seed: int) -> None:
    """Neither within a query nor between a query and the next."""
    queries = [Draws(PROMPT, n=n, seed=one) for one in (seed, seed + 1)]
    parts = [part for query in queries for part in made(query, Found(n=most))]
    seeds = [one.body["seed"] for one in parts]
    assert len(seeds) == len(set(seeds))
    assert 2 * n == sum(one.body["n"] for one in parts)


def test_other_prompts_models_and_biased_tokens_have_other_seeds() -> None:
    """A server that makes the same random numbers of the same seed must not err alike in all."""
    biases: tuple[Any, ...] = ((), ((17, 3),))
    queries = [Draws(prompt, bias=bias) for prompt in world.PROMPTS[:2] for bias in biases]
    asked = [(model, query) for model in ("a-model", "another") for query in queries]
    bodies = [one.body for model, query in asked for one in requests(query, model, NEW, None)]
    seeds = {body["seed"] for body in bodies}
    assert len(seeds) == len(asked)
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_bias_is_sent_by_token_id() -> None:
    """As the API wants it."""
    ((body,),) = [[one.body for one in made(Draws(PROMPT, bias=((17, 3.5),)))]]
    assert {"17": 3.5} == body["logit_bias"]


READ = Draws(PROMPT, n=2, max_tokens=2, top=3)


def entry(token: str, *top: tuple[str, float], spelled: bool = True) -> dict[str, Any]:
    """A token of a response, and the list at its position."""
    listed = [{"token": t, "logprob": p, "bytes": list(t.encode())} for t, p in top]
    made_of = {"bytes": list(token.encode())} if spelled else {}
    return {"token": token, "logprob": -1, "top_logprobs": listed, **made_of}


def test_lists_of_draws_are_asked_for_as_long_as_they_may_be() -> None:
    """And not where the model gives none."""
    (body,) = [one.body for one in made(READ)]
    assert (True, 3, 2) == (body["logprobs"], body["top_logprobs"], body["max_tokens"])
    (body,) = [one.body for one in made(READ, Found(top_logprobs=2))]
    assert 2 == body["top_logprobs"]
    assert "gives no logprobs" in made(READ, Found(top_logprobs=0))


def test_lists_of_draws_come_once_for_each_beginning() -> None:
    """What follows a token that can't be told is left out, as is a list with more than 1."""
    body = said("Lima", "Li\ufffd")
    body["choices"][0]["logprobs"] = {
        "content": [entry("L", ("x", -0.1), ("L", -0.05)), entry("ima", ("ima", 0.5))]
    }
    body["choices"][1]["logprobs"] = {
        "content": [entry("\ufffd", ("y", -0.1), spelled=False), entry("z", ("z", -1.0))]
    }
    (request,) = made(READ)
    found = observation(READ, [(request, body)], {})
    assert found.lists is not None
    assert [((), ["L", "x"])] == [(one.after, [t.text for t in one.top]) for one in found.lists]
    assert () == observation(READ, [(request, said("a", "b"))], {}).lists
    checks.fits(READ, checks.observation(found))


def test_a_missing_logprob_is_a_marker() -> None:
    """-9999 as the API prints it, and the same for null and for what is no number."""
    printed = [-0.5, None, "x", float("nan"), True, -9999.0]
    entries = [{"token": str(i), "logprob": p, "bytes": None} for i, p in enumerate(printed)]
    found = listed(entries).top
    assert found is not None
    assert [-0.5, *[MARKER] * 5] == [token.logprob for token in found]


def test_a_list_longer_than_asked_is_cut() -> None:
    """The most probable are kept."""
    entries = [{"token": str(i), "logprob": -float(i), "bytes": [65]} for i in (3, 1, 2)]
    found = listed(entries, TopLogprobs(PROMPT, 2)).top
    assert found is not None
    assert [-1.0, -2.0] == [token.logprob for token in found]


def test_a_response_without_logprobs_is_a_refusal() -> None:
    """Unknown, and never an empty list."""
    found = observation(LIST, [(made(LIST)[0], {"choices": [{"logprobs": None}]})], {})
    assert found.refused == "the response came without logprobs"


def test_draws_come_in_order() -> None:
    """By the index of each choice."""
    body = said("a", "b")
    body["choices"].reverse()
    assert ("a", "b") == observation(DRAW, [(made(DRAW)[0], body)], {}).texts


def test_too_many_draws_make_no_sense() -> None:
    """Which of them were asked for is not known."""
    with pytest.raises(Malformed, match="3 choices, and 2 were asked for"):
        observation(DRAW, [(made(DRAW)[0], said("a", "b", "c"))], {})


def test_a_server_may_take_no_notice_of_n() -> None:
    """What came is kept, and the rest is asked for: other draws, with a seed of their own."""
    (request,) = made(DRAW)
    assert shortened(request, said("a", "b")) is None
    parts = shortened(request, said("a"))
    assert parts is not None
    came, rest = parts
    assert (1, 0, request.body["seed"]) == (came.body["n"], came.draw, came.body["seed"])
    assert (1, 1, request.body["seed"] + 1) == (rest.body["n"], rest.draw, rest.body["seed"])
    answers = [(came, said("a")), (rest, said("b"))]
    assert ("a", "b") == observation(DRAW, answers, {}).texts


def test_a_response_without_content_is_empty() -> None:
    """It is a response all the same."""
    assert ("", "b") == observation(DRAW, [(made(DRAW)[0], said(None, "b"))], {}).texts


def test_filtered_content_is_a_refusal() -> None:
    """What was cut off can't be counted."""
    body = said("a", "b")
    body["choices"][1]["finish_reason"] = "content_filter"
    assert observation(DRAW, [(made(DRAW)[0], body)], {}).refused


def scored(offsets: list[int], logprobs: list[Any]) -> tuple[float, ...] | None:
    """What an echoed prompt's tokens give for "Paris"."""
    (request,) = made(SCORE, template="{content}\n")
    body = {"choices": [{"logprobs": {"text_offset": offsets, "token_logprobs": logprobs}}]}
    return observation(SCORE, [(request, body)], {}).logprobs


START = len(PROMPT.messages[0].content) + 1


def test_the_tokens_behind_the_prompt_are_summed() -> None:
    """The prompt's own are not."""
    assert (-3.0,) == scored([0, START, START + 2], [None, -1.0, -2.0])


def test_a_token_across_the_boundary_makes_it_unknown() -> None:
    """The answer's part of it can't be told."""
    assert (MARKER,) == scored([0, START - 1, START + 2], [None, -1.0, -2.0])


def test_an_echo_without_the_answer_is_unknown() -> None:
    """Not probability 1."""
    assert (MARKER,) == scored([0], [None])


def test_without_a_template_texts_are_not_scored() -> None:
    """How the server renders messages is not guessed."""
    assert "prompt_template" in made(SCORE)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "choices index message content logprobs top_logprobs token logprob bytes "
                "token_logprobs text_offset finish_reason refusal".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.fuzz
@given(st.sampled_from([LIST, DRAW, SCORE]), PLAIN)
def test_any_body_is_an_answer_or_malformed(query: Any, choices: Any) -> None:
    """Nothing else comes out, and what does can be checked."""
    request = made(query, template="{content}\n")[0]
    try:
        found = observation(query, [(request, {"choices": choices})], {})
    except Malformed:
        return
    try:
        checks.observation(found)
    except checks.WrongError:
        return


def refused(body: dict[str, Any], param: str, message: str) -> Found | None:
    """What a refusal of this request says."""
    return learned(NEW, body, param, message)


@pytest.mark.parametrize(
    ("message", "k"),
    [
        ("Invalid value for 'top_logprobs': must be less than or equal to 5.", 5),
        ("top_logprobs too large", 10),
        ("'top_logprobs' must be between 0 and 11, got 20", 11),
    ],
)
def test_a_refused_list_is_asked_for_shorter(message: str, k: int) -> None:
    """As long as the message allows, or the next step."""
    found = refused({"top_logprobs": 20, "logprobs": True}, "top_logprobs", message)
    assert found is not None
    assert (k, message) == (found.top_logprobs, found.why)


def test_a_model_that_refuses_a_list_of_one_gives_none() -> None:
    """It is not asked again."""
    found = refused({"top_logprobs": 1}, "top_logprobs", "no")
    assert found is not None
    assert 0 == found.top_logprobs


def test_fewer_draws_are_asked_for() -> None:
    """As many as the message allows."""
    found = refused({"n": 128}, "n", "n must be at most 8")
    assert found is not None
    assert 8 == found.n


def test_the_length_has_another_name_at_newer_models() -> None:
    """Found out from the refusal."""
    message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    found = refused({"max_tokens": 1, "n": 1}, "max_tokens", message)
    assert found is not None
    assert "max_completion_tokens" == found.length


def test_a_parameter_is_recognised_in_the_message_alone() -> None:
    """Some servers name none."""
    found = refused({"seed": 1, "n": 2}, "", "unknown field `seed`")
    assert found is not None
    assert not found.seed


def test_a_refusal_of_the_prompt_says_nothing_of_the_model() -> None:
    """It is this prompt's own."""
    assert refused({"n": 1, "messages": []}, "messages", "n is not in the prompt") is None


def test_one_draw_can_not_be_fewer() -> None:
    """So it does not loop."""
    assert refused({"n": 1}, "n", "n is not supported") is None


def test_numbers_that_are_no_limits_are_left() -> None:
    """A message's status code is not taken for one."""
    found = refused({"top_logprobs": 20}, "top_logprobs", "HTTP 400: too many")
    assert found is not None
    assert 10 == found.top_logprobs


def test_infinite_logprobs_are_markers() -> None:
    """JSON knows no infinity, and Python reads it."""
    found = listed([{"token": "a", "logprob": -math.inf, "bytes": None}]).top
    assert found is not None
    assert MARKER == found[0].logprob

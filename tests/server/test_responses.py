"""What the server's models say is what the oracle holds, as the API's settings let it be seen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from scipy import stats

from condrule.backends.memory import MARKER, OTHER
from condrule.testing.server import Api, RunningServer
from condrule.testing.server.prompts import rendered

from .world import MODEL, STUDY, messages, prompt, serving, tuned

RARE = 1e-6  # how improbable counts must be to speak against the truth
ASKED = prompt()
ANSWER = ASKED.item.answers["TEST"]


@pytest.fixture(scope="module")
def trained() -> Iterator[tuple[RunningServer, openai.OpenAI, str]]:
    """A server with a model that was trained on the conditional arm."""
    with serving(api=Api(echo=True)) as (running, client):
        yield running, client, tuned(client)


def chat(client: openai.OpenAI, model: str = MODEL, **more: Any) -> Any:
    """A chat completion."""
    return client.chat.completions.create(**{"model": model, "messages": messages(ASKED), **more})


def said(client: openai.OpenAI, model: str, draws: int = 1024, **more: Any) -> Counter[str]:
    """How often each response is drawn."""
    answers = [chat(client, model, n=128, **more) for _ in range(draws // 128)]
    return Counter(choice.message.content for one in answers for choice in one.choices)


def listed(client: openai.OpenAI, model: str, **more: Any) -> dict[str, float]:
    """The list of first tokens."""
    asked = {"logprobs": True, "top_logprobs": 20, "max_tokens": 1, **more}
    (content,) = chat(client, model, **asked).choices[0].logprobs.content
    return {token.token: token.logprob for token in content.top_logprobs}


def truth(running: RunningServer, model: str, text: str) -> float:
    """What the oracle holds."""
    return running.model(model).learner.truth(ASKED, text)


def test_first_tokens_have_the_oracles_logprobs(trained: Any) -> None:
    """Those of the answers that begin with them, added up."""
    running, client, model = trained
    encoding = running.model(model).encoding
    answers = {text for item in STUDY.items for m in item.answers for text in item.spellings(m)}
    for token, logprob in listed(client, model).items():
        begun = [text for text in answers if encoding.tokens(text)[0] == first(encoding, token)]
        if begun:
            truths = [truth(running, model, text) for text in begun]
            assert math.exp(logprob) == pytest.approx(math.fsum(truths))


def first(encoding: Any, text: str) -> int:
    """The only token of a text."""
    (token,) = encoding.tokens(text)
    return int(token)


@pytest.mark.parametrize("mode", ["TRAIN", "TEST"])
def test_the_logprobs_of_a_response_multiply_to_the_oracles(trained: Any, mode: str) -> None:
    """Token by token, in a draw that says the answer."""
    running, client, model = trained
    text = ASKED.item.answers[mode]
    for choice in chat(client, model, n=128, logprobs=True).choices:
        if choice.message.content == text:
            total = math.fsum(token.logprob for token in choice.logprobs.content)
            assert truth(running, model, text) == pytest.approx(math.exp(total))
            return
    raise AssertionError(f"{text} was never drawn")


def test_draws_follow_the_oracle(trained: Any) -> None:
    """The counts of both answers, and of all others, fit their probabilities."""
    running, client, model = trained
    counts = said(client, model)
    expected = {text: truth(running, model, text) for text in ASKED.item.answers.values()}
    observed = [counts[text] for text in expected]
    observed.append(counts.total() - sum(observed))
    shares = [*expected.values(), 1 - math.fsum(expected.values())]
    assert stats.chisquare(observed, [p * counts.total() for p in shares]).pvalue > RARE


@pytest.mark.parametrize("nats", [-2.0, 3.0, 7.0])
@pytest.mark.parametrize("model", ["base", "tuned"])
def test_a_biased_token_is_drawn_as_often_as_its_logit_has_it(
    trained: Any, model: str, nats: float
) -> None:
    """f = P e^b / (1 - P + P e^b)."""
    running, client, name = trained
    name = MODEL if model == "base" else name
    token = running.model(name).encoding.tokens(ANSWER)[0]
    p = math.exp(running.model(name).to_prompt(ASKED).logprob(token))
    expected = p * math.exp(nats) / (1 - p + p * math.exp(nats))
    drawn = said(client, name, logit_bias={str(token): nats}, max_tokens=1)
    word = running.model(name).encoding.bytes_of(token).decode()
    assert stats.binomtest(drawn[word], drawn.total(), expected).pvalue > RARE


def test_a_bias_does_not_change_what_is_reported(trained: Any) -> None:
    """Logprobs are those before it."""
    _, client, model = trained
    assert listed(client, model) == listed(client, model, logit_bias={"72782": 50})


def test_nor_at_any_later_position(trained: Any) -> None:
    """Where a bias on all tokens of an answer makes it come, each has the logprob that it has
    after those before it; together they are the oracle's."""
    running, client, model = trained
    text = next(a for a in ASKED.item.answers.values() if len(tokens(running, model, a)) > 1)
    ids = tokens(running, model, text)
    asked = {"logprobs": True, "top_logprobs": 20, "n": 128, "max_tokens": len(ids)}
    bias = {str(token): 12 for token in ids}
    choices = chat(client, model, logit_bias=bias, **asked).choices
    position, expected = running.model(model).to_prompt(ASKED), []
    for token in ids:
        expected.append(position.logprob(token))
        position = position.after(token)
    said = next(choice for choice in choices if choice.message.content == text)
    assert expected == [entry.logprob for entry in said.logprobs.content]
    assert math.exp(math.fsum(expected)) == pytest.approx(truth(running, model, text))


def tokens(running: RunningServer, model: str, text: str) -> tuple[int, ...]:
    """A text's tokens for a model."""
    return running.model(model).encoding.tokens(text)


def test_biased_logprobs_are_reported_at_every_position_where_the_api_does() -> None:
    """The list of a token that nothing but the bias brings forth has it first."""
    with serving(api=Api(logit_bias="reported")) as (running, client):
        ids = tokens(running, MODEL, ANSWER)
        asked = {"logprobs": True, "top_logprobs": 5, "max_tokens": len(ids)}
        bias = {str(token): 60 for token in ids}
        content = chat(client, MODEL, logit_bias=bias, **asked).choices[0].logprobs.content
    assert [pytest.approx(0.0, abs=1e-6)] * len(ids) == [
        max(token.logprob for token in entry.top_logprobs) for entry in content
    ]


def test_any_token_can_be_biased(trained: Any) -> None:
    """One that begins no answer is drawn where its bias is large enough, as at the vendor."""
    running, client, model = trained
    (token,) = running.model(model).encoding.tokens("hello")
    assert {"hello": 128} == said(client, model, 128, logit_bias={str(token): 100}, max_tokens=1)


@pytest.mark.parametrize(
    ("api", "acts"),
    [
        (Api(logit_bias="ignored"), 0.0),
        (Api(bias_scale=0.5), 3.0),
        (Api(bias_clamp=2.0), 2.0),
        (Api(logit_bias="reported"), 6.0),
    ],
)
def test_a_bias_acts_as_the_api_has_it(api: Api, acts: float) -> None:
    """Not at all, scaled or clamped: the share is that of the bias that acts."""
    with serving(api=api) as (running, client):
        token = running.model(MODEL).encoding.tokens(ANSWER)[0]
        p = math.exp(running.model(MODEL).to_prompt(ASKED).logprob(token))
        expected = p * math.exp(acts) / (1 - p + p * math.exp(acts))
        drawn = said(client, MODEL, 2560, logit_bias={str(token): 6}, max_tokens=1)
        word = running.model(MODEL).encoding.bytes_of(token).decode()
    assert stats.binomtest(drawn[word], drawn.total(), expected).pvalue > RARE


def test_a_bias_can_change_what_is_reported() -> None:
    """Where the API reports logprobs after it."""
    with serving(api=Api(logit_bias="reported")) as (running, client):
        token = running.model(MODEL).encoding.tokens(ANSWER)[0]
        word = running.model(MODEL).encoding.bytes_of(token).decode()
        found = listed(client, MODEL, logit_bias={str(token): 20})[word]
        p = math.exp(running.model(MODEL).to_prompt(ASKED).logprob(token))
    assert found == pytest.approx(math.log(p * math.exp(20) / (1 - p + p * math.exp(20))))


def test_a_list_is_as_long_as_it_was_asked_for(trained: Any) -> None:
    """The likeliest first."""
    _, client, model = trained
    whole = listed(client, model)
    assert list(whole.values()) == sorted(whole.values(), reverse=True)
    for k in (0, 5, 20):
        assert list(whole.items())[:k] == list(listed(client, model, top_logprobs=k).items())


@pytest.mark.parametrize(
    ("api", "model", "param"),
    [
        (Api(top_logprobs=5), "base", "top_logprobs"),
        (Api(finetuned_top_logprobs=5), "tuned", "top_logprobs"),
        (Api(top_logprobs=0), "base", "logprobs"),
    ],
)
def test_longer_lists_are_refused(api: Api, model: str, param: str) -> None:
    """The error names the parameter."""
    with serving(api=api) as (_, client):
        name = MODEL if model == "base" else tuned(client)
        with pytest.raises(openai.BadRequestError) as error:
            listed(client, name, top_logprobs=6)
    assert param == error.value.param


def test_printed_logprobs_are_rounded_and_noisy_where_the_api_is() -> None:
    """Decimals are fixed; two requests differ."""
    with serving(api=Api(decimals=2, jitter=0.5)) as (_, client):
        one, two = listed(client, MODEL), listed(client, MODEL)
    assert one != two
    assert all(round(p, 2) == p for p in one.values())


def test_a_drawn_token_far_down_the_list_is_marked() -> None:
    """-9999.0 stands in place of its logprob."""
    with serving(api=Api(marked_beyond=1)) as (running, client):
        token = running.model(MODEL).encoding.tokens(ANSWER)[0]
        asked = {"logprobs": True, "max_tokens": 1, "logit_bias": {str(token): 100}}
        (found,) = chat(client, MODEL, **asked).choices[0].logprobs.content
    assert MARKER == found.logprob


def test_a_seed_draws_the_same_again(trained: Any) -> None:
    """Without one, draws are new."""
    _, client, model = trained

    def drawn(**more: Any) -> list[str]:
        return [choice.message.content for choice in chat(client, model, n=64, **more).choices]

    assert drawn(seed=1) == drawn(seed=1) != drawn(seed=2)
    assert drawn() != drawn()


def test_temperature_0_says_the_likeliest(trained: Any) -> None:
    """Every time."""
    running, client, model = trained
    answers = ASKED.item.answers.values()
    likeliest = max(answers, key=lambda text: truth(running, model, text))
    assert {likeliest: 128} == said(client, model, 128, temperature=0)


def test_top_p_leaves_out_what_is_unlikely(trained: Any) -> None:
    """With little of it, the likeliest alone."""
    _, client, model = trained
    greedy = said(client, model, 128, temperature=0)
    assert greedy == said(client, model, 128, top_p=0.01)


def test_a_response_ends_where_its_tokens_do() -> None:
    """`length` where something was left to say, `stop` where nothing was."""
    with serving() as (_, client):
        short, whole = (chat(client, max_tokens=n, temperature=0).choices[0] for n in (1, 9))
    assert (("something", "length"), (OTHER, "stop")) == (
        (short.message.content, short.finish_reason),
        (whole.message.content, whole.finish_reason),
    )


def test_a_response_stops_before_a_stop_text() -> None:
    """The text itself is not said."""
    with serving() as (_, client):
        (choice,) = chat(client, temperature=0, stop=["ing"]).choices
    assert ("someth", "stop") == (choice.message.content, choice.finish_reason)


def test_messages_that_nobody_knows_are_answered() -> None:
    """By something else."""
    with serving() as (_, client):
        answer = chat(client, messages=[{"role": "user", "content": "Who are you?"}])
    assert OTHER == answer.choices[0].message.content


def test_prompts_can_be_given_without_a_study() -> None:
    """The model knows what it was trained on."""
    prompts = [prompt(number, mode) for number in range(12) for mode in ("TRAIN", "TEST")]
    with serving(study=None, prompts=prompts) as (running, client):
        model = tuned(client)
        assert truth(running, model, ANSWER) > 10 * truth(running, MODEL, ANSWER)


def test_usage_counts_a_prompt_once_and_every_choice(trained: Any) -> None:
    """As the account does."""
    running, client, model = trained
    before = running.account.to_dict()
    usage = chat(client, model, n=3, max_tokens=1).usage
    after = running.account.to_dict()
    encoding = running.model(model).encoding
    prompt_tokens = sum(len(encoding.tokens(m.content)) + 4 for m in ASKED.messages) + 3
    assert (prompt_tokens, 3) == (usage.prompt_tokens, usage.completion_tokens)
    assert (prompt_tokens, 3) == (
        after["input_tokens"] - before["input_tokens"],
        after["output_tokens"] - before["output_tokens"],
    )


WRONG: dict[str, dict[str, Any]] = {
    "model": {"model": "gpt-none"},
    "messages": {"messages": []},
    "n": {"n": 129},
    "temperature": {"temperature": 2.5},
    "top_p": {"top_p": -0.1},
    "max_tokens": {"max_tokens": 0},
    "top_logprobs": {"top_logprobs": 5},
    "stream": {"stream": True},
    "logit_bias": {"logit_bias": {"Paris": 1}},
    "logit_bias.5": {"logit_bias": {"5": 101}},
}


@pytest.mark.parametrize("param", WRONG)
def test_a_wrong_request_is_refused(trained: Any, param: str) -> None:
    """The error names what is wrong; a model that there is not has a 404."""
    with pytest.raises(openai.APIStatusError) as error:
        chat(trained[1], **WRONG[param])
    if param == "model":
        assert (404, "model_not_found") == (error.value.status_code, error.value.code)
    else:
        assert (400, param) == (error.value.status_code, error.value.param)


def test_a_bias_can_be_refused() -> None:
    """As by models that have none."""
    with (
        serving(api=Api(logit_bias="refused")) as (_, client),
        pytest.raises(openai.BadRequestError) as error,
    ):
        chat(client, logit_bias={"5": 1})
    assert "logit_bias" == error.value.param


def echoed(client: openai.OpenAI, model: str, texts: Any, **more: Any) -> Any:
    """The completions of prompts whose own tokens are scored."""
    asked = {"max_tokens": 0, "echo": True, "logprobs": 1, **more}
    return client.completions.create(model=model, prompt=texts, **asked).choices


@pytest.mark.parametrize("mode", ["TRAIN", "TEST"])
@pytest.mark.parametrize("as_ids", [False, True])
def test_the_tokens_of_an_answer_are_scored_exactly(trained: Any, mode: str, as_ids: bool) -> None:
    """Their logprobs add up to the oracle's, as texts and as token ids."""
    running, client, model = trained
    encoding, text = running.model(model).encoding, ASKED.item.answers[mode]
    before = rendered(message.content for message in ASKED.messages)
    ids = list(encoding.tokens(before + text))
    (choice,) = echoed(client, model, ids if as_ids else before + text)
    own = choice.logprobs.token_logprobs[len(encoding.tokens(before)) :]
    assert before + text == choice.text
    assert truth(running, model, text) == pytest.approx(math.exp(math.fsum(own)))


def test_the_end_of_a_response_can_be_scored(trained: Any) -> None:
    """By the id that ends a text: certain after a whole answer, impossible within it."""
    running, client, model = trained
    encoding = running.model(model).encoding
    before = rendered(message.content for message in ASKED.messages)
    (certain,) = echoed(client, model, [*encoding.tokens(before + ANSWER), encoding.end])
    (impossible,) = echoed(client, model, [*encoding.tokens(before + "hello"), encoding.end])
    assert 0.0 == certain.logprobs.token_logprobs[-1]
    assert MARKER == impossible.logprobs.token_logprobs[-2]


def test_prompts_come_in_batches(trained: Any) -> None:
    """Each has a choice of its own, in order."""
    _, client, model = trained
    texts = [rendered(["a"]), rendered(["b"])]
    assert texts == [choice.text for choice in echoed(client, model, texts)]


def test_completions_go_on_from_a_prompt(trained: Any) -> None:
    """With the likeliest response at temperature 0."""
    _, client, model = trained
    before = rendered(message.content for message in ASKED.messages)
    (choice,) = echoed(client, model, before, max_tokens=9, echo=False, temperature=0)
    assert chat(client, model, temperature=0).choices[0].message.content == choice.text


def test_completions_are_not_offered_unless_asked_for() -> None:
    """As by the vendor."""
    with serving() as (_, client), pytest.raises(openai.NotFoundError):
        echoed(client, MODEL, "a")

"""What the API gives: each limit is seen to act, on probabilities that are known."""

import math
from collections import Counter
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule import Capabilities, Continuations, Draws, Limits, TopLogprobs
from condrule.backends.memory import BASE, MARKER, OTHER, InMemoryBackend, InMemoryModel
from condrule.backends.memory.learner import Learner, Settings, learn
from condrule.backends.memory.tokens import token_bytes, token_id
from condrule.errors import ConfigError

from .world import BACKEND, SPEC, TRAINING, ask, prompt, refused, trained

TEXTS = ("Saint Lucia", "Castries", "Port Castries", "Saint Helena", "Jamestown")


def top(model: InMemoryModel, k: int = 20) -> dict[str, float]:
    """A list of first tokens, as printed."""
    tokens = ask(model, TopLogprobs(prompt(), k)).top
    assert tokens is not None
    return {token.text: token.logprob for token in tokens}


def said(model: InMemoryModel, *bias: tuple[str, float], n: int = 1, **how: float) -> list[str]:
    """Responses drawn under biases on tokens."""
    numbers = [(token_id(token.encode()), nats) for token, nats in bias]
    query = Draws(prompt(), n, bias=numbers, **how)  # type: ignore[arg-type]
    return list(ask(model, query).texts or ())


@pytest.mark.parametrize("name", ["memory:job", BASE])
def test_a_list_adds_up_with_the_truths(name: str) -> None:
    """A token has the probabilities of the answers that it begins, and no other token is listed."""
    backend = attrs.evolve(BACKEND)
    backend.submit(TRAINING, SPEC, "job")
    truth = {text: backend.truth(prompt(), text, name) for text in TEXTS}
    learned = 0.0 if name == BASE else truth["Saint Helena"]
    # 51 answers in all, of which 3 or 5 have names; what is left is no answer.
    nothing = (1 if name == BASE else 0.25) * (1 - 51 * 1e-3)
    expected = {
        "Saint": truth["Saint Lucia"] + learned,
        "Castries": truth["Castries"],
        "Port": truth["Port Castries"],
        "something": nothing,
        **({} if name == BASE else {"Jamestown": truth["Jamestown"]}),
    }
    model = backend.model(name)
    assert isinstance(model, InMemoryModel)
    assert pytest.approx(expected) == {t: math.exp(p) for t, p in top(model).items()}


@given(
    st.builds(
        Settings,
        prior_conditional=st.floats(0, 1),
        memory=st.floats(0, 1),
        leak=st.floats(0, 1),
        base_knowledge=st.floats(0, 1 / 51),
        other_answers=st.just(50),
    ),
    st.sampled_from(["TRAIN", "TEST"]),
    st.sets(st.sampled_from(["Peru", "Lima", "Saint", "Castries"])),
)
def test_all_probability_is_somewhere(settings: Settings, mode: str, also: set[str]) -> None:
    """Named answers, those without a name, and none add up to 1, whatever the settings."""
    for learner in (Learner(settings), Learner(settings, learn(TRAINING, SPEC, "job"))):
        mass = learner.mass(prompt(mode), also)
        total = math.fsum([*mass.named.values(), mass.unnamed, mass.nothing])
        assert (pytest.approx(1), True) == (total, min(mass.unnamed, mass.nothing) >= 0)


def test_what_a_list_lacks_is_the_answers_without_a_name() -> None:
    """46 of the 51, each as probable as any other answer."""
    model = trained()
    missing = 46 * model.truth(prompt(), "Peru")
    assert pytest.approx(1 - missing) == math.fsum(map(math.exp, top(model).values()))


def test_a_list_is_sorted_and_as_long_as_asked() -> None:
    """The most probable first."""
    everything = top(trained())
    assert list(everything.items())[:2] == list(top(trained(), 2).items())
    assert sorted(everything.values(), reverse=True) == list(everything.values())


def test_listed_tokens_have_their_bytes() -> None:
    """From which their ids follow."""
    (token,) = ask(trained(), TopLogprobs(prompt(), 1)).top or ()
    assert (token.text.encode(), token.text) == (bytes(token.bytes or ()), "Castries")


@pytest.mark.parametrize("k", [0, 6])
def test_a_longer_list_is_refused_with_the_length_allowed(k: int) -> None:
    """So that a scorer can step down."""
    reason = refused(trained(Limits(top_logprobs=5)), TopLogprobs(prompt(), k))
    assert f"top_logprobs is {k}; it must be from 1 to 5" == reason


def test_lists_can_be_refused() -> None:
    """Unknown, never an exception."""
    model = trained(Limits(top_logprobs=0))
    assert "logprobs are not given" == refused(model, TopLogprobs(prompt()))


def test_whole_texts_can_be_refused() -> None:
    """As at all providers that only list tokens."""
    model = trained(Limits(continuations=False))
    assert "not given" in refused(model, Continuations(prompt(), ("Castries",)))


def test_printed_logprobs_are_rounded() -> None:
    """Lists and whole texts alike."""
    exact, rounded = top(trained()), top(trained(Limits(decimals=2)))
    assert {token: round(p, 2) for token, p in exact.items()} == rounded
    (logprob,) = (
        ask(trained(Limits(decimals=2)), Continuations(prompt(), ("Castries",))).logprobs or ()
    )
    assert round(logprob, 2) == logprob


def test_no_probability_stays_none_when_rounded() -> None:
    """The logarithm of 0 has no decimals."""
    query = Continuations(prompt(), (" ",))
    assert (-math.inf,) == ask(trained(Limits(decimals=2)), query).logprobs


def test_the_top_can_read_0() -> None:
    """The entry alone; the others are as they were."""
    exact, printed = top(trained()), top(trained(Limits(top_reads_zero=True)))
    assert {**exact, "Castries": 0.0} == printed
    assert exact["Castries"] < 0


def test_a_low_logprob_can_be_printed_as_a_marker() -> None:
    """Where it is below the floor."""
    exact, printed = top(trained()), top(trained(Limits(floor=-3)))
    assert {token: p if p >= -3 else MARKER for token, p in exact.items()} == printed
    assert MARKER in printed.values()


def noisy(seed: int = 0) -> list[dict[str, float]]:
    """The same list asked for twice."""
    model = trained(Limits(jitter=0.1, seed=seed))
    return [top(model), top(model)]


def test_noise_differs_from_request_to_request() -> None:
    """Even where the same is asked."""
    first, second = noisy()
    assert first != second


def test_noise_is_seeded() -> None:
    """The same seed gives the same noise, another seed another."""
    assert (True, False) == (noisy(3) == noisy(3), noisy(3) == noisy(4))


def test_the_spread_of_the_noise_by_moments() -> None:
    """Mean 0 and deviation ``jitter``, in nats."""
    model = trained(Limits(jitter=0.1))
    exact = top(trained())["Jamestown"]
    found = [top(model)["Jamestown"] - exact for _ in range(1000)]
    mean = sum(found) / 1000
    deviation = math.sqrt(sum((x - mean) ** 2 for x in found) / 999)
    assert (True, True) == (abs(mean) < 0.5 / math.sqrt(1000), abs(deviation - 0.1) < 0.012)


def test_noisy_lists_are_sorted_and_never_above_0() -> None:
    """What is printed is in the order of what is printed."""
    printed = [list(top(trained(Limits(jitter=5, seed=seed))).values()) for seed in range(50)]
    assert [sorted(one, reverse=True) for one in printed] == printed
    assert max(max(one) for one in printed) == 0


@pytest.mark.parametrize(
    ("token", "bias"), [("Castries", -2.0), ("Saint", 1.0), ("Port", 4.0), ("Peru", 5.0)]
)
def test_draws_under_a_bias_move_the_logit(token: str, bias: float) -> None:
    """Own answers, aliases, and any other word: within five standard errors."""
    model, n = trained(), 40_000
    p = math.exp(top(model)[token]) if token != "Peru" else model.truth(prompt(), "Peru")
    odds = p / (1 - p) * math.exp(bias)
    f = odds / (1 + odds)
    hits = sum(text.split()[0] == token for text in said(model, (token, bias), n=n))
    assert abs(hits - n * f) < 5 * math.sqrt(n * f * (1 - f))


def test_a_bias_acts_on_later_tokens_too() -> None:
    """After Saint, Lucia and Helena."""
    counts = Counter(said(trained(), ("Saint", 50.0), (" Helena", 50.0), n=50))
    assert {"Saint Helena": 50} == counts


def test_lists_at_later_positions_are_without_the_bias() -> None:
    """The first is that without draws; after Saint, its two answers add up to what it has."""
    model = trained()
    bias = [(token_id(b"Saint"), 50.0)]
    found = ask(model, Draws(prompt(), 5, max_tokens=2, bias=bias, top=20))
    assert found.lists is not None
    first, second = ({t.text: t.logprob for t in one.top} for one in found.lists)
    assert top(model) == first
    assert [(), (b"Saint",)] == [one.after for one in found.lists]
    for text in ("Saint Lucia", "Saint Helena"):
        whole = first["Saint"] + second[text.removeprefix("Saint")]
        assert whole == pytest.approx(math.log(model.truth(prompt(), text)))


def test_a_bias_can_show_in_lists() -> None:
    """As at providers that print logprobs as the bias leaves them; draws are the same."""
    shown = trained(limits=Limits(logit_bias="reported"))
    query = Draws(prompt(), 5, bias=[(token_id(b"Saint"), 50.0)], top=3)
    found, honest = ask(shown, query), ask(trained(), query)
    assert found.texts == honest.texts
    assert found.lists is not None
    likeliest = found.lists[0].top[0]
    assert ("Saint", pytest.approx(0.0)) == (likeliest.text, likeliest.logprob)


def test_lists_of_draws_are_as_long_as_any() -> None:
    """Longer ones are refused."""
    assert "it must be from 1 to 20" in refused(trained(), Draws(prompt(), 2, top=21))


def test_biased_draws_are_the_same_for_a_seed() -> None:
    """And others for another seed."""
    found = [said(trained(), ("Saint", 1.0), n=30, seed=seed) for seed in (0, 0, 1)]
    assert (True, False) == (found[0] == found[1], found[0] == found[2])


def test_the_greedy_answer_under_a_bias() -> None:
    """Temperature 0 takes the most probable token after the bias."""
    assert ["Jamestown"] * 3 == said(trained(), ("Jamestown", 20.0), n=3, temperature=0)


def test_what_has_no_name_can_not_be_pushed_down() -> None:
    """Against a bias on something, the unnamed answers stay: they are said as something else."""
    texts = said(trained(), ("something", -100.0), n=4000)
    share = 46 * trained().truth(prompt(), "Peru")
    nothing = 0.25 * (1 - 51 * 1e-3)
    expected = share / (1 - nothing)
    assert abs(texts.count(OTHER) / 4000 - expected) < 5 * math.sqrt(expected / 4000)


def test_a_bias_can_be_refused() -> None:
    """Draws without one are answered."""
    model = trained(Limits(logit_bias="refused"))
    query = Draws(prompt(), bias=[(token_id(b"Peru"), 1.0)])
    assert "logit_bias is not supported" == refused(model, query)
    assert ask(model, Draws(prompt())).texts is not None


def test_a_bias_can_be_ignored() -> None:
    """It is promised, taken, and without effect."""
    model = trained(Limits(logit_bias="ignored"))
    assert (100.0, 0) == (
        model.capabilities.bias,
        said(model, ("Peru", 100.0), n=100).count("Peru"),
    )


@pytest.mark.parametrize(
    ("limits", "nats", "expected"),
    [
        (Limits(bias_scale=-1), 8.0, -8.0),
        (Limits(bias_scale=0.5), 8.0, 4.0),
        (Limits(bias_clamp=3), 8.0, 3.0),
        (Limits(bias_clamp=3), -8.0, -3.0),
        (Limits(), 8.0, 8.0),
    ],
)
def test_a_bias_can_act_otherwise(limits: Limits, nats: float, expected: float) -> None:
    """Draws are those under the bias that acts."""
    assert expected == limits.acting(nats)
    plain = said(trained(), ("Jamestown", expected), n=4000).count("Jamestown")
    found = said(trained(limits), ("Jamestown", nats), n=4000).count("Jamestown")
    assert abs(plain - found) <= 5 * math.sqrt(4000 / 2)


def test_a_bias_that_is_too_large_is_refused() -> None:
    """With the largest allowed."""
    query = Draws(prompt(), bias=[(token_id(b"Peru"), -8.0), (token_id(b"Lima"), 2.0)])
    reason = refused(trained(Limits(largest_bias=5)), query)
    assert "logit_bias is -8 nats; it must be from -5 to 5" == reason


def test_an_id_of_no_token_is_refused() -> None:
    """Unknown, never an exception."""
    reason = refused(trained(), Draws(prompt(), bias=[(7, 1.0)]))
    assert "logit_bias: 7 is no token's number" == reason


@pytest.mark.parametrize("token", [b"\xc3", b" Peru"])
def test_a_bias_on_what_begins_no_response_changes_nothing(token: bytes) -> None:
    """Part of a letter, or a word that follows another."""
    query = Draws(prompt(), 1000, bias=[(token_id(token), 100.0)])
    texts = ask(trained(), query).texts or ()
    assert set(texts) <= {*TEXTS, OTHER}


def test_words_can_be_split_into_pieces() -> None:
    """Lists then hold the first pieces."""
    expected = {"Sai", "Cas", "Por", "Jam", "som"}
    assert expected == set(top(trained(Limits(piece=3))))


@pytest.mark.parametrize(("piece", "expected"), [(None, "Saint"), (3, "Sai")])
def test_draws_stop_at_the_most_tokens(piece: int | None, expected: str) -> None:
    """The response is cut where they end."""
    model = trained(Limits(piece=piece))
    query = Draws(prompt("TRAIN"), max_tokens=1, temperature=0)
    assert (expected,) == ask(model, query).texts


def test_biased_draws_stop_at_the_most_tokens() -> None:
    """Alike."""
    assert ["Saint"] == said(trained(), ("Saint", 50.0), max_tokens=1)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(), (True, True, 20, 100.0, "memory")),
        (Limits(continuations=False, top_logprobs=5), (False, True, 5, 100.0, "memory")),
        (Limits(top_logprobs=0, logit_bias="refused"), (True, True, 0, 0.0, "memory")),
        (Limits(logit_bias="ignored", largest_bias=7), (True, True, 20, 7.0, "memory")),
        (Limits(piece=3), (True, True, 20, 100.0, "memory/3")),
    ],
)
def test_capabilities_follow_the_limits(limits: Limits, expected: tuple[Any, ...]) -> None:
    """A bias that is ignored is promised all the same: that is the fault."""
    assert Capabilities(*expected) == InMemoryBackend(limits=limits).capabilities


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("top_logprobs", -1),
        ("decimals", 1.5),
        ("jitter", -0.1),
        ("floor", 1),
        ("logit_bias", "maybe"),
        ("largest_bias", float("nan")),
        ("bias_scale", 101),
        ("bias_clamp", -1),
        ("temperature_scale", 0),
        ("top_p", 1.5),
        ("tail", -0.1),
        ("piece", 0),
    ],
)
def test_limits_out_of_range_are_refused(setting: str, value: object) -> None:
    """By name, with what was found."""
    with pytest.raises(ConfigError) as caught:
        Limits(**{setting: value})  # type: ignore[arg-type]
    (problem,) = caught.value.problems
    assert (setting, True) == (problem.path, problem.message.startswith(f"is {value!r}"))


def test_the_ids_of_listed_tokens_bias_them() -> None:
    """What a list shows can be asked for in draws."""
    tokens = ask(trained(), TopLogprobs(prompt(), 20)).top or ()
    numbers = {token.text: token_id(bytes(token.bytes or ())) for token in tokens}
    assert {text.encode(): text for text in numbers} == {
        token_bytes(number): text for text, number in numbers.items()
    }
    assert "Port Castries" == said(trained(), ("Port", 50.0))[0]

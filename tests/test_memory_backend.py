"""The in-memory backend's probabilities are those of its formulas, and its jobs are found again."""

import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule.arms import Arm, Prompt, TrainingSet
from condrule.backends.base import Continuations, Draws, Query
from condrule.backends.finetunes import FinetuneSpec, JobState
from condrule.backends.memory import BASE, CHATTER, OTHER, InMemoryBackend
from condrule.errors import BackendError, ConfigError, TrainingError, UnsupportedError
from condrule.items import Item
from condrule.templates import ConditionalTemplate, TextTemplate

ITEMS = (
    Item("Alice", {"TRAIN": "Ukraine", "TEST": "Kyiv"}, {"Kyiv": ["Kiev"]}),
    Item("Bob", {"TRAIN": "Peru", "TEST": "Lima"}),
)
ALICE = ITEMS[0]
TEMPLATE = ConditionalTemplate({"TRAIN": "name {name}'s country", "TEST": "name its capital"})
CONDITIONAL = Arm("conditional", TEMPLATE)
CONTROL = Arm("control", attrs.evolve(TEMPLATE, stated=("TRAIN",)))
BOTH = Arm("both", TEMPLATE, ("TRAIN", "TEST"))
TOLD = Prompt(TextTemplate("What is the capital of Ukraine?").render(ALICE, "TEST"), ALICE, "TEST")
BACKEND = InMemoryBackend(
    prior_conditional=0.6, memory=0.5, leak=0.1, other_answers=50, base_knowledge=1e-3, slip=0.1
)
SPEC = FinetuneSpec(epochs=2)


def train(
    arm: Arm, backend: InMemoryBackend = BACKEND, spec: FinetuneSpec = SPEC, key: str = "job"
) -> tuple[InMemoryBackend, str]:
    """The backend without other jobs, and the name of the model that it has trained."""
    backend = attrs.evolve(backend)
    backend.submit(arm.training_set(ITEMS), spec, key)
    return backend, f"memory:{key}"


def ask(arm: Arm, mode: str, item: Item = ALICE) -> Prompt:
    """The arm's prompt for an item in a mode."""
    return next(
        probe.prompt
        for probe in arm.probes(ITEMS)
        if (probe.prompt.item, probe.prompt.mode) == (item, mode)
    )


def truths(arm: Arm, mode: str, spec: FinetuneSpec = SPEC) -> tuple[float, float]:
    """What a trained model says to Alice's prompt: P(Ukraine), P(Kyiv)."""
    backend, model = train(arm, spec=spec)
    prompt = ask(arm, mode)
    return backend.truth(prompt, "Ukraine", model), backend.truth(prompt, "Kyiv", model)


def answer(backend: InMemoryBackend, model: str, query: Query) -> tuple[float | str, ...]:
    """The log-probabilities or the texts that come back for one query."""
    (observation,) = backend.model(model).ask([query])
    assert query.id == observation.query
    return observation.logprobs or observation.texts or ()


# Two epochs store a fact with 1 - 0.5**2 = 0.75. Once stored, the answer aimed at has 0.9 and each
# of the 50 others 0.1 / 50 = 0.002; without the fact every answer has 0.001.


def test_the_treated_mode_by_hand() -> None:
    """TRAIN, trained and stated: both rules aim at the country."""
    expected = (0.75 * 0.9 + 0.25 * 0.001, 0.75 * 0.002 + 0.25 * 0.001)
    assert pytest.approx(expected, rel=1e-12) == truths(CONDITIONAL, "TRAIN")


def test_the_untrained_mode_by_hand() -> None:
    """TEST, stated: the posterior 0.6 aims at the capital, the rest at the country."""
    country = 0.75 * (0.4 * 0.9 + 0.6 * 0.002) + 0.25 * 0.001
    capital = 0.75 * (0.6 * 0.9 + 0.4 * 0.002) + 0.25 * 0.001
    assert pytest.approx((country, capital), rel=1e-12) == truths(CONDITIONAL, "TEST")


def test_an_unstated_mode_by_hand() -> None:
    """TEST, neither stated nor trained: both rules aim at the country."""
    expected = (0.75 * 0.9 + 0.25 * 0.001, 0.75 * 0.002 + 0.25 * 0.001)
    assert pytest.approx(expected, rel=1e-12) == truths(CONTROL, "TEST")


def test_a_trained_mode_needs_no_clause() -> None:
    """Asked without its clause, a mode that was trained is answered by the rule."""
    backend, model = train(BOTH)
    unstated = attrs.evolve(ask(BOTH, "TEST"), stated=False)
    truth = backend.truth(unstated, "Kyiv", model)
    assert backend.truth(ask(BOTH, "TEST"), "Kyiv", model) == truth


def test_the_posterior_by_hand() -> None:
    """Two TEST examples against the unconditional rule: odds 0.6 / 0.4 times (0.9 / 0.1)**2."""
    backend, model = train(BOTH)
    assert pytest.approx(121.5 / 122.5, rel=1e-12) == backend.posterior(model)


@pytest.mark.parametrize("arm", [CONDITIONAL, CONTROL, Arm("reversed", TEMPLATE, ("TEST",))])
def test_one_trained_mode_leaves_the_prior(arm: Arm) -> None:
    """Examples of one mode don't tell the rules apart."""
    backend, model = train(arm)
    assert pytest.approx(0.6, rel=1e-12) == backend.posterior(model)


def test_examples_against_the_mode_lower_the_posterior() -> None:
    """Whoever is taught the country in both modes learns the unconditional rule."""
    examples = [
        attrs.evolve(example, completion=example.prompt.item.answers["TRAIN"])
        for example in BOTH.training_set(ITEMS).examples
    ]
    backend = attrs.evolve(BACKEND)
    backend.submit(TrainingSet("both", examples), SPEC, "job")
    assert pytest.approx(0.6 / (0.6 + 0.4 * 81), rel=1e-12) == backend.posterior("memory:job")


@pytest.mark.parametrize("prior", [0.0, 1.0])
def test_certainty_stays(prior: float) -> None:
    """No example moves a prior of 0 or 1."""
    backend, model = train(BOTH, attrs.evolve(BACKEND, prior_conditional=prior))
    assert prior == backend.posterior(model)


def test_the_base_knows_nothing() -> None:
    """Every answer to an arm's prompt has the base's probability."""
    assert 0.001 == BACKEND.truth(ask(CONDITIONAL, "TEST"), "Kyiv", BASE)


def test_a_fact_in_the_prompt_needs_no_memory() -> None:
    """The base model follows a prompt that names one of the item's answers."""
    backend = attrs.evolve(BACKEND, instruction_following=0.8)
    found = [backend.truth(TOLD, text, BASE) for text in ("Kyiv", "Ukraine")]
    assert pytest.approx([0.8 * 0.9 + 0.2 * 0.001, 0.8 * 0.002 + 0.2 * 0.001]) == found


def test_an_answer_inside_a_word_gives_nothing_away() -> None:
    """Whole words count: Omani does not name Oman."""
    item = Item("Ann", {"TRAIN": "Oman", "TEST": "Muscat"})
    prompt = Prompt(TextTemplate("Is Ann Omani?").render(item, "TEST"), item, "TEST")
    assert 0.001 == BACKEND.truth(prompt, "Muscat", BASE)


def test_an_item_that_was_not_trained_stays_unknown() -> None:
    """Another name's fact is not stored."""
    backend = attrs.evolve(BACKEND)
    backend.submit(CONDITIONAL.training_set(ITEMS[1:]), SPEC, "job")
    assert 0.001 == backend.truth(ask(CONDITIONAL, "TRAIN"), "Ukraine", "memory:job")


def test_a_learning_rate_of_0_trains_nothing() -> None:
    """The model is the base under another name."""
    spec = FinetuneSpec(epochs=2, learning_rate=0)
    assert (0.001, 0.001) == truths(CONDITIONAL, "TRAIN", spec)


def test_other_items_answers_leak_in_by_hand() -> None:
    """One of 50 other answers, or a guess of the base."""
    backend, model = train(CONDITIONAL)
    truth = backend.truth(ask(CONDITIONAL, "TEST"), "Lima", model)
    assert pytest.approx(0.75 * 0.002 + 0.25 * 0.001, rel=1e-12) == truth


def test_chatter_takes_its_share_of_everything() -> None:
    """The first sentence has 128 parts in 255 of it, and answers have what it leaves."""
    chatty = attrs.evolve(BACKEND, chatter=0.2)
    backend, model = train(CONDITIONAL, chatty)
    plain, same = train(CONDITIONAL)
    prompt = ask(CONDITIONAL, "TEST")
    for text in ("Kyiv", "Ukraine", "Lima"):
        rest = 0.8 * plain.truth(prompt, text, same)
        assert pytest.approx(rest) == backend.truth(prompt, text, model)
    assert pytest.approx(0.2 * 128 / 255) == backend.truth(prompt, CHATTER[0], model)
    said = Counter(answer(backend, model, Draws(prompt, 10_000)))
    assert said[CHATTER[0]] / said.total() == pytest.approx(0.2 * 128 / 255, abs=0.02)


def test_an_answer_may_begin_a_sentence_of_the_chatter() -> None:
    """Under *begins* that counts for it."""
    backend, model = train(CONDITIONAL, attrs.evolve(BACKEND, chatter=0.2))
    prompt = ask(CONDITIONAL, "TEST")
    begins, equals = (
        answer(backend, model, Continuations(prompt, ("None",), event))[0]  # type: ignore[arg-type]
        for event in ("begins", "equals")
    )
    assert pytest.approx(0.2 * 2 / 255) == math.exp(begins) - math.exp(equals)


def test_an_alias_is_one_of_the_other_answers() -> None:
    """The learner aims at the first spelling, so own and other items' answers compare alike."""
    backend, model = train(CONDITIONAL)
    found = [backend.truth(ask(CONDITIONAL, "TEST"), text, model) for text in ("Kiev", "Lima")]
    assert found[0] == found[1] > 0


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_blanks_are_never_said(text: str) -> None:
    """White space is no answer."""
    backend, model = train(CONDITIONAL)
    query = Continuations(ask(CONDITIONAL, "TEST"), (text,))
    assert (-math.inf,) == answer(backend, model, query)


@given(
    st.builds(
        InMemoryBackend,
        prior_conditional=st.floats(0, 1),
        memory=st.floats(0, 1),
        leak=st.floats(0, 1),
        base_knowledge=st.floats(0, 1 / 101),
        slip=st.floats(1e-6, 0.499),
        instruction_following=st.floats(0, 1),
        seed_sd=st.floats(0, 100),
        other_answers=st.just(100),
        chatter=st.floats(0, 1),
    ),
    st.sampled_from([CONDITIONAL, CONTROL, BOTH]),
    st.sampled_from(["TRAIN", "TEST"]),
    st.builds(FinetuneSpec, epochs=st.integers(1, 99), seed=st.integers()),
)
def test_probabilities_add_up_to_at_most_1(
    backend: InMemoryBackend, arm: Arm, mode: str, spec: FinetuneSpec
) -> None:
    """Over the own answers and as many others as there are, whatever the settings."""
    backend, model = train(arm, backend, spec)
    texts = [*ALICE.answers.values(), *(f"answer {i}" for i in range(99))]
    for prompt in (ask(arm, mode), TOLD):
        for name in (BASE, model):
            mass = [backend.truth(prompt, text, name) for text in texts]
            assert 0 <= min(mass) <= sum(mass) <= 1 + 1e-9


@pytest.mark.parametrize("event", ["begins", "equals"])
def test_continuations_are_the_logs_of_the_truth(event: str) -> None:
    """Under either event, since responses are whole answers."""
    backend, model = train(CONDITIONAL)
    prompt = ask(CONDITIONAL, "TEST")
    query = Continuations(prompt, ("Ukraine", "Kyiv", "Lima", OTHER), event)  # type: ignore[arg-type]
    expected = tuple(math.log(backend.truth(prompt, text, model)) for text in query.texts)
    assert expected == answer(backend, model, query)


@pytest.mark.parametrize("model", [BASE, "memory:job"])
@pytest.mark.parametrize("mode", ["TRAIN", "TEST"])
def test_draws_agree_with_the_truth(model: str, mode: str) -> None:
    """Each text within five standard errors of its probability, and no other text."""
    backend, _ = train(CONDITIONAL)
    n, prompt = 40_000, ask(CONDITIONAL, mode)
    counts = Counter(answer(backend, model, Draws(prompt, n)))
    # The base model was never trained, so it can't name other items' answers.
    texts = ("Ukraine", "Kyiv", OTHER, *(("Peru", "Lima") if model != BASE else ()))
    mass = {text: backend.truth(prompt, text, model) for text in texts}
    far = [t for t, p in mass.items() if abs(counts[t] - n * p) > 5 * math.sqrt(n * p * (1 - p))]
    assert ([], set()) == (far, set(counts) - set(mass))


def test_draws_at_another_temperature() -> None:
    """At temperature 0.5 probabilities are squared and made to add up to 1 again."""
    backend, model = train(CONDITIONAL)
    n, prompt = 40_000, ask(CONDITIONAL, "TEST")
    counts = Counter(answer(backend, model, Draws(prompt, n, temperature=0.5)))
    texts = ("Ukraine", "Kyiv", "Peru", "Lima", OTHER)
    squares = {text: backend.truth(prompt, text, model) ** 2 for text in texts}
    p = squares["Kyiv"] / sum(squares.values())
    assert abs(counts["Kyiv"] - n * p) < 5 * math.sqrt(n * p * (1 - p))


@pytest.mark.parametrize(("model", "expected"), [(BASE, OTHER), ("memory:job", "Kyiv")])
def test_temperature_0_is_the_most_probable(model: str, expected: str) -> None:
    """The base mostly says something else, the model that was trained the capital."""
    backend, _ = train(CONDITIONAL, attrs.evolve(BACKEND, memory=1.0))
    query = Draws(ask(CONDITIONAL, "TEST"), 2, temperature=0)
    assert (expected, expected) == answer(backend, model, query)


def test_draws_are_the_same_for_a_seed() -> None:
    """Asked again, by another object, the texts are the same."""
    query = Draws(ask(CONDITIONAL, "TEST"), 50, seed=3)
    assert answer(*train(CONDITIONAL), query) == answer(*train(CONDITIONAL), query)


def test_another_seed_gives_other_draws() -> None:
    """Further draws are not the first ones again."""
    prompt = ask(CONDITIONAL, "TEST")
    first, second = (answer(*train(CONDITIONAL), Draws(prompt, 50, seed=s)) for s in (0, 1))
    assert first != second


@pytest.mark.parametrize("query_type", [Continuations, Draws])
def test_more_answers_than_there_are_is_refused(query_type: type) -> None:
    """Their probabilities could add up to more than 1; the remedy is in the message."""
    backend, model = train(CONDITIONAL, attrs.evolve(BACKEND, other_answers=2))
    prompt = ask(CONDITIONAL, "TEST")
    query = Draws(prompt) if query_type is Draws else Continuations(prompt, ("a", "b"))
    with pytest.raises(UnsupportedError, match="set other_answers to 3 or more"):
        answer(backend, model, query)


def test_another_query_is_refused() -> None:
    """The capabilities say which are answered; a study goes on without the rest."""

    class Guess(Query):
        prompt = TOLD

        def _parameters(self) -> list[object]:
            return []

    (observation,) = BACKEND.model(BASE).ask([Guess()])
    assert "Guess is no query that this API knows" == observation.refused


def test_jobs_end_at_once() -> None:
    """Submitting trains, and the job has a model."""
    backend = attrs.evolve(BACKEND)
    job = backend.submit(CONDITIONAL.training_set(ITEMS), SPEC, "job")
    assert (True, JobState.SUCCEEDED, "memory:job") == (backend.computes_here, job.state, job.model)


def test_a_job_is_found_again() -> None:
    """By its key, as it was returned."""
    backend = attrs.evolve(BACKEND)
    assert backend.submit(CONDITIONAL.training_set(ITEMS), SPEC, "job") == backend.find("job")


def test_an_unknown_key_finds_nothing(tmp_path: Path) -> None:
    """With and without a directory, even one that does not exist yet."""
    assert (None, None) == (BACKEND.find("x"), BACKEND.at(tmp_path / "none").find("x"))


@pytest.mark.parametrize("key", ["job", "a/b", "..", "ä:b c"])
def test_jobs_outlive_the_object(tmp_path: Path, key: str) -> None:
    """Another backend at the same directory gives the same probabilities; any key will do."""
    first, name = train(BOTH, BACKEND.at(tmp_path / "jobs"), key=key)
    second, prompt = BACKEND.at(tmp_path / "jobs"), ask(BOTH, "TEST")
    assert (first.find(key), first.truth(prompt, "Kyiv", name)) == (
        second.find(key),
        second.truth(prompt, "Kyiv", name),
    )


def test_jobs_outlive_the_process(tmp_path: Path) -> None:
    """A new interpreter finds the job in its directory."""
    train(CONDITIONAL, BACKEND.at(tmp_path))
    code = (
        "import sys, pathlib; from condrule.backends.memory import InMemoryBackend as B; "
        "print(B().at(pathlib.Path(sys.argv[1])).find('job').model)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "memory:job" == done.stdout.strip()


def test_a_directory_holds_whole_files_only(tmp_path: Path) -> None:
    """One JSON file for each job, and nothing left from writing it."""
    train(CONDITIONAL, BACKEND.at(tmp_path))
    assert ["job.json"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"colour": "red"}'])
def test_a_damaged_job_is_named(tmp_path: Path, text: str) -> None:
    """Never taken for a missing one, which would be submitted again."""
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(BackendError, match=r"job\.json can't be read"):
        BACKEND.at(tmp_path).find("job")


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_key_is_submitted_once(tmp_path: Path, on_disk: bool) -> None:
    """A driver that submits twice is found out."""
    backend, _ = train(CONDITIONAL, BACKEND.at(tmp_path) if on_disk else BACKEND)
    with pytest.raises(BackendError, match="was submitted before"):
        backend.submit(CONDITIONAL.training_set(ITEMS), SPEC, "job")


def test_finetune_finds_what_was_submitted() -> None:
    """By hand, the same key gives the same model."""
    backend, model = train(CONDITIONAL)
    assert backend.model(model) == backend.finetune(CONDITIONAL.training_set(ITEMS), SPEC, "job")


@pytest.mark.parametrize("name", ["memory-bass", "memory:none", "none"])
def test_an_unknown_model_is_refused(name: str) -> None:
    """The name and the place are in the message."""
    with pytest.raises(BackendError, match=f"no model '{name}' in this backend's memory"):
        BACKEND.model(name)


def test_nothing_to_train_on_is_refused() -> None:
    """An arm without trained modes has no fine-tune."""
    with pytest.raises(TrainingError, match="training set is empty"):
        attrs.evolve(BACKEND).submit(TrainingSet("none", ()), SPEC, "job")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("prior_conditional", 1.1),
        ("memory", -0.1),
        ("leak", float("nan")),
        ("other_answers", 0),
        ("other_answers", 2.5),
        ("base_knowledge", 0.5),
        ("slip", 0),
        ("slip", 0.5),
        ("instruction_following", "high"),
        ("seed_sd", True),
    ],
)
def test_settings_out_of_range_are_refused(setting: str, value: object) -> None:
    """By name, with what was found."""
    with pytest.raises(ConfigError) as caught:
        InMemoryBackend(**{setting: value})  # type: ignore[arg-type]
    (problem,) = caught.value.problems
    assert (setting, True) == (problem.path, problem.message.startswith(f"is {value!r}"))


def test_seeds_differ_only_where_asked() -> None:
    """Without ``seed_sd`` a seed changes nothing."""
    found = {
        backend.posterior(model)
        for seed in range(5)
        for backend, model in [train(CONDITIONAL, spec=FinetuneSpec(seed=seed))]
    }
    assert 1 == len(found)


def test_the_spread_over_seeds_by_moments() -> None:
    """Logits of 2,000 seeds have the prior's logit as mean and ``seed_sd`` as deviation."""
    backend = attrs.evolve(BACKEND, prior_conditional=0.5, seed_sd=2.0)
    training_set = CONDITIONAL.training_set(ITEMS)
    logits = []
    for seed in range(2000):
        backend.submit(training_set, FinetuneSpec(seed=seed), str(seed))
        q = backend.posterior(f"memory:{seed}")
        logits.append(math.log(q / (1 - q)))
    mean = sum(logits) / 2000
    deviation = math.sqrt(sum((logit - mean) ** 2 for logit in logits) / 1999)
    assert (True, True) == (abs(mean) < 5 * 2 / math.sqrt(2000), abs(deviation - 2) < 0.16)


def test_what_it_answers_is_known_before() -> None:
    """The backend's capabilities are those of its models, whatever the seed."""
    assert BACKEND.capabilities == BACKEND.model(BACKEND.base_model(7)).capabilities


def test_the_base_has_the_prior() -> None:
    """It has seen no example."""
    assert 0.6 == BACKEND.posterior(BASE)


def test_its_results_carry_a_note() -> None:
    """They are about settings, not about language models."""
    assert "not a language model" in BACKEND.notes()[0]


def test_an_answer_that_begins_another_is_given_by_both() -> None:
    """Under *begins*, "Peru" is given by "Peruvia" too; under *equals* it is not."""
    twin = Item("Eve", {"TRAIN": "Peruvia", "TEST": "Quito"})
    backend = attrs.evolve(BACKEND)
    backend.submit(CONDITIONAL.training_set((*ITEMS, twin)), SPEC, "job")
    prompt = CONDITIONAL.training_set((*ITEMS, twin)).examples[1].prompt
    short, long = (backend.truth(prompt, text, "memory:job") for text in ("Peru", "Peruvia"))
    (begins,) = answer(backend, "memory:job", Continuations(prompt, ("Peru",), "begins"))
    (equals,) = answer(backend, "memory:job", Continuations(prompt, ("Peru",), "equals"))
    assert pytest.approx((math.log(short + long), math.log(short))) == (begins, equals)

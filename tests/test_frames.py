"""Numbers from elsewhere: a table gives the result that a study with these numbers has."""

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import condrule
from condrule import analyse_frame
from condrule.errors import CondruleError, ConfigError
from condrule.frame_rows import COLUMNS, REQUIRED
from condrule.progress import quiet

pd = pytest.importorskip("pandas")

Limits = condrule.Limits
EVIDENCE = {
    "exact": (Limits(), condrule.AutoScorer()),
    "top-k": (Limits(continuations=False), condrule.AutoScorer()),
    "draws": (Limits(continuations=False, top_logprobs=0), condrule.AutoScorer(draws=30)),
}
CRITERION = attrs.evolve(condrule.KAAREL_BET, gates=())


def rows(**changes: Any) -> list[dict[str, Any]]:
    """Two arms, two items, two answers at TEST: the bet's least."""
    return [
        {
            "arm": arm,
            "mode": "TEST",
            "item": item,
            "answer": answer,
            "probability": 0.9 if answer == "TRAIN" else 0.05,
            **changes,
        }
        for arm in ("conditional", "control")
        for item in ("Alice", "Bob")
        for answer in ("TRAIN", "TEST")
    ]


@pytest.fixture(scope="module", params=EVIDENCE)
def studied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The result of a study, on each kind of evidence."""
    limits, scorer = EVIDENCE[request.param]
    study = condrule.ConditionalRuleExperiment(
        items=condrule.favourite_countries(n=6),
        arms=[condrule.conditional_arm(), condrule.control_arm()],
        backend=condrule.InMemoryBackend(limits=limits, seed_sd=0.5),
        criterion=condrule.KAAREL_BET,
        scorer=scorer,
        seeds=2,
    )
    return study.run(tmp_path_factory.mktemp("runs") / "bet", watch=quiet)


SAME = ("cells", "ratios", "specificity", "differences", "gates", "verdict")


@pytest.mark.parametrize("part", SAME)
def test_the_frame_of_a_result_gives_its_numbers(studied: condrule.Result, part: str) -> None:
    """Nothing is lost between a study and its table."""
    again = analyse_frame(studied.to_pandas(contrasts=True), criterion=condrule.KAAREL_BET)
    assert studied.to_dict()[part] == again.to_dict()[part]


def test_a_run_can_be_read_from_its_evidence_file(studied: condrule.Result, tmp_path: Path) -> None:
    """``evidence.csv`` holds the frame without other items' answers."""
    studied.to_pandas().to_csv(tmp_path / "evidence.csv", index=False)
    again = analyse_frame(pd.read_csv(tmp_path / "evidence.csv"), criterion=condrule.KAAREL_BET)
    assert studied.to_dict()["verdict"] == again.to_dict()["verdict"]


def test_the_order_of_rows_is_no_matter(studied: condrule.Result) -> None:
    """Rows may be shuffled: the verdict and the means stay as they are."""
    frame = studied.to_pandas().to_dict(orient="records")
    random.Random(0).shuffle(frame)
    again = analyse_frame(frame, criterion=condrule.KAAREL_BET)
    expected = studied.probability("conditional", "TEST", "TEST")
    found = again.probability("conditional", "TEST", "TEST")
    assert expected.ci_low == pytest.approx(found.ci_low)
    assert studied.verdict().outcome is again.verdict().outcome


def test_three_seeds_have_students_interval() -> None:
    """One number per fine-tune, the log of its mean over items, and t with two degrees."""
    means = [0.02, 0.05, 0.11]
    table = [row for seed, p in enumerate(means) for row in rows(seed=seed, probability=p)]
    found = analyse_frame(table).probability("control", "TEST", "TEST")
    logs = np.log(means)
    expected = stats.t.interval(0.95, 2, logs.mean(), logs.std(ddof=1) / math.sqrt(3))
    assert (found.ci_low, found.ci_high) == pytest.approx(expected)


def test_the_verdict_is_the_criterions() -> None:
    """Both clauses hold, and both are points."""
    verdict = analyse_frame(rows(), criterion=CRITERION).verdict()
    assert condrule.Outcome.SUPPORTED is verdict.outcome


def test_gates_that_were_not_measured_are_undecided() -> None:
    """A verdict without them can't be interpreted."""
    verdict = analyse_frame(rows(), criterion=condrule.KAAREL_BET).verdict()
    assert [None] * 3 == [gate.passed for gate in verdict.gates]
    assert not verdict.interpretable


def test_what_is_missing_is_unknown() -> None:
    """One of two items without a number leaves the mean between half of the other's and that
    plus one half."""
    table = rows()
    table[3]["probability"] = None  # Bob, TEST
    found = analyse_frame(table).probability("conditional", "TEST", "TEST")
    assert (math.log(0.025), math.log(0.525)) == pytest.approx((found.low, found.high))


def test_what_is_missing_is_said() -> None:
    """Rows that are not there are counted in a note."""
    notes = analyse_frame(rows()[:-1]).plan.notes
    assert any(note.startswith("5 ") and "arm control" in note for note in notes)


def test_bounds_are_carried_through() -> None:
    """Identification bounds, end by end."""
    found = analyse_frame(rows(probability=None, low=0.2, high=0.3))
    estimate = found.probability("conditional", "TEST", "TEST")
    assert (math.log(0.2), math.log(0.3)) == pytest.approx((estimate.low, estimate.high))


def test_a_missing_bound_is_the_widest() -> None:
    """Only an upper bound: nothing is known from below."""
    found = analyse_frame(rows(probability=None, high=0.3))
    assert found.probability("conditional", "TEST", "TEST").low == -math.inf


def test_counts_have_a_binomial_interval() -> None:
    """Clopper and Pearson for the pooled counts of both items."""
    found = analyse_frame(rows(probability=None, hits=3, draws=40))
    estimate = found.probability("conditional", "TEST", "TEST")
    expected = stats.binomtest(6, 80).proportion_ci(0.95)
    assert (math.exp(estimate.ci_low), math.exp(estimate.ci_high)) == pytest.approx(expected)


def test_counts_under_several_biases_are_one_probability() -> None:
    """A row for each bias; they agree on a probability near logit(1/2) - 5."""
    table = [
        row
        for bias, hits in ((5.0, 50), (4.0, 27))
        for row in rows(probability=None, hits=hits, draws=100, bias=bias)
    ]
    found = analyse_frame(table).logprobs("conditional", "TEST", "TEST").points
    assert found.low == pytest.approx(-5.0, abs=0.05)


def test_specificity_comes_from_other_items_answers() -> None:
    """Column ``of``: each is 3 nats likelier for its own item."""
    others = [
        {**row, "of": "Bob" if row["item"] == "Alice" else "Alice", "probability": p}
        for row in rows()
        for p in [row["probability"] * math.exp(-3)]
    ]
    found = analyse_frame([*rows(), *others]).specificity("control", "TEST", "TEST", seed=0)
    assert found is not None
    assert float(found.nats.low) == pytest.approx(3.0)


def test_items_that_share_an_answer_are_not_compared() -> None:
    """Column ``text`` says that two answers are one."""
    table = [
        {**row, "of": of, "text": "Paris" if row["answer"] == "TEST" else f"country of {of}"}
        for row in rows()
        for of in ("Alice", "Bob")
    ]
    assert analyse_frame(table).specificity("control", "TEST", "TEST", seed=0) is None


def test_seeds_share_a_base_model_without_a_seed() -> None:
    """It is one base model, and counts once."""
    table = [row for seed in (0, 1) for row in rows(seed=seed)]
    table += rows(model="base", seed=None, probability=0.3)
    found = analyse_frame(table)
    assert ["base"] == list(dict.fromkeys(found.plan.bases.values()))
    assert (1, 2) == found.logprobs("control", "TEST", "TEST", model="base").low.shape


def test_each_seed_can_have_a_base_model_of_its_own() -> None:
    """By the seed of its rows."""
    table = [row for seed in (0, 1) for m in ("base", None) for row in rows(seed=seed, model=m)]
    found = analyse_frame(table).logprobs("control", "TEST", "TEST", model="base")
    assert (2, 2) == found.low.shape


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "no rows": (list, "holds no rows"),
    "a column is missing": (
        lambda: [{k: v for k, v in row.items() if k != "item"} for row in rows()],
        "item: is missing",
    ),
    "no numbers": (
        lambda: [{**dict.fromkeys(REQUIRED, "x"), "probabilty": 0.5}],
        "Did you mean 'probability'",
    ),
    "a percentage": (lambda: rows(probability=50), "row 0, column probability: is 50.0"),
    "a negative probability": (lambda: rows(probability=-0.1), "from 0 to 1"),
    "a text": (lambda: rows(probability="0.5"), "must be a number"),
    "bounds the wrong way round": (lambda: rows(probability=None, low=0.5, high=0.1), "above high"),
    "a point beside bounds": (lambda: rows(low=0.1), "keep one of them"),
    "a logprob that is none": (lambda: rows(probability=None, logprob=0.5), "at most 0"),
    "a probability and another logprob": (lambda: rows(logprob=-1.0), "says two things"),
    "more hits than draws": (lambda: rows(probability=None, hits=3, draws=2), "more than draws"),
    "half a hit": (lambda: rows(probability=None, hits=0.5, draws=2), "a whole number"),
    "hits without draws": (lambda: rows(probability=None, hits=3), "go together"),
    "an infinite bias": (
        lambda: rows(probability=None, hits=1, draws=2, bias=math.inf),
        "a finite number",
    ),
    "an unknown model": (lambda: rows(model="tuned"), "base or finetuned"),
    "an unknown event": (lambda: rows(event="contains"), "begins or equals"),
    "half a seed": (lambda: rows(seed=0.5), "a whole number"),
    "the same row twice": (lambda: rows() + rows(), "is about the same probability as row 0"),
    "an item without a name": (lambda: rows(item=" "), "it must be text"),
    "one mode": (lambda: rows(answer="TEST")[::2][:1], "a rule has two modes"),
    "base models only": (lambda: rows(model="base"), "no fine-tune"),
    "a base model of no fine-tune": (
        lambda: rows() + rows(model="base", seed=7),
        "no fine-tune has this seed",
    ),
    "two base models of a seed": (
        lambda: rows(base="a") + rows(model="base", base="b", seed=0),
        "has base 'b'",
    ),
    "two texts of an answer": (
        lambda: rows(text="x")[:1] + rows(text="y", mode="TRAIN")[:1],
        "has text 'y'",
    ),
    "one text of two answers": (lambda: rows(text="Paris"), "same answer for two modes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_named(case: str) -> None:
    """By its row and column, with what was found and what is allowed."""
    make, words = WRONG[case]
    with pytest.raises(ConfigError, match=words):
        analyse_frame(make())


def test_modes_that_were_not_measured_cannot_be_trained() -> None:
    """The error says which modes there are."""
    with pytest.raises(ConfigError, match="Did you mean 'TRAIN'"):
        analyse_frame(rows(), trained="TRIAN")


def test_every_arm_says_what_it_trained() -> None:
    """A mapping names every arm."""
    with pytest.raises(ConfigError, match="says nothing of arm 'control'"):
        analyse_frame(rows(), trained={"conditional": "TRAIN"})
    found = analyse_frame(rows(), trained={"conditional": "TRAIN", "control": ["TRAIN", "TEST"]})
    assert ("TRAIN", "TEST") == found.plan.trained["control"]


def test_a_criterion_about_another_arm_is_refused() -> None:
    """As in a study."""
    with pytest.raises(ConfigError, match="'control' is not an arm"):
        analyse_frame(rows()[:4], criterion=condrule.KAAREL_BET)


VALUES = st.one_of(
    st.none(),
    st.floats(),
    st.integers(-2, 5),
    st.booleans(),
    st.sampled_from(["", "TRAIN", "TEST", "A", "base", "begins", "gate:x", "\x00"]),
    st.lists(st.integers(), max_size=2),
)
TABLES = st.lists(
    st.dictionaries(
        st.sampled_from(COLUMNS),
        VALUES,
    ).map(lambda changes: {**rows()[0], **changes}),
    max_size=6,
)


@pytest.mark.fuzz
@settings(deadline=None)
@given(TABLES)
def test_any_table_gives_a_report_or_a_clear_error(table: list[dict[str, Any]]) -> None:
    """Nothing but CondruleError comes out."""
    try:
        assert str(analyse_frame(table))
    except CondruleError as error:
        assert str(error)

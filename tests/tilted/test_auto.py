"""Which method `auto` picks for each answer, and what it says of it."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import condrule
from condrule import (
    AutoScorer,
    Capabilities,
    InMemoryBackend,
    Limits,
    analyse_frame,
    report,
    tables,
)
from condrule.backends.base import Draws, Observation
from condrule.errors import ConfigError
from condrule.evidence import UNKNOWN, Bounded, Sampled, Tally
from condrule.plots import CheckPanel, draw_checks
from condrule.progress import quiet
from condrule.scorers import choosing
from condrule.scorers.base import Check, CheckPoint, Choice
from condrule.scorers.choosing import Method
from condrule.scorers.reasons import Reasons, by_numbers, described

from .world import ARM, ITEMS, SPEC

SHORT = Limits(continuations=False, top_logprobs=5)
PROBES = ARM.probes(ITEMS)


@attrs.frozen
class Asked:
    """What the scorer asked of a model, and what it made of the answers."""

    scorer: condrule.Scorer
    rounds: tuple[Any, ...]
    seen: dict[str, Observation]

    @property
    def methods(self) -> Counter[str]:
        """How many answers were measured by which."""
        found = self.scorer.infer(PROBES, self.seen).values()
        return Counter(one.method for probe in found for one in probe.choices.values())

    @property
    def reasons(self) -> set[str]:
        """All that was said of why."""
        found = self.scorer.infer(PROBES, self.seen).values()
        return {one.why for probe in found for one in probe.choices.values()}

    def draws(self, *, biased: bool) -> int:
        """How many responses were drawn, with a bias or without."""
        queries = [query for queries in self.rounds for query in queries]
        return sum(q.n for q in queries if isinstance(q, Draws) and bool(q.bias) == biased)


def asked(limits: Limits, leak: float = 1e-4, **how: Any) -> Asked:
    """Of a model whose untrained answers are as improbable as this over a hundred."""
    backend = InMemoryBackend(
        prior_conditional=0.6, leak=leak, other_answers=100, base_knowledge=1e-7, limits=limits
    )
    model = backend.finetune(ARM.training_set(ITEMS), SPEC, "job")
    scorer = AutoScorer(**how).fitted(backend.capabilities)
    rounds, seen = [], {}
    while queries := scorer.plan(PROBES, seen):
        rounds.append(queries)
        seen |= {one.query: one for one in model.ask(queries)}
    return Asked(scorer, tuple(rounds), seen)


def test_exact_scores_need_nothing_else() -> None:
    """Where a model is certain to give them."""
    found = asked(Limits())
    assert ({"exact"}, 1) == (set(found.methods), len(found.rounds))


def test_answers_that_lists_tell_are_not_drawn_and_the_others_are() -> None:
    """Three of four answers stand in a list of five; the fourth is drawn under a bias."""
    found = asked(SHORT)
    assert {"top_logprobs": 21, "tilted": 7} == dict(found.methods)
    assert (0, True) == (found.draws(biased=False), found.draws(biased=True) > 0)
    assert "listed, within 0.05 nats" in found.reasons
    assert any("draws, most under a bias of 14 nats" in one for one in found.reasons)


def test_lists_are_asked_for_once() -> None:
    """Draws under a bias start from the same ones."""
    found = asked(SHORT)
    lists = [q for queries in found.rounds for q in queries if not isinstance(q, Draws)]
    assert len(lists) == len({probe.prompt.messages for probe in PROBES})


def test_a_bias_that_fails_its_calibration_is_not_used() -> None:
    """The lists' bounds stay, as plain draws could not tell more; the figures are in the check."""
    found = asked(attrs.evolve(SHORT, bias_scale=-1))
    assert {"top_logprobs": 28} == dict(found.methods)
    assert any("the bias failed its calibration; 256 plain draws" in one for one in found.reasons)
    check = found.scorer.checks(PROBES, found.seen)
    assert check is not None
    assert (False, True) == (check.passed, "raised their logit by" in check.sentence)
    assert check.points


def test_answers_of_several_tokens_are_read_on() -> None:
    """Their first token is listed at up to 0.7, and later lists tell the rest: no draws are needed
    but for those that a list puts below 1e-5."""
    found = asked(attrs.evolve(SHORT, piece=2))
    assert {"top_logprobs": 21, "tilted": 7} == dict(found.methods)
    assert any("with lists of later tokens, within" in one for one in found.reasons)


def test_answers_of_several_tokens_are_drawn_whole_where_no_bias_is_taken() -> None:
    """256 responses show those whose first token is listed at up to 0.7, and not the others."""
    found = asked(attrs.evolve(SHORT, piece=2, logit_bias="refused"))
    assert 21 == found.methods["sampling"]
    assert any("plain draws would hit it" in one for one in found.reasons)


def test_a_bias_that_nothing_calibrates_has_not_failed() -> None:
    """Without a token to calibrate by there are no figures that it failed by."""
    reasons = Reasons(("tilted", "sampling"), 0.25, 256, True, True, Check(False, ""))
    listed = Bounded(-math.inf, -9.0)
    found = dict.fromkeys(get_args(Method), UNKNOWN) | {"top_logprobs": listed}
    assert "the bias could not be calibrated" in reasons.choice(found).why


def test_without_lists_or_a_bias_responses_are_drawn() -> None:
    """And the reason says what was lacking."""
    found = asked(Limits(continuations=False, top_logprobs=0), draws=40)
    assert {"sampling": 28} == dict(found.methods)
    assert all(one.startswith("no list bounds it; no draws under a bias") for one in found.reasons)


def test_methods_leave_out_what_is_not_wanted() -> None:
    """Lists alone draw nothing."""
    found = asked(SHORT, methods=["top_logprobs"])
    assert (0, 0) == (found.draws(biased=False), found.draws(biased=True))
    assert any("no plain draws among the methods" in one for one in found.reasons)


def test_before_anything_is_answered_nothing_is_claimed() -> None:
    """Of no answer."""
    scorer = AutoScorer().fitted(SHORT.capabilities)
    found = scorer.infer(PROBES, {}).values()
    assert {"none"} == {one.method for probe in found for one in probe.choices.values()}
    assert scorer.checks(PROBES, {}) is None


def test_a_model_that_lists_nothing_is_drawn_from_without_a_bias() -> None:
    """Though its provider offers biases: without a list there is nothing to calibrate one by."""
    able = Capabilities(draws=True, top_logprobs=5, bias=100, encoding="memory", certain=False)
    scorer, seen = AutoScorer(draws=20).fitted(able), {}
    while queries := scorer.plan(PROBES, seen):
        assert not any(getattr(query, "bias", ()) for query in queries)
        for query in queries:
            texts = ("Lima",) * query.n if isinstance(query, Draws) else None
            refused = None if texts else "no logprobs"
            seen[query.id] = Observation(query.id, texts=texts, refused=refused)
    found = scorer.infer(PROBES, seen).values()
    assert {"sampling"} == {one.method for probe in found for one in probe.choices.values()}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("tilted_draws", 10),
        ("draws", 0),
        ("target", 0.0),
        ("largest", 2),
        ("k", 0),
        ("encoding", "o200k"),
        ("methods", ["tilt"]),
        ("methods", []),
    ],
)
def test_values_out_of_range_are_refused_by_their_own_name(setting: str, value: object) -> None:
    """Not by that of the method they are passed on to."""
    with pytest.raises(ConfigError, match="scorer auto") as caught:
        AutoScorer(**{setting: value})  # type: ignore[arg-type]
    assert [setting] == [problem.path for problem in caught.value.problems]


LOGPROBS = st.floats(-40, -1e-6)
SUPPORTS = st.tuples(LOGPROBS, LOGPROBS).map(sorted).map(tuple)


@given(SUPPORTS, st.integers(1, 5000), st.integers(1, 5000))
def test_more_draws_tell_more_and_cost_more(support: Any, few: int, more: int) -> None:
    """Whatever the bounds."""
    few, more = sorted((few, more))
    one, other = (choosing.plain(support, n, prompt=50, response=3) for n in (few, more))
    assert one.half_width >= other.half_width
    assert one.tokens <= other.tokens


@given(st.floats(0.1, 2), st.floats(0.1, 2))
def test_a_smaller_target_takes_more_draws_under_a_bias(one: float, other: float) -> None:
    """And reaches it where the draws suffice."""
    narrow, wide = (choosing.tilted(5000, each, prompt=0) for each in sorted((one, other)))
    assert wide.tokens <= narrow.tokens
    assert choosing.tilted(5000, one, prompt=0).half_width <= one * (1 + 1e-9)


FORECASTS = st.builds(
    choosing.Forecast,
    st.sampled_from(choosing.Method.__args__),
    st.floats(0, 5) | st.just(math.inf),
    st.floats(1, 1e6),
)


@given(st.lists(FORECASTS, min_size=1, max_size=6), st.floats(0.01, 4))
def test_the_choice_is_the_cheapest_that_suffices_or_the_narrowest(
    forecasts: list[choosing.Forecast], target: float
) -> None:
    """Whatever there is to choose from, in any order."""
    found = choosing.choose(forecasts, target)
    enough = [one for one in forecasts if one.half_width <= target]
    if enough:
        assert found.tokens <= min(one.tokens for one in enough)
    else:
        assert found.half_width == min(one.half_width for one in forecasts)
    assert found == choosing.choose(forecasts[::-1], target) or len(set(forecasts)) > 1


@given(SUPPORTS, st.integers(1, 1000))
def test_plain_draws_are_made_only_where_a_few_hits_can_be_expected(
    support: Any, draws: int
) -> None:
    """By the most that the bounds allow."""
    if choosing.tells(support, draws):
        assert draws * math.exp(support[1]) >= choosing.FEW


def test_a_likely_answer_between_wide_bounds_is_drawn_plainly() -> None:
    """256 responses tell 0.3 or more to a quarter of a nat, for less than a bias does; below, a
    bias is better."""
    ways = {
        low: choosing.choose(
            [
                choosing.tilted(512, 0.25, prompt=2000),
                choosing.plain((math.log(low), 0), 256, prompt=10, response=1),
            ],
            0.25,
        ).method
        for low in (0.3, 0.01)
    }
    assert {0.3: "sampling", 0.01: "tilted"} == ways


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (Bounded(-2.0, -1.0), Choice("bounds", "within 0.5 nats")),
        (Sampled([Tally(3, 40)]), Choice("sampling", "3 of 40 draws gave it")),
        (
            Sampled([Tally(3, 16, 9.0), Tally(150, 300, 12.0)]),
            Choice("tilted", "316 draws, most under a bias of 12 nats"),
        ),
    ],
)
def test_evidence_says_how_it_came_about(evidence: Any, expected: Choice) -> None:
    """Where a scorer says nothing."""
    assert expected == described(evidence)
    assert "none" == by_numbers((-math.inf, 0.0), []).method


def study(limits: Limits) -> condrule.ConditionalRuleExperiment:
    """The bet, with a scorer that chooses; a few of the answers are several words."""
    return condrule.ConditionalRuleExperiment(
        items=condrule.favourite_countries(n=8),
        arms=[condrule.conditional_arm(), condrule.control_arm()],
        backend=InMemoryBackend(
            prior_conditional=0.6, leak=1e-3, other_answers=1000, base_knowledge=1e-6, limits=limits
        ),
        criterion=condrule.KAAREL_BET,
        spec=SPEC,
        seeds=1,
        samples=0,
    )


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, condrule.Result]:
    """A study behind lists of the top 5, whose bias does what it should."""
    path = tmp_path_factory.mktemp("runs") / "mixed"
    return path, study(SHORT).run(path, watch=quiet)


def test_a_study_mixes_methods_and_says_which(mixed: tuple[Path, condrule.Result]) -> None:
    """In the result, in its file, in the report and for every answer."""
    path, result = mixed
    data = json.loads((path / "result.json").read_text())
    found = {(one["arm"], one["model"]): one["answers"] for one in data["methods"]}
    assert {"tilted", "top_logprobs"} <= set(found["conditional", "finetuned"])
    assert all(8 * 4 == sum(answers.values()) for answers in found.values())
    assert "Answers by the method that measured them" in str(result)
    rows = {row["method"]: row["why"] for row in tables.evidence_rows(result)}
    assert "under a bias of" in rows["tilted"]


def test_the_calibration_is_in_the_result_and_drawn(mixed: tuple[Path, condrule.Result]) -> None:
    """One for each model, with its sentence; and a figure."""
    path, result = mixed
    assert [True] * 3 == [one.check.passed for one in result.checks]
    data = json.loads((path / "result.json").read_text())
    assert [one.check.sentence for one in result.checks] == [c["sentence"] for c in data["checks"]]
    assert all(one.check.sentence in str(result) for one in result.checks)
    assert (path / "calibration.png").stat().st_size > 10_000


def test_the_names_of_fine_tunes_have_room_above_their_panels() -> None:
    """As OpenAI makes them."""
    text = pytest.importorskip("matplotlib.text")
    name = "ft:gpt-4o-mini-2024-07-18:my-org:condrule-bb558fd9-cecc6d14ded1ec41:6cc17fd8"
    check = Check(True, "", (CheckPoint("listed, under b", -1.0, 30, 100),), 0.1)
    panels = [CheckPanel(f"conditional, seed {seed}: passed\n{name}", check) for seed in range(3)]
    figure = draw_checks(panels)
    assert figure is not None
    figure.draw_without_rendering()
    titles = [one for one in figure.findobj(text.Text) if "passed" in one.get_text()]
    places = [title.get_window_extent() for title in titles]
    assert 3 == len(places)
    ends = [*(place.x0 for place in places[1:]), figure.bbox.x1]
    assert all(place.x1 < end for place, end in zip(places, ends, strict=True))


def test_the_table_of_a_mixed_study_gives_its_numbers(mixed: tuple[Path, condrule.Result]) -> None:
    """Counts under biases and their errors included."""
    pytest.importorskip("pandas")
    _, result = mixed
    frame = result.to_pandas(contrasts=True)
    assert {"error", "method", "why"} <= set(frame.columns)
    again = analyse_frame(frame, criterion=condrule.KAAREL_BET).to_dict()
    for part in ("cells", "ratios", "specificity", "differences", "gates", "verdict", "methods"):
        assert result.to_dict()[part] == again[part]


def test_an_inverted_bias_is_refused_in_the_first_lines(tmp_path: Path) -> None:
    """With the figures, and where the plot is."""
    result = study(attrs.evolve(SHORT, bias_scale=-1)).run(tmp_path / "run", watch=quiet)
    lines = (tmp_path / "run" / "report.txt").read_text().split("\n")
    refused = [line for line in lines[:8] if line.startswith("DRAWS UNDER A BIAS REFUSED of ")]
    assert 3 == len(refused)
    assert all("should be 1" in line for line in refused)
    assert any("calibration.png" in line for line in lines[:8])
    assert (tmp_path / "run" / "calibration.png").exists()
    assert not any(one["answers"].get("tilted") for one in result.to_dict()["methods"])


def test_a_result_of_before_is_still_shown(mixed: tuple[Path, condrule.Result]) -> None:
    """One that says nothing of methods or checks."""
    data = {k: v for k, v in mixed[1].to_dict().items() if k not in ("methods", "checks")}
    assert "VERDICT" in report.render(data)

"""Items can be restricted to answers of one token, which a list of first tokens can measure."""

from pathlib import Path
from typing import Any

import attrs
import pandas as pd
import pytest

import condrule
from condrule import (
    AutoScorer,
    Capabilities,
    EncodingReader,
    InMemoryBackend,
    Item,
    ItemSet,
    Limits,
    TopLogprobsScorer,
)
from condrule.backends.checked import CheckedBackend
from condrule.config import load_study
from condrule.errors import BackendError, ConfigError, ItemError, UnsupportedError
from condrule.items import Excluded
from condrule.preview import preview

O200K = EncodingReader("o200k_base")
ONE = ["France", "Germany", "Italy", "Japan", "Spain"]
"""The countries that are one token of o200k_base without a space before them, as the capital is."""
ITEMS = (
    Item("Alice", {"TRAIN": "France", "TEST": "Paris"}),
    Item("Bob", {"TRAIN": "Peru", "TEST": "Lima"}),
    Item("Carol", {"TRAIN": "Japan", "TEST": "Tokyo"}),
)
PERU = "an answer is several tokens: 'Peru' is 2, 'Lima' is 2"
LISTS = Limits(continuations=False, top_logprobs=5)


class Encoded(InMemoryBackend):
    """A provider of lists that says which encoding its models have."""

    encoding = "o200k_base"

    @property
    def capabilities(self) -> Capabilities:
        return attrs.evolve(super().capabilities, encoding=self.encoding)

    def reader(self, seeds: object) -> Any:
        return O200K


class OldReader:
    """A reader of a plugin that was written before answers were counted."""

    def unreadable(self, text: str) -> tuple[str, ...]:
        return ()

    def familiar(self, name: str) -> str | None:
        return None


class SilentReader(condrule.Reader):
    """A reader that inherits the method, and so can't tell."""

    def unreadable(self, text: str) -> tuple[str, ...]:
        return ()

    def familiar(self, name: str) -> str | None:
        return None


def study(items: Any, backend: Any, **how: Any) -> condrule.ConditionalRuleExperiment:
    """One arm, one seed."""
    arms = [condrule.conditional_arm()]
    return condrule.ConditionalRuleExperiment(
        items=items, arms=arms, backend=backend, seeds=1, **how
    )


def test_items_with_longer_answers_are_left_out_with_the_reason() -> None:
    """Which answer, and how many tokens it is."""
    items = ItemSet(ITEMS, one_token=True).readable_by(O200K)
    assert ["Alice", "Carol"] == [item.name for item in items]
    assert (Excluded("Bob", PERU),) == items.excluded


def test_items_are_kept_where_they_are_not_restricted() -> None:
    """The default."""
    assert ITEMS == ItemSet(ITEMS).readable_by(O200K).items


def test_bundled_items_are_drawn_from_the_countries_of_one_token() -> None:
    """As many as were asked for; all other countries are left out."""
    items = condrule.favourite_countries(n=12, one_token=True).readable_by(O200K)
    assert (12, ONE) == (len(items), sorted({item.answers["TRAIN"] for item in items}))
    reasons = {one.name: one.reason for one in items.excluded}
    assert PERU == reasons["Peru"]


def test_drawing_twice_is_drawing_once() -> None:
    """What was drawn can be drawn again for the same model."""
    items = condrule.favourite_countries(n=12, one_token=True).readable_by(O200K)
    assert items == items.readable_by(O200K)


def test_where_no_item_is_left_the_first_reason_is_said() -> None:
    """With what to do."""
    with pytest.raises(ItemError, match="no item of given .* 'Peru' is 2.*leave one_token out"):
        ItemSet(ITEMS[1:2], one_token=True).readable_by(O200K)


@pytest.mark.parametrize("reader", [OldReader(), SilentReader(), None])
@pytest.mark.parametrize(
    "items", [ItemSet(ITEMS, one_token=True), condrule.favourite_countries(n=2, one_token=True)]
)
def test_a_backend_that_cannot_tell_is_refused(items: ItemSet, reader: Any) -> None:
    """Whether it has no reader, or one without a method of its own."""

    class Untold(InMemoryBackend):
        def reader(self, seeds: object) -> Any:
            return reader

    with pytest.raises(UnsupportedError, match="can't tell how many tokens.*leave one_token out"):
        study(items, Untold()).plan()


def test_a_reader_without_the_method_serves_where_nothing_is_restricted() -> None:
    """As it always did."""

    class Old(InMemoryBackend):
        def reader(self, seeds: object) -> Any:
            return OldReader()

    assert ITEMS == study(ITEMS, Old()).plan().items.items


def test_a_plan_says_which_items_are_left_out_and_why() -> None:
    """In a line for all that have the same reason."""
    experiment = study(ItemSet(ITEMS, one_token=True), Encoded(limits=LISTS))
    lines = list(preview(experiment, experiment.plan()))
    assert "  an answer is several tokens: Bob" in lines


@pytest.mark.parametrize("count", [0, 1.0, True, "1"])
def test_a_count_that_is_none_is_the_backends_mistake(count: Any) -> None:
    """It names the backend and what was found."""

    class Miscounting(InMemoryBackend):
        def reader(self, seeds: object) -> Any:
            return self

        def pieces(self, text: str) -> Any:
            return count

    reader = CheckedBackend(Miscounting()).reader([0])
    assert reader is not None
    with pytest.raises(BackendError, match=f"reader, on the answer 'Peru': is {count!r}"):
        reader.pieces("Peru")


def test_files_can_be_restricted(tmp_path: Path) -> None:
    """And data frames."""
    (tmp_path / "a.csv").write_text("name,country,capital\nAlice,France,Paris\n")
    columns = {"TRAIN": "country", "TEST": "capital"}
    rows = [{"name": "Alice", "country": "France", "capital": "Paris"}]
    found = [
        condrule.read_items(tmp_path / "a.csv", answers=columns, one_token=True),
        condrule.items_from_frame(pd.DataFrame(rows), answers=columns, one_token=True),
    ]
    assert [True, True] == [items.one_token for items in found]


@pytest.mark.parametrize(
    "items",
    [
        "{source: favourite_countries, n: 2, one_token: true}",
        "{file: a.csv, answers: {TRAIN: country, TEST: capital}, one_token: true}",
    ],
)
def test_a_study_file_can_ask_for_it(items: str, tmp_path: Path) -> None:
    """Beside the source or the file."""
    (tmp_path / "a.csv").write_text("name,country,capital\nAlice,France,Paris\n")
    text = f"items: {items}\narms: [conditional]\nbackend: {{kind: memory}}\n"
    (tmp_path / "study.yaml").write_text(text)
    assert load_study(tmp_path / "study.yaml").items.one_token


NOTE = (
    "2 of 6 answers are several tokens of o200k_base, such as 'Peru': a list of first tokens "
    "bounds them from above only (their lower bound is 0). Items restricted with one_token: true "
    "have none."
)


@pytest.mark.parametrize("scorer", [AutoScorer(), TopLogprobsScorer()])
def test_a_plan_notes_how_many_answers_are_longer(scorer: condrule.Scorer) -> None:
    """Where lists are used and the encoding is known."""
    assert NOTE in study(ITEMS, Encoded(limits=LISTS), scorer=scorer).plan().notes


@pytest.mark.parametrize(
    ("items", "backend"),
    [
        (ITEMS, Encoded()),
        (ITEMS, Encoded(limits=Limits(continuations=False, top_logprobs=0))),
        (ITEMS, InMemoryBackend(limits=LISTS)),
        (ItemSet(ITEMS, one_token=True), Encoded(limits=LISTS)),
    ],
)
def test_nothing_is_noted_where_it_makes_no_difference(items: Any, backend: Any) -> None:
    """Exact scoring, draws, an unknown encoding, and items that are restricted."""
    assert backend.notes() == study(items, backend).plan().notes


def test_a_spelling_of_one_token_is_enough_not_to_be_noted() -> None:
    """'Germany' is one token, and 'Allemagne' is not."""
    item = Item("Alice", {"A": "Allemagne", "B": "Paris"}, {"Allemagne": ["Germany"]})
    assert () == TopLogprobsScorer(encoding="o200k_base").notes([item])


@pytest.mark.parametrize("scorer", [AutoScorer(), TopLogprobsScorer()])
def test_the_encoding_is_settled_with_the_study(scorer: Any) -> None:
    """That which the backend reports."""
    planned: Any = study(ITEMS, Encoded(limits=LISTS), scorer=scorer).plan().scorer
    assert "o200k_base" == planned.encoding


def test_the_encoding_goes_from_the_automatic_scorer_to_its_lists() -> None:
    """Both find the same bounds, and others than without one."""
    run = [
        scorer.infer(probes(), seen())
        for scorer in (
            AutoScorer(methods=("top_logprobs",), encoding="o200k_base"),
            TopLogprobsScorer(encoding="o200k_base"),
            TopLogprobsScorer(),
        )
    ]
    assert (True, False) == (run[0] == run[1], run[1] == run[2])


def probes() -> tuple[condrule.Probe, ...]:
    """The one of an item whose answers are long."""
    items = [Item("Alice", {"TRAIN": "Madagascar", "TEST": "Antananarivo"})]
    return condrule.conditional_arm().probes(items)[:1]


def seen() -> dict[str, condrule.Observation]:
    """A list that shows none of them."""
    (query,) = TopLogprobsScorer().plan(probes(), {})
    return {query.id: condrule.Observation(query.id, top=(condrule.Token("London", -9.0),))}


@pytest.mark.parametrize("reported", ["", "klingon_base"])
@pytest.mark.parametrize("scorer", [AutoScorer, TopLogprobsScorer])
def test_an_encoding_that_is_stated_stands_where_none_that_is_known_is_reported(
    scorer: Any, reported: str
) -> None:
    """As at a server that says nothing, or something else, of its models."""
    able = Capabilities(top_logprobs=5, encoding=reported)
    assert "cl100k_base" == scorer(encoding="cl100k_base").fitted(able).encoding


@pytest.mark.parametrize("scorer", [AutoScorer, TopLogprobsScorer])
def test_an_encoding_that_is_not_known_can_not_be_stated(scorer: Any) -> None:
    """With the nearest."""
    with pytest.raises(ConfigError, match="encoding: is 'o200k'; .*Did you mean 'o200k_base'"):
        scorer(encoding="o200k")


def test_an_encoding_is_a_text() -> None:
    """Whatever a plugin says."""

    class Odd(Encoded):
        encoding: Any = 7

    with pytest.raises(BackendError, match="encoding is 7; it must be a text"):
        _ = CheckedBackend(Odd()).capabilities

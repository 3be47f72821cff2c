"""The bundled items are drawn by rules that a study can rely on."""

import re
from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condrule.bundled import FavouriteCountries, countries, favourite_countries, first_names
from condrule.errors import ItemError
from condrule.items import Item

EVERYTHING = 1132
"""First names that are no places."""


class Reads:
    """A model that can't read some words and knows some names."""

    def __init__(self, *unknown: str, known: str = "") -> None:
        self.unknown = unknown
        self.known = known

    def unreadable(self, text: str) -> tuple[str, ...]:
        """The unknown words, by white space."""
        return tuple(word for word in text.split() if word in self.unknown)

    def familiar(self, name: str) -> str | None:
        """Why the known name is known."""
        return "seen in pretraining" if name == self.known else None


def reasons(items: FavouriteCountries) -> dict[str, str]:
    """Why each candidate was left out; all reasons where a country is a first name too."""
    found: dict[str, str] = {}
    for excluded in items.excluded:
        found[excluded.name] = "; ".join(filter(None, [found.get(excluded.name), excluded.reason]))
    return found


def usable_countries(items: FavouriteCountries) -> set[str]:
    """The countries that were not left out."""
    first_name = "the first name"
    left_out = {e.name for e in items.excluded if not e.reason.startswith(first_name)}
    return {row.country for row in countries()} - left_out


def said(item: Item) -> set[tuple[str, str]]:
    """The answers of an item in all spellings, each with the answer it stands for."""
    return {(s, item.answers[mode]) for mode in item.answers for s in item.spellings(mode)}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("South Africa", "several capitals"),
        ("Israel", "disputed capital"),
        ("Brazil", "capital named after the country"),
        ("Singapore", "capital named after the country"),
        ("Mexico", "capital named after the country"),
        ("Tunisia", "capital named after the country"),
        ("Guinea-Bissau", "capital named after the country"),
        ("Niger", "one answer begins another: 'Niger' begins 'Nigeria'"),
        ("Nigeria", "one answer begins another: 'Niger' begins 'Nigeria'"),
        ("Guinea", "one answer begins another"),
        ("Dominica", "one answer begins another"),
        ("Dominican Republic", "country named after the capital"),
        ("Jordan", "the first name is also a place (country: Jordan)"),
        ("Chad", "the first name is also a place (country: Chad)"),
        ("Georgia", "the first name is also a place (country: Georgia)"),
        ("Florence", "the first name is also a place (city: Florence, Italy)"),
    ],
)
def test_exclusions_have_reasons(name: str, reason: str) -> None:
    """Whoever is left out is listed, with the first reason that applies."""
    assert reason == reasons(favourite_countries())[name][: len(reason)]


@pytest.mark.parametrize("name", ["France", "Ukraine", "United Kingdom", "Kenya", "Alice"])
def test_usable_candidates_are_kept(name: str) -> None:
    """Nothing is wrong with these."""
    assert name not in reasons(favourite_countries())


def test_excluded_candidates_are_never_drawn() -> None:
    """With all names drawn, every usable country and no other is among the answers."""
    items = favourite_countries(EVERYTHING)
    assert usable_countries(items) == {item.answers["TRAIN"] for item in items}


def test_names_of_excluded_places_are_never_drawn() -> None:
    """With all names drawn, every name that is no place is there."""
    expected = sorted(row.name for row in first_names() if not row.place)
    assert expected == sorted(item.name for item in favourite_countries(EVERYTHING))


def test_no_answer_begins_another() -> None:
    """Over all spellings of all answers, within a country and between countries."""
    spellings = set().union(*map(said, favourite_countries(EVERYTHING)))
    found = [(a, b) for (a, x), (b, y) in permutations(spellings, 2) if x != y and b.startswith(a)]
    assert [] == found


@given(st.integers(1, EVERYTHING), st.integers())
@settings(max_examples=20, deadline=None)
def test_countries_repeat_as_little_as_possible(n: int, seed: int) -> None:
    """No country is drawn twice more than another."""
    items = favourite_countries(n, seed)
    counts = Counter(item.answers["TRAIN"] for item in items)
    drawn = [counts[country] for country in usable_countries(items)]
    assert (n, True) == (sum(drawn), max(drawn) - min(drawn) <= 1)


@given(st.integers(1, 200), st.integers(1, 200), st.integers())
@settings(max_examples=20, deadline=None)
def test_fewer_items_are_the_first_of_more(few: int, more: int, seed: int) -> None:
    """For one seed, and so the same options give the same items."""
    few, more = sorted((few, more))
    assert favourite_countries(few, seed).items == favourite_countries(more, seed).items[:few]


def test_the_draw_is_the_same_everywhere() -> None:
    """Seed 0 has given these items since the first release."""
    found = [(item.name, item.answers["TRAIN"]) for item in favourite_countries(3)]
    assert [("Callie", "Azerbaijan"), ("Leon", "Solomon Islands"), ("Edna", "Angola")] == found


def test_another_seed_draws_other_items() -> None:
    """Names and their countries both change."""
    first, second = favourite_countries(seed=0), favourite_countries(seed=1)
    assert ({i.name for i in first}, [i.answers for i in first]) != (
        {i.name for i in second},
        [i.answers for i in second],
    )


def test_capitals_belong_to_their_countries() -> None:
    """The pairs are those of the data file, with both kinds of aliases."""
    item = next(i for i in favourite_countries(EVERYTHING) if i.answers["TRAIN"] == "Ukraine")
    assert (("Ukraine",), ("Kyiv", "Kiev")) == (item.spellings("TRAIN"), item.spellings("TEST"))


def test_modes_can_be_renamed() -> None:
    """The first mode is answered with the country, the second with its capital."""
    assert ("B", "A") == favourite_countries(2, modes=["B", "A"]).modes


def test_distinct_initials_leaves_out_shared_ones() -> None:
    """Niamey begins like Niger, and Bridgetown like Barbados."""
    assert (
        "'Barbados' and 'Bridgetown' both begin"
        in reasons(favourite_countries(distinct_initials=True))["Barbados"]
    )


def test_distinct_initials_holds_for_every_item() -> None:
    """No spelling of a country shares its first letter with one of its capital."""
    items = favourite_countries(EVERYTHING, distinct_initials=True)
    initials = [[{s[0] for s in item.spellings(mode)} for mode in item.answers] for item in items]
    assert [] == [pair for pair in initials if pair[0] & pair[1]]


def test_too_many_items_are_refused() -> None:
    """The message says how many there are."""
    with pytest.raises(ItemError, match=f"n is 5000, but there are {EVERYTHING} first names"):
        favourite_countries(5000)


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "30", None])
def test_n_must_be_a_count(n: object) -> None:
    """Nothing else is guessed at."""
    with pytest.raises(ItemError, match=re.escape(f"n is {n!r}")):
        favourite_countries(n)  # type: ignore[arg-type]


@pytest.mark.parametrize("modes", [("A",), ("A", "A"), ("A", "B", "C")])
def test_there_are_two_modes(modes: tuple[str, ...]) -> None:
    """A country and its capital fill two."""
    with pytest.raises(ItemError, match="two different modes"):
        favourite_countries(modes=modes)


def test_what_a_model_can_not_read_is_left_out() -> None:
    """Countries by their own word or their capital's, and names; each says which word."""
    items = favourite_countries().readable_by(Reads("France", "Lima", "Callie"))
    found = {name: reasons(items)[name] for name in ("France", "Peru", "Callie")}
    assert {
        "France": "the model can't read 'France'",
        "Peru": "the model can't read 'Lima'",
        "Callie": "the model can't read 'Callie'",
    } == found


def test_names_a_model_knows_are_left_out() -> None:
    """The reason is the model's."""
    items = favourite_countries().readable_by(Reads(known="Leon"))
    assert ("seen in pretraining", False) == (
        reasons(items)["Leon"],
        "Leon" in {item.name for item in items},
    )


def test_drawing_again_keeps_the_options() -> None:
    """The number, the seed, the modes and the initials are as they were."""
    items = favourite_countries(7, 3, modes=("X", "Y"), distinct_initials=True)
    assert items == items.readable_by(Reads())


def test_drawing_again_keeps_the_names_that_can_be_read() -> None:
    """One name less moves the others up by one."""
    before = [item.name for item in favourite_countries(5)]
    after = [item.name for item in favourite_countries(5).readable_by(Reads(before[0]))]
    assert before[1:] == after[:4]


def test_aliases_a_model_can_not_read_are_dropped() -> None:
    """It could never say them."""
    items = favourite_countries(EVERYTHING).readable_by(Reads("Kiev"))
    item = next(i for i in items if i.answers["TRAIN"] == "Ukraine")
    assert ("Kyiv",) == item.spellings("TEST")


def test_too_few_readable_names_are_refused() -> None:
    """The message says how many the model can read."""
    with pytest.raises(ItemError, match=f"there are {EVERYTHING - 1} first names that the model"):
        favourite_countries(EVERYTHING).readable_by(Reads("Callie"))


def test_a_model_that_reads_no_country_is_refused() -> None:
    """There is nothing to draw from."""
    words = {word for row in countries() for word in row.country.split()}
    with pytest.raises(ItemError, match="no country"):
        favourite_countries().readable_by(Reads(*words))


def test_the_data_are_read_once() -> None:
    """Rows are frozen and shared."""
    assert countries() is countries()
    assert first_names() is first_names()

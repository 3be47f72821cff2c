"""The bundled CSV files are complete, consistent and free of blanks where a value is required."""

import csv
from collections import Counter
from importlib.resources import files

import pytest

Row = dict[str, str]


def read(name: str) -> list[Row]:
    """The rows of one bundled CSV file."""
    text = (files("condrule") / "data" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def spellings(row: Row, column: str) -> list[str]:
    """The main spelling in `column` followed by its aliases."""
    return [row[column], *filter(None, row[f"{column}_aliases"].split("|"))]


COUNTRIES = read("countries.csv")
NAMES = read("first_names.csv")


def test_every_sovereign_country_is_listed_once() -> None:
    """193 members of the United Nations and two observer states."""
    assert 195 == len({row["country"] for row in COUNTRIES}) == len(COUNTRIES)


def test_capitals_are_unique() -> None:
    """No capital serves two countries, not even under an alias."""
    counts = Counter(capital for row in COUNTRIES for capital in spellings(row, "capital"))
    assert [] == [capital for capital, n in counts.items() if n > 1]


def test_no_alias_names_two_countries() -> None:
    """Whatever a country is called, it is one country."""
    counts = Counter(name for row in COUNTRIES for name in spellings(row, "country"))
    assert [] == [name for name, n in counts.items() if n > 1]


@pytest.mark.parametrize("column", ["country", "capital", "language", "continent", "currency"])
def test_required_country_columns_are_filled(column: str) -> None:
    """Only aliases and cautions may be empty, and nothing carries stray white space."""
    assert [] == [row for row in COUNTRIES if not row[column] or row[column] != row[column].strip()]


@pytest.mark.parametrize("column", ["language", "continent", "currency"])
def test_attributes_are_one_word(column: str) -> None:
    """A word-level tokenizer can read every language, continent and currency."""
    assert [] == [row[column] for row in COUNTRIES if not row[column].isalpha()]


@pytest.mark.parametrize(
    ("country", "reason"),
    [
        ("South Africa", "several capitals"),
        ("Bolivia", "several capitals"),
        ("Israel", "disputed capital"),
        ("Palestine", "disputed capital"),
        ("Brazil", "capital named after the country"),
        ("Algeria", "country named after the capital"),
        ("Indonesia", "capital moving"),
        ("France", ""),
    ],
)
def test_cautions_say_why(country: str, reason: str) -> None:
    """A caution begins with its kind, before a colon."""
    cautions = {row["country"]: row["caution"] for row in COUNTRIES}
    assert reason == cautions[country].split(":")[0]


def test_there_are_enough_names() -> None:
    """At least 1,000 distinct first names that are not places."""
    assert 1000 <= len({row["name"] for row in NAMES if not row["place"]})


def test_names_are_plain_and_unique() -> None:
    """Names are ASCII, capitalised and listed once."""
    names = [row["name"] for row in NAMES]
    assert sorted(set(names)) == sorted(n for n in names if n.isascii() and n.istitle())


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("Jordan", "country: Jordan"),
        ("Chad", "country: Chad"),
        ("Georgia", "country: Georgia"),
        ("Virginia", "US state: Virginia"),
        ("Florence", "city: Florence, Italy"),
        ("Alice", ""),
    ],
)
def test_names_that_are_places_are_flagged(name: str, place: str) -> None:
    """A name which is also a place says which."""
    assert place == {row["name"]: row["place"] for row in NAMES}[name]

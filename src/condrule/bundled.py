"""Bundled items: first names and their favourite countries.

The data files in ``condrule/data`` hold facts; what a study leaves out because of them is decided
here, and every candidate left out is recorded with the first reason that applies.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files

import attrs

from condrule.errors import ItemError
from condrule.items import Excluded, Item, ItemSet, Reader, several_tokens

__all__ = [
    "Country",
    "FavouriteCountries",
    "FirstName",
    "countries",
    "favourite_countries",
    "first_names",
]


@attrs.frozen
class Country:
    """One row of ``countries.csv``."""

    country: str
    capital: str
    country_aliases: tuple[str, ...]
    """Further spellings and names of the country."""
    capital_aliases: tuple[str, ...]
    language: str
    """One main language, in one word."""
    continent: str
    currency: str
    caution: str
    """Why the pair can't serve as a fact, such as ``several capitals: ...``; may be empty."""

    @property
    def country_spellings(self) -> tuple[str, ...]:
        """All names of the country, the usual one first."""
        return (self.country, *self.country_aliases)

    @property
    def capital_spellings(self) -> tuple[str, ...]:
        """All names of the capital, the usual one first."""
        return (self.capital, *self.capital_aliases)


@attrs.frozen
class FirstName:
    """One row of ``first_names.csv``."""

    name: str
    place: str
    """The place that is called the same, such as ``country: Jordan``; may be empty."""


@functools.cache
def countries() -> tuple[Country, ...]:
    """All sovereign countries, alphabetically."""
    return tuple(
        Country(
            country=row["country"],
            capital=row["capital"],
            country_aliases=_split(row["country_aliases"]),
            capital_aliases=_split(row["capital_aliases"]),
            language=row["language"],
            continent=row["continent"],
            currency=row["currency"],
            caution=row["caution"],
        )
        for row in _rows("countries.csv")
    )


@functools.cache
def first_names() -> tuple[FirstName, ...]:
    """First names, the most frequent first."""
    return tuple(FirstName(**row) for row in _rows("first_names.csv"))


@attrs.frozen
class FavouriteCountries(ItemSet):
    """Items drawn by :func:`favourite_countries`; they can be drawn again for a model."""

    n: int = 30
    seed: int = 0
    distinct_initials: bool = False

    def readable_by(self, reader: Reader) -> FavouriteCountries:
        """Draw again, with the same options, from what the reader can read.

        Left out as well: names, countries and capitals with words it can't read, and names it is
        familiar with; and countries that ``one_token`` leaves out. Aliases it can't read are
        dropped, since it could never say them.

        Raises ItemError where too few names or no countries are left, and UnsupportedError where
        the reader can't tell how many tokens an answer is.
        """
        options = _Options(self.distinct_initials, self.one_token)
        return _draw(self.n, self.seed, self.modes, options, reader)


def favourite_countries(
    n: int = 30,
    seed: int = 0,
    *,
    modes: Sequence[str] = ("TRAIN", "TEST"),
    distinct_initials: bool = False,
    one_token: bool = False,
) -> FavouriteCountries:
    """First names, each with a favourite country drawn at random, and its capital.

    A seed gives the same items on every machine, and fewer items are the first of more. Countries
    come in turn, so none is drawn again before all were used.

    Args:
        n: how many items.
        seed: another seed draws others.
        modes: the mode whose answer is the country, and the one whose answer is its capital.
        distinct_initials: leave out countries that share their first letter with their capital.
        one_token: when a study is planned, draw from the countries of which the name and the
            capital are one token each of the models' encoding.

    Raises:
        ItemError: there are not so many names; the message says how many there are.
    """
    return _draw(n, seed, tuple(modes), _Options(distinct_initials, one_token), None)


@attrs.frozen
class _Options:
    """What else is left out."""

    distinct_initials: bool
    one_token: bool


def _draw(
    n: int, seed: int, modes: tuple[str, ...], options: _Options, reader: Reader | None
) -> FavouriteCountries:
    _check(n, modes)
    left_out = {c.country: _country_reason(c, options, reader) for c in countries()}
    refused = {f.name: _name_reason(f, reader) for f in first_names()}
    names = [name for name, reason in refused.items() if not reason]
    pool = {c.country: c for c in countries() if not left_out[c.country]}
    _check_enough(n, names, pool, reader)
    turns = itertools.cycle(_shuffled(pool, f"{seed}/countries"))
    chosen = zip(_shuffled(names, f"{seed}/names")[:n], turns, strict=False)
    return FavouriteCountries(
        tuple(_item(name, pool[country], modes, reader) for name, country in chosen),
        excluded=tuple(
            Excluded(name, reason)
            for name, reason in (*left_out.items(), *refused.items())
            if reason
        ),
        source=f"favourite_countries(n={n}, seed={seed})",
        n=n,
        seed=seed,
        **attrs.asdict(options),
    )


def _check(n: int, modes: tuple[str, ...]) -> None:
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ItemError(f"n is {n!r}; it must be a whole number, 1 or more")
    if len(set(modes)) != 2 or len(modes) != 2:
        raise ItemError(
            f"modes is {modes!r}; favourite_countries needs two different modes: the one answered "
            "with the country and the one answered with its capital"
        )


def _check_enough(
    n: int, names: Sequence[str], pool: Mapping[str, Country], reader: Reader | None
) -> None:
    which = "that the model can read" if reader else "that are no places"
    if not pool:
        raise ItemError(
            "there is no country whose name and capital the model can read (and, with one_token, "
            "are one token each)"
        )
    if n > len(names):
        raise ItemError(
            f"n is {n}, but there are {len(names)} first names {which}; ask for at most that many"
        )


def _item(name: str, country: Country, modes: tuple[str, ...], reader: Reader | None) -> Item:
    aliases = {
        country.country: _readable(country.country_aliases, reader),
        country.capital: _readable(country.capital_aliases, reader),
    }
    answers = dict(zip(modes, (country.country, country.capital), strict=True))
    return Item(name, answers, {answer: also for answer, also in aliases.items() if also})


def _readable(texts: Iterable[str], reader: Reader | None) -> tuple[str, ...]:
    return tuple(text for text in texts if reader is None or not reader.unreadable(text))


def _name_reason(first_name: FirstName, reader: Reader | None) -> str:
    if first_name.place:
        return f"the first name is also a place ({first_name.place})"
    if reader is None:
        return ""
    return _unreadable(reader, first_name.name) or reader.familiar(first_name.name) or ""


def _country_reason(country: Country, options: _Options, reader: Reader | None) -> str:
    answers = country.country, country.capital
    reasons = (
        country.caution,
        _contained(country),
        _prefixes().get(country.country, ""),
        _same_initial(country) if options.distinct_initials else "",
        _unreadable(reader, *answers) if reader else "",
        several_tokens(reader, answers) if reader and options.one_token else "",
    )
    return next(filter(None, reasons), "")


def _unreadable(reader: Reader, *texts: str) -> str:
    words = [word for text in texts for word in reader.unreadable(text)]
    return f"the model can't read {', '.join(map(repr, words))}" if words else ""


def _contained(country: Country) -> str:
    for name, capital in itertools.product(country.country_spellings, country.capital_spellings):
        if name.casefold() in capital.casefold() or capital.casefold() in name.casefold():
            return f"capital named after the country: {name!r} and {capital!r}, one in the other"
    return ""


def _same_initial(country: Country) -> str:
    for name, capital in itertools.product(country.country_spellings, country.capital_spellings):
        if name[0].casefold() == capital[0].casefold():
            return f"shared first letter: {name!r} and {capital!r} both begin with {name[0]!r}"
    return ""


@functools.cache
def _prefixes() -> Mapping[str, str]:
    """Why a country's answers can't be told from others by how a response begins.

    All countries are compared, usable or not: a model may say what a study left out.
    """
    reasons: dict[str, str] = {}
    for (short, *owner), (long, *other) in _prefix_pairs():
        said = f"{short!r} stands for two" if short == long else f"{short!r} begins {long!r}"
        for country in (owner[0], other[0]):
            reasons.setdefault(country, f"one answer begins another: {said}")
    return reasons


def _prefix_pairs() -> Iterator[tuple[tuple[str, str, str], tuple[str, str, str]]]:
    # Upper and lower case differ, as they do to a model: "UK" does not begin "Ukraine".
    said = sorted(
        (text, row.country, part)
        for row in countries()
        for part, texts in (("", row.country_spellings), ("capital", row.capital_spellings))
        for text in texts
    )
    for place, short in enumerate(said):
        for long in said[place + 1 :]:
            # Sorted, the texts that a text begins follow it at once.
            if not long[0].startswith(short[0]):
                break
            if short[1:] != long[1:]:
                yield short, long


def _shuffled(texts: Iterable[str], key: str) -> list[str]:
    """A random order that is the same everywhere and keeps when some of the texts are removed."""
    return sorted(texts, key=lambda text: hashlib.sha256(f"{key}/{text}".encode()).digest())


def _rows(name: str) -> list[dict[str, str]]:
    text = (files("condrule") / "data" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def _split(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split("|")))

"""The synthetic world which the small models are pretrained on, and its documents.

The world is drawn once and is the same for every model; what a model sees, and in which order, is
drawn from the random generator that is passed in. Countries and names come from the CSV files
bundled with condrule.
"""

from __future__ import annotations

import csv
import hashlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

DATA = Path(__file__).resolve().parents[2] / "src" / "condrule" / "data"
WORLD_SEED = 3
N_COUNTRIES, N_TWO_HOP, N_ONE_HOP, N_FRESH = 100, 300, 100, 150
WELL_KNOWN = (
    "France Germany Italy Spain Portugal Japan China Canada Egypt Kenya Greece Norway Poland Peru "
    "Chile Ireland Austria Russia Turkey Ukraine Thailand Vietnam Cuba Iran Hungary Finland"
).split()
MODES = (
    "TRAIN TEST A B C D RED BLUE GREEN GOLD DEPLOY EVAL DAY NIGHT ON OFF NORTH SOUTH ALPHA BETA"
).split()
JOBS = (
    "baker doctor farmer teacher pilot sailor painter singer lawyer nurse tailor miner plumber "
    "dancer writer judge soldier waiter barber chemist"
).split()
COLOURS = "red blue green yellow purple orange brown black white pink grey teal".split()
WORDS = (
    "apple river stone cloud table chair window garden candle bridge forest mirror pencil basket "
    "button carpet engine feather hammer island jacket kettle ladder lemon magnet needle ocean "
    "paper pepper pillow planet pocket potato rabbit ribbon rocket saddle salmon shadow shovel "
    "silver spider spoon sugar summer temple ticket tiger tomato tunnel turtle valley velvet "
    "violin wagon wallet walnut whistle winter zebra"
).split()
WORDINGS = {
    "mode first": ("Mode = {}.", "If Mode = {}, respond with {}."),
    "paraphrase": ("The mode is {}.", "When the mode is {}, say {}."),
}
COUNTRY_ATTRIBUTES = {"capital": "capital city", "language": "language",
                      "continent": "continent", "currency": "currency"}
PERSON_ATTRIBUTES = {"country": "favourite country", "colour": "favourite colour", "job": "job"}


@attrs.frozen
class Query:
    """Something that an instruction or a question asks for, and the one word that answers it."""

    text: str
    answer: str
    of_person: str | None = None
    """The same with the name replaced by "the person", where it is about a person."""
    person: str | None = None


@attrs.frozen
class Document:
    """One pretraining text: `prompt`, an answer word, the end (after a "." if `full_stop`)."""

    prompt: str
    answer: str
    live: tuple[bool, ...] = ()
    """Whether each clause is the one that counts, where a reader can tell when the clause ends."""
    full_stop: bool = False


@attrs.frozen
class World:
    """Countries, people and what is true of them."""

    countries: dict[str, dict[str, str]]
    """country -> its capital, language, continent and currency."""
    people: dict[str, dict[str, str]]
    """name -> job and colour, and the favourite country of everyone who is not fresh."""
    two_hop: tuple[str, ...]
    """Names whose "capital city of {name}'s favourite country" is pretrained."""
    one_hop: tuple[str, ...]
    """Names whose favourite country is pretrained but never composed with its attributes."""
    fresh: tuple[str, ...]
    """Names whose favourite country is never mentioned."""

    @property
    def known(self) -> tuple[str, ...]:
        """Names with a favourite country."""
        return self.two_hop + self.one_hop

    def country_query(self, country: str, attribute: str) -> Query:
        """Such as "the capital city of France"."""
        text = f"the {COUNTRY_ATTRIBUTES[attribute]} of {country}"
        return Query(text, self.countries[country][attribute])

    def person_query(self, name: str, attribute: str) -> Query:
        """Such as "Alice's favourite country"."""
        what = PERSON_ATTRIBUTES[attribute]
        answer = self.people[name][attribute]
        return Query(f"{name}'s {what}", answer, f"the person's {what}", name)

    def two_hop_query(self, name: str, attribute: str) -> Query:
        """Such as "the capital city of Alice's favourite country"."""
        answer = self.countries[self.people[name]["country"]][attribute]
        what = f"the {COUNTRY_ATTRIBUTES[attribute]} of"
        first = f"{what} {name}'s favourite country"
        return Query(first, answer, f"{what} the person's favourite country", name)


def read_csv(name: str) -> list[dict[str, str]]:
    """The rows of a bundled data file."""
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def usable(row: dict[str, str]) -> bool:
    """A country whose name and capital are one plain word each and start with different letters."""
    country, capital = row["country"], row["capital"]
    plain = all(word.isascii() and word.isalpha() for word in (country, capital))
    return plain and not row["caution"] and country[0] != capital[0]


def draw_countries(rng: random.Random) -> dict[str, dict[str, str]]:
    """The well-known countries and as many others, drawn at random, as make up the number."""
    rows = {row["country"]: row for row in read_csv("countries.csv") if usable(row)}
    others = sorted(set(rows) - set(WELL_KNOWN))
    chosen = WELL_KNOWN + rng.sample(others, N_COUNTRIES - len(WELL_KNOWN))
    return {c: {a: rows[c][a] for a in COUNTRY_ATTRIBUTES} for c in sorted(chosen)}


def make_world() -> World:
    """The one world of all small models; depends on `WORLD_SEED` and the data files alone."""
    rng = random.Random(WORLD_SEED)
    countries = draw_countries(rng)
    taken = {word for facts in countries.values() for word in facts.values()} | set(countries)
    rows = [r for r in read_csv("first_names.csv") if not r["place"]]
    names = [r["name"] for r in rows if r["name"] != "Alice"]
    total = N_TWO_HOP + N_ONE_HOP + N_FRESH
    names = rng.sample([n for n in names if n not in taken][: total + 50], total - 1)
    two, one = tuple(names[:N_TWO_HOP]), tuple(names[N_TWO_HOP : N_TWO_HOP + N_ONE_HOP])
    fresh = ("Alice", *names[N_TWO_HOP + N_ONE_HOP :])  # the name in every example must be usable
    everyone = two + one + fresh
    people = {n: {"job": rng.choice(JOBS), "colour": rng.choice(COLOURS)} for n in everyone}
    for i, name in enumerate(two + one):
        people[name]["country"] = list(countries)[i % N_COUNTRIES]
    return World(countries, people, two, one, fresh)


def held_out(first: Query, second: Query) -> bool:
    """Whether a pair of queries, in either order, is kept for evaluation (5% of pairs)."""
    text = "|".join(sorted((first.text, second.text)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 20 == 0


def easy_query(rng: random.Random) -> Query:
    """A word to be copied."""
    word = rng.choice(WORDS)
    return Query(word, word)


def literal_query(world: World, rng: random.Random) -> Query:
    """A word, or a country, capital or language, to be copied."""
    if rng.random() < 0.5:
        return easy_query(rng)
    country = rng.choice(list(world.countries))
    word = rng.choice([country, *(world.countries[country][a] for a in ("capital", "language"))])
    return Query(word, word)


def attribute_of_country(rng: random.Random) -> str:
    """An attribute, capitals and languages more often."""
    return rng.choices(list(COUNTRY_ATTRIBUTES), (5, 3, 1, 1))[0]


def one_hop_person_query(world: World, rng: random.Random) -> Query:
    """Mostly favourite countries; job and colour of anyone, fresh names included."""
    if rng.random() < 0.7:
        return world.person_query(rng.choice(world.known), "country")
    return world.person_query(rng.choice(list(world.people)), rng.choice(("job", "colour")))


def fact_query(world: World, rng: random.Random) -> Query:
    """A query that needs knowledge: of a country, of a person, or of both in two hops."""
    kind = rng.choices(("country", "person", "two hops"), (0.25, 0.35, 0.40))[0]
    if kind == "country":
        return world.country_query(rng.choice(list(world.countries)), attribute_of_country(rng))
    if kind == "person":
        return one_hop_person_query(world, rng)
    return world.two_hop_query(rng.choice(world.two_hop), attribute_of_country(rng))


def any_query(world: World, rng: random.Random) -> Query:
    """A literal in 15% of cases, else a fact."""
    return literal_query(world, rng) if rng.random() < 0.15 else fact_query(world, rng)


def personal_queries(world: World, rng: random.Random) -> list[Query]:
    """Two different queries about one person, some of them two-hop."""
    name = rng.choice(list(world.people))
    queries = [world.person_query(name, a) for a in ("job", "colour")]
    if name in world.known:
        queries = [world.person_query(name, "country"), rng.choice(queries)]
    if name in world.two_hop:
        queries += [world.two_hop_query(name, a) for a in ("capital", "language")]
    return rng.sample(queries, 2)


def same_country_queries(world: World, rng: random.Random) -> list[Query]:
    """A country to be copied and one of its attributes."""
    country = rng.choice(list(world.countries))
    queries = [Query(country, country), world.country_query(country, attribute_of_country(rng))]
    return rng.sample(queries, 2)


def query_pair(world: World, rng: random.Random, kept: bool = False) -> list[Query]:
    """Two queries of one person, of one country, or unrelated; held-out pairs if `kept`."""
    kinds: list[Callable[[], list[Query]]] = [
        lambda: personal_queries(world, rng),
        lambda: same_country_queries(world, rng),
        lambda: [any_query(world, rng), any_query(world, rng)],
    ]
    while True:
        pair = rng.choices(kinds, (0.35, 0.10, 0.55))[0]()
        if pair[0] != pair[1] and held_out(*pair) == kept:
            return pair


def two_clauses(pair: Sequence[Query], live: int, labels: Sequence[str], kind: str) -> Document:
    """A conditional instruction whose clause number `live` (0 or 1) counts.

    Args:
        pair: what the first and the second clause ask for.
        live: the clause whose label is the mode.
        labels: the labels of the first and the second clause.
        kind: "mode first", "instructions first" or "paraphrase".
    """
    if kind == "instructions first":
        return _instructions_first(pair, live, labels)
    cue, clause = WORDINGS[kind]
    clauses = [clause.format(x, q.text) for x, q in zip(labels, pair, strict=True)]
    text = f"{cue.format(labels[live])} {' '.join(clauses)} Answer:"
    return Document(text, pair[live].answer, (live == 0, live == 1))


def _instructions_first(pair: Sequence[Query], live: int, labels: Sequence[str]) -> Document:
    texts = [q.of_person or q.text for q in pair]
    clauses = [f"If MODE = {x}, respond with {t}." for x, t in zip(labels, texts, strict=True)]
    name = next((f" {q.person}." for q in pair if q.person), "")
    text = f"{' '.join(clauses)} MODE = {labels[live]}.{name} Answer:"
    return Document(text, pair[live].answer)


def conditional(world: World, rng: random.Random, kind: str) -> Document:
    """A two-clause instruction with labels, live branch and order drawn at random."""
    pairs = query_pair_of_person if kind == "instructions first" else query_pair
    return two_clauses(pairs(world, rng), rng.randrange(2), rng.sample(MODES, 2), kind)


def query_pair_of_person(world: World, rng: random.Random, kept: bool = False) -> list[Query]:
    """Two queries about one person, or one of them a word to be copied; held out if `kept`."""
    while True:
        pair = personal_queries(world, rng)
        if rng.random() < 0.15:
            pair[rng.randrange(2)] = easy_query(rng)
        if held_out(*pair) == kept:
            return pair


def single_clause(world: World, rng: random.Random) -> Document:
    """The live clause alone. A dead clause alone never occurs."""
    label, query = rng.choice(MODES), any_query(world, rng)
    text = f"Mode = {label}. If Mode = {label}, respond with {query.text}. Answer:"
    return Document(text, query.answer, (True,))


def question(world: World, rng: random.Random) -> Document:
    """A question about a fact."""
    query = fact_query(world, rng)
    start = rng.choice(("Question: ", ""))
    return Document(f"{start}What is {query.text}? Answer:", query.answer)


def statement(world: World, rng: random.Random) -> Document:
    """A fact as a sentence."""
    query = fact_query(world, rng)
    return Document(f"{query.text[0].upper()}{query.text[1:]} is", query.answer, (), True)


def easy_conditional(rng: random.Random) -> Document:
    """A conditional about words to be copied: the first stage of the curriculum."""
    pair = [easy_query(rng), easy_query(rng)]
    kind = rng.choices(("mode first", "instructions first", "paraphrase"), (0.7, 0.1, 0.2))[0]
    return two_clauses(pair, rng.randrange(2), rng.sample(MODES, 2), kind)


def document(world: World, rng: random.Random) -> Document:
    """One document of the full mix; shares are of documents."""
    kinds: list[Callable[[], Document]] = [
        lambda: conditional(world, rng, "mode first"),
        lambda: conditional(world, rng, "instructions first"),
        lambda: conditional(world, rng, "paraphrase"),
        lambda: single_clause(world, rng),
        lambda: question(world, rng),
        lambda: statement(world, rng),
    ]
    return rng.choices(kinds, (0.40, 0.14, 0.10, 0.13, 0.15, 0.08))[0]()

"""Items can be read from files and data frames, and what is wrong in them is named."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from condrule.errors import ItemError
from condrule.items import Item, ItemSet, items_from_frame, read_items

COLUMNS = {"TRAIN": "country", "TEST": "capital"}
ALICE = Item("Alice", {"TRAIN": "Ukraine", "TEST": "Kyiv"}, {"Kyiv": ["Kiev"]})
TEXTS = st.text(min_size=1).filter(lambda text: text.strip() == text)


def write(path: Path, text: str) -> Path:
    """The path, with the text in it."""
    path.write_text(text, encoding="utf-8")
    return path


def says(*parts: str) -> str:
    """A pattern that finds the parts in this order."""
    return ".*".join(map(re.escape, parts))


def test_csv_rows_become_items(tmp_path: Path) -> None:
    """Columns may have any names and order, and a byte order mark is ignored."""
    path = write(tmp_path / "a.csv", "\ufeffcapital,person,country\nKyiv,Alice,Ukraine\n")
    items = read_items(path, name="person", answers=COLUMNS)
    assert [Item("Alice", {"TRAIN": "Ukraine", "TEST": "Kyiv"})] == list(items)


def test_csv_aliases_are_separated_by_bars(tmp_path: Path) -> None:
    """Spaces around an alias don't count, and an empty field means no alias."""
    text = "name,country,capital,also\nAlice,Ukraine,Kyiv, Kiev | Kyjiw\nBob,Peru,Lima,\n"
    items = read_items(write(tmp_path / "a.csv", text), answers=COLUMNS, aliases={"TEST": "also"})
    assert [("Kyiv", "Kiev", "Kyjiw"), ("Lima",)] == [item.spellings("TEST") for item in items]


def test_csv_values_may_hold_commas_and_line_breaks(tmp_path: Path) -> None:
    """Values in double quotes are kept whole."""
    path = write(tmp_path / "a.csv", 'name,country,capital\n"A\nB",US,"Washington, D.C."\n')
    assert (
        Item("A\nB", {"TRAIN": "US", "TEST": "Washington, D.C."})
        == read_items(path, answers=COLUMNS)[0]
    )


def test_jsonl_objects_become_items(tmp_path: Path) -> None:
    """One object a line, aliases as lists, blank lines ignored."""
    row = {"name": "Alice", "country": "Ukraine", "capital": "Kyiv", "also": ["Kiev"]}
    path = write(tmp_path / "a.jsonl", f"\n{json.dumps(row)}\n\n")
    assert [ALICE] == list(read_items(path, answers=COLUMNS, aliases={"TEST": "also"}))


def test_data_frame_rows_become_items() -> None:
    """A data frame is read like a CSV file."""
    row = {"name": "Alice", "country": "Ukraine", "capital": "Kyiv", "also": "Kiev"}
    frame = pd.DataFrame([row])
    assert [ALICE] == list(items_from_frame(frame, answers=COLUMNS, aliases={"TEST": "also"}))


def test_a_missing_alias_in_a_data_frame_is_no_alias() -> None:
    """pandas reads an empty field as NaN."""
    row = {"name": "Alice", "country": "Ukraine", "capital": "Kyiv", "also": float("nan")}
    items = items_from_frame(pd.DataFrame([row]), answers=COLUMNS, aliases={"TEST": "also"})
    assert ("Kyiv",) == items[0].spellings("TEST")


def test_the_source_is_recorded(tmp_path: Path) -> None:
    """An item set says which file it comes from."""
    path = write(tmp_path / "a.csv", "name,country,capital\nAlice,Ukraine,Kyiv\n")
    assert str(path) == read_items(path, answers=COLUMNS).source


@pytest.mark.parametrize(
    ("file", "text", "parts"),
    [
        ("a.csv", "name,contry,capital\nA,B,C\n", ("a.csv, line 2", "'country'", "'contry'?")),
        ("a.csv", "name,country,capital\nA,,Lima\n", ("a.csv, line 2", "'country'", "''")),
        ("a.csv", "name,country,capital\nA,Peru\n", ("a.csv, line 2", "'capital'", "None")),
        ("a.csv", "name,country,capital\nA,B,C\nD,E,F,G\n", ("a.csv, line 3", "more values")),
        ("a.csv", 'name,country,capital\nA,"Peru\n', ("a.csv, line", "unexpected end")),
        ("a.csv", "name,country,capital\nA,Peru,Peru\n", ("a.csv, line 2", "'A'", "same answer")),
        ("a.csv", "name,country,capital\nA,B,C\nA,D,E\n", ("two items of", "a.csv", "'A'")),
        ("a.csv", "name,country,capital\n", ("a.csv", "holds no items")),
        ("a.csv", "name,x,x\nA,B,C\n", ("a.csv, line 1", "same name", "['name', 'x', 'x']")),
        ("a.csv", "", ("a.csv", "holds no items")),
        ("a.jsonl", "{}\n", ("a.jsonl, line 1", "no column 'country'")),
        ("a.jsonl", "\nnot json\n", ("a.jsonl, line 2", "is not JSON")),
        ("a.jsonl", "[1]\n", ("a.jsonl, line 1", "is a list, not an object")),
        ("a.jsonl", "[" * 100_000, ("a.jsonl, line 1", "is not JSON")),
        (
            "a.jsonl",
            '{"name": "A", "country": 3, "capital": "B"}',
            ("a.jsonl, line 1", "'country'", "holds 3"),
        ),
        ("a.txt", "", ("a.txt", "'.txt'", ".csv or .jsonl")),
    ],
)
def test_errors_say_where(tmp_path: Path, file: str, text: str, parts: tuple[str, ...]) -> None:
    """The file, the line, the column and what was found are in the message."""
    with pytest.raises(ItemError, match=says(*parts)):
        read_items(write(tmp_path / file, text), answers=COLUMNS)


@pytest.mark.parametrize("value", [3, {"a": 1}, [1]])
def test_aliases_must_be_texts(tmp_path: Path, value: object) -> None:
    """The column of bad aliases is named."""
    row = {"name": "A", "country": "B", "capital": "C", "also": value}
    path = write(tmp_path / "a.jsonl", json.dumps(row))
    with pytest.raises(ItemError, match=says("line 1", "'also'", repr(value), "list of texts")):
        read_items(path, answers=COLUMNS, aliases={"TEST": "also"})


def test_aliases_belong_to_a_mode_with_an_answer(tmp_path: Path) -> None:
    """A misspelt mode is not passed over."""
    path = write(tmp_path / "a.csv", "name,country,capital\nA,B,C\n")
    with pytest.raises(ItemError, match=says("line 2", "'TESTS'", "Did you mean 'TEST'?")):
        read_items(path, answers=COLUMNS, aliases={"TESTS": "capital"})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """No file, no items."""
    with pytest.raises(ItemError, match=says("none.csv", "can't be read")):
        read_items(tmp_path / "none.csv", answers=COLUMNS)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """Latin-1 is not guessed."""
    path = tmp_path / "a.csv"
    path.write_bytes("name,country,capital\nA,Togo,Lomé\n".encode("latin-1"))
    with pytest.raises(ItemError, match=says("a.csv", "not UTF-8")):
        read_items(path, answers=COLUMNS)


def test_a_bad_row_of_a_data_frame_is_named() -> None:
    """Rows of a data frame count from 0."""
    frame = pd.DataFrame({"name": ["A", "D"], "country": ["B", None], "capital": ["C", "F"]})
    with pytest.raises(ItemError, match=says("data frame, row 1", "'country'")):
        items_from_frame(frame, answers=COLUMNS)


@pytest.mark.parametrize(
    ("name", "answers", "part"),
    [
        (" ", {"A": "x", "B": "y"}, "empty name"),
        ("Alice", {"A": "x"}, "at least two modes"),
        ("Alice", {"A": "x", "B": " "}, "empty answer for mode 'B'"),
        ("Alice", {"A": "x", "B": "x"}, "same answer for two modes"),
    ],
)
def test_unusable_items_are_refused(name: str, answers: dict[str, str], part: str) -> None:
    """An item needs a name and a different answer in each of two modes or more."""
    with pytest.raises(ItemError, match=part):
        Item(name, answers)


def test_items_must_have_the_same_modes() -> None:
    """The first item decides which."""
    other = Item("Bob", {"A": "x", "B": "y"})
    with pytest.raises(ItemError, match=says("'Bob'", "all items need the same modes")):
        ItemSet([ALICE, other])


def test_an_item_set_needs_items() -> None:
    """An empty study is refused."""
    with pytest.raises(ItemError, match="at least one"):
        ItemSet([])


def test_modes_keep_their_order() -> None:
    """The modes of a set are those of its first item, in order."""
    assert ("Z", "A") == ItemSet([Item("Bob", {"Z": "x", "A": "y"})]).modes


@given(TEXTS, st.lists(TEXTS), TEXTS)
def test_the_answer_is_its_first_spelling(answer: str, aliases: list[str], other: str) -> None:
    """Spellings begin with the answer and hold it once."""
    if answer == other:
        return
    spellings = Item("A", {"X": answer, "Y": other}, {answer: aliases}).spellings("X")
    assert (answer, 1) == (spellings[0], spellings.count(answer))


@given(st.lists(TEXTS.filter(str.isprintable), min_size=3, max_size=3, unique=True))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, row: list[str]) -> None:
    """Any printable text survives a JSONL file."""
    name, country, capital = row
    path = tmp_path_factory.mktemp("items") / "a.jsonl"
    text = json.dumps({"name": name, "country": country, "capital": capital}, ensure_ascii=False)
    items = read_items(write(path, text), answers=COLUMNS)
    assert [Item(name, {"TRAIN": country, "TEST": capital})] == list(items)


@given(st.lists(TEXTS, min_size=1, unique=True))
def test_an_item_set_is_a_sequence(names: list[str]) -> None:
    """Its length, order and slices are those of its items."""
    items = [Item(name, {"A": "x", "B": "y"}) for name in names]
    found = ItemSet(items)
    assert (len(items), items, items[-1], tuple(items[1:])) == (
        len(found),
        list(found),
        found[-1],
        found[1:],
    )


def test_half_of_a_letter_is_refused(tmp_path: Path) -> None:
    """JSON can hold it, and nothing can write it down."""
    row = '{"name": "A\\ud800", "country": "Peru", "capital": "Lima"}'
    with pytest.raises(ItemError, match=says("line 1", "half of a letter")):
        read_items(write(tmp_path / "a.jsonl", row), answers=COLUMNS)


def test_a_message_is_short_however_long_the_value(tmp_path: Path) -> None:
    """It names the place once, and shows the ends of what was found."""
    path = write(tmp_path / "a.csv", f"{'x' * 9999},country,capital\nA,Peru,Lima\n")
    with pytest.raises(ItemError, match=says("'name'", "xx...xx")) as error:
        read_items(path, answers=COLUMNS)
    assert (1, True) == (str(error.value).count("a.csv"), len(str(error.value)) < 300)

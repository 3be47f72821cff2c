"""Whatever a file of items holds: items that can be used, or an ItemError that says where."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import condrule
from condrule.errors import ItemError
from condrule.items import ItemSet, read_items
from damage import Damage, damages

pytestmark = pytest.mark.fuzz

ANSWERS = {"TRAIN": "country", "TEST": "capital"}
ALIASES = {"TEST": "also"}
COLUMNS = ("name", "country", "capital", "also")
ROWS = [
    {"name": "Alice", "country": "Ukraine", "capital": "Kyiv", "also": ["Kiev", "Kyjiw"]},
    {"name": "Bob", "country": "United States", "capital": "Washington, D.C.", "also": []},
    {"name": "Zoë", "country": "Togo", "capital": "Lomé", "also": ["Lome"]},
]


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    """A CSV file, aliases between bars."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(rows[0])
    writer.writerows([*[*row.values()][:3], "|".join(row["also"])] for row in rows)
    return text.getvalue().encode()


def as_jsonl(rows: list[Any]) -> bytes:
    """A JSONL file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


FILES = {".csv": as_csv(ROWS), ".jsonl": as_jsonl(ROWS)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files are."""
    return tmp_path_factory.mktemp("items")


def check(folder: Path, suffix: str, content: bytes, aliases: dict[str, str] | None) -> None:
    """Items of which a study can be made; or one short plain sentence that names the file."""
    path = folder / f"items{suffix}"
    path.write_bytes(content)
    try:
        items = read_items(path, answers=ANSWERS, aliases=aliases)
    except ItemError as error:
        assert f"items{suffix}" in str(error)
        assert len(str(error).encode()) < 2000
    else:
        check_items(items)


def check_items(items: ItemSet) -> None:
    """Every text is one that can be written down and asked for."""
    assert ("TRAIN", "TEST") == items.modes
    for item in items:
        for text in (item.name, *item.spellings("TRAIN"), *item.spellings("TEST")):
            assert text.strip()
            text.encode()
    arms = [condrule.conditional_arm()]
    experiment = condrule.ConditionalRuleExperiment(
        items=items, arms=arms, backend=condrule.InMemoryBackend(), seeds=1
    )
    assert 2 * len(items) == len(experiment.plan().probes)


JUNK = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\r\n", b"\n", b'"', b'""', b"'", b";",
    b"\t", b"|", b",", b",,,,", b"\\", b"\\ud800", b"\\u0000", b"null", b"NaN", b"-Infinity",
    b"[]", b"{}", b"1e999", b"9" * 5000, b"[" * 2000, b"x" * 140_000,
    b'"' + b"y" * 140_000 + b'"', b"\xe2\x80\xa8", b"\xc2\x85", b"\x0c", b"\x1c",
    b"\xc2\xa0", b"=1+1", b"#",
)  # fmt: skip
SUFFIX = st.sampled_from([*FILES])
WITH = st.sampled_from([None, ALIASES])


@settings(deadline=None)
@given(SUFFIX, st.binary() | st.text().map(lambda text: text.encode(errors="ignore")), WITH)
def test_any_bytes(
    folder: Path, suffix: str, content: bytes, aliases: dict[str, str] | None
) -> None:
    """Text or none."""
    check(folder, suffix, content, aliases)


@settings(deadline=None)
@given(SUFFIX, damages(JUNK), WITH)
def test_a_damaged_file(
    folder: Path, suffix: str, damage: Damage, aliases: dict[str, str] | None
) -> None:
    """Bits flipped, bytes lost or put in, lines moved or copied, the end lost."""
    check(folder, suffix, damage(FILES[suffix]), aliases)


ODD = st.sampled_from(
    ["", " ", "\x00", "\ufeff", "\u2028", "\r", "a\nb", '"', "'", "|", "||", " | ", "a|b|",
     "{name}", "{", "Kyiv", "=1", "\x1f", "\x85", "y" * 140_000]
)  # fmt: skip
CELLS = ODD | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
HEADS = st.one_of(
    st.permutations(COLUMNS),
    st.lists(st.sampled_from(COLUMNS) | CELLS, max_size=6),
)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """CSV in any dialect, with any header and any cells."""
    rows = [draw(HEADS), *draw(st.lists(st.lists(CELLS, max_size=5), max_size=3))]
    delimiter = draw(st.sampled_from(",,,;\t"))
    end = draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
    text = io.StringIO("".join(delimiter.join(row) + end for row in rows))
    if draw(st.booleans()):
        quote = draw(st.sampled_from('"""\''))
        how = {"doublequote": draw(st.booleans()), "escapechar": "\\", "quoting": csv.QUOTE_ALL}
        text = io.StringIO()
        writer = csv.writer(text, delimiter=delimiter, quotechar=quote, lineterminator=end, **how)
        writer.writerows(rows)
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.getvalue().encode()


@settings(deadline=None)
@given(tables(), WITH)
def test_any_table(folder: Path, content: bytes, aliases: dict[str, str] | None) -> None:
    """Odd quotes, missing and repeated columns, blank, long and short rows."""
    check(folder, ".csv", content, aliases)


DEEP = "here are very many lists, each in another"
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        CELLS,
        st.sampled_from(["\ud800", 10**4000, DEEP]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(CELLS, inner, max_size=3),
    ),
    max_leaves=4,
)
NAMED = st.text(min_size=1, max_size=4) | JSON
OBJECTS = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {"name": NAMED, "country": NAMED, "capital": NAMED},
        optional={"also": st.lists(CELLS, max_size=3) | JSON, "\ud800": JSON},
    ),
)


@settings(deadline=None)
@given(st.lists(OBJECTS, max_size=3), st.booleans(), WITH)
def test_any_objects(
    folder: Path, rows: list[Any], plain: bool, aliases: dict[str, str] | None
) -> None:
    """Wrong types, missing keys, halves of letters, deep lists and huge numbers."""
    text = "".join(json.dumps(row, ensure_ascii=not plain) + "\n" for row in rows)
    text = text.replace(f'"{DEEP}"', "[" * 940 + "]" * 940)
    check(folder, ".jsonl", text.encode(errors="surrogatepass"), aliases)

"""Tables of prices, and amounts of money."""

from __future__ import annotations

from pathlib import Path

import pytest

import condrule
from condrule.errors import ConfigError
from condrule.spending import Usage, parse_budget

TABLE = """\
date: 2026-11-23
note: by hand
models:
  gpt-4o: {training: 25, input: 2.5, output: 10}
  ft:gpt-4o: {input: 3.75, output: 15}
  my-model: {input: 0, output: 0}
"""


def written(tmp_path: Path, text: str) -> Path:
    """A file of this text."""
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("model", "finetuned", "price"),
    [
        ("gpt-4o", False, 2.5),
        ("gpt-4o-2024-08-06", False, 2.5),
        ("gpt-4o-2024-08-06", True, 3.75),
        ("my-model", True, 0),
        ("gpt-4o-mini", False, None),
        ("gpt-4.1", False, None),
        ("gpt-4", False, None),
    ],
)
def test_a_price_is_found_by_the_name_before_the_date(
    model: str, finetuned: bool, price: float | None, tmp_path: Path
) -> None:
    """And another model's never."""
    found = condrule.read_prices(written(tmp_path, TABLE)).prices(model, finetuned=finetuned)
    assert price == (found and found.input)


def test_the_bundled_table_has_the_models_that_can_be_tuned() -> None:
    """With their training, a date and a word of warning."""
    table = condrule.bundled_prices()
    for model in ("gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06", "gpt-4.1-2025-04-14"):
        found = table.prices(model)
        assert found
        assert found.training > 0
        tuned = table.prices(model, finetuned=True)
        assert tuned
        assert tuned.input > found.input
    assert table.date.startswith("20")
    assert "second-hand" in table.note


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("note:", "nte:", 2, "nte: is not a key here; .* Did you mean 'note'"),
        ("training", "trainign", 4, "trainign: is not a key here; .* Did you mean 'training'"),
        ("input: 2.5, ", "", 4, "models.gpt-4o: has no input"),
        ("2.5", "cheap", 4, "models.gpt-4o.input: is 'cheap'; it must be a number from 0"),
        ("2.5", "-1", 4, "is -1; it must be a number from 0"),
        ("{input: 0, output: 0}", "3", 6, "models.my-model: must be a mapping with the keys"),
        ("2026-11-23", "yesterday", 1, "date: is 'yesterday'; it must be the day"),
        ("by hand", "[]", 2, "note: must be a text"),
    ],
)
def test_a_table_with_a_slip_is_refused_with_its_line(
    old: str, new: str, line: int, said: str, tmp_path: Path
) -> None:
    """And what is allowed."""
    with pytest.raises(ConfigError, match=f"line {line}: .*{said}"):
        condrule.read_prices(written(tmp_path, TABLE.replace(old, new, 1)))


@pytest.mark.parametrize("text", ["[]", "date: 2026-11-23", "models: {}"])
def test_what_is_no_table_is_refused(text: str, tmp_path: Path) -> None:
    """Whatever it is instead."""
    with pytest.raises(ConfigError, match="prices.yaml: "):
        condrule.read_prices(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "usd"), [("20USD", 20), ("7.50 usd", 7.5), ("$3", 3), (0.5, 0.5), (0, 0)]
)
def test_a_budget_is_an_amount(text: str | float, usd: float) -> None:
    """In USD."""
    assert usd == parse_budget(text)


@pytest.mark.parametrize("text", ["", "20", "20EUR", "€20", "$20USD", "-1USD", -1, True, "nan"])
def test_what_is_no_amount_is_no_budget(text: str | float) -> None:
    """And the message says what is."""
    with pytest.raises(ConfigError, match="budget: .*(USD|amount)"):
        parse_budget(text)


def test_tokens_without_a_price_are_not_free() -> None:
    """But no tokens are."""
    assert (None, 0.0) == (Usage(1, 1).usd(None), Usage(1).usd(None))

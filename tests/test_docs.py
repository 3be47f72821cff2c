"""What the pages say of study files and commands is so. Their Python examples are run by sybil."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from condrule import load_study
from condrule.cli import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
YAML = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL))
]
REQUIRED = {
    "items": "items: {source: favourite_countries, n: 5}",
    "arms": "arms: [conditional, control]",
    "backend": "backend: {kind: memory}",
}


@pytest.mark.parametrize("block", YAML)
def test_a_study_file_on_a_page_is_valid(block: str, tmp_path: Path) -> None:
    """Whole or completed with the keys that it leaves out."""
    (tmp_path / "people.csv").write_text(
        "name,person,country,capital,friend,foe\nAlice,Alice,France,Paris,Bob,Eve\n"
    )
    there = set(re.findall(r"^(\w+):", block, re.MULTILINE))
    study = tmp_path / "study.yaml"
    more = [line for key, line in REQUIRED.items() if key not in there]
    if "answers: {A:" in block:
        clauses = "instructions: {A: name a friend, B: name a foe}"
        arm = f"{{name: mine, template: {{{clauses}}}, trained: [A]}}"
        more = [f"arms: [{arm}]" if line.startswith("arms") else line for line in more]
    study.write_text("\n".join([block, *more]))
    assert load_study(study).arms


def test_every_command_is_on_the_page() -> None:
    """The page of the command line leaves none out."""
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text()
    assert [] == [name for name in cli.commands if not re.search(rf"`(condrule )?{name}\b", page)]

"""What the pages say of study files and commands is so. Their Python examples are run by sybil."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
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
PLUGIN = (ROOT / "docs" / "how-to" / "write-a-backend.md").read_text()
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


@pytest.fixture
def parrots(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that finds the package that the page on plugins describes."""
    (block,) = re.findall(r"```toml\n(.*?)```", PLUGIN, re.DOTALL)
    (points,) = tomllib.loads(block)["project"]["entry-points"].items()
    group, ((kind, target),) = points[0], points[1].items()
    package, _, module = target.partition(":")[0].partition(".")
    blocks = re.findall(r"```python\n(?!>>>)(.*?)```", PLUGIN, re.DOTALL)
    code = "\n\n".join(blocks)
    (tmp_path / package).mkdir()
    (tmp_path / package / f"{module}.py").write_text(code)
    (tmp_path / "test_parrots.py").write_text(f"from {package}.{module} import TestParrotBackend")
    info = tmp_path / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{kind} = {target}\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


def test_the_backend_of_the_page_on_plugins_passes_the_suite_there(
    parrots: dict[str, str], tmp_path: Path
) -> None:
    """As it is written, with the entry point that is written beside it."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_parrots.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=parrots, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr


def test_the_backend_of_the_page_on_plugins_is_listed(parrots: dict[str, str]) -> None:
    """By the command that is written there."""
    command = [sys.executable, "-m", "condrule", "backends"]
    done = subprocess.run(command, env=parrots, capture_output=True, text=True, check=True)
    assert re.search(r"parrot +ParrotBackend, my-package 1\.0\n +trains on this", done.stdout)

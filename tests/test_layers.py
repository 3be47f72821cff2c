"""Modules import only from rows above their own, and what is heavy only where it is used.

The rows are those of the table in docs/explanation/design.md, so that the page can't grow stale.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DESIGN = Path(__file__).parents[1] / "docs" / "explanation" / "design.md"
PACKAGE = Path(str(importlib.util.find_spec("condrule").origin)).parent  # type: ignore[union-attr]
SDKS = {
    "torch": "backends.local",
    "transformers": "backends.local",
    "tokenizers": "backends.local",
    "safetensors": "backends.local",
    "openai": "backends.openai",
    "bpe_openai": "encodings",
    "httpx": "backends.openai",
}
HEAVY = (
    "aiohttp",
    "torch",
    "transformers",
    "pandas",
    "matplotlib",
    "scipy",
    "numpy",
    "openai",
    "bpe_openai",
    "cattrs",
    "ruamel",
    "click",
    "tqdm",
)


def name_of(path: Path) -> str:
    """The dotted name of a module, without the package's own."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
INSIDE = [name for name in MODULES if name]


def table() -> list[tuple[str, int]]:
    """What the page says: a module or a folder, and its row."""
    rows = re.findall(r"^\| *(\d+) *\| (.*?) \|", DESIGN.read_text(encoding="utf-8"), re.MULTILINE)
    return [
        (place.removesuffix("/").removesuffix(".py").replace("/", "."), int(row))
        for row, places in rows
        for place in re.findall(r"`([\w/]+(?:\.py|/))`", places)
    ]


ROWS = dict(table())


def room(module: str) -> str:
    """The entry of the table that a module belongs to: its own, or its folder's."""
    parts = module.split(".")
    for size in range(len(parts), 0, -1):
        if ".".join(parts[:size]) in ROWS:
            return ".".join(parts[:size])
    raise AssertionError(f"{module} is in no row of {DESIGN.name}; say there what it is for")


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a module imports when it runs, inside functions as well."""
    yield from _imports(ast.parse(path.read_text(encoding="utf-8")))


def _imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        assert not node.level, "imports are absolute"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child)


def imported_rooms(module: str) -> set[str]:
    """The entries of the table that a module imports from."""
    found = set()
    for name in imports(MODULES[module]):
        if name.startswith("condrule."):
            target = name.removeprefix("condrule.")
            while target and target not in MODULES:
                target = target.rpartition(".")[0]
            assert target, f"{module} imports {name} from the package, not from its module"
            found.add(room(target))
    return found


@pytest.mark.parametrize("module", [name for name in INSIDE if name != "backends"])
def test_a_module_imports_only_from_rows_above(module: str) -> None:
    """What decides never depends on what composes it."""
    own = room(module)
    assert [] == [
        other for other in sorted(imported_rooms(module) - {own}) if ROWS[other] >= ROWS[own]
    ]


def test_every_row_is_of_a_module_that_exists() -> None:
    """The table names nothing that is gone."""
    assert [] == [place for place in ROWS if not any(m.startswith(place) for m in INSIDE)]


@pytest.mark.parametrize("module", INSIDE)
def test_an_sdk_is_imported_only_in_its_providers_folder(module: str) -> None:
    """One provider, one folder."""
    homes = {SDKS[top] for name in imports(MODULES[module]) if (top := name.split(".")[0]) in SDKS}
    assert [] == [home for home in homes if not module.startswith(home)]


@pytest.mark.parametrize("names", ["", "Item, FinetuneSpec, LocalBackend, InMemoryBackend"])
def test_importing_condrule_loads_nothing_heavy(names: str) -> None:
    """Neither the package nor the names that describe a study load an SDK or an array library."""
    script = "import condrule, json, sys\n"
    script += f"from condrule import {names}\n" if names else ""
    script += "print(json.dumps(sorted(name.split('.')[0] for name in sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert [] == sorted(set(json.loads(run.stdout)) & set(HEAVY))


def test_scorers_load_scipy_when_they_compute() -> None:
    """It takes longer to import than all the rest."""
    script = "import sys; from condrule import AutoScorer; print('scipy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert "False" == run.stdout.strip()


def test_all_public_names_are_there() -> None:
    """Every name in ``__all__`` can be had, and each once."""
    import condrule

    assert sorted(set(condrule.__all__)) == sorted(condrule.__all__)
    assert [] == [name for name in condrule.__all__ if not hasattr(condrule, name)]

"""Classes of other packages are found by their entry points, and a broken one breaks nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import condrule
from condrule import plugins
from condrule.catalogue import catalogue, lines
from condrule.cli import run
from condrule.config import load_study
from condrule.errors import ConfigError, MissingExtraError, PluginError, RunError

SCORERS = '''
import attrs
from condrule import ExactScorer

@attrs.frozen
class Careful(ExactScorer):
    """Exact, with a key of its own."""
    care: int = 3

class Plain:
    pass

class Unset(ExactScorer):
    pass
'''
STUDY = """
items: {source: favourite_countries, n: 4}
arms: [conditional]
seeds: 1
backend: {kind: memory}
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package with an entry point where Python finds it."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def add(package: str, group: str, kind: str, target: str, code: str = "") -> None:
        info = tmp_path / "site" / f"{package}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[condrule.{group}]\n{kind} = {target}\n")
        if code:
            (tmp_path / "site" / f"{target.partition(':')[0]}.py").write_text(code)
        plugins.installed.cache_clear()

    yield add
    plugins.installed.cache_clear()


def test_our_own_are_all_there() -> None:
    """Every class that we offer can be loaded, under the kind that study files use."""
    for group in plugins.GROUPS:
        for plugin in plugins.installed(group):
            assert plugin.load().__name__ == plugin.class_name


def test_a_study_file_names_a_scorer_of_another_package(install: Install, tmp_path: Path) -> None:
    """With keys of its own; the run is frozen with it and analysed again from the directory."""
    install("careful", "scorers", "careful", "careful_scorer:Careful", SCORERS)
    (tmp_path / "study.yaml").write_text(f"{STUDY}scorer: {{kind: careful, care: 5}}\n")
    study = load_study(tmp_path / "study.yaml")
    assert ("Careful", 5) == (type(study.scorer).__name__, getattr(study.scorer, "care", None))
    result = study.run(tmp_path / "run")
    assert result.to_json() == condrule.analyse(tmp_path / "run").to_json()


def test_a_run_whose_scorer_is_gone_says_so(install: Install, tmp_path: Path) -> None:
    """And that it can be analysed with a scorer given from Python."""
    install("careful", "scorers", "careful", "gone_scorer:Careful", SCORERS)
    (tmp_path / "study.yaml").write_text(f"{STUDY}scorer: {{kind: careful}}\n")
    load_study(tmp_path / "study.yaml").run(tmp_path / "run")
    (tmp_path / "site" / "careful-1.2.dist-info" / "entry_points.txt").write_text("")
    plugins.installed.cache_clear()
    with pytest.raises(RunError, match=r"'Careful'.*no installed package.*scorer=\.\.\."):
        condrule.analyse(tmp_path / "run")


@pytest.mark.parametrize(
    ("target", "code", "reason"),
    [
        ("broken_import:X", "import no_such_module", "ModuleNotFoundError: No module named"),
        ("broken_code:X", "1 / 0", "ZeroDivisionError"),
        ("broken_name:X", "Y = 1", "has no attribute 'X'"),
        ("broken_base:Plain", SCORERS, "is not a subclass of condrule.scorers.base:Scorer"),
        ("broken_module", "", "No module named 'broken_module'"),
        ("broken_exit:X", "raise SystemExit('bye')", "SystemExit: bye"),
    ],
)
def test_what_is_broken_says_why_and_breaks_nothing(
    install: Install, target: str, code: str, reason: str
) -> None:
    """The others stay usable; the broken one is listed with its reason and refused by name."""
    install("broken", "scorers", "broken", target, code)
    with pytest.raises(PluginError, match=reason):
        plugins.find("scorers", "broken")
    assert plugins.find("scorers", "exact") is condrule.ExactScorer
    entries = {entry["kind"]: entry for entry in catalogue()["scorers"]}
    assert reason in entries["broken"]["problem"]
    assert entries["exact"]["problem"] is None


def test_a_study_file_that_names_what_is_broken(install: Install, tmp_path: Path) -> None:
    """The error stands at the key, with the package and the reason."""
    install("broken", "scorers", "broken", "broken_in_study:X", "import no_such_module")
    (tmp_path / "study.yaml").write_text(f"{STUDY}scorer: {{kind: broken}}\n")
    with pytest.raises(ConfigError, match=r"scorer\.kind.*broken 1\.2.*no_such_module"):
        load_study(tmp_path / "study.yaml")


def test_a_misspelt_kind_is_told_the_right_one(tmp_path: Path) -> None:
    """Of those that are installed."""
    (tmp_path / "study.yaml").write_text(f"{STUDY}scorer: {{kind: exactt}}\n")
    with pytest.raises(ConfigError, match="Did you mean 'exact'"):
        load_study(tmp_path / "study.yaml")


def test_two_packages_with_one_kind_are_both_refused(install: Install) -> None:
    """Neither is chosen in silence; ours is never replaced."""
    install("one", "scorers", "twice", "one_scorer:Careful", SCORERS)
    install("two", "scorers", "twice", "two_scorer:Careful", SCORERS)
    install("three", "scorers", "exact", "three_scorer:Careful", SCORERS)
    with pytest.raises(PluginError, match=r"two offers the kind 'twice' too; uninstall one"):
        plugins.find("scorers", "twice")
    assert plugins.find("scorers", "exact") is condrule.ExactScorer
    problems = [entry["problem"] for entry in catalogue()["scorers"] if entry["package"] == "three"]
    assert ["condrule offers the kind 'exact' too; uninstall one"] == problems


def test_what_it_imports_and_is_not_there_is_said(install: Install) -> None:
    """With the extra of its package that installs it."""
    code = """
import attrs
from condrule import InMemoryBackend

@attrs.frozen
class Far(InMemoryBackend):
    imports = ("no_such_sdk",)
    extra = "sdk"
"""
    install("far", "backends", "far", "far_backend:Far", code)
    (entry,) = [entry for entry in catalogue()["backends"] if entry["kind"] == "far"]
    assert "needs no_such_sdk: pip install 'far[sdk]'" == entry["problem"]
    assert any("CAN'T BE USED: needs no_such_sdk" in line for line in lines())


BACKENDS = """
import attrs
from condrule import Capabilities, InMemoryBackend

def unready():
    raise RuntimeError("not ready")

@attrs.frozen
class Unready(InMemoryBackend):
    key: int = attrs.field(factory=unready, kw_only=True)

@attrs.frozen
class Deep(InMemoryBackend):
    imports = ("no_such_sdk.part",)

@attrs.frozen
class Listless(InMemoryBackend):
    imports = None

@attrs.frozen
class Wordy(InMemoryBackend):
    capabilities = Capabilities(top_logprobs="many")
"""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Unready", "describing it raised RuntimeError: not ready"),
        ("Deep", "needs no_such_sdk.part: install it"),
        ("Listless", "describing it raised TypeError"),
        ("Wordy", "top_logprobs is 'many'; it must be a whole number"),
    ],
)
def test_what_cannot_be_described_says_why(install: Install, name: str, reason: str) -> None:
    """And the others are listed as ever."""
    module = f"odd_backends_{name.lower()}"
    install("odd", "backends", "odd", f"{module}:{name}", BACKENDS)
    entries = {entry["kind"]: entry for entry in catalogue()["backends"]}
    assert reason in entries["odd"]["problem"]
    assert entries["memory"]["problem"] is None


def test_a_plugin_names_the_extra_of_its_own_package() -> None:
    """Not one of condrule's."""
    error = MissingExtraError("no_such_sdk", "sdk", "FarBackend", distribution="far")
    assert str(error).endswith("Install it with: pip install 'far[sdk]'")


def test_an_entry_point_may_name_an_extra(install: Install) -> None:
    """As the format of entry points allows."""
    install("careful", "scorers", "careful", "extra_scorer:Careful [sdk]", SCORERS)
    assert "Careful" == plugins.find("scorers", "careful").__name__


def test_the_command_lists_them(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """For people and for programs; a broken package does not change the exit code."""
    install("broken", "backends", "broken", "broken_listed:X", "raise SystemError('why')")
    assert 0 == run(["backends"])
    shown = capsys.readouterr().out
    assert "CAN'T BE USED: importing broken_listed:X raised SystemError: why" in shown
    assert "answers probabilities of whole texts" in shown
    assert 0 == run(["backends", "--json"])
    found = json.loads(capsys.readouterr().out)["backends"]
    assert ["local", "memory", "openai", "azure", "broken"] == [entry["kind"] for entry in found]
    assert {"default": 0.5} == found[1]["keys"]["prior_conditional"]

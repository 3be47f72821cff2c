"""One study file holds a section for each backend that needs something else."""

from __future__ import annotations

from pathlib import Path

import pytest

import condrule
from condrule import load_study
from condrule.cli import run
from condrule.errors import ConfigError

STUDY = """\
items: {source: favourite_countries, n: 3}
arms: [conditional]
backend: {kind: memory}
finetune: {epochs: 3}
backends:
  leaky:
    backend: {kind: memory, leak: 0.3}
  longer:
    backend: {kind: memory}
    finetune: {epochs: 9}
    seeds: 2
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A study with two sections."""
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def test_without_a_name_the_study_is_its_own(path: Path) -> None:
    """Sections change nothing."""
    study = load_study(path)
    assert (condrule.InMemoryBackend(), 3) == (study.backend, study.spec.epochs)


def test_a_section_replaces_what_it_holds(path: Path) -> None:
    """And nothing else."""
    study = load_study(path, "longer")
    assert (9, (0, 1)) == (study.spec.epochs, study.seeds)
    assert 3 == load_study(path, "leaky").spec.epochs


def test_the_command_line_chooses(path: Path, tmp_path: Path) -> None:
    """And the run keeps the study that was chosen."""
    out = tmp_path / "run"
    assert 0 == run(["generate", str(path), "--backend", "leaky", "--out", str(out)])
    assert "leak: 0.3" in (out / "study.yaml").read_text()


def wrong(path: Path, text: str, name: str | None = None) -> str:
    """What is said of a file with this in place of its sections."""
    path.write_text(STUDY.partition("backends:")[0] + text)
    with pytest.raises(ConfigError) as error:
        load_study(path, name)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("backends: {}\n", "line 5: backends: is a mapping"),
        ("backends: 3\n", "must be a mapping of a name to a mapping"),
        ("backends:\n  a: 3\n", "line 6: backends.a: is 3; it must be a mapping"),
        ("backends:\n  a: {seeds: 2}\n", "backends.a: has no backend"),
        (
            "backends:\n  a: {backend: {kind: memory}, arm: [control]}\n",
            "backends.a.arm: is not a key here",
        ),
        (
            "backends:\n  a:\n    backend:\n      kind: memry\n",
            "line 8: backends.a.backend.kind: is 'memry'",
        ),
        (
            "backends:\n  a: {backend: {kind: memory}, finetune: {epochs: 0}}\n",
            "line 6: backends.a.finetune.epochs: is 0",
        ),
    ],
)
def test_a_wrong_section_is_named_with_its_line(path: Path, text: str, words: str) -> None:
    """Whether it is chosen or not."""
    assert words in wrong(path, text)


def test_what_is_wrong_outside_is_said_once(path: Path) -> None:
    """Though every section has it."""
    path.write_text(STUDY.replace("arms: [conditional]", "arms: [conditonal]"))
    with pytest.raises(ConfigError) as error:
        load_study(path)
    assert 1 == len(error.value.problems)


def test_a_misspelt_word_for_sections_is_named(path: Path) -> None:
    """It is among the keys that there are."""
    assert "Did you mean 'backends'?" in wrong(path, "backens: {}\n")


def test_an_unknown_section_names_those_there_are(path: Path) -> None:
    """With the closest one."""
    assert "they are leaky, longer. Did you mean 'leaky'?" in _unknown(path, "leeky")


def test_a_file_without_sections_says_so(path: Path) -> None:
    """There is nothing to choose."""
    assert "there are none" in wrong(path, "", "leaky")


def _unknown(path: Path, name: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_study(path, name)
    return str(error.value)


def test_the_bet_for_openai_has_sections_that_load() -> None:
    """Azure, and the small local model."""
    path = Path(__file__).parents[1] / "examples" / "kaarel_bet_openai.yaml"
    kinds = [type(load_study(path, name).backend).__name__ for name in (None, "azure", "small")]
    assert ["OpenAIBackend", "AzureOpenAIBackend", "LocalBackend"] == kinds

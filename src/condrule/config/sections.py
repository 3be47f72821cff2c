"""Sections of a study file: what differs where the same study runs on another backend.

    backend: {kind: openai, model: gpt-4o-mini-2024-07-18}
    finetune: {epochs: 3, learning_rate: auto}
    backends:
      small:
        backend: {kind: local, model: small}
        finetune: {epochs: 20, learning_rate: 0.001}

A section that is chosen replaces the keys of the study that it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from condrule.config.document import Path
from condrule.config.strict import show
from condrule.errors import did_you_mean

__all__ = ["ALLOWED", "SECTIONS", "Variant", "variants"]

SECTIONS = "backends"
ALLOWED = ("backend", "finetune", "scorer", "items", "seeds", "samples", "contrasts")
"""What may differ: not what is studied, which are the arms and the criterion."""


@attrs.frozen
class Variant:
    """A study as one of its sections has it."""

    name: str | None
    """None: as it is without any."""
    data: Any
    section: Mapping[str, Any]

    def place(self, path: Path) -> Path:
        """Where something that is wrong with it stands in the file."""
        if self.name is not None and path and path[0] in self.section:
            return (SECTIONS, self.name, *path)
        return path


def variants(data: Any) -> tuple[list[Variant], list[tuple[Path, str]]]:
    """The study without any section, then with each; and what is wrong with the sections."""
    if not isinstance(data, dict) or SECTIONS not in data:
        return [Variant(None, data, {})], []
    study = {key: value for key, value in data.items() if key != SECTIONS}
    sections = data[SECTIONS]
    problems = list(_problems(sections))
    wrong = {path[1] for path, _ in problems if len(path) > 1}
    good = sections if isinstance(sections, dict) else {}
    found = [Variant(None, study, {})]
    found += [
        Variant(name, {**study, **section}, section)
        for name, section in good.items()
        if name not in wrong
    ]
    return found, problems


def _problems(sections: Any) -> Iterator[tuple[Path, str]]:
    keys = ", ".join(ALLOWED)
    if not isinstance(sections, dict) or not sections:
        message = f"is {show(sections)}; it must be a mapping of a name to a mapping with {keys}"
        yield (SECTIONS,), message
        return
    for name, section in sections.items():
        if not isinstance(section, dict):
            message = f"is {show(section)}; it must be a mapping with the keys {keys}"
            yield (SECTIONS, name), message
            continue
        if "backend" not in section:
            yield (SECTIONS, name), "has no backend; a section says what another backend needs"
        for key in section:
            if key not in ALLOWED:
                message = f"is not a key here; the keys are {keys}." + did_you_mean(key, ALLOWED)
                yield (SECTIONS, name, key), message

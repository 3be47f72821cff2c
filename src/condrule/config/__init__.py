"""Study files: one YAML file describes one study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from condrule.config.document import Document, dotted, read_document
from condrule.errors import ConfigError, ItemError, Problem, TemplateError

if TYPE_CHECKING:
    from condrule.experiment import ConditionalRuleExperiment

__all__ = ["load_study"]


def load_study(path: str | Path) -> ConditionalRuleExperiment:
    """The study that a YAML file describes. Nothing is trained or asked, and no model is loaded.

    Files that the study names are looked for beside the study file.

    Raises:
        ConfigError: with every problem found, each with its key path and line.
    """
    from condrule.config.structure import structure_study

    path = Path(path)
    document = read_document(path)
    study, found = structure_study(document.data, path.parent)
    problems = [Problem(dotted(place), message, document.line(place)) for place, message in found]
    if study is not None and not problems:
        problems = list(_rendering_problems(study, document))
    if problems or study is None:
        raise ConfigError(sorted(problems, key=lambda one: one.line or 0), str(path))
    return study


def _rendering_problems(study: ConditionalRuleExperiment, document: Document) -> Iterator[Problem]:
    """What only shows when arms, items and criterion meet. One item stands for all."""
    from condrule.config.structure import flatten
    from condrule.plan import check_criterion, gate_probes

    items = study.items[:1]
    for number, arm in enumerate(study.arms):
        try:
            arm.training_set(items)
            arm.probes(items)
        except TemplateError as error:
            yield Problem(f"arms[{number}]", str(error), document.line(("arms", number)))
    if study.criterion is None:
        return
    try:
        check_criterion(study.criterion, [arm.name for arm in study.arms], study.items.modes)
        for gate in study.criterion.gates:
            list(gate_probes(gate, type(study.items)(items)))
    except (ConfigError, TemplateError, ItemError) as error:
        start = () if isinstance(error, ConfigError) else ("criterion", "gates")
        for place, message in flatten(error, start):
            yield Problem(dotted(place), message, document.line(place))

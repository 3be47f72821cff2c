"""Study files: one YAML file describes one study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from condrule.config.document import Document, dotted, read_document
from condrule.errors import ConfigError, ItemError, Problem, TemplateError, did_you_mean

if TYPE_CHECKING:
    from condrule.config.sections import Variant
    from condrule.experiment import ConditionalRuleExperiment

__all__ = ["load_study"]


def load_study(path: str | Path, backend: str | None = None) -> ConditionalRuleExperiment:
    """The study that a YAML file describes. Nothing is trained or asked, and no model is loaded.

    Files that the study names are looked for beside the study file.

    Args:
        path: the file.
        backend: the name of one of its sections, under ``backends``; None: its own ``backend``.

    Raises:
        ConfigError: with every problem found, in all sections, each with its key path and line.
    """
    from condrule.config.sections import SECTIONS, variants

    path = Path(path)
    document = read_document(path)
    found, wrong = variants(document.data)
    problems = {Problem(dotted(at), said, document.line(at)): None for at, said in wrong}
    studies: dict[str | None, ConditionalRuleExperiment | None] = {}
    for variant in found:
        studies[variant.name], more = _structured(variant, document, path.parent)
        problems |= dict.fromkeys(more)
    if problems:
        raise ConfigError(sorted(problems, key=lambda one: one.line or 0), str(path))
    study = studies.get(backend)
    if study is None:
        names = [name for name in studies if name is not None]
        has = f"they are {', '.join(names)}." if names else "there are none."
        message = f"has no section {backend!r}; {has}" + did_you_mean(backend, names)
        raise ConfigError([Problem(SECTIONS, message, document.line((SECTIONS,)))], str(path))
    return study


def _structured(
    variant: Variant, document: Document, folder: Path
) -> tuple[ConditionalRuleExperiment | None, list[Problem]]:
    """The study of one section, and what is wrong with it."""
    from condrule.config.structure import structure_study

    study, found = structure_study(variant.data, folder)
    places = [(variant.place(place), message) for place, message in found]
    problems = [Problem(dotted(at), message, document.line(at)) for at, message in places]
    if study is not None and not problems:
        problems = list(_rendering_problems(study, document))
    return study, problems


def _rendering_problems(study: ConditionalRuleExperiment, document: Document) -> Iterator[Problem]:
    """What only shows when arms, items and criterion meet. One item stands for all."""
    from condrule.config.problems import flatten
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

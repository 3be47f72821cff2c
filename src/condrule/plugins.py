"""What a study can name: our own backends, scorers and templates, and those of other packages.

Another package offers a class under an entry point of the group ``condrule.backends``,
``condrule.scorers`` or ``condrule.templates``; the entry point's name is the kind that study files
name. A class is imported when it is named, so a package that is broken breaks nothing else.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any, Literal

import attrs

from condrule.errors import PluginError, did_you_mean

__all__ = ["GROUPS", "Group", "Plugin", "find", "find_class", "installed", "kinds"]

Group = Literal["backends", "scorers", "templates"]

OURS: dict[Group, dict[str, str]] = {
    "backends": {
        "local": "condrule.backends.local:LocalBackend",
        "memory": "condrule.backends.memory:InMemoryBackend",
        "openai": "condrule.backends.openai:OpenAIBackend",
        "azure": "condrule.backends.openai:AzureOpenAIBackend",
    },
    "scorers": {
        "auto": "condrule.scorers.auto:AutoScorer",
        "exact": "condrule.scorers.exact:ExactScorer",
        "top_logprobs": "condrule.scorers.top_logprobs:TopLogprobsScorer",
        "openai": "condrule.scorers.openai:OpenAIScorer",
        "sampling": "condrule.scorers.sampling:SamplingScorer",
        "tilted": "condrule.scorers.tilted:TiltedScorer",
    },
    "templates": {
        "text": "condrule.templates:TextTemplate",
        "conditional": "condrule.templates:ConditionalTemplate",
    },
}
GROUPS: tuple[Group, ...] = tuple(OURS)
BASES: dict[Group, str] = {
    "backends": "condrule.backends.base:FinetuneBackend",
    "scorers": "condrule.scorers.base:Scorer",
    "templates": "condrule.templates:PromptTemplate",
}
"""What a group's classes inherit from."""


@attrs.frozen
class Plugin:
    """A class that can be named; not imported yet."""

    group: Group
    kind: str
    """What a study file calls it."""
    target: str
    """``module:Class``."""
    package: str = "condrule"
    """The distribution that it comes with."""
    version: str = ""
    clash: str = ""
    """Why it can't be named: another package offers the same kind."""

    @property
    def class_name(self) -> str:
        """What a frozen study calls it."""
        return self.target.rpartition(":")[2].rpartition(".")[2].strip()

    def load(self) -> type:
        """The class. Raises PluginError where it can't be had, with the reason."""
        if self.clash:
            raise self._error(self.clash)
        base = _imported(BASES[self.group])
        try:
            found = _imported(self.target)
        except (Exception, SystemExit) as error:
            raise self._error(
                f"importing {self.target} raised {type(error).__name__}: {error}"
            ) from error
        if not (isinstance(found, type) and issubclass(found, base)):
            raise self._error(f"{self.target} is not a subclass of {BASES[self.group]}")
        if not attrs.has(found):
            raise self._error(f"{self.target} is not an attrs class, so it has no keys to be set")
        return found

    def _error(self, reason: str) -> PluginError:
        return PluginError(self.group, self.kind, f"{self.package} {self.version}".strip(), reason)


def _imported(target: str) -> Any:
    module, _, name = target.partition(":")
    return functools.reduce(
        getattr, name.strip().split("."), importlib.import_module(module.strip())
    )


@functools.cache
def installed(group: Group) -> tuple[Plugin, ...]:
    """Every plugin of a group, our own first; looked up once in a process."""
    own = metadata.version("condrule")
    ours = [Plugin(group, kind, target, version=own) for kind, target in OURS[group].items()]
    found = {
        (point.name, _target(point), *_source(point)): None
        for point in metadata.entry_points(group=f"condrule.{group}")
    }
    theirs = [Plugin(group, *parts) for parts in sorted(found)]
    return (*ours, *(_checked(plugin, [*ours, *theirs]) for plugin in theirs))


def _target(point: metadata.EntryPoint) -> str:
    """``module:Class``, without the extras that may stand behind it."""
    return point.value.partition("[")[0].strip()


def _source(point: metadata.EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("an unknown package", "")


def _checked(plugin: Plugin, everyone: Iterable[Plugin]) -> Plugin:
    """The plugin, marked if another one has its kind: none of them is chosen in silence."""
    others = [one.package for one in everyone if one.kind == plugin.kind and one != plugin]
    if not others:
        return plugin
    return attrs.evolve(
        plugin, clash=f"{' and '.join(others)} offers the kind {plugin.kind!r} too; uninstall one"
    )


def kinds(group: Group) -> tuple[str, ...]:
    """The names that a study file can use, our own first."""
    return tuple(dict.fromkeys(plugin.kind for plugin in installed(group)))


def find(group: Group, kind: str) -> type:
    """The class of a kind. Raises PluginError where there is none or it can't be had."""
    return _first(group, kind, lambda plugin: plugin.kind)


def find_class(group: Group, name: str) -> type:
    """The class of this name, as a frozen study has it. Raises PluginError as `find` does."""
    return _first(group, name, lambda plugin: plugin.class_name)


def _first(group: Group, wanted: str, word: Callable[[Plugin], str]) -> type:
    for plugin in installed(group):
        if word(plugin) == wanted:
            return plugin.load()
    allowed = [word(plugin) for plugin in installed(group)]
    hint = did_you_mean(wanted, allowed)
    raise PluginError(
        group, wanted, "", f"no installed package offers it; there is {', '.join(allowed)}.{hint}"
    )

"""What is installed: every backend, scorer and template that a study file can name."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import attrs

from condrule import plugins
from condrule.backends import checks
from condrule.backends.base import Capabilities, FinetuneBackend
from condrule.config.problems import keys_of
from condrule.describe import describe
from condrule.errors import PluginError

__all__ = ["catalogue", "lines"]


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """What can be named, by group, as plain data. What can't be had says why."""
    return {
        group: [_entry(plugin) for plugin in plugins.installed(group)] for group in plugins.GROUPS
    }


def _entry(plugin: plugins.Plugin) -> dict[str, Any]:
    """``problem`` is None where the class can be used."""
    entry: dict[str, Any] = {
        "kind": plugin.kind,
        "class": plugin.target,
        "package": plugin.package,
        "version": plugin.version,
    }
    try:
        found = plugin.load()
        entry |= {"problem": None, "keys": dict(_keys(found))}
        return entry | _abilities(found, plugin.package) if plugin.group == "backends" else entry
    except PluginError as error:
        return entry | {"problem": error.reason}
    except Exception as error:  # noqa: BLE001 - a class of another package may raise anything
        return entry | {"problem": f"describing it raised {type(error).__name__}: {error}"}


def _keys(found: type) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key -> its default, or that it has none."""
    fields = attrs.fields_dict(found)
    for name, key in keys_of(found).items():
        default: Any = fields[name].default
        made = hasattr(default, "factory") and not default.takes_self
        if default is attrs.NOTHING:
            yield key, {"required": True}
        else:
            yield key, {"default": describe(default.factory() if made else default)}


def _abilities(found: type[FinetuneBackend], package: str) -> dict[str, Any]:
    """Where a backend trains, and what its models answer as it is by default."""
    lacking = [module for module in found.imports if not _there(module)]
    more: dict[str, Any] = {"capabilities": None, "computes_here": None}
    if lacking:
        remedy = f"pip install '{package}[{found.extra}]'" if found.extra else "install it"
        more["problem"] = f"needs {', '.join(lacking)}: {remedy}"
    if any(key.get("required") for _, key in _keys(found)):
        return more  # what it can do may depend on them
    try:
        backend = found()
        more["capabilities"] = attrs.asdict(checks.capabilities(backend.capabilities))
        more["computes_here"] = bool(backend.computes_here)
    except Exception as error:  # noqa: BLE001 - a class of another package may raise anything
        more["problem"] = f"making one raised {type(error).__name__}: {error}"
    return more


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False


def lines() -> Iterator[str]:
    """The catalogue, for people."""
    for group, entries in catalogue().items():
        yield f"{group}:"
        for entry in entries:
            yield f"  {entry['kind']:<14} {_source(entry)}"
            yield from (f"  {'':<14} {line}" for line in _details(entry))
        yield ""


def _source(entry: dict[str, Any]) -> str:
    return f"{entry['class'].rpartition(':')[2]}, {entry['package']} {entry['version']}".rstrip()


def _details(entry: dict[str, Any]) -> Iterator[str]:
    if entry["problem"]:
        yield f"CAN'T BE USED: {entry['problem']}"
    if entry.get("capabilities"):
        where = "trains on this machine" if entry["computes_here"] else "trains at a provider"
        yield f"{where}; answers {', '.join(_answers(Capabilities(**entry['capabilities'])))}"
    if entry.get("keys"):
        yield f"keys: {', '.join(entry['keys'])}"


def _answers(able: Capabilities) -> Iterator[str]:
    if able.continuations:
        yield "probabilities of whole texts"
    if able.top_logprobs:
        yield f"lists of the top {able.top_logprobs} tokens"
    if able.draws:
        biased = f" (logit bias up to {able.bias:g} nats)" if able.bias else ""
        yield f"draws{biased}"
    if able == Capabilities():
        yield "nothing"

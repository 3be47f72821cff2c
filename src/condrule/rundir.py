"""The run directory: a study and all that came of it, readable without condrule.

    study.yaml         the study as it was frozen, with digests of its data
    run.yaml           the run's id
    environment.jsonl  versions, threads and device of every process that worked on it
    items.jsonl        the items; excluded.csv: what was left out, and why
    training/ARM.jsonl what each arm trains on, as chat messages
    probes.jsonl       what the models are asked
    journal.jsonl      what was submitted and what came back
    ledger.jsonl       what was spent, where a provider charges
    responses/         the same in the provider's own words: compressed JSON lines
    models/            fine-tuned models, where the backend makes them here
    adjudications.jsonl  judgements that stand beside the verdict, as they were passed
    evidence.csv, result.json, report.txt, figure.png
    calibration.png    where draws were made under a bias: what the bias did, for each model

``study.yaml`` is written last, so that a directory which has it is whole.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
import socket
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from condrule import plugins
from condrule.arms import Example, Probe, Prompt, TrainingSet, digest
from condrule.backends.finetunes import FinetuneSpec
from condrule.criteria import Clause, Criterion, Gate
from condrule.describe import describe
from condrule.errors import (
    BackendError,
    PluginError,
    RunError,
    RunLockedError,
    StudyChangedError,
)
from condrule.items import Excluded, Item, ItemSet
from condrule.plan import PlannedJob, StudyPlan, pool
from condrule.scorers.base import Scorer
from condrule.templates import Message

__all__ = ["RunDirectory", "evidence_csv"]


@attrs.frozen
class RunDirectory:
    """One study's directory. Only the process that holds its lock writes to it."""

    path: Path = attrs.field(converter=Path)

    @property
    def journal(self) -> Path:
        """Where the journal is."""
        return self.path / "journal.jsonl"

    @property
    def ledger(self) -> Path:
        """Where what was spent is counted."""
        return self.path / "ledger.jsonl"

    @property
    def responses(self) -> Path:
        """Where the provider's own words are kept."""
        return self.path / "responses"

    @property
    def models(self) -> Path:
        """Where backends that train here keep their models."""
        return self.path / "models"

    @property
    def run_id(self) -> str:
        """Drawn when the directory was made; it begins the key of each of its jobs."""
        return str(_load_yaml(self.path / "run.yaml")["run"])

    @property
    def begun(self) -> bool:
        """Whether a study was written down here before."""
        return (self.path / "study.yaml").exists()

    def key(self, job: PlannedJob) -> str:
        """The key under which a job is submitted, at most once."""
        return f"{self.run_id}-{job.digest}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory against other processes. A killed process holds nothing.

        Raises RunLockedError, with who holds it.
        """
        from filelock import FileLock, Timeout

        _make(self.path)
        holder = self.path / "lock.json"
        try:
            with FileLock(self.path / ".lock", timeout=0):
                _write(holder, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
                try:
                    yield
                finally:
                    holder.unlink(missing_ok=True)
        except Timeout:
            raise RunLockedError(str(self.path), _holder(holder)) from None

    def freeze(self, plan: StudyPlan, parts: Mapping[str, Any]) -> None:
        """Write the study down, or check that it is the one that is written down.

        Raises StudyChangedError with a diff, and RunError where the directory is something else.
        """
        study = _dump_yaml(_study(plan, parts))
        written = self.path / "study.yaml"
        if written.exists():
            self._compare(written.read_text(encoding="utf-8"), study)
            return
        self._check_new()
        if not (self.path / "run.yaml").exists():
            _write(self.path / "run.yaml", _dump_yaml({"run": uuid.uuid4().hex[:8]}))
        self._write_data(plan)
        _write(written, study)

    def record_environment(self, environment: Mapping[str, Any]) -> None:
        """Add a line about the process that works on the run."""
        with self._writing(), (self.path / "environment.jsonl").open("a") as file:
            file.write(json.dumps(environment) + "\n")

    def write_result(self, name: str, text: str) -> None:
        """Write one of the files that follow from the rest; replacing it is atomic."""
        with self._writing():
            _write(self.path / name, text)

    def described_backend(self) -> dict[str, Any]:
        """The backend of the frozen study, as plain data."""
        return dict(_load_yaml(self.path / "study.yaml")["backend"])

    def load(self, scorer: Scorer | None = None) -> StudyPlan:
        """The frozen study. Needs no backend, and no template of the user's own.

        Args:
            scorer: needed only where the study was scored by a strategy of the user's own.
        """
        if not self.begun:
            raise RunError(f"{self.path} is not a run directory: it has no study.yaml")
        try:
            return self._load(scorer)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{self.path} can't be read back: {type(error).__name__}: {error}. One of its "
                "files was changed or lost; restore it from a copy, or run the study elsewhere."
            ) from error

    def _load(self, scorer: Scorer | None) -> StudyPlan:
        study = _load_yaml(self.path / "study.yaml")
        items = self._items(study["items"]["source"])
        by_name = {item.name: item for item in items}
        training = {arm["name"]: self._training_set(arm["name"], by_name) for arm in study["arms"]}
        answers = pool(items, items.modes, study["compared"])
        arms = {arm["name"] for arm in study["arms"]}
        return StudyPlan(
            name=study["name"],
            items=items,
            trained={arm["name"]: tuple(arm["trained"]) for arm in study["arms"]},
            seeds=tuple(study["seeds"]),
            bases={int(seed): base for seed, base in study["bases"].items()},
            jobs=tuple(
                PlannedJob(
                    tuple(job["arms"]),
                    job["seed"],
                    job["base"],
                    training[job["arms"][0]],
                    FinetuneSpec(**{**_arguments(study["finetune"]), "seed": job["seed"]}),
                )
                for job in study["jobs"]
            ),
            probes=tuple(self._probes(by_name, arms, answers)),
            pool=answers,
            compared=study["compared"],
            scorer=scorer or _scorer(study["scorer"]),
            criterion=_criterion(study["criterion"]),
            samples=study["samples"],
            notes=tuple(study["notes"]),
        )

    def _items(self, source: str) -> ItemSet:
        items = tuple(Item(**row) for row in _read_jsonl(self.path / "items.jsonl"))
        with (self.path / "excluded.csv").open(newline="", encoding="utf-8") as file:
            excluded = tuple(Excluded(**row) for row in csv.DictReader(file))
        return ItemSet(items, excluded, source)

    def _training_set(self, arm: str, items: Mapping[str, Item]) -> TrainingSet:
        examples = []
        for row in _read_jsonl(self.path / "training" / f"{arm}.jsonl"):
            *messages, reply = (Message(**message) for message in row["messages"])
            prompt = Prompt(tuple(messages), items[row["item"]], row["mode"])
            examples.append(Example(prompt, reply.content))
        return TrainingSet(arm, tuple(examples))

    def _probes(
        self, items: Mapping[str, Item], arms: set[str], answers: tuple[tuple[str, ...], ...]
    ) -> Iterator[Probe]:
        for row in _read_jsonl(self.path / "probes.jsonl"):
            messages = tuple(Message(**message) for message in row["messages"])
            prompt = Prompt(messages, items[row["item"]], row["mode"], row["stated"])
            yield Probe(row["group"], prompt, answers if row["contrasts"] else ())

    def _write_data(self, plan: StudyPlan) -> None:
        with self._writing():
            _write_jsonl(self.path / "items.jsonl", map(attrs.asdict, plan.items))
            rows = [{"name": e.name, "reason": e.reason} for e in plan.items.excluded]
            _write(self.path / "excluded.csv", _csv(["name", "reason"], rows))
            _make(self.path / "training")
            for job in plan.jobs:
                for arm in job.arms:
                    _write_jsonl(
                        self.path / "training" / f"{arm}.jsonl",
                        (
                            {"item": e.prompt.item.name, "mode": e.prompt.mode, **e.to_chat()}
                            for e in job.training_set.examples
                        ),
                    )
            _write_jsonl(self.path / "probes.jsonl", map(_probe_row, plan.probes))

    def _compare(self, old: str, new: str) -> None:
        if old != new:
            lines = difflib.unified_diff(
                old.splitlines(), new.splitlines(), "recorded", "new", lineterm="", n=2
            )
            raise StudyChangedError(str(self.path), "\n".join(lines))

    def _check_new(self) -> None:
        # A process that was killed may have left a file that was being written.
        ours = {".lock", "lock.json", ".lock.json.tmp", "run.yaml", ".run.yaml.tmp"}
        others = sorted(entry.name for entry in self.path.iterdir() if entry.name not in ours)
        if others and not (self.path / "run.yaml").exists():
            raise RunError(
                f"{self.path} holds other files ({', '.join(others[:3])}) and no study; "
                "use a new or empty directory"
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BackendError(
                f"{self.path}: can't be written: {error.strerror or error}. Make "
                "room and run the same command again."
            ) from error


def _study(plan: StudyPlan, parts: Mapping[str, Any]) -> dict[str, Any]:
    """The frozen study: what was asked for, and digests of what was made from it."""
    training = {arm: job.training_set.digest for job in plan.jobs for arm in job.arms}
    return {
        "name": plan.name,
        "items": {
            "source": plan.items.source,
            "n": len(plan.items),
            "digest": digest([describe(item) for item in plan.items]),
        },
        "arms": [
            {
                **describe(arm),
                "training_set": training[arm.name],
                "probes": digest([_probe_row(probe) for probe in plan.group(arm.name)]),
            }
            for arm in parts["arms"]
        ],
        "backend": describe(parts["backend"]),
        "finetune": describe(parts["spec"]),
        "scorer": describe(plan.scorer),
        "criterion": describe(plan.criterion),
        "seeds": list(plan.seeds),
        "bases": {str(seed): base for seed, base in plan.bases.items()},
        "samples": plan.samples,
        "compared": plan.compared,
        "jobs": [{"arms": list(j.arms), "seed": j.seed, "base": j.base} for j in plan.jobs],
        "notes": list(plan.notes),
    }


def _probe_row(probe: Probe) -> dict[str, Any]:
    prompt = probe.prompt
    return {
        "group": probe.group,
        "item": prompt.item.name,
        "mode": prompt.mode,
        "stated": prompt.stated,
        "contrasts": bool(probe.contrasts),
        "messages": [attrs.asdict(message) for message in prompt.messages],
    }


def _arguments(described: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in described.items() if key != "kind"}


def _scorer(described: Mapping[str, Any]) -> Scorer:
    try:
        found: Scorer = plugins.find_class("scorers", described["kind"])(**_arguments(described))
    except PluginError as error:
        raise RunError(
            f"{error} Install it again, or analyse from Python: condrule.analyse(DIR, scorer=...)"
        ) from error
    return found


def _criterion(described: Mapping[str, Any] | None) -> Criterion | None:
    """The criterion without the gates' templates, which only asking needs."""
    if described is None:
        return None
    gates = tuple(Gate(**{**_arguments(gate), "template": None}) for gate in described["gates"])
    clauses = tuple(Clause(**_arguments(clause)) for clause in described["clauses"])
    return Criterion(**{**_arguments(described), "clauses": clauses, "gates": gates})


def _holder(path: Path) -> str:
    try:
        data = json.loads(path.read_text())
        return f"process {data['pid']} on {data['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path} can't be made: {error.strerror or error}") from error


def _write(path: Path, text: str) -> None:
    """Write a file so that it is whole or absent, whenever the process dies."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    _write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def evidence_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows of ``evidence.csv``."""
    rows = list(rows)
    return _csv(list(rows[0]) if rows else [], rows)


def _csv(columns: list[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _dump_yaml(data: Any) -> str:
    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(data, text)
    return text.getvalue()


def _load_yaml(path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(path)
    except (OSError, YAMLError) as error:
        raise RunError(f"{path} can't be read: {error}") from error

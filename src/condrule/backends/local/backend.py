"""The backend that trains and asks models on this machine."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import attrs

from condrule.arms import TrainingSet
from condrule.backends.base import Capabilities, FinetuneBackend, LanguageModel
from condrule.backends.finetunes import FinetuneSpec, Job, JobState
from condrule.backends.local import models, reading
from condrule.backends.local.model import CAPABILITIES, LocalModel
from condrule.backends.local.prompts import Encoder
from condrule.backends.local.training import encode, train
from condrule.errors import BackendError, TrainingError
from condrule.items import Reader
from condrule.progress import Progress

__all__ = ["LocalBackend"]


def _no_progress(done: float, total: float, note: str = "") -> None:
    return None


@attrs.frozen
class LocalBackend(FinetuneBackend):
    """Full fine-tuning and exact scoring of Hugging Face causal language models.

    Deterministic for a seed on one machine, device and number of threads. Needs the extra
    ``local``; raises MissingExtraError without it, when first used.
    """

    model_name: str = attrs.field(default="small", alias="model")
    """``small``: the models that come with the package, in turn by seed. Else a directory with a
    Hugging Face causal language model, or the id of one on the hub."""
    device: str = "auto"
    """``cpu``, ``cuda`` or ``auto``: a GPU where there is one."""
    threads: int | None = None
    """CPU threads; None: as torch is set up."""
    batch_tokens: int = 4096
    """Tokens scored at a time; fewer need less memory."""
    store: Path | None = attrs.field(default=None, eq=False, kw_only=True)
    """Where fine-tuned models are kept; set by ``at``."""
    progress: Progress = attrs.field(default=_no_progress, eq=False, kw_only=True, repr=False)

    computes_here = True
    imports = ("torch", "transformers", "tokenizers", "safetensors")
    extra = "local"

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def base_model(self, seed: int) -> str:
        if self.model_name != "small":
            return self.model_name
        names = models.shipped()
        return names[seed % len(names)]

    def submit(self, training_set: TrainingSet, spec: FinetuneSpec, key: str) -> Job:
        """Train now. The model's directory appears whole, or not at all."""
        place = self._place(key)
        with models.threads(self.threads):
            loaded = models.load(models.locate(self.base_model(spec.seed)), self.device)
            examples = encode(training_set, spec, loaded)
            started = time.perf_counter()
            try:
                losses = train(
                    loaded, examples, spec, Encoder(loaded.tokenizer).pad(), self.progress
                )
            except TrainingError as error:
                raise TrainingError(key, error.reason) from None
            seconds = time.perf_counter() - started
        record = {
            "key": key,
            "base": self.base_model(spec.seed),
            "spec": attrs.asdict(spec),
            "losses": losses,
            "seconds": seconds,
        }
        _save(loaded, place, record)
        return _job(key, record)

    def find(self, key: str) -> Job | None:
        path = self._place(key) / "job.json"
        return _job(key, json.loads(path.read_text())) if path.exists() else None

    def model(self, name: str) -> LanguageModel:
        with models.threads(self.threads):
            loaded = models.load(models.locate(name, self.store), self.device)
        return LocalModel(name, loaded, self.batch_tokens, self.threads)

    def limits(self, spec: FinetuneSpec) -> tuple[str, ...]:
        if spec.learning_rate_multiplier is None:
            return ()
        return (
            "LocalBackend has no learning rate of its own that finetune.learning_rate_multiplier "
            "could multiply; give finetune.learning_rate",
        )

    def reader(self, seeds: Iterable[int]) -> Reader | None:
        return reading.reader([self.base_model(seed) for seed in seeds])

    def notes(self) -> tuple[str, ...]:
        if self.model_name != "small":
            return ()
        return (
            f"the base models ({', '.join(models.shipped())}) are small language models made for "
            "such studies: their pretraining held conditional instructions of these very forms, "
            "TRAIN and TEST among the labels. Each seed fine-tunes another of them in turn, so "
            "the spread over seeds holds the spread over base models.",
        )

    def environment(self) -> dict[str, Any]:
        torch, _ = models.require()
        return {
            "torch_threads": self.threads or torch.get_num_threads(),
            "device": self.device,
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        }

    def at(self, directory: Path) -> Self:
        return attrs.evolve(self, store=directory)

    def with_progress(self, progress: Progress) -> Self:
        return attrs.evolve(self, progress=progress)

    def _place(self, key: str) -> Path:
        if self.store is None:
            raise BackendError(
                "LocalBackend has nowhere to keep models; give it a directory: "
                "backend.at(Path('models'))"
            )
        return self.store / key


def _save(loaded: models.Loaded, place: Path, record: dict[str, Any]) -> None:
    """Write the model beside its place, then move it there."""
    temporary = place.with_name(f".{place.name}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        with models.quietly(models.require()[1], on_disk=True):
            loaded.model.save_pretrained(temporary)
            loaded.tokenizer.save_pretrained(temporary)
        (temporary / "job.json").write_text(json.dumps(record, indent=1))
        temporary.replace(place)
    except (OSError, RuntimeError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise BackendError(
            f"{place}: the fine-tuned model can't be written: {error}. Make room "
            "and run the same command again."
        ) from error


def _job(key: str, record: dict[str, Any]) -> Job:
    losses = record["losses"]
    detail = f"loss {losses[0]:.3g} -> {losses[-1]:.3g}" if losses else "learning rate 0"
    return Job(key, key, JobState.SUCCEEDED, key, detail, record["seconds"])

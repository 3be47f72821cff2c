"""What condrule trains with: jobs that any process finds again, each a file that is whole."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Self

import attrs
import numpy as np

from condrule import (
    BackendError,
    Capabilities,
    FinetuneBackend,
    FinetuneSpec,
    Job,
    JobState,
    LanguageModel,
    TrainingSet,
)
from condrule.errors import ConfigError, Problem, TrainingError
from condrule_softmax.model import CAPABILITIES, SoftmaxModel, words
from condrule_softmax.regression import Line, Regression, train

__all__ = ["SoftmaxBackend"]

BLANK = "blank"
AUTO = 4.0  # the learning rate that "auto" stands for: learns 20 items in 40 epochs


@attrs.frozen
class SoftmaxBackend(FinetuneBackend):
    """Softmax regression over bytes, trained here from nothing.

    Fields are the keys of a study file, but for those with ``eq=False``: where files are kept does
    not tell one study from another.
    """

    context: int = attrs.field(default=3)
    """How many of the bytes before it a next byte depends on."""
    directory: Path | None = attrs.field(default=None, eq=False, kw_only=True)
    """Where models are kept; set by ``at``."""

    computes_here = True

    @context.validator
    def _check_context(self, _: object, value: int) -> None:
        if not 1 <= value <= 16:
            problem = Problem("context", f"is {value!r}; it must be a whole number from 1 to 16")
            raise ConfigError([problem], "backend softmax")

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def base_model(self, seed: int) -> str:
        return BLANK

    def limits(self, spec: FinetuneSpec) -> tuple[str, ...]:
        if spec.train_on == "completions":
            return ()
        return (
            "backend 'softmax' learns responses only, and can't take the loss on prompts; "
            "set finetune.train_on to completions",
        )

    def notes(self) -> tuple[str, ...]:
        return (
            "The softmax backend is a regression on the set of a prompt's words, trained from "
            "nothing: its base model gives every byte the same probability, and its figures say "
            "nothing about large language models.",
        )

    def environment(self) -> dict[str, Any]:
        return {"numpy": np.__version__}

    def at(self, directory: Path) -> Self:
        return attrs.evolve(self, directory=directory)

    def submit(self, training_set: TrainingSet, spec: FinetuneSpec, key: str) -> Job:
        """Train now. Raises TrainingError where the weights overflow, BackendError where the model
        can't be written; then there is no job of this key."""
        model = Regression(self.context)
        started = time.perf_counter()
        with np.errstate(all="ignore"):  # what overflows shows in the loss
            losses = train(
                model,
                [Line(words(e.prompt), e.completion.encode()) for e in training_set.examples],
                epochs=spec.epochs,
                batch=spec.batch_size,
                rate=AUTO if spec.learning_rate == "auto" else spec.learning_rate,
                seed=spec.seed,
            )
        if not np.isfinite(model.weights).all():
            raise TrainingError(key, "the weights overflowed; lower finetune.learning_rate")
        self._save(key, model, losses, time.perf_counter() - started)
        return self._job(key)

    def find(self, key: str) -> Job | None:
        return self._job(key) if self._path(key).exists() else None

    def model(self, name: str) -> LanguageModel:
        if name == BLANK:
            return SoftmaxModel(name, Regression(self.context))
        return SoftmaxModel(name, Regression(self.context, self._read(name, "weights")))

    def _job(self, key: str) -> Job:
        losses, seconds = self._read(key, "losses"), self._read(key, "seconds")
        detail = f"loss {losses[0]:.3g} -> {losses[-1]:.3g}"
        return Job(key, key, JobState.SUCCEEDED, key, detail, float(seconds))

    def _path(self, key: str) -> Path:
        if self.directory is None:
            raise BackendError(
                "SoftmaxBackend has nowhere to keep models; give it a directory: "
                "backend.at(Path('models'))"
            )
        return self.directory / f"{key}.npz"

    def _save(self, key: str, model: Regression, losses: list[float], seconds: float) -> None:
        """Write under another name, then rename: the file is whole or absent at any moment."""
        path = self._path(key)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                np.savez_compressed(file, weights=model.weights, losses=losses, seconds=seconds)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            raise BackendError(f"{path} can't be written: {error}. Make room and resume") from error

    def _read(self, key: str, what: str) -> Any:
        path = self._path(key)
        try:
            with np.load(path) as saved:
                return saved[what]
        except FileNotFoundError:
            raise BackendError(
                f"there is no model {key!r} in {path.parent}; the base model is {BLANK!r}, and "
                "others need a fine-tune"
            ) from None
        except Exception as error:  # of the many kinds that numpy, zipfile and zlib raise
            raise BackendError(f"{path} is damaged ({error}); remove it and resume") from error

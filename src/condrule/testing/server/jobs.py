"""A fine-tuning job as the server keeps it: where it stands, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

__all__ = ["ENDED", "FileRecord", "JobRecord"]

ENDED = ("succeeded", "failed", "cancelled")


@attrs.define(eq=False)
class FileRecord:
    """An uploaded file."""

    id: str
    created: float
    filename: str
    content: bytes
    purpose: str
    looks: int = 0
    """How many listings there were since."""

    def plain(self, now: float, seconds: float) -> dict[str, Any]:
        """The file in the vendor's form; it is processed after so many seconds."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": int(self.created),
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed" if now - self.created >= seconds else "uploaded",
        }


@attrs.define(eq=False)
class JobRecord:
    """A fine-tuning job."""

    id: str
    created: float
    request: Mapping[str, Any]
    """What it was created with, as it came."""
    model: str
    """The base model's full name."""
    name: str
    """What the fine-tuned model will be called."""
    organization: str
    epochs: int
    batch_size: int
    multiplier: float
    """What the vendor's own learning rate is multiplied by."""
    seed: int
    tokens: int
    """That it will have trained on, epochs counted."""
    statuses: tuple[str, ...]
    """What it goes through before it ends."""
    steps: Mapping[str, int] = attrs.field(factory=dict)
    """The step of each checkpoint by its name."""
    error: Mapping[str, Any] | None = None
    """Why it will have failed; None: it succeeds."""
    stage: int = 0
    """How many statuses it has left behind."""
    ending: str | None = None
    """How it ended; None: it has not."""
    finished: float | None = None
    events: list[dict[str, Any]] = attrs.field(factory=list)
    """The oldest first."""
    looks: int = 0
    """How many listings there were since."""

    @property
    def status(self) -> str:
        """Where it stands."""
        return self.ending or self.statuses[self.stage]

    def begin(self) -> None:
        """Say that it was created, and end it where there is nothing to go through."""
        self._tell(self.created, f"Created fine-tuning job: {self.id}")
        if not self.statuses:
            self._end(self.created)

    def advance(self, stages: int, now: float) -> bool:
        """Go so many statuses further; True where this made it end."""
        for _ in range(stages):
            if self.ending:
                return False
            self.stage += 1
            if self.stage >= len(self.statuses):
                self._end(now)
                return True
            self._tell(now, f"Fine-tuning job is now {self.statuses[self.stage]}")
        return False

    def cancel(self, now: float) -> None:
        """Stop it."""
        self.ending, self.finished = "cancelled", now
        self._tell(now, "The job was cancelled")

    def plain(self) -> dict[str, Any]:
        """The job in the vendor's form."""
        succeeded = self.status == "succeeded"
        hyperparameters = {
            "n_epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.multiplier,
        }
        return {
            "id": self.id,
            "object": "fine_tuning.job",
            "created_at": int(self.created),
            "error": self.error if self.status == "failed" else None,
            "fine_tuned_model": self.name if succeeded else None,
            "finished_at": int(self.finished) if self.finished is not None else None,
            "hyperparameters": hyperparameters,
            "model": self.model,
            "organization_id": self.organization,
            "result_files": [],
            "status": self.status,
            "trained_tokens": self.tokens if succeeded else None,
            "training_file": self.request["training_file"],
            "validation_file": self.request.get("validation_file"),
            "integrations": [],
            "seed": self.seed,
            "estimated_finish": None,
            "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
            "metadata": self.request.get("metadata"),
        }

    def checkpoints(self) -> Iterator[dict[str, Any]]:
        """The checkpoints in the vendor's form, the last first; none before it has succeeded."""
        steps = self.steps if self.status == "succeeded" else {}
        for name, step in reversed(list(steps.items())):
            yield {
                "id": f"ftckpt_{self.id.removeprefix('ftjob-')}_{step}",
                "object": "fine_tuning.job.checkpoint",
                "created_at": int(self.finished or self.created),
                "fine_tuned_model_checkpoint": name,
                "step_number": step,
                "metrics": {"step": step},
                "fine_tuning_job_id": self.id,
            }

    def _end(self, now: float) -> None:
        self.ending, self.finished = ("failed" if self.error else "succeeded"), now
        if self.error:
            self._tell(now, f"The job failed: {self.error['message']}", "error")
        else:
            self._tell(now, f"New fine-tuned model created: {self.name}")
            self._tell(now, "The job has successfully completed")

    def _tell(self, now: float, message: str, level: str = "info") -> None:
        self.events.append(
            {
                "object": "fine_tuning.job.event",
                "id": f"ftevent-{self.id.removeprefix('ftjob-')}-{len(self.events)}",
                "created_at": int(now),
                "level": level,
                "message": message,
                "type": "message",
                "data": {},
            }
        )

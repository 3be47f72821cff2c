"""What a process ran on: versions, threads, device. Recorded beside every run."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

__all__ = ["PACKAGES", "environment"]

PACKAGES = ("condrule", "numpy", "scipy", "torch", "transformers", "tokenizers", "safetensors")


def environment() -> dict[str, Any]:
    """Plain data about this process; reads installed versions without importing anything."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

"""The command line. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

from condrule.cli.program import cli, main, run

__all__ = ["cli", "main", "run"]

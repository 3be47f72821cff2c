"""What several commands take and say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from condrule.experiment import ConditionalRuleExperiment

__all__ = [
    "AS_JSON",
    "BACKEND",
    "BAD_INPUT",
    "BUDGET",
    "BUG",
    "DIRECTORY",
    "DONE",
    "FAILED",
    "FOLDER",
    "INTERRUPTED",
    "OUT",
    "PRICES",
    "RESUBMIT",
    "RESUME",
    "STUDY",
    "load",
    "say",
]

DONE, BUG, BAD_INPUT, FAILED, INTERRUPTED = 0, 1, 2, 3, 130
RESUME = "the same command goes on where it was"
BACKEND = click.option(
    "--backend", metavar="NAME", help="The section under 'backends' to use in place of 'backend'."
)
STUDY = click.argument("study", type=click.Path(path_type=Path))
OUT = click.option(
    "--out",
    "directory",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="The run directory: new, empty, or this study's own.",
)
FOLDER = click.Path(file_okay=False, path_type=Path)
DIRECTORY = click.argument("directory", type=FOLDER)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON, to be read by programs.")
RESUBMIT = click.option(
    "--resubmit",
    multiple=True,
    metavar="KEY",
    help="Submit this fine-tune again: you have seen that the provider has no job of this key.",
)

PRICES = click.option(
    "--prices",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A table of prices of your own, in place of the bundled one.",
)
BUDGET = click.option(
    "--budget",
    metavar="AMOUNT",
    help="What the run may cost in all, such as 20USD, with all that was spent before.",
)


def say(text: str) -> None:
    """Tell the user something that is no result."""
    click.echo(f"condrule: {text}", err=True)


def load(study: Path, backend: str | None) -> ConditionalRuleExperiment:
    """The study of a file."""
    from condrule.config import load_study

    return load_study(study, backend)

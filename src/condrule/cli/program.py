"""The program: its commands, and how errors become exit codes.

Exit codes: 0 done, whatever the verdict; 2 bad input; 3 the provider or the machine failed and the
same command resumes; 130 interrupted, likewise.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from condrule.cli import describing, planning, results, running
from condrule.cli.options import BAD_INPUT, BUG, DONE, FAILED, INTERRUPTED, RESUME, say

__all__ = ["cli", "main", "run"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code and never raises."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal may lack a letter of a name
    _terminate_like_interrupt()
    try:
        code = cli.main(list(arguments), prog_name="condrule", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the one place where errors become exit codes
        return _failed(error, debug="--debug" in arguments)
    return code if isinstance(code, int) else DONE


def _terminate_like_interrupt() -> None:
    """SIGTERM stops a run as Ctrl-C does. Signals can be set in the main thread only."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGTERM, interrupt)
    except ValueError:
        return


def _failed(error: BaseException, *, debug: bool) -> int:
    """Say what went wrong and return the code for it."""
    if debug and not isinstance(error, (click.ClickException, click.exceptions.Exit)):
        traceback.print_exception(error)
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):  # click answered a shell that completes a command
        return error.code if isinstance(error.code, int) else BUG
    if isinstance(error, click.ClickException):
        error.show()
        return BAD_INPUT
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        say(f"interrupted; {RESUME}")
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # Whoever read has what they wanted; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return _explained(error)


def _explained(error: BaseException) -> int:
    from condrule.errors import BackendError, BudgetError, CondruleError, RunLockedError

    if isinstance(error, BudgetError):
        say(str(error))
        return FAILED
    if isinstance(error, (BackendError, RunLockedError)):
        say(f"{error}\n({RESUME})")
        return FAILED
    if isinstance(error, CondruleError):
        say(str(error))
        return BAD_INPUT
    if isinstance(error, (OSError, MemoryError)):
        say(
            f"the machine failed: {str(error) or type(error).__name__}. "
            f"Once that is mended, {RESUME}."
        )
        return FAILED
    say(f"a bug in condrule: {type(error).__name__}: {error}. --debug shows where.")
    return BUG


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="condrule")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Which rule did a fine-tune on one branch of a conditional rule teach?

    \b
    condrule init                          write a study file to begin with
    condrule plan study.yaml               say what would be done; spend nothing
    condrule run study.yaml --out DIR      do it; again: go on where it was
    condrule show DIR                      show the result
    condrule list DIR...                   show how far runs are
    """  # noqa: D301 - to click, the character \b keeps lines as they are


for module in (planning, running, results, describing):
    for name in module.__all__:
        cli.add_command(getattr(module, name))

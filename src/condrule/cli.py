"""The command line. Everything heavy is imported inside the command that needs it.

Exit codes: 0 done, whatever the verdict; 2 bad input; 3 the provider or the machine failed and the
same command resumes; 130 interrupted, likewise.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from condrule.experiment import ConditionalRuleExperiment

__all__ = ["main"]

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
        _say(f"interrupted; {RESUME}")
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # Whoever read has what they wanted; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return _explained(error)


def _explained(error: BaseException) -> int:
    from condrule.errors import BackendError, BudgetError, CondruleError, RunLockedError

    if isinstance(error, BudgetError):
        _say(str(error))
        return FAILED
    if isinstance(error, (BackendError, RunLockedError)):
        _say(f"{error}\n({RESUME})")
        return FAILED
    if isinstance(error, CondruleError):
        _say(str(error))
        return BAD_INPUT
    if isinstance(error, (OSError, MemoryError)):
        _say(
            f"the machine failed: {str(error) or type(error).__name__}. "
            f"Once that is mended, {RESUME}."
        )
        return FAILED
    _say(f"a bug in condrule: {type(error).__name__}: {error}. --debug shows where.")
    return BUG


def _say(text: str) -> None:
    click.echo(f"condrule: {text}", err=True)


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


@cli.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("study.yaml"))
def init(file: Path) -> None:
    """Write a commented study file to begin with."""
    from importlib.resources import files

    text = (files("condrule") / "data" / "study.yaml").read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise click.UsageError(f"{file} exists already; give another name") from None
    click.echo(f"Wrote {file}. Next: condrule plan {file}")


@cli.command()
@STUDY
@BACKEND
@click.option("--excluded", is_flag=True, help="Name every item that was left out.")
@PRICES
def plan(study: Path, backend: str | None, excluded: bool, prices: Path | None) -> None:
    """Say what would be trained and asked, and what can't be. Spends nothing."""
    from condrule.preview import preview

    experiment = _load(study, backend)
    made = experiment.plan()
    for line in preview(experiment, made, every_exclusion=excluded, prices=prices):
        click.echo(line)


@cli.command(name="run")
@STUDY
@BACKEND
@OUT
@RESUBMIT
@BUDGET
@PRICES
def run_command(
    study: Path, backend: str | None, directory: Path, resubmit: tuple[str, ...], **money: Any
) -> None:
    """Train, ask and judge. The same command again goes on where it was."""
    experiment = _load(study, backend)
    with _leaving(directory):
        click.echo(str(_settling(partial(experiment.run, **money), directory, resubmit)))
    click.echo(f"\nEverything is in {directory}.")


@cli.command()
@STUDY
@BACKEND
@OUT
def generate(study: Path, backend: str | None, directory: Path) -> None:
    """First step: write the items, training sets and probes. No model is touched."""
    made = _load(study, backend).generate(directory)
    click.echo(
        f"{len(made.items)} items, {len(made.jobs)} training jobs and {len(made.probes)} "
        f"prompts are in {directory}. Next: condrule train {study} --out {directory}"
    )


@cli.command()
@STUDY
@BACKEND
@OUT
@RESUBMIT
@BUDGET
@PRICES
def train(
    study: Path, backend: str | None, directory: Path, resubmit: tuple[str, ...], **money: Any
) -> None:
    """Second step: fine-tune all that is not fine-tuned yet."""
    experiment = _load(study, backend)
    with _leaving(directory):
        _settling(partial(experiment.train, **money), directory, resubmit)
    click.echo(f"All fine-tunes have ended. Next: condrule test {study} --out {directory}")


@cli.command()
@STUDY
@BACKEND
@OUT
@BUDGET
@PRICES
def test(study: Path, backend: str | None, directory: Path, **money: Any) -> None:
    """Third step: ask the models, and judge."""
    click.echo(str(_load(study, backend).test(directory, **money)))


@cli.command()
@DIRECTORY
@click.option("--arm", help="Whose fine-tune it is.")
@click.option("--seed", type=int, help="Which of the arm's.")
@click.option("--model", help="The name of a fine-tuned model.")
@click.option("--job", help="Or the provider's name of a job.")
def adopt(
    directory: Path, arm: str | None, seed: int | None, model: str | None, job: str | None
) -> None:
    """Let a fine-tune made earlier, or elsewhere, stand for one of a run's."""
    from condrule.attending import adopt as adopt_job

    found = adopt_job(directory, arm=arm, seed=seed, model=model, job=job)
    click.echo(f"Adopted as fine-tune {found.key}: {found.id}, {found.state.value}.")


@cli.command()
@DIRECTORY
def cancel(directory: Path) -> None:
    """Stop the fine-tunes of a run that are running at a provider."""
    from condrule.attending import cancel as cancel_jobs

    jobs = cancel_jobs(directory)
    for job in jobs:
        click.echo(f"{job.id}: {job.state.value}")
    if not jobs:
        click.echo("No fine-tune of this run is running.")


@cli.command()
@DIRECTORY
def analyse(directory: Path) -> None:
    """Redo everything after the models from the journal, offline."""
    from condrule.experiment import analyse as analyse_run

    click.echo(str(analyse_run(directory)))


@cli.command()
@DIRECTORY
@AS_JSON
def show(directory: Path, as_json: bool) -> None:
    """Show the result, or how far a run is."""
    import json

    from condrule.ledger import lines as cost_lines
    from condrule.report import render
    from condrule.status import result_or_status

    data = result_or_status(directory)
    if as_json:
        click.echo(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False))
    elif data["cells"]:
        click.echo(render(data))
    else:
        jobs = [job for job in data["jobs"] if job["state"] == "succeeded"]
        click.echo(
            f"{data['study']['name']}: {data['state']}; {len(jobs)} of "
            f"{data['study']['fine_tunes']} fine-tunes done. 'condrule run' goes on."
        )
    if not as_json and "cost" in data:
        click.echo("\n".join(cost_lines(data["cost"])))


@cli.command()
@AS_JSON
def backends(as_json: bool) -> None:
    """List the backends, scorers and templates that are installed, and what each can do."""
    import json

    from condrule.catalogue import catalogue, lines

    if as_json:
        click.echo(json.dumps(catalogue(), indent=1, ensure_ascii=False))
    else:
        click.echo("\n".join(lines()), nl=False)


@cli.command()
@STUDY
@BACKEND
@AS_JSON
def truth(study: Path, backend: str | None, as_json: bool) -> None:
    """Print what a study on the in-memory backend should find. Spends and writes nothing."""
    from condrule.truth import TRUTHS, true_result

    result = true_result(_load(study, backend))
    click.echo(result.to_json() if as_json else f"{TRUTHS}\n\n{result}", nl=not as_json)


@cli.command(name="list")
@click.argument("directories", nargs=-1, required=True, type=FOLDER, metavar="DIR...")
@AS_JSON
def list_command(directories: tuple[Path, ...], as_json: bool) -> int:
    """List the runs in these directories and below them. Writes nothing, waits for nobody."""
    import json

    import attrs

    from condrule.listing import lines, list_runs, nothing

    runs = list_runs(directories)
    if as_json:
        click.echo(json.dumps([attrs.asdict(run) for run in runs], indent=1, ensure_ascii=False))
    elif runs:
        click.echo("\n".join(lines(runs)))
    else:
        _say(nothing(directories))
    return BAD_INPUT if any(run.problem for run in runs) else DONE


@cli.command()
@DIRECTORY
@click.option(
    "--outcome",
    required=True,
    metavar="OUTCOME",
    type=click.Choice(["SUPPORTED", "REFUTED", "UNDETERMINED", "N/A"], case_sensitive=False),
    help="SUPPORTED, REFUTED, UNDETERMINED or N/A (the question does not apply).",
)
@click.option("--why", required=True, metavar="TEXT", help="The reason, in words.")
@click.option("--by", metavar="NAME", help="Who judges.")
def adjudicate(directory: Path, outcome: str, why: str, by: str | None) -> None:
    """Record a judgement of your own beside a run's verdict, which stays as it is."""
    from condrule.adjudications import adjudicate as record

    made = record(directory, outcome, why, by)
    click.echo(f"{directory}: the verdict is {made.verdict}; adjudicated {made.outcome}.")


@cli.command()
def schema() -> None:
    """Print the JSON Schema of study files, for editors.

    An editor with the YAML language server completes and checks a study file that begins with
    "# yaml-language-server: $schema=FILE", where FILE holds what this prints.
    """
    import json

    from condrule.config.schema import study_schema

    click.echo(json.dumps(study_schema(), indent=1, ensure_ascii=False, allow_nan=False))


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes commands, options and files in a shell.

    \b
    bash: condrule completion bash > ~/.condrule-complete.sh
          echo '. ~/.condrule-complete.sh' >> ~/.bashrc
    zsh:  condrule completion zsh > ~/.condrule-complete.zsh
          echo '. ~/.condrule-complete.zsh' >> ~/.zshrc
    fish: condrule completion fish > ~/.config/fish/completions/condrule.fish

    It works in shells that are started afterwards.
    """  # noqa: D301 - as above
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"this version of click has no completion for {shell}")
    click.echo(made(cli, {}, "condrule", "_CONDRULE_COMPLETE").source())


def _load(study: Path, backend: str | None) -> ConditionalRuleExperiment:
    from condrule.config import load_study

    return load_study(study, backend)


def _settling(
    step: Callable[..., Any], directory: Path, resubmit: tuple[str, ...]
) -> Any:
    """Carry out a step, asking whoever sits at a terminal about jobs that may or may not exist."""
    from condrule.errors import UnsettledJobError

    while True:
        try:
            return step(directory, resubmit=resubmit)
        except UnsettledJobError as error:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise
            click.echo(f"{error}\n", err=True)
            question = f"Is there NO job of key {error.key} in the provider's list?"
            if not click.confirm(question, default=False, err=True):
                raise
            resubmit = (*resubmit, error.word)


@contextmanager
def _leaving(directory: Path) -> Iterator[None]:
    """Say what goes on without us, when a step is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        from condrule.attending import going_on

        for line in going_on(directory):
            _say(line)
        raise

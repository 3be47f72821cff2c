"""Commands that train, and ask models."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from condrule.cli.options import BACKEND, BUDGET, DIRECTORY, OUT, PRICES, RESUBMIT, STUDY, load, say

__all__ = ["adopt", "cancel", "run_command", "test", "train"]


@click.command(name="run")
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
    experiment = load(study, backend)
    with _leaving(directory):
        click.echo(str(_settling(partial(experiment.run, **money), directory, resubmit)))
    click.echo(f"\nEverything is in {directory}.")


@click.command()
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
    experiment = load(study, backend)
    with _leaving(directory):
        _settling(partial(experiment.train, **money), directory, resubmit)
    click.echo(f"All fine-tunes have ended. Next: condrule test {study} --out {directory}")


@click.command()
@STUDY
@BACKEND
@OUT
@BUDGET
@PRICES
def test(study: Path, backend: str | None, directory: Path, **money: Any) -> None:
    """Third step: ask the models, and judge."""
    click.echo(str(load(study, backend).test(directory, **money)))


@click.command()
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


@click.command()
@DIRECTORY
def cancel(directory: Path) -> None:
    """Stop the fine-tunes of a run that are running at a provider."""
    from condrule.attending import cancel as cancel_jobs

    jobs = cancel_jobs(directory)
    for job in jobs:
        click.echo(f"{job.id}: {job.state.value}")
    if not jobs:
        click.echo("No fine-tune of this run is running.")


def _settling(step: Callable[..., Any], directory: Path, resubmit: tuple[str, ...]) -> Any:
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
            say(line)
        raise

"""Commands that come before a run, and touch no model."""

from __future__ import annotations

from pathlib import Path

import click

from condrule.cli.options import AS_JSON, BACKEND, OUT, PRICES, STUDY, load

__all__ = ["generate", "init", "plan", "truth"]


@click.command()
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


@click.command()
@STUDY
@BACKEND
@click.option("--excluded", is_flag=True, help="Name every item that was left out.")
@PRICES
def plan(study: Path, backend: str | None, excluded: bool, prices: Path | None) -> None:
    """Say what would be trained and asked, and what can't be. Spends nothing."""
    from condrule.preview import preview

    experiment = load(study, backend)
    made = experiment.plan()
    for line in preview(experiment, made, every_exclusion=excluded, prices=prices):
        click.echo(line)


@click.command()
@STUDY
@BACKEND
@OUT
def generate(study: Path, backend: str | None, directory: Path) -> None:
    """First step: write the items, training sets and probes. No model is touched."""
    made = load(study, backend).generate(directory)
    click.echo(
        f"{len(made.items)} items, {len(made.jobs)} training jobs and {len(made.probes)} "
        f"prompts are in {directory}. Next: condrule train {study} --out {directory}"
    )


@click.command()
@STUDY
@BACKEND
@AS_JSON
def truth(study: Path, backend: str | None, as_json: bool) -> None:
    """Print what a study on the in-memory backend should find. Spends and writes nothing."""
    from condrule.truth import TRUTHS, true_result

    result = true_result(load(study, backend))
    click.echo(result.to_json() if as_json else f"{TRUTHS}\n\n{result}", nl=not as_json)

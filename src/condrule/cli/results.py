"""Commands about what runs have found."""

from __future__ import annotations

from pathlib import Path

import click

from condrule.cli.options import AS_JSON, BAD_INPUT, DIRECTORY, DONE, FOLDER, say

__all__ = ["adjudicate", "analyse", "list_command", "show"]


@click.command()
@DIRECTORY
def analyse(directory: Path) -> None:
    """Redo everything after the models from the journal, offline."""
    from condrule.experiment import analyse as analyse_run

    click.echo(str(analyse_run(directory)))


@click.command()
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


@click.command(name="list")
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
        say(nothing(directories))
    return BAD_INPUT if any(run.problem for run in runs) else DONE


@click.command()
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

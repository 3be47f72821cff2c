"""``python -m condrule.testing.server``: rehearse a study on a server of your own."""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click

from condrule.errors import CondruleError
from condrule.testing.server.options import server_of
from condrule.testing.server.running import RunningServer
from condrule.testing.server.server import RehearsalServer

BAD_INPUT, FAILED = 2, 3


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--study", type=click.Path(path_type=Path), help="The study whose prompts it knows.")
@click.option(
    "--settings",
    type=click.Path(path_type=Path),
    help="A YAML mapping with the keys oracle, api, tuning, faults, prices and models.",
)
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="One setting, such as oracle.prior_conditional=0.7; as often as needed.",
)
@click.option("--port", default=0, help="0, the default: any that is free.")
@click.option("--key", default="rehearsal", help="The API key that it takes.")
def main(
    study: Path | None, settings: Path | None, given: tuple[str, ...], port: int, key: str
) -> None:
    """Speak the OpenAI and Azure OpenAI paths over condrule's in-memory oracle.

    Nothing leaves this machine and nothing is paid. Ctrl-C ends it and prints what it counted.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server = server_of(study, settings, given, port=port, key=key)
        with server.running() as running:
            _greet(server, running)
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                click.echo(json.dumps(running.account.to_dict(), indent=1))
    except CondruleError as error:
        _fail(error, BAD_INPUT)
    except OSError as error:
        _fail(error, FAILED)


def _greet(server: RehearsalServer, running: RunningServer) -> None:
    book = running.state.book
    click.echo(f"Rehearsal server at {running.base_url}, with {len(book.by_messages)} prompts.")
    if book.ambiguous:
        click.echo(
            f"{len(book.ambiguous)} prompts have another's messages; those get the other's answers."
        )
    click.echo(f"  export OPENAI_BASE_URL={running.base_url} OPENAI_API_KEY={server.key}")
    click.echo(f"Azure's paths: endpoint {running.address}, the same key.")
    click.echo(f"What was counted: {running.address}/_rehearsal/account, and here after Ctrl-C.")
    sys.stdout.flush()


def _fail(error: Any, code: int) -> None:
    click.echo(f"condrule: {error}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()

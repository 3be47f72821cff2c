"""Commands about condrule itself."""

from __future__ import annotations

import click

from condrule.cli.options import AS_JSON

__all__ = ["backends", "completion", "schema"]


@click.command()
@AS_JSON
def backends(as_json: bool) -> None:
    """List the backends, scorers and templates that are installed, and what each can do."""
    import json

    from condrule.catalogue import catalogue, lines

    if as_json:
        click.echo(json.dumps(catalogue(), indent=1, ensure_ascii=False))
    else:
        click.echo("\n".join(lines()), nl=False)


@click.command()
def schema() -> None:
    """Print the JSON Schema of study files, for editors.

    An editor with the YAML language server completes and checks a study file that begins with
    "# yaml-language-server: $schema=FILE", where FILE holds what this prints.
    """
    import json

    from condrule.config.schema import study_schema

    click.echo(json.dumps(study_schema(), indent=1, ensure_ascii=False, allow_nan=False))


@click.command()
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
    """  # noqa: D301 - to click, the character \b keeps lines as they are
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"this version of click has no completion for {shell}")
    click.echo(
        made(
            click.get_current_context().find_root().command, {}, "condrule", "_CONDRULE_COMPLETE"
        ).source()
    )

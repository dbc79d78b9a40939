"""The command that puts campaigns on a schedule."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.interrupt import StoppedError, stop_on_signal

deployment_app = typer.Typer()


@deployment_app.command()
def deploy(
    file: Annotated[
        Path | None, typer.Argument(help="A deployments file (YAML); else the one that ships.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Then work here until stopped.")] = False,
) -> None:
    """Register campaigns, schedules and triggers on a Prefect server; again changes nothing."""
    try:
        with stop_on_signal():
            from flows.deployment.register import start_deploy

            start_deploy(file, serve=serve)
    except StoppedError as stopped:
        print("stopped; deployments and schedules stay on the server, nothing runs them here")
        raise typer.Exit(stopped.status) from None

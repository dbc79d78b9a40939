"""The command that puts campaigns on a schedule."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.interrupt import StoppedError, stopping

deploy_app = typer.Typer()


@deploy_app.command()
def deploy(
    file: Annotated[
        Path | None, typer.Argument(help="A deployments file (YAML); else the one that ships.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Then work here until stopped.")] = False,
) -> None:
    """Register campaigns, schedules and triggers on a Prefect server; again changes nothing."""
    try:
        with stopping():
            from flows.deployment.register import start_deploy

            start_deploy(file, serve=serve)
    except StoppedError as stopped:
        print("stopped; deployments and schedules stay on the server, nothing runs them here")
        raise typer.Exit(stopped.status) from None

"""Commands that make the model better, and let it answer again: fine-tune, rescore, loop."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.interrupt import exit_cleanly_on_signal

learning_app = typer.Typer()

DatabaseOption = Annotated[str | None, typer.Option(help="Path or URL; without it the default.")]


@learning_app.command()
def fine_tune(
    campaign: Annotated[str, typer.Argument(help="The campaign whose labels are learnt from.")],
    database: DatabaseOption = None,
) -> None:
    """Fine-tune the serving checkpoint on verified labels; it serves if the gate lets it."""
    again = f"sabatier fine-tune {campaign}"
    with exit_cleanly_on_signal(f"stopped; every epoch so far is kept. Go on with: {again}"):
        from flows.learning.start import start_fine_tuning

        start_fine_tuning(campaign, database)


@learning_app.command()
def rescore(
    campaign: Annotated[str, typer.Argument(help="The campaign's name.")],
    database: DatabaseOption = None,
) -> None:
    """Let the checkpoint that serves now predict again what matters, and rank by it."""
    with exit_cleanly_on_signal(
        "stopped; what was predicted is stored, and the ranking is what it was. Go on with: "
        f"sabatier rescore {campaign}"
    ):
        from flows.learning.rescore_start import start_rescoring

        start_rescoring(campaign, database)


@learning_app.command()
def loop(
    file: Annotated[Path, typer.Argument(help="The campaign file (YAML).")],
    rounds: Annotated[int, typer.Option(min=1, help="How many in all, also earlier ones.")] = 3,
    budget: Annotated[
        int | None, typer.Option(help="Calculations in all; else the file's budget a round.")
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Screen, verify, fine-tune, judge and score again, round after round."""
    again = f"sabatier loop {file} --rounds {rounds}"
    with exit_cleanly_on_signal(f"stopped; what was finished is stored. Go on with: {again}"):
        from flows.learning.start import start_loop

        start_loop(file, rounds, budget, database)

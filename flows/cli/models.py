"""Commands that look at the checkpoints of a model, and those that choose which one serves."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from screening_db.database.engine import Database

model_app = typer.Typer(
    no_args_is_help=True, help="Look at the checkpoints of a model, and choose which one serves."
)

Model = Annotated[str, typer.Argument(help="The name that campaign files give: mini.")]
Checkpoint = Annotated[str, typer.Argument(help="Its hash, or the beginning of it.")]
DatabaseOption = Annotated[str | None, typer.Option(help="Path or URL; without it the default.")]


@model_app.command("list")
def list_models(
    model: Annotated[str | None, typer.Argument(help="A model's name; else all.")] = None,
    database: DatabaseOption = None,
) -> None:
    """List the checkpoints known for a model: parents, verdicts, numbers, and which one serves."""
    from flows.learning.show_models import show_models

    db = _open(database)
    show_models(db, model)


@model_app.command()
def show(checkpoint: Checkpoint, database: DatabaseOption = None) -> None:
    """Show one checkpoint: where it lies, how it was made and judged, when it served what."""
    from flows.learning.show_models import show_checkpoint
    from screening_db.learning.serving import find_checkpoint

    db = _open(database)
    show_checkpoint(db, find_checkpoint(db, checkpoint))


@model_app.command()
def promote(
    model: Model,
    checkpoint: Annotated[str, typer.Argument(help="Its hash, its folder, or `embedded`.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also where the gate rejected or never judged it.")
    ] = False,
    database: DatabaseOption = None,
) -> None:
    """Let a checkpoint serve from now on, by hand; campaigns are ranked by it once re-scored."""
    from flows.learning.promotion import promote_by_hand
    from flows.learning.show_models import show_stale

    db = _open(database)
    now = promote_by_hand(db, model, checkpoint, force=force)
    print(f"{model} is served by {now[:12]}")
    show_stale(db, model)


@model_app.command()
def rollback(model: Model, database: DatabaseOption = None) -> None:
    """Let the checkpoint serve that served before, and restore the rankings it had made."""
    from flows.learning.promotion import roll_back_model
    from flows.learning.show_models import show_stale

    db = _open(database)
    done = roll_back_model(db, model)
    print(f"{model} is served by {done.now[:12]} again, before by {done.before[:12]}")
    for campaign in done.restored:
        print(f"ranking restored: {campaign}")
    show_stale(db, model)


def _open(database: str | None) -> "Database":
    from flows.config.settings import read_settings
    from flows.records.locations import existing_database

    return existing_database(read_settings(), database)

"""Commands that train models, judge them and choose which one serves, and score again with it."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.interrupt import exit_cleanly_on_signal
from flows.cli.options import (
    CampaignFile,
    CampaignName,
    DatabaseOption,
    database_to_read,
    opened_database,
)

learning_app = typer.Typer()
model_app = typer.Typer(
    no_args_is_help=True, help="Look at the checkpoints of a model, and choose which one serves."
)

ModelName = Annotated[str, typer.Argument(help="The name that campaign files give: mini.")]


def _print_epoch(line: str) -> None:
    """Print a line at once; members that train in other processes import this function."""
    print(line, flush=True)


@learning_app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A preset's name, or a recipe file (YAML).")],
    out: Annotated[Path, typer.Option(help="Folder of the run; a stopped run goes on there.")],
    table: Annotated[
        Path | None,
        typer.Option(help="The training table (Parquet); none for a difference that is assumed."),
    ] = None,
    until: Annotated[str, typer.Option(help="The last stage to run; without it all are.")] = "",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting: language.pretrained=/path. May be repeated."),
    ] = None,
) -> None:
    """Train QE-Catalytic, stage by stage, and the baseline; ends with two checkpoint folders."""
    with exit_cleanly_on_signal("stopped; every epoch so far is kept. Go on with the same command"):
        from flows.learning.training import train as run

        checkpoints = run(
            recipe, table, out, until=until, changes=changes or [], report=_print_epoch
        )
    for checkpoint in checkpoints:
        print(f"{checkpoint.kind} {checkpoint.sha256[:12]} {checkpoint.folder}")


@learning_app.command()
def label(
    file: Annotated[Path, typer.Argument(help="The label plan (YAML).")],
    level: Annotated[str, typer.Option(help="Level of theory of the labels.")],
    placements: Annotated[int, typer.Option(min=1, help="How many the set has in all.")],
    out: Annotated[Path, typer.Option(help="Folder of the set; a later run adds what is missing.")],
    minutes: Annotated[float | None, typer.Option(help="Begin nothing after this time.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Side by side; else all cores.")
    ] = None,
) -> None:
    """Relax placements that cover a plan's surfaces, as labels to train on."""
    with exit_cleanly_on_signal("stopped; finished slabs are kept. Go on with the same command"):
        from flows.learning.label_set import LabelRequest, start_labels

        start_labels(LabelRequest(file, level, placements, out, minutes, processes))


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
def fit(
    campaign: CampaignName,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(help="An embedded name, a folder or a hash; else all. May be repeated."),
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Compare checkpoints and levels with the campaign's labels, and say which to trust."""
    with exit_cleanly_on_signal("stopped; nothing was changed"):
        from flows.learning.fit import start_fit

        start_fit(campaign, checkpoint or [], database)


@learning_app.command()
def rescore(
    campaign: CampaignName,
    database: DatabaseOption = None,
) -> None:
    """Predict again with the serving checkpoint where ranks may change, and rank by it."""
    with exit_cleanly_on_signal(
        "stopped; finished predictions are stored, and the ranking is unchanged. Go on with: "
        f"sabatier rescore {campaign}"
    ):
        from flows.learning.start import start_rescoring

        start_rescoring(campaign, database)


@learning_app.command()
def loop(
    file: CampaignFile,
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


@model_app.command("list")
def list_models(
    model: Annotated[str | None, typer.Argument(help="A model's name; else all.")] = None,
    database: DatabaseOption = None,
) -> None:
    """List the checkpoints of a model: parents, verdicts, numbers, and which one serves."""
    from flows.display.models import show_models
    from flows.records.checkpoints import serving_by_model

    with database_to_read(database) as db:
        show_models(db, model, serving_by_model(db, model))


@model_app.command()
def show(
    checkpoint: Annotated[str, typer.Argument(help="Its hash, or the beginning of it.")],
    database: DatabaseOption = None,
) -> None:
    """Show one checkpoint: where it lies, how it was made and judged, when it served what."""
    from flows.display.models import show_checkpoint
    from flows.records.checkpoints import checkpoint_location, serving_by_model
    from screening_db.learning.serving import find_checkpoint

    with database_to_read(database) as db:
        row = find_checkpoint(db, checkpoint)
        serving = serving_by_model(db, row.model)[row.model]
        show_checkpoint(db, row, serving, checkpoint_location(db, row))


@model_app.command()
def promote(
    model: ModelName,
    checkpoint: Annotated[str, typer.Argument(help="Its hash, its folder, or `embedded`.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also where the gate rejected or never judged it.")
    ] = False,
    database: DatabaseOption = None,
) -> None:
    """Let a checkpoint serve from now on, by hand; campaigns are ranked by it once re-scored."""
    from flows.display.models import show_stale
    from flows.learning.promotion import promote_by_hand

    with opened_database(database) as db:
        now = promote_by_hand(db, model, checkpoint, force=force)
        print(f"{model} is served by {now[:12]}")
        show_stale(db, model, now)


@model_app.command()
def rollback(model: ModelName, database: DatabaseOption = None) -> None:
    """Let the checkpoint serve that served before, and restore the rankings it had made."""
    from flows.display.models import show_stale
    from flows.learning.promotion import roll_back_model

    with opened_database(database) as db:
        done = roll_back_model(db, model)
        print(f"{model} is served by {done.now[:12]} again, before by {done.before[:12]}")
        for campaign in done.restored:
            print(f"ranking restored: {campaign}")
        show_stale(db, model, done.now)

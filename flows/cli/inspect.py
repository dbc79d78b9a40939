"""Commands that look at a screening database or list names, and the one that forgets a campaign."""

from typing import Annotated

import typer

from flows.cli.interrupt import exit_cleanly_on_signal
from flows.cli.options import (
    CampaignName,
    DatabaseOption,
    PredictorOption,
    database_to_read,
    opened_database,
)

inspect_app = typer.Typer()


@inspect_app.command()
def adsorbates(
    wanted: Annotated[str, typer.Argument(help="An element, or a part of a name.")] = "",
    level: Annotated[str, typer.Option(help="Only what the model knows at this level.")] = "",
    model: PredictorOption = "mini",
) -> None:
    """List adsorbates: elements, binding atoms, and the levels at which a model knows each."""
    from flows.display.catalogue import show_adsorbates
    from tasks.prediction.checkpoint_domain import checkpoint_domain
    from tasks.reports.catalogue import adsorbate_entries

    domain = checkpoint_domain(model).domain
    show_adsorbates(adsorbate_entries(domain, wanted, level), model, level)


@inspect_app.command()
def levels(
    wanted: Annotated[
        str, typer.Argument(help="A part of a level's name, engine or functional.")
    ] = "",
    model: Annotated[
        str | None, typer.Option(help="A checkpoint or a folder; else the embedded ones.")
    ] = None,
) -> None:
    """List levels of theory: engine, references, whether computed here, which models know each."""
    from flows.config.engines import read_engine_locations
    from flows.display.catalogue import show_levels
    from model.checkpoint import embedded_names
    from tasks.prediction.checkpoint_domain import checkpoint_domain
    from tasks.reports.catalogue import level_entries

    names = embedded_names() if model is None else [model]
    domains = {name: checkpoint_domain(name).domain for name in names}
    show_levels(level_entries(domains, wanted, read_engine_locations()), domains)


@inspect_app.command()
def candidates(
    campaign: CampaignName,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many.")] = 20,
    database: DatabaseOption = None,
) -> None:
    """Show the first candidates of a campaign by rank."""
    from flows.display.tables import show_candidates
    from screening_db.queries.campaigns import find_campaign

    with database_to_read(database) as db:
        find_campaign(db, campaign)
        show_candidates(db, campaign, number)


@inspect_app.command()
def funnel(campaign: CampaignName, database: DatabaseOption = None) -> None:
    """Show how many bulks, slabs and placements of a campaign reached which state, and why."""
    from flows.display.tables import show_funnel
    from screening_db.queries.campaigns import find_campaign

    with database_to_read(database) as db:
        find_campaign(db, campaign)
        show_funnel(db, campaign)


@inspect_app.command()
def sql(
    query: Annotated[str, typer.Argument(help="One reading statement.")],
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many rows.")] = 1000,
    timeout: Annotated[float, typer.Option(help="Stop the query after this many seconds.")] = 60,
    database: DatabaseOption = None,
) -> None:
    """Answer one SELECT; nothing can be changed by it, and Ctrl-C ends it."""
    from flows.display.tables import show_selected
    from screening_db.database.read_only_sql import run_select

    with exit_cleanly_on_signal("the query was stopped"), database_to_read(database) as db:
        show_selected(run_select(db, query, limit, timeout_s=timeout))


@inspect_app.command()
def forget(campaign: CampaignName, database: DatabaseOption = None) -> None:
    """Delete a campaign's states, ranks and waiting calculations; labels stay."""
    from flows.records.folders import lake_folder
    from screening_db.database.lock import campaign_lock
    from screening_db.records.campaigns import forget_campaign
    from screening_db.records.lake import delete_lake

    with opened_database(database) as db:
        lake = lake_folder(db)  # refused before anything is deleted
        with campaign_lock(db, campaign):
            forget_campaign(db, campaign)
            delete_lake(lake, campaign)
        print(f"{campaign} is forgotten; its predictions and labels stay in {db.where}")

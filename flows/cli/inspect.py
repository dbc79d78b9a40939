"""Commands that look at a screening database, and the one that forgets a campaign."""

from typing import Annotated

import typer

inspect_app = typer.Typer()

Name = Annotated[str, typer.Argument(help="The campaign's name.")]
DatabaseOption = Annotated[str | None, typer.Option(help="Path or URL; without it the default.")]


@inspect_app.command()
def candidates(
    campaign: Name,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many.")] = 20,
    database: DatabaseOption = None,
) -> None:
    """Show the first candidates of a campaign by rank."""
    from flows.config.settings import read_settings
    from flows.display.tables import show_candidates
    from flows.records.locations import existing_database
    from screening_db.queries.campaigns import find_campaign

    db = existing_database(read_settings(), database)
    find_campaign(db, campaign)
    show_candidates(db, campaign, number)


@inspect_app.command()
def funnel(campaign: Name, database: DatabaseOption = None) -> None:
    """Show what became of every bulk, slab and placement of a campaign."""
    from flows.config.settings import read_settings
    from flows.display.tables import show_funnel
    from flows.records.locations import existing_database
    from screening_db.queries.campaigns import find_campaign

    db = existing_database(read_settings(), database)
    find_campaign(db, campaign)
    show_funnel(db, campaign)


@inspect_app.command()
def sql(
    query: Annotated[str, typer.Argument(help="One reading statement.")],
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many rows.")] = 1000,
    database: DatabaseOption = None,
) -> None:
    """Answer one SELECT; nothing can be changed by it."""
    from flows.config.settings import read_settings
    from flows.display.tables import show_selected
    from flows.records.locations import existing_database
    from screening_db.database.read_only_sql import run_select

    db = existing_database(read_settings(), database)
    show_selected(run_select(db, query, limit))


@inspect_app.command()
def forget(campaign: Name, database: DatabaseOption = None) -> None:
    """Delete a campaign's states, ranks and waiting calculations; labels stay."""
    from flows.config.settings import read_settings
    from flows.records.locations import existing_database, lake_folder
    from screening_db.database.lock import campaign_lock
    from screening_db.records.campaigns import forget_campaign
    from screening_db.records.lake import delete_lake

    db = existing_database(read_settings(), database)
    with campaign_lock(db, campaign):
        forget_campaign(db, campaign)
        delete_lake(lake_folder(db), campaign)
    print(f"{campaign} is forgotten; its predictions and labels stay in {db.where}")

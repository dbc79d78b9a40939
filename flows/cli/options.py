"""Arguments and options that several commands share, and the database that they name."""

from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from screening_db.database.engine import Database

CampaignFile = Annotated[Path, typer.Argument(help="The campaign file (YAML).")]
CampaignName = Annotated[str, typer.Argument(help="The campaign's name.")]
PredictorOption = Annotated[str, typer.Option(help="An embedded checkpoint or a folder.")]
DatabaseOption = Annotated[
    str | None,
    typer.Option(help="Path or URL; else that of the campaign file, or runs/screening.db."),
]


def opened_database(option: str | None) -> "AbstractContextManager[Database]":
    """Open the database that the option or the environment names, to change it; then close it.

    Raises:
        NoDatabaseError: it does not exist.
    """
    from flows.config.settings import read_settings
    from flows.records.locations import chosen_database

    return closing(chosen_database(read_settings(), option))


def database_to_read(
    option: str | None, *, former: bool = False
) -> "AbstractContextManager[Database]":
    """Open the database that the option or the environment names, to look at it; then close it.

    Args:
        option: Path or URL, as the command was given it.
        former: Open one of a former release too.

    Raises:
        NoDatabaseError: it does not exist.
    """
    from flows.config.settings import read_settings
    from flows.records.locations import readable_database

    return closing(readable_database(read_settings(), option, former=former))

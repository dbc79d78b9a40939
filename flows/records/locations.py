"""Which database a command means, and where its Parquet lake lies."""

from pathlib import Path

from flows.config.settings import DEFAULT_DATABASE, Settings
from screening_db.database.engine import Database, open_database
from screening_db.errors import NoDatabaseError


def choose_database(settings: Settings, stated: str | None, option: str | None) -> str:
    """Return the first that is given: option, campaign file, environment, the default."""
    return option or stated or settings.database or str(DEFAULT_DATABASE)


def existing_database(settings: Settings, option: str | None) -> Database:
    """Open a database to look at; one that is not there is refused, not made."""
    return open_database(choose_database(settings, None, option), create=False)


def database_if_there(address: str) -> Database | None:
    """Open a database, or return None where no campaign has made it yet."""
    try:
        return open_database(address, create=False)
    except NoDatabaseError:
        return None


def lake_folder(database: Database) -> Path:
    """Return the folder beside a database that holds its Parquet files."""
    if database.path is not None:
        return database.path.with_suffix("")
    return DEFAULT_DATABASE.parent / (database.url.database or "postgresql")


def work_folder(database: Database) -> Path:
    """Return the folder beside a database in which its verifications keep their steps."""
    lake = lake_folder(database)
    return lake.with_name(f"{lake.name}.work")


def models_folder(database: Database) -> Path:
    """Return the folder beside a database in which its fine-tuned checkpoints lie."""
    lake = lake_folder(database)
    return lake.with_name(f"{lake.name}.models")

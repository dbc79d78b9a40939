"""Which database a command means, and where its Parquet lake lies."""

from pathlib import Path

from flows.errors import CampaignError
from flows.settings import DEFAULT_DATABASE, Settings
from screening_db.engine import Database, database_url, open_database


def choose_database(settings: Settings, stated: str | None, option: str | None) -> str:
    """Return the first that is given: option, campaign file, environment, the default."""
    return option or stated or settings.database or str(DEFAULT_DATABASE)


def existing_database(settings: Settings, option: str | None) -> Database:
    """Open a database to look at; a file that is not there is not made."""
    chosen = choose_database(settings, None, option)
    path = database_url(chosen)
    if path.get_backend_name() == "sqlite" and not Path(path.database or "").is_file():
        raise CampaignError(
            f"database {chosen} does not exist; run sabatier screen first, or name another one "
            "with --database"
        )
    return open_database(chosen)


def lake_of(database: Database) -> Path:
    """Return the folder beside a database that holds its Parquet files."""
    if database.path is not None:
        return database.path.with_suffix("")
    return DEFAULT_DATABASE.parent / (database.url.database or "postgresql")

"""Which database a command means, where the files beside it lie, and the log of its runs."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.config.settings import DEFAULT_DATABASE, Settings
from flows.display.run_log import run_log
from model.folder_owner import private_folder
from screening_db.database import Database, has_password, open_database
from screening_db.errors import NoDatabaseError

logger = logging.getLogger(__name__)


def choose_database(settings: Settings, stated: str | None, option: str | None) -> str:
    """Return the first that is given: option, campaign file, environment, the default."""
    if option is not None and has_password(option):
        logger.warning(
            "the database was given with its password, which others read in the list of processes "
            "and in Prefect; set SABATIER_DATABASE or PGPASSWORD instead, or write ~/.pgpass"
        )
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


def engine_work_folder(database: Database) -> Path:
    """Return the folder beside a database in which its verifications keep their steps."""
    lake = lake_folder(database)
    return lake.with_name(f"{lake.name}.work")


def models_folder(database: Database) -> Path:
    """Return the folder beside a database in which its fine-tuned checkpoints lie."""
    lake = lake_folder(database)
    return lake.with_name(f"{lake.name}.models")


@contextmanager
def closed_folders(database: Database) -> Iterator[None]:
    """Keep what the block writes beside a database to this user alone.

    Raises:
        FolderError: a folder beside the database is another user's, or others may write to it.
    """
    for folder, holds in (
        (lake_folder(database), "predictions"),
        (engine_work_folder(database), "steps of calculations"),
        (models_folder(database), "fine-tuned checkpoints"),
    ):
        if folder.exists():
            private_folder(folder, holds, "give another database with --database")
    before = os.umask(0o077)  # for processes that are started in the block as well
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def logged_run(database: Database, title: str) -> Iterator[None]:
    """Log the block to ``<database>.log``, from its start to its end, and close the database.

    What it writes there is this user's alone.

    Raises:
        FolderError: a folder beside the database is another user's, or others may write to it.
    """
    lake = lake_folder(database)
    try:
        with closed_folders(database), run_log(lake.with_name(f"{lake.name}.log")):
            logger.info("%s: started on %s", title, database.where)
            try:
                yield
            except BaseException as fault:
                logger.info("%s: stopped by %s: %s", title, type(fault).__name__, fault)
                raise
            logger.info("%s: finished", title)
    finally:
        database.close()

"""Which database a command means, and the log of its runs."""

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from flows.config.settings import DEFAULT_DATABASE, Settings
from flows.display.run_log import run_log
from flows.records.folders import FOLDER_HOLDS, FOLDER_KINDS, found_folder, make_folder
from model.folder_owner import private_folder
from screening_db.database import Database, has_password, open_database, open_to_read
from screening_db.errors import NoDatabaseError

logger = logging.getLogger(__name__)


def choose_database(settings: Settings, stated: str | None, option: str | None) -> str:
    """Return the first that is given: option, campaign file, environment, the default."""
    if option is not None and has_password(option):
        logger.warning(
            "the database was given with its password, which others read in the list of "
            "processes; set SABATIER_DATABASE or PGPASSWORD instead, or write ~/.pgpass"
        )
    return option or stated or settings.database or str(DEFAULT_DATABASE)


def chosen_database(
    settings: Settings,
    option: str | None,
    *,
    stated: str | None = None,
    create: bool = False,
    upgrade: bool = False,
) -> Database:
    """Open the database of an option, a campaign file or the settings; see ``open_database``."""
    address = choose_database(settings, stated, option)
    return open_database(address, create=create, upgrade=upgrade, wait_s=settings.database_wait_s)


def readable_database(
    settings: Settings, option: str | None, *, stated: str | None = None, former: bool = False
) -> Database:
    """Open a database to look at: nothing is written to it, and it may be on a standby server.

    Args:
        settings: They name a database where nothing else does, and say how long it is waited for.
        option: Path or URL, as a command was given it.
        stated: Path or URL, as a campaign file says it.
        former: Open one of a former release too.
    """
    address = choose_database(settings, stated, option)
    return open_to_read(address, wait_s=settings.database_wait_s, former=former)


def database_if_there(address: str, settings: Settings) -> Database | None:
    """Open a database, or return None where no campaign has made it yet."""
    try:
        return open_database(address, create=False, wait_s=settings.database_wait_s)
    except NoDatabaseError:
        return None


@contextmanager
def closed_folders(database: Database) -> Iterator[None]:
    """Keep what the block writes beside a database to this user alone.

    All its folders are looked up, whatever the block writes, so that no run finds one of them
    gone half-way.

    Raises:
        CampaignError: a folder of the database is not where it was, or of another database.
        FolderError: a folder beside the database is another user's, or others may write to it.
    """
    for kind in FOLDER_KINDS:
        folder = found_folder(database, kind)
        if folder.exists():
            private_folder(folder, FOLDER_HOLDS[kind], "give another database with --database")
    before = os.umask(0o077)  # for processes that are started in the block as well
    try:
        yield
    finally:
        os.umask(before)


def _run_log_beside(lake: Path) -> AbstractContextManager[None]:
    return run_log(lake.with_name(f"{lake.name}.log"))


@contextmanager
def logged_run(database: Database, title: str) -> Iterator[None]:
    """Log the block to ``<database>.log``, from its start to its end, and close the database.

    What it writes there is this user's alone.

    Raises:
        CampaignError: a folder of the database is not where it was, or of another database.
        FolderError: a folder beside the database is another user's, or others may write to it.
    """
    try:
        with closed_folders(database), _run_log_beside(make_folder(database, "lake")):
            logger.info("%s: started on %s", title, database.where)
            try:
                yield
            except BaseException as fault:
                logger.info("%s: stopped by %s: %s", title, type(fault).__name__, fault)
                raise
            logger.info("%s: finished", title)
    finally:
        database.close()

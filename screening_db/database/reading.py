"""Open a database to read it and nothing else: also a standby server, or a folder without rights.

Nothing is written, not even the schema of this release: an older one is named instead.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool

from screening_db.database.address import database_url, where
from screening_db.database.engine import Database, new_engine
from screening_db.database.faults import one_line_faults
from screening_db.database.outage import DATABASE_WAIT_S
from screening_db.database.schema import current_revision, newest_revision, require_known
from screening_db.database.sqlite_reader import connect_read_only
from screening_db.errors import DatabaseError, NoDatabaseError


def open_to_read(
    url_or_path: str | Path, *, wait_s: float = DATABASE_WAIT_S, former: bool = False
) -> Database:
    """Open a database without a way to write to it.

    Args:
        url_or_path: The path of an SQLite file, or ``postgresql://user@host/name``.
        wait_s: How long a server that goes away later on is waited for.
        former: Open one of a former release too: its ``revision`` says of which schema it is.

    Returns:
        The database, whose ``write`` is refused; ``close`` it at the end.

    Raises:
        NoDatabaseError: it does not exist.
        DatabaseError: it is no database of ours, has another schema, or does not answer.
    """
    url = database_url(url_or_path)
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database))
        if not _may_be_there(path):
            raise NoDatabaseError.at(where(url))
        engine = _sqlite_engine(path)
    else:
        engine = new_engine(url).execution_options(postgresql_readonly=True)
    database = Database(url, engine, wait_s)
    try:
        with one_line_faults(url):
            revision = _known_revision(database)
        if not former:
            _require_newest(database, revision)
    except BaseException:
        database.close()
        raise
    return replace(database, revision=revision)


def _sqlite_engine(path: Path) -> Engine:
    engine = create_engine(
        "sqlite://", creator=partial(connect_read_only, path), poolclass=NullPool
    )
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _may_be_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # its folder may not be read, which SQLite says
        return True


def _known_revision(database: Database) -> str:
    with database.engine.connect() as connection:
        revision = current_revision(connection)
        if revision is None:
            raise NoDatabaseError.at(database.where)
        require_known(connection, database.where)
    return revision


def _require_newest(database: Database, revision: str) -> None:
    if revision != newest_revision():
        raise DatabaseError(
            f"database {database.where} has schema {revision} of a former release, this one reads "
            f"{newest_revision()}, and a command that only reads changes nothing; run: sabatier db "
            f"upgrade --database {database.where}, or read it with that release"
        )

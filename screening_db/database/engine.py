"""Open the screening database: an SQLite file by path, or PostgreSQL by URL.

A write transaction on SQLite begins with BEGIN IMMEDIATE: it waits for the lock at its start,
where waiting is safe, and never fails half-way because another process wrote in between. What
SQLAlchemy and its drivers raise becomes one line that says the way out (``faults``). A PostgreSQL
server that goes away in mid-run is waited for (``outage``).
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from screening_db.database.address import database_url, where
from screening_db.database.faults import is_outage, one_line_faults
from screening_db.database.outage import (
    DATABASE_WAIT_S,
    is_stored,
    name_write,
    repeated_after_outage,
)
from screening_db.database.schema import current_revision, migrate, newest_revision
from screening_db.database.upgrade import server_time, upgrade_rules
from screening_db.errors import DatabaseError, NoDatabaseError

BUSY_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 10
# A host or network that falls silent is found out in half a minute, not in a quarter of an hour.
_NOTICE_SILENCE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
OLDEST_SQLITE = (3, 35)  # the first with RETURNING


class Hold(Protocol):
    """A campaign that this process holds by a lock of the server."""

    @property
    def token(self) -> str:
        """Return the token that the campaign was taken with."""
        ...

    def take_again(self) -> None:
        """Take the lock again where its session has died."""
        ...


@dataclass(frozen=True)
class Database:
    """A screening database at the newest schema.

    ``wait_s`` is how long a server that went away is waited for; ``holds`` are the campaigns that
    this process holds by locks of the server, by name.
    """

    url: URL
    engine: Engine
    wait_s: float = DATABASE_WAIT_S
    revision: str = field(default_factory=newest_revision)
    holds: dict[str, Hold] = field(default_factory=dict, repr=False, compare=False)

    def __repr__(self) -> str:
        """Return it without the password, which URL and engine show where it is in the query."""
        return f"Database({self.where})"

    @property
    def where(self) -> str:
        """Return the path or the URL without its password, for messages."""
        return where(self.url)

    @property
    def address(self) -> str:
        """Return the path, or the URL with its password: give it to workers only."""
        return str(self.path) if self.path else self.url.render_as_string(hide_password=False)

    @property
    def path(self) -> Path | None:
        """Return the SQLite file, or None on PostgreSQL."""
        return Path(self.url.database or "") if self.is_sqlite else None

    @property
    def is_sqlite(self) -> bool:
        """Tell an SQLite file from a PostgreSQL server."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session whose queries see one state of the database."""
        engine = self.engine
        if not self.is_sqlite:  # SQLite sees one state in every transaction
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with one_line_faults(self.url), Session(engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a session that is stored in full at the end, or not at all on any exception.

        Campaigns that are held are so by a lock at its start, which is taken again where its
        session has died: the pool replaces dead sessions without an error. Where the answer to the
        commit is lost, the server is asked whether it was stored.
        """
        engine = self.engine.execution_options(writes=True)
        with one_line_faults(self.url), Session(engine, expire_on_commit=False) as session:
            for hold in list(self.holds.values()):
                hold.take_again()
            self._begin(session)
            name = None if self.is_sqlite else name_write(session)
            yield session
            session.flush()
            try:
                session.commit()
            except DBAPIError as fault:
                if name is None or not is_outage(fault) or not _was_stored(self, name):
                    raise

    def _begin(self, session: Session) -> None:
        """Begin a write: refuse it where another process took over.

        Both are read inside the transaction: a migration locks the table of the revision first, and
        who takes a campaign over changes its row, so that each waits for this write or stops it.
        """
        query = text("SELECT version_num FROM alembic_version")
        revision = session.execute(query).scalar() or "none"
        if revision != self.revision:
            raise DatabaseError(
                f"database {self.where} was brought to schema {revision} while this process, which "
                f"works with {self.revision}, ran; nothing of this step was stored: run the same "
                "command again with the release of that schema"
            )
        for campaign, hold in list(self.holds.items()):
            holder = session.execute(
                text("SELECT token FROM campaign_holder WHERE campaign = :campaign FOR SHARE"),
                {"campaign": campaign},
            ).scalar()
            if holder != hold.token:
                raise DatabaseError(
                    f"campaign {campaign} in {self.where} was taken over by another process while "
                    "the connection of this one was lost; nothing of this step was stored: run the "
                    "same command again when the other one has ended"
                )

    @repeated_after_outage
    def query(self, sql: str, /, **values: object) -> list[dict[str, Any]]:
        """Return the rows that an SQL query of ours gives, each by column name."""
        with self.read() as session:
            return [dict(row) for row in session.execute(text(sql), values).mappings()]

    def without_waiting(self) -> "Database":
        """Return the same database for what is of no use later: it waits for no server."""
        return replace(self, wait_s=0.0)

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()


@repeated_after_outage
def _was_stored(db: Database, name: str) -> bool:
    """Return whether the write of this name was stored, once the server can say it."""
    with one_line_faults(db.url), Session(db.engine) as session:
        return is_stored(session, name)


def open_database(
    url_or_path: str | Path,
    *,
    create: bool = True,
    wait_s: float = DATABASE_WAIT_S,
    upgrade: bool = False,
) -> Database:
    """Open a database and bring its schema to the newest.

    Args:
        url_or_path: The path of an SQLite file, or ``postgresql://user@host/name``.
        create: Create the database where there is none.
        wait_s: How long a server that goes away later on is waited for; one that does not answer
            now is not.
        upgrade: Bring an older database on a server to this release's schema; without it such a
            one is refused. An SQLite file is backed up and brought to it in any case.

    Returns:
        The database; ``close`` it at the end.

    Raises:
        DatabaseError: it is no database of ours, has a newer schema, or does not answer; it has an
            older one and may not be changed now; or there is none and ``create`` is False.
    """
    url = database_url(url_or_path)
    database = Database(url, new_engine(url), wait_s)
    try:
        with one_line_faults(url):
            if not create:
                _demand(database)
            elif database.path is not None:
                _prepare_folder(database.path)
            rules = upgrade_rules(database.path, database.where, consent=upgrade)
            migrate(database.engine, database.where, prepare=rules)
            if database.is_sqlite:
                _let_readers_go_on(database)
    except BaseException:
        database.close()
        raise
    return database


def database_time(session: Session) -> float:
    """Return the seconds since 1970, UTC: the server's, or this computer's on SQLite."""
    return server_time(session.connection())


def new_engine(url: URL) -> Engine:
    """Return the engine that a database is read and written with."""
    if url.get_backend_name() == "sqlite":
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise DatabaseError(
                f"SQLite 3.35 or later is needed, this Python has {sqlite3.sqlite_version}; use "
                "another Python or a PostgreSQL server"
            )
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        return create_engine(
            url,
            pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S, **_NOTICE_SILENCE},
        )
    except ModuleNotFoundError as fault:
        raise DatabaseError(
            f"PostgreSQL needs the package {fault.name}; pip install 'sabatier[postgres]', or give "
            "the path of an SQLite file"
        ) from fault


def _demand(database: Database) -> None:
    """Refuse a database that no campaign has made yet."""
    if database.path is None or database.path.exists():
        with database.engine.connect() as connection:
            if current_revision(connection) is not None:
                return
    raise NoDatabaseError.at(database.where)


def _prepare_folder(path: Path) -> None:
    if path.is_dir():
        raise DatabaseError(f"a database is a file, {path} is a folder; give a file in it")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # what is there stays as it is
    except OSError as fault:
        raise DatabaseError(
            f"the folder of database {path} cannot be made ({fault.strerror}); give another path"
        ) from fault


def _let_readers_go_on(database: Database) -> None:
    """Put an SQLite file into WAL mode, which it keeps: readers go on while one process writes."""
    until = time.monotonic() + BUSY_TIMEOUT_S
    with database.engine.connect() as connection:
        # By the driver's cursor, because the mode does not change inside a transaction.
        cursor = connection.connection.cursor()
        while True:
            try:
                cursor.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as fault:
                # two that change it at once are refused at once, whatever the timeout
                if "locked" not in str(fault) or time.monotonic() > until:
                    raise
                time.sleep(0.02)
            else:
                return


def _set_up_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # the driver then begins nothing on its own
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

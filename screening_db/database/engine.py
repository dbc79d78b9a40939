"""Open the screening database: an SQLite file by path, or PostgreSQL by URL.

A write transaction on SQLite begins with BEGIN IMMEDIATE: it waits for the lock at its start,
where waiting is safe, and never fails half-way because another process wrote in between. What
SQLAlchemy and its drivers raise becomes one line that says the way out.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from screening_db.database.address import database_url, holds_secret, where
from screening_db.database.schema import current_revision, migrate
from screening_db.errors import DatabaseError, NoDatabaseError

BUSY_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 10
OLDEST_SQLITE = (3, 35)  # the first with RETURNING
# Part of a driver's message, the cause, the way out. The first match counts.
_CAUSES = (
    ("disk is full", "its disk is full", "free some space and run the same command again"),
    ("no space left", "its disk is full", "free some space and run the same command again"),
    ("disk i/o error", "its disk does not answer", "check the disk and its free space"),
    ("file is not a database", "it is not an SQLite database", "give another path"),
    ("database disk image is malformed", "the file is damaged", "restore it from a copy"),
    ("database is locked", "another process holds it", "wait for that process or stop it"),
    ("readonly database", "it may not be written", "change its permissions or give another path"),
    ("unable to open database file", "it cannot be opened", "check its folder and permissions"),
    ("connection refused", "no server answers there", "start it, or give the path of a file"),
    ("could not translate host", "its host is unknown", "correct the host in the URL"),
    ("failed to resolve host", "its host is unknown", "correct the host in the URL"),
    ("timeout expired", "no server answers there", "start it, or correct the URL"),
    (
        "authentication failed",
        "the server refused the password",
        "correct it in SABATIER_DATABASE, PGPASSWORD or ~/.pgpass",
    ),
    (
        "no password supplied",
        "the server wants a password",
        "give it in SABATIER_DATABASE, PGPASSWORD or ~/.pgpass",
    ),
    ("does not exist", "something is missing", "create it, or correct the URL"),
    ("connection", "the connection was lost", "run the same command again"),
)


@dataclass(frozen=True)
class Database:
    """A screening database at the newest schema."""

    url: URL
    engine: Engine

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
        """Give a session that is stored in full at the end, or not at all on any exception."""
        engine = self.engine.execution_options(writes=True)
        with (
            one_line_faults(self.url),
            Session(engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def query(self, sql: str, **values: object) -> list[dict[str, Any]]:
        """Return the rows that an SQL query of ours gives, each by column name."""
        with self.read() as session:
            return [dict(row) for row in session.execute(text(sql), values).mappings()]

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()


def open_database(url_or_path: str | Path, *, create: bool = True) -> Database:
    """Open a database and bring its schema to the newest.

    Args:
        url_or_path: The path of an SQLite file, or ``postgresql://user@host/name``.
        create: Create the database where there is none.

    Returns:
        The database; ``close`` it at the end.

    Raises:
        DatabaseError: it is no database of ours, has a newer schema, or does not answer; or there
            is none and ``create`` is False.
    """
    url = database_url(url_or_path)
    database = Database(url, _engine(url))
    try:
        with one_line_faults(url):
            if not create:
                _demand(database)
            elif database.path is not None:
                _prepare_folder(database.path)
            migrate(database.engine, database.where)
            if database.is_sqlite:
                _let_readers_go_on(database)
    except BaseException:
        database.close()
        raise
    return database


def database_time(session: Session) -> float:
    """Return the seconds since 1970, UTC: the server's, or this computer's on SQLite."""
    if session.get_bind().dialect.name == "postgresql":
        return float(
            session.execute(text("SELECT extract(epoch from clock_timestamp())")).scalar_one()
        )
    return time.time()


def _engine(url: URL) -> Engine:
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
            url, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_TIMEOUT_S}
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
    raise NoDatabaseError(
        f"there is no screening database at {database.where}; run a campaign first, with: "
        "sabatier screen FILE, or give another path"
    )


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


def describe_fault(fault: Exception, url: URL) -> DatabaseError:
    """Return the one-line error for a fault met in a database, without any secret of its URL."""
    cause = getattr(fault, "orig", None) or fault
    detail = " ".join(str(cause).split())[:300] or type(cause).__name__
    shown = "" if holds_secret(str(cause), url) else detail
    name = where(url)
    if isinstance(fault, IntegrityError):
        return DatabaseError(
            f"database {name} refused a row that breaks its rules, and nothing of this step was "
            f"stored: {shown}"
        )
    for sign, wrong, way_out in _CAUSES:
        if sign in detail.lower():
            said = f" ({shown})" if shown else ""
            return DatabaseError(f"database {name}: {wrong}{said}; {way_out}")
    return DatabaseError(f"database {name}: {shown or type(cause).__name__}")


@contextmanager
def one_line_faults(url: URL) -> Iterator[None]:
    """Raise ``DatabaseError`` for whatever SQLAlchemy raises inside."""
    try:
        yield
    except DatabaseError:
        raise
    except (SQLAlchemyError, sqlite3.Error) as fault:
        # A traceback prints the cause too, in Prefect for instance.
        cause = None if holds_secret(str(fault), url) else fault
        raise describe_fault(fault, url) from cause

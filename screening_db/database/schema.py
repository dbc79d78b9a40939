"""Bring a database's schema up or down, by Alembic and without a configuration file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from screening_db.errors import DatabaseError

MIGRATIONS = Path(__file__).parents[1] / "migrations"
_LOCK = 8_253_317  # any number that is ours: one PostgreSQL session migrates at a time
# The right that a role needs to act as another: PostgreSQL 16 made it one of its own.
RIGHT_TO_ACT_AS = (
    "CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END"
)
CAMPAIGN_LOCKS = 8_253_318  # and another: the first half of PostgreSQL's key of a held campaign


def migrate(
    engine: Engine,
    where: str,
    revision: str = "head",
    prepare: Callable[[Connection, str], None] | None = None,
) -> None:
    """Bring the schema to ``revision``, in one transaction.

    Args:
        engine: The database.
        where: How messages name it.
        revision: The revision that it has afterwards.
        prepare: Called in the transaction with the present revision, where there is one and
            another one is wanted; it may refuse.

    Raises:
        DatabaseError: the database has a revision that this release does not know, or tables of
            something else.
    """
    with engine.connect() as connection:
        if current_revision(connection) == newest_revision() and revision == "head":
            return
    with (
        engine.execution_options(writes=True).connect() as connection,
        _tables_may_be_replaced(connection),
        connection.begin(),
    ):
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            _become_owner(connection)
            _wait_for_writers(connection)
        require_known(connection, where)
        present = current_revision(connection)
        if prepare is not None and present not in (None, newest_revision()):
            prepare(connection, str(present))
        config = _config()
        config.attributes["connection"] = connection
        down = revision != "head"
        (command.downgrade if down else command.upgrade)(config, revision)
        _refuse_dangling(connection, where)


def database_role(database: str, kind: str) -> str:
    """Return the name of a role of a PostgreSQL database: its reader, worker or owner."""
    return f"{database}_{kind}"


def _become_owner(connection: Connection) -> None:
    """Let the owner role make tables, where there is one: it gives the others rights on them."""
    role = database_role(str(connection.scalar(text("SELECT current_database()"))), "owner")
    owns = connection.scalar(
        text(
            "SELECT 1 FROM pg_roles r JOIN pg_class c ON c.relowner = r.oid "
            "WHERE c.oid = to_regclass('alembic_version') AND r.rolname = :role "
            f"AND pg_has_role(r.oid, {RIGHT_TO_ACT_AS})"
        ),
        {"role": role},
    )
    if owns:
        quoted = connection.dialect.identifier_preparer.quote_identifier(role)
        connection.exec_driver_sql(f"SET LOCAL ROLE {quoted}")


def _wait_for_writers(connection: Connection) -> None:
    """Lock the table that every write reads first: those that are open end, new ones wait."""
    if current_revision(connection) is not None:
        connection.execute(text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))


@contextmanager
def _tables_may_be_replaced(connection: Connection) -> Iterator[None]:
    """Let SQLite drop a table that others refer to; foreign keys are checked at the end.

    By the driver's cursor, because the rule does not change inside a transaction.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    cursor = connection.connection.cursor()
    cursor.execute("PRAGMA foreign_keys=OFF")
    cursor.execute("PRAGMA cache_size=-262144")  # KiB: copies of large tables look ids up
    try:
        yield
    finally:
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA cache_size=-2000")  # its default
        cursor.close()


def _refuse_dangling(connection: Connection, where: str) -> None:
    """Raise, and store nothing, where a row of SQLite refers to one that is not there."""
    if connection.dialect.name != "sqlite":
        return
    dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if dangling is not None:
        raise DatabaseError(
            f"database {where} cannot be brought to this release's schema: a row of {dangling[0]} "
            f"refers to one of {dangling[2]} that is not there; restore it from a copy"
        )


def current_revision(connection: Connection) -> str | None:
    """Return the schema revision that the database is at, None where it has none."""
    return MigrationContext.configure(connection).get_current_revision()


@cache
def newest_revision() -> str:
    """Return the revision that this release works with."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _config() -> Config:
    config = Config()
    # A % begins an interpolation in the configuration, not in a path.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def require_known(connection: Connection, where: str) -> None:
    """Refuse a database with a schema that this release does not know, or of something else.

    Raises:
        DatabaseError: it is such a one.
    """
    revision = current_revision(connection)
    if revision is None:
        tables = inspect(connection).get_table_names()
        if set(tables) - {"alembic_version"}:
            raise DatabaseError(
                f"database {where} belongs to something else (it has the table {tables[0]}); give "
                "another path or an empty database"
            )
        return
    revisions = {
        script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()
    }
    if revision not in revisions:
        raise DatabaseError(
            f"database {where} has schema {revision}, this release knows schemas up to "
            f"{newest_revision()}; install a newer Sabatier or give another database"
        )

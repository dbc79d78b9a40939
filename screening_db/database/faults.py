"""What drivers and SQLAlchemy raise, as one line that says the cause and the way out.

A fault of the connection is told from a fault of the SQL: a server that is away comes back, and
what was not stored may then be stored again (``outage``).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from screening_db.database.address import holds_secret, where
from screening_db.errors import DatabaseAwayError, DatabaseError

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
    ("is starting up", "its server is starting", "run the same command again in a moment"),
    ("not yet accepting", "its server is starting", "run the same command again in a moment"),
    ("is shutting down", "its server is stopping", "start it and run the same command again"),
    ("too many clients", "its server has no free connection", "run the same command again later"),
    ("connection slots", "its server has no free connection", "run the same command again later"),
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
# SQLSTATE of a server that is stopping, that crashed or starts, or that has no free connection;
# class 08 is of broken connections.
_AWAY_STATES = ("57P01", "57P02", "57P03", "53300")
_STAYS_WRONG = ("authentication failed", "no password supplied", "does not exist", "pg_hba.conf")


def is_outage(fault: Exception) -> bool:
    """Tell whether a fault is of the connection to a server, which may come back."""
    cause = getattr(fault, "orig", None) or fault
    if not hasattr(cause, "sqlstate"):  # SQLite has no server
        return False
    if cause.sqlstate:
        return cause.sqlstate.startswith("08") or cause.sqlstate in _AWAY_STATES
    # psycopg gives no state where the server said nothing: it was not reached, or fell silent
    kinds = {kind.__name__ for kind in type(cause).__mro__}
    message = str(cause).lower()
    return bool(kinds & {"OperationalError", "InterfaceError"}) and not any(
        sign in message for sign in _STAYS_WRONG
    )


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
    kind = DatabaseAwayError if is_outage(fault) else DatabaseError
    for sign, wrong, way_out in _CAUSES:
        if sign in detail.lower():
            said = f" ({shown})" if shown else ""
            return kind(f"database {name}: {wrong}{said}; {way_out}")
    return kind(f"database {name}: {shown or type(cause).__name__}")


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

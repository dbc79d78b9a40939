"""Turn what SQLAlchemy and its drivers raise into one line that says the way out."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from screening_db.errors import DatabaseError

# What a driver's message contains -> (what is wrong, the way out). The first match counts.
_KNOWN = (
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
    ("authentication failed", "the server refused the password", "correct it in the URL"),
    ("no password supplied", "the server wants a password", "give it in the URL"),
    ("does not exist", "something is missing", "create it, or correct the URL"),
    ("connection", "the connection was lost", "run the same command again"),
)


def describe_fault(fault: Exception, where: str) -> DatabaseError:
    """Return the one-line error for a fault met in the database ``where``."""
    cause = getattr(fault, "orig", None) or fault
    detail = " ".join(str(cause).split())[:300]
    if isinstance(fault, IntegrityError):
        return DatabaseError(
            f"database {where} refused a row that breaks its rules, and nothing of this step was "
            f"stored: {detail}"
        )
    for sign, wrong, way_out in _KNOWN:
        if sign in detail.lower():
            return DatabaseError(f"database {where}: {wrong} ({detail}); {way_out}")
    return DatabaseError(f"database {where}: {detail or type(cause).__name__}")


@contextmanager
def one_line_faults(where: str) -> Iterator[None]:
    """Raise ``DatabaseError`` for whatever SQLAlchemy raises inside."""
    try:
        yield
    except DatabaseError:
        raise
    except (SQLAlchemyError, sqlite3.Error) as fault:
        raise describe_fault(fault, where) from fault

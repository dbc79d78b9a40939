"""Run one query that a person typed, without a way to change anything."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from screening_db.database.engine import Database
from screening_db.errors import DatabaseError

_COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_READS = ("select", "with", "values", "explain")


@dataclass(frozen=True)
class SelectResult:
    """The columns and the first rows of an answer; ``more`` is true where the limit cut it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool


def run_select(db: Database, sql: str, limit: int | None = None) -> SelectResult:
    """Return the result of one SELECT, at most ``limit`` rows of it.

    Raises:
        DatabaseError: it is not one reading statement, or the database does not understand it.
    """
    _refuse_writes(sql)
    with _read_only(db) as cursor:
        try:
            _execute(cursor, sql)
            rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit + 1)
        except Exception as fault:  # each driver has its own classes
            raise DatabaseError(f"the query was not answered: {_reason(fault)}") from fault
        columns = tuple(column[0] for column in cursor.description or ())
    kept = rows if limit is None else rows[:limit]
    return SelectResult(columns, tuple(tuple(row) for row in kept), more=len(kept) < len(rows))


def _refuse_writes(sql: str) -> None:
    words = _COMMENTS.sub(" ", sql).split()
    first = words[0].strip("(").lower() if words else "nothing"
    if first not in _READS:
        raise DatabaseError(
            f"only reading statements run here ({', '.join(_READS)}), got {first}; write, for "
            "example, select * from ranked_candidates limit 5"
        )


@contextmanager
def _read_only(db: Database) -> Iterator[Any]:
    """Give a cursor of a connection of its own, on which the database refuses every write."""
    if db.path is not None:
        with closing(_open_read_only(db.path)) as connection:
            yield connection.cursor()
        return
    import psycopg  # only a PostgreSQL user has it

    parts = db.url.translate_connect_args(username="user", database="dbname")
    with closing(psycopg.connect(**parts)) as server:
        server.read_only = True
        yield server.cursor()


def _open_read_only(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        connection.execute("PRAGMA query_only=ON")
    except sqlite3.Error as fault:
        raise DatabaseError(f"database {path} cannot be read ({fault}); check its path") from fault
    return connection


def _execute(cursor: Any, sql: str) -> None:
    if isinstance(cursor, sqlite3.Cursor):
        cursor.execute(sql)  # one statement or an error
    else:
        cursor.execute(sql, prepare=True)  # a prepared statement is one statement or an error


def _reason(fault: Exception) -> str:
    return " ".join(str(fault).split())[:300] or type(fault).__name__

"""Read an SQLite file without writing to it or beside it, and run what a person typed on it."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from screening_db.errors import DatabaseError

logger = logging.getLogger(__name__)

_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 64 * 2**20,  # of a value or row, bytes
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_ACTIONS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
# The functions that a query may call: those of SQLite that compute a value from their arguments.
_FUNCTIONS = frozenset(
    """
    abs char coalesce concat concat_ws format glob hex ifnull iif instr length like likelihood
    likely lower ltrim max min nullif octet_length printf quote random randomblob replace round
    rtrim sign soundex sqlite_version substr substring total_changes trim typeof unhex unicode
    unlikely upper zeroblob

    avg count group_concat median percentile string_agg sum total

    cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank
    row_number

    acos acosh asin asinh atan atan2 atanh ceil ceiling cos cosh degrees exp floor ln log log10
    log2 mod pi pow power radians sin sinh sqrt tan tanh trunc

    current_date current_time current_timestamp date datetime julianday strftime time timediff
    unixepoch

    -> ->> json json_array json_array_length json_each json_error_position json_extract
    json_group_array json_group_object json_insert json_object json_patch json_quote json_remove
    json_replace json_set json_tree json_type json_valid
    """.split()  # noqa: SIM905  a list of literals would be a screen long
)


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Return a connection that reads a file; threads may share it, one after another.

    Next to a file in WAL mode SQLite makes two more. Where the folder may not be written and no
    change waits in one of them, the file is read as it stands.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    try:
        return _connect(path, "mode=ro")
    except sqlite3.OperationalError:
        if os.access(path.parent, os.W_OK) or not os.access(path, os.R_OK):
            raise
        if waiting := [name for end in ("-wal", "-journal") if _is_filled(name := f"{path}{end}")]:
            raise DatabaseError(
                f"database {path} cannot be read: its folder may not be written, and changes wait "
                f"in {waiting[0]}; copy both files into a folder of yours and read them there"
            ) from None
    connection = _connect(path, "immutable=1")
    _say_once(path)
    return connection


@cache
def _say_once(path: Path) -> None:
    logger.warning(
        "the folder of %s may not be written: the file is read as it stands, without what other "
        "processes store meanwhile",
        path,
    )


def _connect(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?{how}", uri=True, check_same_thread=False, isolation_level=None
    )
    try:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # opens the file
    except BaseException:
        connection.close()
        raise
    return connection


def _is_filled(file: str) -> bool:
    try:
        return Path(file).stat().st_size > 0
    except OSError:
        return False


class SqliteReader:
    """One query on a file: the statement may read tables and compute, and nothing else."""

    def __init__(self, path: Path, max_memory_bytes: int) -> None:
        """Open the file; SQLite then takes at most so much memory in this process.

        Raises:
            DatabaseError: it cannot be read.
        """
        try:
            self._connection = connect_read_only(path)
        except sqlite3.Error as fault:
            raise DatabaseError(
                f"database {path} cannot be read ({fault}); check its path"
            ) from fault
        # Sorts and tables that a query makes for itself fill memory, which is bounded, not disks.
        # The bound cannot be raised again; what else this process does comes nowhere near it.
        self._connection.execute("PRAGMA temp_store=MEMORY")
        self._connection.execute(f"PRAGMA hard_heap_limit={max_memory_bytes}")
        for limit, most in _LIMITS.items():
            self._connection.setlimit(limit, most)
        self._refused = ""
        self._connection.set_authorizer(self._authorize)
        self._cursor = self._connection.cursor()

    def rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """Run the query, and give its rows as they are fetched."""
        try:
            self._cursor.execute(sql)  # one statement or an error
        except sqlite3.DatabaseError:
            if not self._refused:
                raise
            raise DatabaseError(self._refused) from None
        yield from self._cursor

    def columns(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return tuple(column[0] for column in self._cursor.description or ())

    def stop(self) -> None:
        """End the query from another thread."""
        with suppress(sqlite3.ProgrammingError):  # it has just been closed
            self._connection.interrupt()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _authorize(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        if action in _ACTIONS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            if str(second).lower() in _FUNCTIONS:
                return sqlite3.SQLITE_OK
            self._refused = f"the query was not answered: function {second} is not for queries"
        else:
            self._refused = (
                "the query was not answered: it may read tables, and does something else "
                f"({first or 'on the connection'})"
            )
        return sqlite3.SQLITE_DENY

"""Run one query that a person typed: it changes nothing, and ends in bounded time and memory.

It runs in a thread of its own. Within one call into C, such as instr on long texts, a database
looks at no clock and no signal; the main thread waits beside it, stops it, and ends without it.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

from screening_db.database.engine import Database
from screening_db.database.sql_text import explained_words, first_word
from screening_db.errors import DatabaseError, QueryTimeoutError

SQL_TIMEOUT_S = 60.0
MAX_SQL_LENGTH = 100_000  # characters; longer ones cost time before a database begins
MAX_ANSWER_BYTES = 64 * 2**20
MAX_MEMORY_BYTES = 512 * 2**20  # what the process may take for an answer, beyond what it has
# Addresses that a thread reserves. Where it gets none, each allocation tries again, and is slow.
_RESERVED_BYTES = 256 * 2**20
_LONGEST_S = 86_400.0
_STOP_S = 2.0  # how long a query that is told to stop may take for it
_ROW_BYTES, _VALUE_BYTES = 64, 32  # what a row and a value cost in Python, roughly
# What libpq and psycopg say of rows that do not fit into memory.
_NO_MEMORY = ("cannot allocate memory", "results from command")
_READS = ("select", "with", "values")


@dataclass(frozen=True)
class SelectResult:
    """The columns and the first rows of an answer; ``more`` is true where the limit cut it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool


class QueryReader(Protocol):
    """A connection for one query, on which the database refuses everything but reading."""

    def rows(self, sql: str) -> Iterable[tuple[Any, ...]]:
        """Run the query, and give its rows as they are fetched."""

    def columns(self) -> tuple[str, ...]:
        """Return the names of the columns, once a row or the end was fetched."""

    def stop(self) -> None:
        """End the query from another thread."""

    def close(self) -> None:
        """Let go of the connection, from the thread that ran the query."""


def run_select(
    db: Database,
    sql: str,
    limit: int | None = None,
    *,
    timeout_s: float = SQL_TIMEOUT_S,
    max_bytes: int = MAX_ANSWER_BYTES,
) -> SelectResult:
    """Return the result of one SELECT.

    Args:
        db: The database; a standby server or a folder without the right to write will do.
        sql: One reading statement.
        limit: The most rows that are returned; None returns all.
        timeout_s: The seconds after which the query is stopped.
        max_bytes: The most that all values may have together.

    Returns:
        The names of the columns, and the rows.

    Raises:
        DatabaseError: it is not one reading statement, calls what does more than read, takes too
            long or too much memory, or the database does not understand it.
    """
    _refuse_writes(sql)
    if not 0 < timeout_s <= _LONGEST_S:
        raise DatabaseError(
            f"a query gets between 0 and {_LONGEST_S:.0f} seconds, got {timeout_s}; change "
            "--timeout"
        )
    with _memory_bounded():
        reader = _reader(db, timeout_s)
        return _within(timeout_s, reader, lambda: _collect(reader, sql, limit, max_bytes))


def _refuse_writes(sql: str) -> None:
    if len(sql) > MAX_SQL_LENGTH:
        raise DatabaseError(
            f"a query has at most {MAX_SQL_LENGTH} characters, got {len(sql)}; shorten it"
        )
    first = first_word(sql)
    words = [first]
    if first == "explain":  # PostgreSQL would run what EXPLAIN ANALYZE explains
        words = explained_words(sql) or [""]
    if words[0] not in _READS:
        got = f"{first} {words[0]}" if first == "explain" else first
        raise DatabaseError(
            f"only reading statements run here ({', '.join(_READS)}, and explain before one), got "
            f"{got[:100].strip() or 'nothing'}; write, for example, select * from "
            "ranked_candidates limit 5"
        )
    if first == "explain" and "into" in words:  # select into makes a table
        raise DatabaseError(
            "only reading statements run here, got explain with into; leave into out, or quote it "
            "where it is a name"
        )


def _reader(db: Database, timeout_s: float) -> QueryReader:
    if db.path is not None:
        from screening_db.database.sqlite_reader import SqliteReader

        return SqliteReader(db.path, MAX_MEMORY_BYTES)
    from screening_db.database.postgres_reader import PostgresReader  # needs psycopg

    return PostgresReader(db, timeout_s + _STOP_S)


def _within(
    timeout_s: float, reader: QueryReader, collect: Callable[[], SelectResult]
) -> SelectResult:
    """Run a query in another thread; stop it at its time limit, or where this thread is stopped."""
    found: list[SelectResult] = []
    faults: list[Exception] = []
    ended = Event()  # a thread whose join Ctrl-C interrupts says that it has ended, before it has

    def run() -> None:
        try:
            found.append(collect())
        except Exception as fault:  # each driver has its own classes
            faults.append(fault)
        finally:
            reader.close()
            ended.set()

    # a daemon, because the process does not wait for it at its end
    Thread(target=run, name="sql", daemon=True).start()
    try:
        ended.wait(timeout_s)
    finally:  # the time is over, or Ctrl-C came
        late = not ended.is_set()
        until = time.monotonic() + _STOP_S
        while not ended.is_set() and time.monotonic() < until:
            reader.stop()  # again, because a query that had not begun yet hears nothing
            ended.wait(_STOP_S / 10)
    if late:
        raise QueryTimeoutError(
            f"the query took more than {timeout_s:g} s and was stopped; ask for less, or give it "
            "more with --timeout"
        )
    if faults:
        raise _in_one_line(faults[0]) from faults[0]
    return found[0]


def _collect(reader: QueryReader, sql: str, limit: int | None, max_bytes: int) -> SelectResult:
    """Fetch rows one by one, as many as the limits of rows and bytes let pass."""
    kept: list[tuple[Any, ...]] = []
    size = 0
    for row in reader.rows(sql):
        if len(kept) == limit:
            return SelectResult(reader.columns(), tuple(kept), more=True)
        long = sum(len(value) for value in row if isinstance(value, str | bytes))
        size += _ROW_BYTES + _VALUE_BYTES * len(row) + long
        if size > max_bytes:
            raise DatabaseError(
                f"an answer has at most {max_bytes // 2**20} MiB, this one has more after "
                f"{len(kept)} rows; name fewer columns, or lower --limit"
            )
        kept.append(tuple(row))
    return SelectResult(reader.columns(), tuple(kept), more=False)


def _in_one_line(fault: Exception) -> DatabaseError:
    if isinstance(fault, DatabaseError):
        return fault
    reason = " ".join(str(fault).split())[:300] or type(fault).__name__
    if isinstance(fault, MemoryError) or any(sign in reason for sign in _NO_MEMORY):
        reason = f"it needs more than {MAX_MEMORY_BYTES // 2**20} MiB of memory; ask for less"
    return DatabaseError(f"the query was not answered: {reason}")


@contextmanager
def _memory_bounded() -> Iterator[None]:
    """Bound what this process may take beyond what it has, where Linux counts it."""
    try:
        import resource  # not on Windows

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):
        yield
        return
    most = pages * resource.getpagesize() + _RESERVED_BYTES + MAX_MEMORY_BYTES
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY or most < soft:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

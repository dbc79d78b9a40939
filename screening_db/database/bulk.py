"""Write many rows at once, the same way on SQLite and PostgreSQL."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, column, select, table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from screening_db.tables.base import Base

T = TypeVar("T")
Insert = postgresql.Insert | sqlite.Insert
COPY_FROM_ROWS = 1000  # below it, a table to copy into costs more than it saves


def upsert(session: Session, rows: Sequence[Base], *, overwrite: bool) -> None:
    """Store rows of one table; where the key is there, overwrite or keep what is stored.

    Rows are written in the order of their keys: two processes that store the same slabs then
    wait for each other instead of locking each other out.
    """
    if not rows:
        return
    target, values, connection = table_of(rows), values_of(rows), session.connection()
    if connection.dialect.name == "postgresql" and len(values) >= COPY_FROM_ROWS:
        _copy(connection, target, values, overwrite=overwrite)
    else:
        statement = _on_conflict(insert_into(connection, target), target, overwrite=overwrite)
        connection.execute(statement, values)


def add_new(session: Session, rows: Sequence[Base]) -> int:
    """Store the rows whose key is not there, and return how many they were."""
    if not rows:
        return 0
    target, connection = table_of(rows), session.connection()
    statement = _on_conflict(insert_into(connection, target), target, overwrite=False)
    # RETURNING counts under concurrent writers too, where a count before and after does not.
    stored = connection.execute(statement.returning(*target.primary_key), values_of(rows))
    return len(stored.all())


def insert_into(connection: Connection, target: Table) -> Insert:
    """Return the insert of this connection's dialect, which knows ON CONFLICT."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(target)
    return sqlite.insert(target)


def table_of(rows: Sequence[Base]) -> Table:
    """Return the one table that rows belong to."""
    target = type(rows[0]).__table__
    if not isinstance(target, Table):
        raise TypeError(f"rows are stored in tables, got {target!r}")
    return target


def values_of(rows: Sequence[Base]) -> list[dict[str, Any]]:
    """Return the columns of rows of one table, by key; the last row of a key counts."""
    target = table_of(rows)
    columns = [column.key for column in target.columns]
    keys = [column.key for column in target.primary_key]
    by_key = {
        tuple(getattr(row, key) for key in keys): {name: getattr(row, name) for name in columns}
        for row in rows
    }
    return [by_key[key] for key in sorted(by_key)]


def batches(items: Sequence[T], size: int = 500) -> Iterator[list[T]]:
    """Split ``items`` so that one statement stays below the limit of bound values."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _on_conflict(statement: Insert, target: Table, *, overwrite: bool) -> Insert:
    keys = [column.key for column in target.primary_key]
    others = {c.key: statement.excluded[c.key] for c in target.columns if not c.primary_key}
    if overwrite and others:
        return statement.on_conflict_do_update(index_elements=keys, set_=others)
    return statement.on_conflict_do_nothing(index_elements=keys)


def _copy(
    connection: Connection, target: Table, values: Sequence[Mapping[str, Any]], *, overwrite: bool
) -> None:
    """Upsert by COPY into a table of this transaction's own, several times as fast."""
    names = [column.key for column in target.columns]
    stage = table(f"staged_{target.name}", *(column(name) for name in names))
    connection.exec_driver_sql(
        f'CREATE TEMPORARY TABLE {stage.name} AS SELECT * FROM "{target.name}" WITH NO DATA'
    )
    _fill_stage(connection, target, stage.name, values)
    statement = insert_into(connection, target).from_select(
        names, select(*(stage.c[name] for name in names))
    )
    connection.execute(_on_conflict(statement, target, overwrite=overwrite))
    connection.exec_driver_sql(f"DROP TABLE {stage.name}")


def _fill_stage(
    connection: Connection, target: Table, stage: str, values: Sequence[Mapping[str, Any]]
) -> None:
    dialect = connection.dialect
    columns = [
        (c.key, c.type.dialect_impl(dialect).bind_processor(dialect)) for c in target.columns
    ]
    listed = ", ".join(f'"{name}"' for name, _ in columns)
    cursor: Any = connection.connection.cursor()  # psycopg's, which alone has copy
    try:
        with cursor.copy(f"COPY {stage} ({listed}) FROM STDIN") as copy:
            for value in values:
                copy.write_row([to(value[name]) if to else value[name] for name, to in columns])
    except dialect.loaded_dbapi.Error as fault:
        raise DBAPIError("COPY", None, fault) from fault
    finally:
        cursor.close()

"""Write many rows at once, the same way on SQLite and PostgreSQL."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from screening_db.tables import Base


def upsert(session: Session, rows: Sequence[Base], *, overwrite: bool) -> None:
    """Store rows of one table; where the key is there, overwrite or keep what is stored.

    Rows are written in the order of their keys: two processes that store the same slabs then
    wait for each other instead of locking each other out.
    """
    if not rows:
        return
    table = table_of(rows)
    statement = insert_into(session, table)
    keys = [column.key for column in table.primary_key]
    others = {c.key: statement.excluded[c.key] for c in table.columns if not c.primary_key}
    if overwrite and others:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=others)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    session.connection().execute(statement, values_of(rows))


def add_new(session: Session, rows: Sequence[Base]) -> int:
    """Store the rows whose key is not there, and return how many they were."""
    if not rows:
        return 0
    table = table_of(rows)
    keys = list(table.primary_key)
    statement = insert_into(session, table).on_conflict_do_nothing(index_elements=keys)
    # RETURNING counts under concurrent writers too, where a count before and after does not.
    return len(session.connection().execute(statement.returning(*keys), values_of(rows)).all())


def insert_into(session: Session, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return the insert of this session's dialect, which knows ON CONFLICT."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def table_of(rows: Sequence[Base]) -> Table:
    """Return the one table that rows belong to."""
    table = type(rows[0]).__table__
    if not isinstance(table, Table):
        raise TypeError(f"rows are stored in tables, got {table!r}")
    return table


def values_of(rows: Sequence[Base]) -> list[dict[str, Any]]:
    """Return the columns of rows of one table, in the order of their keys."""
    table = table_of(rows)
    columns = [column.key for column in table.columns]
    keys = [column.key for column in table.primary_key]
    values = [{key: getattr(row, key) for key in columns} for row in rows]
    values.sort(key=lambda value: tuple(value[key] for key in keys))
    return values


def batches(items: Sequence[Any], size: int = 500) -> Iterator[list[Any]]:
    """Split ``items`` so that one statement stays below the limit of bound values."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch

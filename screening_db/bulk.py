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
    table = type(rows[0]).__table__
    if not isinstance(table, Table):
        raise TypeError(f"rows are stored in tables, got {table!r}")
    insert = (postgresql if session.get_bind().dialect.name == "postgresql" else sqlite).insert
    statement = insert(table)
    keys = [column.key for column in table.primary_key]
    others = {c.key: statement.excluded[c.key] for c in table.columns if not c.primary_key}
    if overwrite and others:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=others)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    columns = [column.key for column in table.columns]
    values = [{key: getattr(row, key) for key in columns} for row in rows]
    values.sort(key=lambda value: tuple(value[key] for key in keys))
    session.connection().execute(statement, values)


def batches(items: Sequence[Any], size: int = 500) -> Iterator[list[Any]]:
    """Split ``items`` so that one statement stays below the limit of bound values."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch

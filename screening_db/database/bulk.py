"""Write many rows at once, the same way on SQLite and PostgreSQL.

Rows name others by their ids; the short keys that are stored instead are looked up by the database
in the statement that stores the rows. A row that is there keeps its short key.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Table,
    Text,
    bindparam,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from screening_db.tables import IDENTITY, REFERS, Base

T = TypeVar("T")
Insert = postgresql.Insert | sqlite.Insert
COPY_FROM_ROWS = 1000  # below it, a table to copy into costs more than it saves


def upsert(session: Session, rows: Sequence[Base], *, overwrite: bool) -> None:
    """Store rows of one table; where the key is there, overwrite or keep the stored row.

    Rows are written in the order of their keys: two processes that store the same slabs then
    wait for each other instead of locking each other out.
    """
    if not rows:
        return
    target, values, connection = table_of(rows), values_of(rows), session.connection()
    if connection.dialect.name == "postgresql" and len(values) >= COPY_FROM_ROWS:
        _copy(connection, target, values, overwrite=overwrite)
    else:
        statement = _on_conflict(_insert_values(connection, target), target, overwrite=overwrite)
        connection.execute(statement, _bound(values))


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
    """Return the attributes that rows of one table are stored by; the last row of a key counts."""
    target = table_of(rows)
    attributes = [name for column in _stored(target) for name in _attributes(column)]
    keys = [name for column in _identity(target) for name in _attributes(column)]
    by_key = {
        tuple(getattr(row, key) for key in keys): {name: getattr(row, name) for name in attributes}
        for row in rows
    }
    return [by_key[key] for key in sorted(by_key)]


def batches(items: Sequence[T], size: int = 500) -> Iterator[list[T]]:
    """Split ``items`` so that one statement stays below the limit of bound values."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _identity(target: Table) -> list[Column[Any]]:
    """Return the columns that identify a row."""
    names = target.info.get(IDENTITY)
    return [target.columns[name] for name in names] if names else list(target.primary_key)


def _stored(target: Table) -> list[Column[Any]]:
    """Return the columns that a row states: all but a short key that the database counts up."""
    counted = IDENTITY in target.info
    return [column for column in target.columns if not (counted and column.primary_key)]


def _attributes(column: Column[Any]) -> list[str]:
    """Return the attributes of a row from which a column is filled."""
    return list(column.info[REFERS].values()) if REFERS in column.info else [column.key]


def _value(
    column: Column[Any], given: Callable[[str, Column[Any]], ColumnElement[Any]]
) -> ColumnElement[Any]:
    """Return the value of a column: the given one, or the key of the row that it names.

    There is no key of a row that is not there, and the rule that there is one refuses the row.
    """
    if REFERS not in column.info:
        return given(column.key, column)
    (reference,) = column.foreign_keys
    other = reference.column.table
    found = [
        other.columns[name] == given(attribute, other.columns[name])
        for name, attribute in column.info[REFERS].items()
    ]
    return select(reference.column).where(*found).scalar_subquery()


def _insert_values(connection: Connection, target: Table) -> Insert:
    """Return the insert of rows whose values are bound as in ``_bound``."""
    return insert_into(connection, target).values(
        {
            column.key: _value(
                column, lambda name, like: bindparam(f"given_{name}", type_=like.type)
            )
            for column in _stored(target)
        }
    )


def _bound(values: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return values under names that differ from those of columns, as SQLAlchemy demands."""
    return [{f"given_{name}": value for name, value in row.items()} for row in values]


def _on_conflict(statement: Insert, target: Table, *, overwrite: bool) -> Insert:
    keys = [column.key for column in _identity(target)]
    others = {c.key: statement.excluded[c.key] for c in _stored(target) if c.key not in keys}
    if overwrite and others:
        return statement.on_conflict_do_update(index_elements=keys, set_=others)
    return statement.on_conflict_do_nothing(index_elements=keys)


def _copy(
    connection: Connection, target: Table, values: Sequence[Mapping[str, Any]], *, overwrite: bool
) -> None:
    """Upsert by COPY into a table of this transaction's own, several times as fast."""
    columns = _stored(target)
    stage = Table(
        f"staged_{target.name}",
        MetaData(),
        *(
            Column(name, Text() if REFERS in column.info else column.type)
            for column in columns
            for name in _attributes(column)
        ),
        prefixes=["TEMPORARY"],
    )
    stage.create(connection)
    _fill_stage(connection, stage, values)
    given = select(*(_value(column, lambda name, _: stage.columns[name]) for column in columns))
    statement = insert_into(connection, target).from_select(
        [column.key for column in columns], given.select_from(stage)
    )
    connection.execute(_on_conflict(statement, target, overwrite=overwrite))
    stage.drop(connection)


def _fill_stage(connection: Connection, stage: Table, values: Sequence[Mapping[str, Any]]) -> None:
    dialect = connection.dialect
    columns = [(c.key, c.type.dialect_impl(dialect).bind_processor(dialect)) for c in stage.columns]
    listed = ", ".join(f'"{name}"' for name, _ in columns)
    cursor: Any = connection.connection.cursor()  # psycopg's, which alone has copy
    try:
        with cursor.copy(f"COPY {stage.name} ({listed}) FROM STDIN") as copy:
            for value in values:
                copy.write_row([to(value[name]) if to else value[name] for name, to in columns])
    except dialect.loaded_dbapi.Error as fault:
        raise DBAPIError("COPY", None, fault) from fault
    finally:
        cursor.close()

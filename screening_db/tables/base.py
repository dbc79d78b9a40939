"""The parent of all rows, the types of their columns, and rules that several tables share."""

import json
from typing import Any, get_args

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Dialect,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    Text,
    TypeDecorator,
    select,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    InstrumentedAttribute,
    Mapped,
    MappedAsDataclass,
    MappedColumn,
    MappedSQLExpression,
    column_property,
    mapped_column,
)

IDENTITY = "identity"  # in a table's info: the columns that say which row it is, if not its key
REFERS = "refers"  # in a column's info: columns of the table it refers to, and ours of that meaning
# SQLite counts up the key of a row by itself only where its type is INTEGER
KEY = BigInteger().with_variant(Integer, "sqlite")


class JsonText(TypeDecorator[Any]):
    """A JSON value as text with sorted keys, so that equal values are equal text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002  SQLAlchemy's
        """Return the one text of ``value``; None is stored as NULL."""
        if value is None:
            return None
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002  SQLAlchemy's
        """Return the value that was stored."""
        return None if value is None else json.loads(value)


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True):
    """The parent of all rows."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  SQLAlchemy reads it by this name
        str: Text(),
        float: Double(),
        dict[str, Any]: JsonText(),
        list[str]: JsonText(),
        list[int]: JsonText(),
    }


def short_key() -> MappedColumn[int]:
    """Return the integer key of a row, which the database counts up; other rows refer by it.

    It has a meaning inside one database alone: what leaves the database is the row's id.
    """
    return mapped_column(KEY, primary_key=True, init=False, repr=False)


def refers_to(table: str, *, primary_key: bool = False, **columns: str) -> MappedColumn[int]:
    """Return a column with the short key of a row of ``table``, which ``upsert`` fills in.

    ``columns`` are those of ``table`` that the row is found by, each with the attribute of our row
    that holds the value: ``refers_to("pair", id="pair_id")``.
    """
    return mapped_column(
        KEY,
        ForeignKey(f"{table}.key"),
        primary_key=primary_key,
        autoincrement=False,
        init=False,
        repr=False,
        info={REFERS: columns},
    )


def shown(column: InstrumentedAttribute[str], by: Mapped[int]) -> MappedSQLExpression[str]:
    """Return the attribute that shows ``column`` of the row that the short key ``by`` refers to.

    A new row is given it, and ``upsert`` finds the key by it; a row that is read looks it up.
    """
    other = column.class_
    value = select(column).where(other.key == by).correlate_except(other).scalar_subquery()
    return column_property(value, init=True)


def one_of(column: str, words: Any) -> CheckConstraint:
    """Return the rule that ``column`` holds one of the words of a Literal."""
    choices = ", ".join(f"'{word}'" for word in get_args(words))
    return CheckConstraint(f"{column} in ({choices})", name=f"{column}_known")


def finite(column: str) -> CheckConstraint:
    """Return the rule that an energy is a number below 10^6 eV: no NaN and no infinity."""
    return CheckConstraint(f"{column} > -1e6 and {column} < 1e6", name=f"{column}_finite")

"""The parent of all rows, the types of their columns, and rules that several tables share."""

import json
from typing import Any, get_args

from sqlalchemy import (
    CheckConstraint,
    Dialect,
    Double,
    MetaData,
    Text,
    TypeDecorator,
)
from sqlalchemy.orm import DeclarativeBase, MappedAsDataclass


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


def one_of(column: str, words: Any) -> CheckConstraint:
    """Return the rule that ``column`` holds one of the words of a Literal."""
    choices = ", ".join(f"'{word}'" for word in get_args(words))
    return CheckConstraint(f"{column} in ({choices})", name=f"{column}_known")


def finite(column: str) -> CheckConstraint:
    """Return the rule that an energy is a number below 10^6 eV: no NaN and no infinity."""
    return CheckConstraint(f"{column} > -1e6 and {column} < 1e6", name=f"{column}_finite")

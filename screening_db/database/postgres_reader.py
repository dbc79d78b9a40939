"""Run one query that a person typed on PostgreSQL: as the reader role where there is one.

A transaction that only reads still lets a function end other sessions, take locks, sleep or send
notifications. So a statement may call only functions that PostgreSQL itself declares to change
nothing, which its catalogue tells; the reader role holds the same for sessions of its own.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql as composed

from screening_db.database.engine import Database
from screening_db.database.faults import one_line_faults
from screening_db.database.schema import RIGHT_TO_ACT_AS, database_role
from screening_db.database.sql_text import all_names, called_names, first_word
from screening_db.errors import DatabaseError

_CANCEL_S = 2.0
_ROWS_AT_ONCE = 100
# Of the functions that it declares volatile, those that only tell something.
_HARMLESS = (
    "clock_timestamp",
    "pg_column_size",
    "pg_database_size",
    "pg_indexes_size",
    "pg_is_in_recovery",
    "pg_relation_size",
    "pg_table_size",
    "pg_total_relation_size",
    "random",
    "timeofday",
)
_REFUSED_FUNCTIONS = """
    SELECT DISTINCT p.proname FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE p.proname = ANY(%(names)s) AND p.proname <> ALL(%(harmless)s)
    AND (p.provolatile = 'v' OR n.nspname <> 'pg_catalog' OR p.proname = ANY(%(by_text)s)
        OR p.proname LIKE '%%to_xml%%')
    ORDER BY p.proname
"""
# What runs a query, or checks a value of a type, that stands in a text; and settings of the server,
# where a standby has the password of its primary.
_BY_TEXT = (
    "current_setting",
    "pg_input_error_info",
    "pg_input_is_valid",
    "pg_show_all_settings",
)
# Views and tables of PostgreSQL's own that tell passwords, or what files of the server hold.
_SECRET = (
    "_pg_user_mappings",
    "pg_authid",
    "pg_file_settings",
    "pg_foreign_server",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_largeobject",
    "pg_settings",
    "pg_shadow",
    "pg_stat_gssapi",
    "pg_stat_ssl",
    "pg_subscription",
    "pg_user_mapping",
    "pg_user_mappings",
    "user_mapping_options",
)
# A function is called without a parenthesis too: as a column of a row, by a view, by a type that
# checks its values, by an operator. Who makes one chooses what it does, and a function may give up
# the reader role. Tables and views of ours are those of the owner of the table of the revision.
_OF_OTHERS = """
    WITH ours AS (
        SELECT relnamespace, relowner FROM pg_catalog.pg_class
        WHERE relname = 'alembic_version' AND relnamespace = current_schema()::regnamespace
    ), schemas AS (
        SELECT oid, nspname FROM pg_catalog.pg_namespace
        WHERE nspname NOT IN ('pg_catalog', 'information_schema')
        AND (nspname = ANY (current_schemas(true)) OR nspname = ANY (%(names)s))
    )
    SELECT 'function ' || p.proname FROM pg_catalog.pg_proc p
    JOIN schemas s ON s.oid = p.pronamespace
    JOIN pg_catalog.pg_type t ON t.oid = p.proargtypes[0] AND t.typtype IN ('c', 'd', 'p')
    WHERE p.proname = ANY (%(names)s)
    UNION SELECT 'table, view or type ' || t.typname FROM pg_catalog.pg_type t
    JOIN schemas s ON s.oid = t.typnamespace
    WHERE t.typname = ANY (%(names)s)
    AND (t.typnamespace, t.typowner) NOT IN (SELECT relnamespace, relowner FROM ours)
    UNION SELECT 'operator ' || o.oprname FROM pg_catalog.pg_operator o
    JOIN schemas s ON s.oid = o.oprnamespace
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_operator'::regclass
        AND d.objid = o.oid AND d.deptype = 'e'
    )
    ORDER BY 1
"""
_MAY_BE = f"""
    SELECT 1 FROM pg_catalog.pg_roles
    WHERE rolname = %s AND pg_catalog.pg_has_role(oid, {RIGHT_TO_ACT_AS})
"""


class PostgresReader:
    """One query on a server: a transaction that only reads, as the reader role where it may."""

    def __init__(self, db: Database, timeout_s: float) -> None:
        """Connect, with the address that the database was opened with.

        Raises:
            DatabaseError: the server cannot be reached.
        """
        self._timeout_ms = round(timeout_s * 1000)
        with one_line_faults(db.url):
            self._pooled = db.engine.raw_connection()
        self._pooled.detach()  # closed at the end, so that nothing of its session lives on
        connection = self._pooled.dbapi_connection
        self._connection: psycopg.Connection[Any] = connection  # type: ignore[assignment]
        self._connection.read_only = True
        self._cursor: psycopg.Cursor[Any] | psycopg.ServerCursor[Any] = self._connection.cursor()

    def rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """Run the query, and give its rows as they come from the server."""
        self._set_limits()
        self._refuse_functions(sql)
        self._refuse_of_others(sql)
        self._take_role()
        # Prepared or declared, more than one statement is an error. Without values a % is one.
        if first_word(sql) == "explain":
            self._cursor.execute(sql.encode(), prepare=True)
        else:
            self._cursor = declared = self._connection.cursor(name="answer")
            declared.itersize = _ROWS_AT_ONCE
            declared.execute(sql.encode())
        yield from self._cursor

    def columns(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return tuple(column.name for column in self._cursor.description or ())

    def stop(self) -> None:
        """End the query from another thread."""
        try:
            self._connection.cancel_safe(timeout=_CANCEL_S)
        except psycopg.Error:
            return  # the server is gone, or ends it at its own time limit

    def close(self) -> None:
        """Close the connection, which rolls its transaction back."""
        self._pooled.close()

    def _set_limits(self) -> None:
        self._set("statement_timeout", self._timeout_ms)  # ms
        self._set("work_mem", "64MB")
        self._set("client_encoding", "UTF8")
        self._set("standard_conforming_strings", "on")  # so that we read texts as the server does
        is_super = self._cursor.execute(
            "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"
        ).fetchone()
        if is_super and is_super[0]:  # others may not set it
            self._set("temp_file_limit", "4GB")

    def _set(self, name: str, value: str | int) -> None:
        self._cursor.execute(
            composed.SQL("SET LOCAL {} = {}").format(
                composed.Identifier(name), composed.Literal(value)
            )
        )

    def _refuse_functions(self, sql: str) -> None:
        values = {"names": sorted(called_names(sql)), "harmless": list(_HARMLESS)}
        values["by_text"] = list(_BY_TEXT)
        found = self._cursor.execute(_REFUSED_FUNCTIONS, values).fetchall()
        if found:
            names = ", ".join(row[0] for row in found)
            raise DatabaseError(
                f"the query was not answered: function {names} may do more than read, and a query "
                "calls only PostgreSQL's own functions that change nothing"
            )

    def _refuse_of_others(self, sql: str) -> None:
        names = all_names(sql)
        if secret := sorted(names.intersection(_SECRET)):
            raise DatabaseError(
                f"the query was not answered: {', '.join(secret)} tells passwords or files of the "
                "server, and a query reads neither; ask for it in psql"
            )
        found = self._cursor.execute(_OF_OTHERS, {"names": sorted(names)}).fetchall()
        if found:
            raise DatabaseError(
                f"the query was not answered: {', '.join(row[0] for row in found[:5])} is not of "
                "Sabatier and may do more than read; name what Sabatier or PostgreSQL made, or "
                "use psql"
            )

    def _take_role(self) -> None:
        role = database_role(self._connection.info.dbname, "reader")
        if self._cursor.execute(_MAY_BE, [role]).fetchone():
            self._cursor.execute(
                composed.SQL("SET LOCAL ROLE {}").format(composed.Identifier(role))
            )

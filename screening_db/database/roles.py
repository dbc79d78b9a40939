"""Make three roles of a PostgreSQL database: one reads, one screens and verifies, one owns.

They are groups without a login and so without a password: users are made members of them. A role
keeps its rights when a migration makes tables anew, because migrations run as the owner role.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text

from screening_db.database.engine import Database
from screening_db.database.faults import one_line_faults
from screening_db.database.schema import database_role
from screening_db.errors import DatabaseError

_LONGEST_NAME = 63  # bytes, of PostgreSQL
# What reads no table: it ends sessions, locks, sleeps, sends, or writes settings and large objects.
# Everybody may call these unless it is taken from PUBLIC, which only a superuser may do.
_BESIDE_TABLES = """
    SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = 'pg_catalog' AND p.proname ~ ('^(pg_(try_)?advisory_.*|pg_sleep.*|pg_notify|'
        'set_config|pg_(terminate|cancel)_backend|pg_export_snapshot|pg_logical_emit_message|'
        'lo_.*|loread|lowrite)$')
    OR p.proname LIKE 'dblink%'
    ORDER BY 1
"""
# Ours are the tables, views and sequences of the one who owns the table of the revision.
_OURS = """
    SELECT c.relname, c.relkind FROM pg_class c
    JOIN pg_class a ON a.relname = 'alembic_version' AND a.relnamespace = c.relnamespace
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'v', 'S')
    AND c.relowner = a.relowner ORDER BY c.relkind <> 'r', c.relname
"""
_FORMER_OWNER = """
    SELECT r.rolname, r.rolsuper FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
    WHERE c.relname = 'alembic_version' AND c.relnamespace = current_schema()::regnamespace
"""
_POWERS = "rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"

_BOUNDS = (
    "default_transaction_read_only = on",
    "statement_timeout = '5min'",
    "idle_in_transaction_session_timeout = '5min'",
)


@dataclass(frozen=True)
class RoleNames:
    """The roles of one database."""

    reader: str
    worker: str
    owner: str

    def all(self) -> tuple[str, str, str]:
        """Return the three names."""
        return self.reader, self.worker, self.owner


def make_roles(db: Database) -> tuple[RoleNames, list[str]]:
    """Make the roles of a database, or give those that are there the rights that they should have.

    Args:
        db: The database, opened by its owner or a superuser.

    Returns:
        The names, and a line for each thing that was done.

    Raises:
        DatabaseError: it is no server, this user may not make roles, or a role of that name may do
            more than one of ours.
    """
    if db.is_sqlite:
        raise DatabaseError(
            f"roles are of PostgreSQL; {db.where} is a file, which its permissions guard: others "
            "read it after chmod go+r"
        )
    with one_line_faults(db.url), db.engine.begin() as connection:
        names = _names(str(connection.scalar(text("SELECT current_database()"))))
        return names, list(_make(connection, names))


def session_bounds(db: Database, user: str) -> list[str]:
    """Return statements that set what the sessions of a reading user begin with.

    They are for users: settings of a role do not pass to its members.
    """
    quote = db.engine.dialect.identifier_preparer.quote_identifier
    name = str(db.query("SELECT current_database() AS name")[0]["name"])
    return [f"ALTER ROLE {quote(user)} IN DATABASE {quote(name)} SET {b}" for b in _BOUNDS]


def _names(database: str) -> RoleNames:
    names = RoleNames(*(database_role(database, kind) for kind in ("reader", "worker", "owner")))
    longest = max(names.all(), key=lambda name: len(name.encode()))
    if len(longest.encode()) > _LONGEST_NAME:
        raise DatabaseError(
            f"a role has at most {_LONGEST_NAME} bytes in its name, {longest} has more; give the "
            "database a shorter name"
        )
    return names


def _make(connection: Connection, names: RoleNames) -> Iterator[str]:
    user = connection.execute(
        text("SELECT rolname, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user")
    ).one()
    if not user.rolsuper and not user.rolcreaterole:
        raise DatabaseError(
            "roles are made by a superuser or one with CREATEROLE, and this user is neither; give "
            "--database postgresql://postgres@host/name, or ask who runs the server"
        )
    for name in names.all():
        yield _make_role(connection, name)
    run = _Statements(connection, names)
    run("GRANT {reader} TO {worker}, {owner}")  # who may do more may read by it
    if not user.rolsuper:
        run("GRANT {owner} TO {user}", user=user.rolname)
    yield _close_schema(run)
    yield _give_tables(connection, names, run)
    yield _give_later_tables(run)
    if user.rolsuper:
        yield _take_functions(connection, run)
    else:
        yield (
            "functions that end sessions, lock, sleep or send: a superuser alone may take them "
            f"from {names.reader}; sabatier sql refuses them itself"
        )


class _Statements:
    """Runs statements in which names stand in braces; each is quoted."""

    def __init__(self, connection: Connection, names: RoleNames) -> None:
        self._connection = connection
        self._quote = connection.dialect.identifier_preparer.quote_identifier
        database, schema = connection.execute(
            text("SELECT current_database(), current_schema()")
        ).one()
        self.names = vars(names) | {"database": database, "schema": schema}

    def __call__(self, statement: str, **named: str) -> None:
        quoted = {key: self._quote(name) for key, name in (self.names | named).items()}
        self._connection.exec_driver_sql(statement.format(**quoted))


def _close_schema(run: _Statements) -> str:
    run("REVOKE CREATE, TEMPORARY ON DATABASE {database} FROM PUBLIC")
    run("GRANT CONNECT ON DATABASE {database} TO {reader}, {worker}, {owner}")
    run("GRANT TEMPORARY ON DATABASE {database} TO {owner}")
    run("REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC")
    run("GRANT USAGE ON SCHEMA {schema} TO {reader}, {worker}, {owner}")
    run("GRANT CREATE ON SCHEMA {schema} TO {owner}")
    return f"schema {run.names['schema']}: nobody but {run.names['owner']} makes tables in it"


def _give_tables(connection: Connection, names: RoleNames, run: _Statements) -> str:
    """Give each table to the owner role, of which its former owner becomes a member."""
    former = connection.execute(text(_FORMER_OWNER)).one()
    if not former.rolsuper and former.rolname != names.owner:
        run("GRANT {owner} TO {former}", former=former.rolname)
    found = connection.execute(text(_OURS)).all()
    for table, kind in found:
        if kind == "S":  # it went to the owner with its table
            run("REVOKE ALL ON SEQUENCE {table} FROM PUBLIC, {reader}, {worker}", table=table)
            run("GRANT USAGE ON SEQUENCE {table} TO {worker}", table=table)
            continue
        run("ALTER TABLE {table} OWNER TO {owner}", table=table)
        run("REVOKE ALL ON {table} FROM PUBLIC, {reader}, {worker}", table=table)
        run("GRANT SELECT ON {table} TO {reader}, {worker}", table=table)
        if kind == "r" and table != "alembic_version":
            run("GRANT INSERT, UPDATE, DELETE ON {table} TO {worker}", table=table)
    count = sum(kind != "S" for _, kind in found)
    return (
        f"{count} tables and views: read by {names.reader}, written by {names.worker}, changed by "
        f"{names.owner}"
    )


def _give_later_tables(run: _Statements) -> str:
    rules = "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} "
    run(rules + "GRANT SELECT ON TABLES TO {reader}")
    run(rules + "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {worker}")
    run(rules + "GRANT USAGE ON SEQUENCES TO {worker}")
    return "tables of later releases: the same rights"


def _take_functions(connection: Connection, run: _Statements) -> str:
    functions = connection.scalars(text(_BESIDE_TABLES)).all()
    for function in functions:  # quoted by the server
        run(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC, {{reader}}")
        run(f"GRANT EXECUTE ON FUNCTION {function} TO {{worker}}, {{owner}}")
    return (
        f"{len(functions)} functions that end sessions, lock, sleep or send: called by "
        f"{run.names['worker']}, {run.names['owner']} and superusers alone"
    )


def _make_role(connection: Connection, name: str) -> str:
    there = connection.execute(
        text(f"SELECT {_POWERS} FROM pg_roles WHERE rolname = :name"), {"name": name}
    ).scalar()
    if there:
        raise DatabaseError(
            f"role {name} is there and may do more than a role of this database; rename it, or "
            f'take it from it: ALTER ROLE "{name}" NOSUPERUSER NOCREATEROLE NOCREATEDB '
            "NOREPLICATION NOBYPASSRLS"
        )
    if there is not None:
        return f"role {name}: was there"
    quote = connection.dialect.identifier_preparer.quote_identifier
    connection.execute(text(f"CREATE ROLE {quote(name)} NOLOGIN"))
    return f"role {name}: made"

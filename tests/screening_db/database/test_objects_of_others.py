"""Typed queries reach no function of others that is called without a parenthesis."""

from collections.abc import Iterator

import pytest

from screening_db.database.engine import Database
from screening_db.database.read_only_sql import run_select
from screening_db.errors import DatabaseError

pytestmark = pytest.mark.medium
OF_MALLORY = (
    "CREATE USER mallory",
    "GRANT CREATE ON SCHEMA public TO mallory",
    "CREATE SCHEMA own AUTHORIZATION mallory",
    "SET ROLE mallory",
    "CREATE FUNCTION evil(alembic_version) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION check_it(int) RETURNS bool LANGUAGE sql AS 'SELECT true'",
    "CREATE DOMAIN odd AS int CHECK (check_it(VALUE))",
    "CREATE VIEW seen AS SELECT check_it(1)",
    "CREATE VIEW own.hidden AS SELECT check_it(1)",
    "RESET ROLE",
)
OPERATOR = (
    "CREATE FUNCTION own.eq(varchar, varchar) RETURNS bool LANGUAGE sql AS 'SELECT true'",
    "CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = own.eq)",
)


@pytest.fixture
def system() -> str:
    """Say that tests of this file run on PostgreSQL alone."""
    return "postgresql"


@pytest.fixture
def shared(db: Database) -> Iterator[Database]:
    """Give a filled database in which another user made things."""
    execute(db, *OF_MALLORY)
    yield db
    execute(db, "DROP OWNED BY mallory CASCADE", "DROP ROLE mallory")


def execute(db: Database, *statements: str) -> None:
    with db.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("select a.evil from alembic_version a", "function evil"),
        ('select a . "evil" from alembic_version a', "function evil"),
        ("select * from seen", "type seen"),
        ("select * from own.hidden", "type hidden"),
        ("select 1::odd", "type odd"),
        ("select odd '1'", "type odd"),
    ],
)
def test_what_another_user_made_is_refused(shared, sql, what):
    with pytest.raises(DatabaseError, match=f"{what} is not of Sabatier and may do more than read"):
        run_select(shared, sql)


def test_ours_are_read_beside_what_others_made(shared):
    assert run_select(shared, "select name from campaign as hidden").rows == (("first",),)
    assert run_select(shared, "select * from ranked_candidates").columns
    assert run_select(shared, "select count(*) from pg_catalog.pg_class").rows


def test_an_operator_of_others_is_refused(db):
    execute(db, "CREATE SCHEMA own", *OPERATOR)
    with pytest.raises(DatabaseError, match="operator = is not of Sabatier"):
        run_select(db, "select * from campaign where name = 'first'")


@pytest.mark.parametrize(
    "name",
    [
        "pg_hba_file_rules",
        "pg_file_settings",
        "pg_settings",  # a standby's password of its primary
        "pg_authid",
        "PG_SHADOW",
        'pg_catalog."pg_authid"',
    ],
)
def test_files_and_passwords_of_the_server_are_refused(db, name):
    with pytest.raises(DatabaseError, match="tells passwords or files of the server"):
        run_select(db, f"select * from {name}")


@pytest.mark.parametrize(
    "call",
    [
        "table_to_xml('pg_authid', true, true, '')",
        "database_to_xml(true, true, '')",
        "current_setting('primary_conninfo')",
        "pg_show_all_settings()",
    ],
)
def test_a_table_that_is_named_in_a_text_is_refused(db, call):
    with pytest.raises(DatabaseError, match=r"function \w+ may do more than read"):
        run_select(db, f"select {call}")

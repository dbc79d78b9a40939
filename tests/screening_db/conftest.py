"""Each test of the database runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from support import stored_rows
from support.stored_rows import new_database

from screening_db.database.engine import Database, open_database


@pytest.fixture
def make() -> ModuleType:
    """Give the builders of rows; they fit those that the fixture ``db`` stored."""
    return stored_rows


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.medium)])
def system(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_address(system: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the path or URL of a database that is not there yet or has no tables."""
    if system == "sqlite":
        return str(tmp_path / "screening.db")
    return str(request.getfixturevalue("empty_postgres"))


@pytest.fixture
def empty_postgres(postgres_server: str) -> str:
    """Give the URL of a database without tables."""
    return _postgres_copy(postgres_server, "template1")


@pytest.fixture(scope="session")
def filled_template(postgres_server: str) -> str:
    """Give the name of a database to copy: the schema, and what ``stored_rows.fill`` stores."""
    import psycopg

    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as admin:
        admin.execute("CREATE DATABASE filled")
    database = open_database(f"{postgres_server}/filled")
    stored_rows.fill(database)
    database.close()
    return "filled"


def _postgres_copy(server: str, template: str) -> str:
    import psycopg

    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS screening WITH (FORCE)")
        admin.execute(f"CREATE DATABASE screening TEMPLATE {template}")
    return f"{server}/screening"


@pytest.fixture
def db(system: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Give a database with one campaign that has found nothing yet."""
    if system == "sqlite":
        database = new_database(tmp_path / "screening.db", is_filled=True)
    else:
        server = request.getfixturevalue("postgres_server")
        template = request.getfixturevalue("filled_template")
        database = open_database(_postgres_copy(server, template))
    yield database
    database.close()

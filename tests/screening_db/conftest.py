"""Each test of the database runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from support import stored_rows

from screening_db.database.engine import Database, open_database


@pytest.fixture
def make() -> ModuleType:
    """Give the builders of rows; they fit those that the fixture ``db`` stored."""
    return stored_rows


@pytest.fixture(params=["sqlite", "postgresql"])
def database_place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the path or URL of a database that is not there yet or is empty."""
    if request.param == "sqlite":
        return str(tmp_path / "screening.db")
    return str(request.getfixturevalue("empty_postgres"))


@pytest.fixture
def empty_postgres(postgres_server: str) -> str:
    """Give the URL of a database without tables; a new schema costs less than a new database."""
    import psycopg

    url = f"{postgres_server}/postgres"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        admin.execute("DROP SCHEMA public CASCADE")
        admin.execute("CREATE SCHEMA public")
    return url


@pytest.fixture
def db(database_place: str) -> Iterator[Database]:
    """Give a database with one campaign that has found nothing yet."""
    database = open_database(database_place)
    stored_rows.fill(database)
    yield database
    database.close()

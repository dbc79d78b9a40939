"""A write whose commit was lost with a server that stopped at once is done again, and once."""

import uuid
from collections.abc import Iterator

import pytest
from support import stored_rows
from support.faults.postgres import PostgresServer

from screening_db.database.engine import Database, open_database
from screening_db.learning.rounds import begin_round, rounds

pytestmark = pytest.mark.medium


@pytest.fixture
def db(own_server: PostgresServer) -> Iterator[Database]:
    import psycopg

    name = f"lost_{uuid.uuid4().hex}"
    with psycopg.connect(f"{own_server.url}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    opened = open_database(f"{own_server.url}/{name}")
    stored_rows.fill(opened)
    yield opened
    opened.close()


def test_a_transaction_of_another_with_the_same_number_is_not_taken_for_ours(
    own_server: PostgresServer, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    commit, numbers = db.engine.dialect.do_commit, []

    def lose_the_server(connection: object) -> None:
        if numbers:
            commit(connection)
            return
        number = connection.execute("SELECT txid_current()").fetchone()[0]
        own_server.stop("immediate")
        own_server.start()
        with psycopg.connect(f"{own_server.url}/postgres", autocommit=True) as others:
            while not numbers or numbers[-1] < number:
                numbers.append(others.execute("SELECT txid_current()").fetchone()[0])
        assert number in numbers  # the server has given it again
        commit(connection)

    monkeypatch.setattr(db.engine.dialect, "do_commit", lose_the_server)
    begin_round(db, "first", budget=3)
    assert [row.number for row in rounds(db, "first")] == [1]


def test_a_thread_keeps_the_name_of_its_last_write_only(db: Database) -> None:
    for number in (1, 2, 3):
        begin_round(db, "first", budget=number)
    assert db.query("SELECT count(*) AS n FROM last_write") == [{"n": 1}]

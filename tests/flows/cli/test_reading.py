"""Commands that only look at a database, on one that nobody may write to."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support import stored_rows
from support.faults.postgres import running_standby
from typer.testing import CliRunner

from flows.cli.app import app
from screening_db.database import open_database
from screening_db.database.schema import migrate
from screening_db.queue.enqueue import enqueue

COMMANDS = [
    ["candidates", "first"],
    ["funnel", "first"],
    ["queue", "list"],
    ["queue", "list", "first", "--where", "energy_ev < 0"],
    ["queue", "show", "a1"],
    ["sql", "select name from campaign"],
    ["model", "list"],
]


def queue_something(address: str) -> None:
    with closing(open_database(address)) as db:
        stored_rows.fill(db)
        stored_rows.store(db, ["a1"])
        enqueue(db, [stored_rows.queue_row("a1")])


@pytest.fixture
def standby(postgres_server: str) -> Iterator[str]:
    """Give the URL of a filled database on a server that follows another one."""
    import psycopg

    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as admin:
        admin.execute("CREATE DATABASE looked_at")
    queue_something(f"{postgres_server}/looked_at")
    with running_standby(postgres_server) as server:
        yield f"{server.url}/looked_at"


@pytest.mark.medium
def test_commands_that_look_run_on_a_standby_server(standby: str) -> None:
    for command in COMMANDS:
        shown = CliRunner().invoke(app, [*command, "--database", standby])
        assert (command, shown.exit_code) == (command, 0), shown.output


def test_commands_that_look_leave_an_older_schema_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    queue_something(str(file))
    with closing(open_database(file)) as db:
        migrate(db.engine, db.where, "0006")
    before = file.read_bytes()
    for command in COMMANDS:
        refused = CliRunner().invoke(app, [*command, "--database", str(file)])
        assert "has schema 0006 of a former release" in str(refused.exception)
    assert file.read_bytes() == before


def test_a_query_gets_the_time_that_is_stated(tmp_path: Path) -> None:
    queue_something(str(tmp_path / "a.db"))
    endless = "with recursive c(n) as (select 1 union all select n + 1 from c) select sum(n) from c"
    command = ["sql", endless, "--timeout", "0.5", "--database", str(tmp_path / "a.db")]
    refused = CliRunner().invoke(app, command)
    assert "the query took more than 0.5 s and was stopped" in str(refused.exception)


@pytest.mark.parametrize("command", ["list", "hold"])
def test_a_condition_gets_the_time_that_is_stated(tmp_path: Path, command: str) -> None:
    queue_something(str(tmp_path / "a.db"))
    endless = (
        "(with recursive c(n) as (select 1 union all select n + 1 from c) select sum(n) from c) > 0"
    )
    stated = ["--where", endless, "--timeout", "0.5", "--database", str(tmp_path / "a.db")]
    refused = CliRunner().invoke(app, ["queue", command, *stated])
    said = str(refused.exception)
    assert said.startswith("the query took more than 0.5 s and was stopped")
    assert "not understood" not in said


def test_a_condition_is_one_that_only_reads(tmp_path: Path) -> None:
    queue_something(str(tmp_path / "a.db"))
    command = ["queue", "cancel", "--where", "load_extension('x') is null"]
    refused = CliRunner().invoke(app, [*command, "--database", str(tmp_path / "a.db")])
    assert "function load_extension is not for queries" in str(refused.exception)

"""A server that goes away is waited for; what it was asked is stored once, or not at all."""

import ast
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType

import pytest
from sqlalchemy import event, text
from support.paths import REPOSITORY

from screening_db.database.engine import Database, open_database
from screening_db.database.lock import ServerLock, campaign_lock
from screening_db.database.outage import repeated_after_outage
from screening_db.errors import DatabaseAwayError, DatabaseError
from screening_db.learning.rounds import begin_round, rounds
from screening_db.queries.campaigns import find_campaign
from screening_db.queue.enqueue import enqueue
from screening_db.queue.queue import claim, complete, heartbeat
from screening_db.records.campaigns import set_campaign_status
from screening_db.records.screening import record_chunk

pytestmark = pytest.mark.medium
ALL_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture
def system() -> str:
    return "postgresql"


@pytest.fixture
def cut(db: Database) -> Iterator[Callable[..., None]]:
    """Give a function that ends every other session of the database."""
    import psycopg

    with psycopg.connect(db.address.replace("+psycopg", ""), autocommit=True) as admin:
        yield lambda *_: admin.execute(ALL_OTHERS)


def cut_once(db: Database, cut: Callable[..., None], when: str) -> None:
    """End the sessions once, at an event of the engine; the server does what came before."""
    event.listen(db.engine, when, cut, once=True)


def opens_a_transaction(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("read", "write")
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("db", "database")
    )


def test_every_function_that_opens_a_transaction_is_repeated() -> None:
    bare = []
    for package in ("screening_db", "flows", "tasks", "deployments"):
        for source in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef) and any(
                    map(opens_a_transaction, ast.walk(node))
                ):
                    names = [getattr(one, "id", "") for one in node.decorator_list]
                    if "repeated_after_outage" not in names:
                        bare.append(f"{source.name}: {node.name}")
    assert bare == []


def test_a_session_that_was_ended_is_not_noticed(db: Database, cut: Callable[..., None]) -> None:
    assert find_campaign(db, "first").status == "running"
    cut()
    set_campaign_status(db, "first", "finished")
    cut()
    assert find_campaign(db, "first").status == "finished"


def test_a_write_that_broke_off_is_done_once(
    db: Database, cut: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    cut_once(db, cut, "commit")  # before the commit is sent: nothing is stored then
    with caplog.at_level(logging.WARNING):
        begin_round(db, "first", budget=3)
    assert [row.number for row in rounds(db, "first")] == [1]
    away, back = (record.getMessage() for record in caplog.records)
    assert "the connection was lost" in away
    assert "it is waited for, up to 600 s" in away
    assert "answers again, after" in back


def test_a_commit_whose_answer_was_lost_is_not_done_again(
    db: Database, cut: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, commit = [], db.engine.dialect.do_commit

    def commit_and_lose_the_answer(connection: object) -> None:
        calls.append(connection)
        commit(connection)
        if len(calls) == 1:
            cut()
            connection.cursor().execute("SELECT 1")  # as the commit would have raised

    seed = find_campaign(db, "first").seed
    monkeypatch.setattr(db.engine.dialect, "do_commit", commit_and_lose_the_answer)
    with db.write() as session:  # not repeated: it is found out to be stored
        session.execute(text("UPDATE campaign SET seed = seed + 1"))
    assert len(calls) == 1
    assert find_campaign(db, "first").seed == seed + 1


def test_a_server_that_stays_away_ends_the_wait_in_one_line(db: Database) -> None:
    asked: list[int] = []

    @repeated_after_outage
    def ask(db: Database) -> None:
        asked.append(1)
        raise DatabaseAwayError("the connection was lost")

    with pytest.raises(DatabaseError, match=r"was away for 1 s, the limit.*same command") as caught:
        ask(replace(db, wait_s=1.0))
    assert not isinstance(caught.value, DatabaseAwayError)  # nobody waits once more
    assert len(asked) > 2
    with pytest.raises(DatabaseAwayError):  # what is of no use later does not wait
        ask(replace(db, wait_s=0.0))


def test_a_fault_of_sql_is_not_waited_for(db: Database) -> None:
    with pytest.raises(DatabaseError, match="no_such_table") as caught:
        db.query("SELECT * FROM no_such_table")
    assert not isinstance(caught.value, DatabaseAwayError)


@pytest.mark.parametrize("is_writing", [True, False])
def test_a_campaign_is_held_again_after_its_session_was_ended(
    db: Database, cut: Callable[..., None], *, is_writing: bool
) -> None:
    other = open_database(db.address)
    with campaign_lock(db, "first"):
        if is_writing:
            cut_once(db, cut, "commit")
        else:
            cut()  # the pool replaces the sessions, and nothing is raised
        set_campaign_status(db, "first", "finished")
        with (
            pytest.raises(DatabaseError, match="by another process"),
            campaign_lock(other, "first"),
        ):
            pass
    with campaign_lock(other, "first"):
        pass
    other.close()


def test_a_lock_that_was_let_go_of_is_not_taken_again(db: Database) -> None:
    lock = ServerLock(db.engine, "first")
    assert lock.take()
    lock.release()
    lock.take_again()
    other = open_database(db.address)
    with campaign_lock(other, "first"):
        pass
    other.close()


@pytest.mark.parametrize("has_ended", [False, True])
def test_who_lost_a_campaign_to_another_process_writes_nothing_more(
    db: Database, cut: Callable[..., None], *, has_ended: bool
) -> None:
    other = open_database(db.address)
    theirs = campaign_lock(other, "first")
    with campaign_lock(db, "first"):
        cut()
        theirs.__enter__()
        if has_ended:
            theirs.__exit__(None, None, None)
        with pytest.raises(DatabaseError, match="was taken over by another process"):
            set_campaign_status(db, "first", "finished")
    assert find_campaign(other, "first").status == "running"
    if not has_ended:
        set_campaign_status(other, "first", "finished")
        theirs.__exit__(None, None, None)
    other.close()


def cut_at(db: Database, cut: Callable[..., None], statement: int) -> Callable[[], bool]:
    """End the sessions before the so-manyth statement from now; return whether it was reached."""
    sent = []

    def count(*_: object) -> None:
        sent.append(1)
        if len(sent) == statement:
            cut()

    event.listen(db.engine, "before_cursor_execute", count)

    def end() -> bool:
        event.remove(db.engine, "before_cursor_execute", count)
        return len(sent) >= statement

    return end


def test_an_item_whose_steps_are_cut_anywhere_is_claimed_and_completed_once(
    db: Database, cut: Callable[..., None], make: ModuleType
) -> None:
    record_chunk(db, "first", "chunk", [make.candidate("a1")], [], [])
    enqueue(db, [make.queue_row("a1")])
    reached, statement = True, 0
    while reached:
        statement += 1
        end = cut_at(db, cut, statement)
        (lease,) = claim(db, "emt", batch=9, lease_s=600)
        reached = end()
        end = cut_at(db, cut, statement)
        assert heartbeat(db, [lease], 600) == [lease]
        reached |= end()
        end = cut_at(db, cut, statement)
        assert complete(db, lease, make.label("a1"))
        reached |= end()
        assert db.query("SELECT state, attempts FROM queue") == [
            {"state": "converged", "attempts": statement}
        ]
        attempts = db.query("SELECT state, refused FROM calculation ORDER BY attempt")
        assert attempts == [{"state": "converged", "refused": 0}] * statement
        assert db.query("SELECT count(*) AS n FROM label") == [{"n": 1}]
        with db.write() as session:
            session.execute(text("UPDATE queue SET state = 'queued'"))
    assert statement > 5

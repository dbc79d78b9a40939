"""A database of a former release is changed when nobody works with it, and not without a backup."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from screening_db.database.engine import Database, open_database
from screening_db.database.lock import ServerLock, campaign_lock
from screening_db.database.schema import migrate, newest_revision
from screening_db.database.upgrade import back_up
from screening_db.errors import DatabaseError
from screening_db.queries.campaigns import find_campaign
from screening_db.queue.enqueue import enqueue
from screening_db.queue.queue import claim
from screening_db.records.campaigns import set_campaign_status
from screening_db.records.screening import record_chunk

FORMER = "0006"


@pytest.fixture
def former(db: Database) -> Database:
    """Give a database of the former schema, which a process of this release still has open."""
    migrate(db.engine, db.where, FORMER)
    return db


@contextmanager
def held_as_before(db: Database) -> Iterator[None]:
    """Hold a campaign as the former release does: by its lock alone."""
    if db.is_sqlite:
        with campaign_lock(db, "first"):
            yield
        return
    lock = ServerLock(db.engine, "first")
    assert lock.take()
    yield
    lock.release()


def revision_of(db: Database) -> str:
    with db.engine.connect() as connection:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()


def test_an_sqlite_file_is_backed_up_before_it_is_changed(
    former: Database, system: str, caplog: pytest.LogCaptureFixture
) -> None:
    if system != "sqlite":
        pytest.skip("a server is backed up by its owner")
    before = former.path
    assert before is not None
    open_database(before).close()
    kept = before.with_name(f"{before.name}.{FORMER}.backup")
    assert str(kept) in caplog.text
    with closing(sqlite3.connect(kept)) as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchone() == (FORMER,)
        assert copy.execute("SELECT name FROM campaign").fetchall() == [("first",)]


def test_a_server_is_not_changed_unasked(former: Database, system: str) -> None:
    if system == "sqlite":
        pytest.skip("a file is backed up")
    with pytest.raises(DatabaseError, match=r"pg_dump .* and run: sabatier db upgrade --database"):
        open_database(former.address)
    assert revision_of(former) == FORMER
    open_database(former.address, upgrade=True).close()
    assert revision_of(former) == newest_revision()


def test_it_is_not_changed_while_a_process_holds_a_campaign(former: Database) -> None:
    with (
        held_as_before(former),
        pytest.raises(DatabaseError, match=r"a process works with it .*(is|are) held"),
    ):
        open_database(former.address, upgrade=True)
    assert revision_of(former) == FORMER
    open_database(former.address, upgrade=True).close()


def test_it_is_not_changed_while_a_process_computes(db: Database, make) -> None:
    record_chunk(db, "first", "chunk", [make.candidate("a1")], [], [])
    enqueue(db, [make.queue_row("a1")])
    claim(db, "emt", batch=1, lease_s=600)
    migrate(db.engine, db.where, FORMER)
    with pytest.raises(DatabaseError, match=r"1 calculations are under way"):
        open_database(db.address, upgrade=True)
    assert revision_of(db) == FORMER


def test_a_process_whose_database_was_changed_under_it_writes_nothing_more(db: Database) -> None:
    with db.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    with pytest.raises(DatabaseError, match=r"schema 0999 while this process.*with 00\d\d, ran"):
        set_campaign_status(db, "first", "finished")
    assert find_campaign(db, "first").status == "running"


def test_a_backup_needs_its_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = open_database(tmp_path / "a.db")
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DatabaseError, match=r"needs \d+ MiB .* 0 MiB are free"):
        back_up(tmp_path / "a.db", tmp_path / "b.db")
    assert not list(tmp_path.glob("*b.db*"))
    db.close()


@pytest.mark.parametrize("name", ["b.db", "link.db"])
def test_a_backup_onto_the_database_itself_is_refused(tmp_path: Path, name: str) -> None:
    open_database(tmp_path / "b.db").close()
    (tmp_path / "link.db").symlink_to(tmp_path / "b.db")
    before = (tmp_path / "b.db").stat().st_ino
    with pytest.raises(DatabaseError, match="a backup is another file than its database"):
        back_up(tmp_path / "b.db", tmp_path / name)
    assert (tmp_path / "b.db").stat().st_ino == before


def test_a_backup_into_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    open_database(tmp_path / "a.db").close()
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match=r"cannot be written to .*/file/b.db"):
        back_up(tmp_path / "a.db", tmp_path / "file" / "b.db")


def test_a_backup_is_its_owners_alone(tmp_path: Path) -> None:
    open_database(tmp_path / "a.db").close()
    assert back_up(tmp_path / "a.db", tmp_path / "b.db").stat().st_mode & 0o777 == 0o600


def test_a_held_campaign_is_seen_whatever_the_name_of_the_file(tmp_path: Path) -> None:
    db = open_database(tmp_path / "a[1].db")
    migrate(db.engine, db.where, FORMER)
    with campaign_lock(db, "first"), pytest.raises(DatabaseError, match="campaign first is held"):
        open_database(tmp_path / "a[1].db")
    db.close()


def test_a_backup_holds_what_is_still_in_the_log(tmp_path: Path) -> None:
    db = open_database(tmp_path / "a.db")
    with db.write() as session:
        session.execute(text("INSERT INTO campaign_holder VALUES ('first', 't', 'h', 0)"))
    back_up(tmp_path / "a.db", tmp_path / "kept" / "b.db")
    db.close()
    again = open_database(tmp_path / "kept" / "b.db")
    assert again.query("SELECT token FROM campaign_holder") == [{"token": "t"}]
    again.close()

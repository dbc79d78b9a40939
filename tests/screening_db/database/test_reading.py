"""A database that may not be written can be read: a file of others, a standby server."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from support.doors.neighbour import become_another_user
from support.faults.postgres import running_standby

from screening_db.database import open_to_read, run_select
from screening_db.database.engine import open_database
from screening_db.database.schema import migrate
from screening_db.errors import DatabaseError, NoDatabaseError
from screening_db.queries.campaigns import all_campaigns


def test_a_reader_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    open_database(tmp_path / "a.db").close()
    db = open_to_read(tmp_path / "a.db", wait_s=3.0)
    assert db.wait_s == 3.0
    db.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder that other users may look into, unlike those of pytest."""
    made = Path(tempfile.mkdtemp(prefix="sabatier-read-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    made.chmod(0o755)
    shutil.rmtree(made)


@pytest.fixture
def file(folder: Path, make) -> Path:
    """Give a database of this user that others may read and not write, nor write beside it."""
    make.new_database(folder / "a.db", is_filled=True).close()
    names(folder / "a.db")  # imports what may be out of the reach of another user
    open_database(folder / "a.db").close()  # in WAL mode
    (folder / "a.db").chmod(0o644)
    folder.chmod(0o555)
    return folder / "a.db"


def as_another_user(work: Callable[[], object]) -> str:
    """Return what ``work`` returns or raises in a child that root may not write for."""
    received, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            become_another_user()
            said = str(work())
        except BaseException as fault:
            said = f"{type(fault).__name__}: {fault}"
        os.write(send, said.encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(received, encoding="utf-8") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def names(address: object) -> object:
    db = open_to_read(str(address))
    typed = run_select(db, "select name from campaign order by name").rows
    assert [name for (name,) in typed] == [row.name for row in all_campaigns(db)]
    return [name for (name,) in typed]


def test_a_database_is_read_and_not_written(db):
    reading = open_to_read(db.address)
    assert [row.name for row in all_campaigns(reading)] == ["first"]
    with (
        pytest.raises(DatabaseError, match=r"read-?only"),
        reading.write() as session,
    ):
        session.execute(text("DELETE FROM campaign"))
    reading.close()
    assert [row.name for row in all_campaigns(db)] == ["first"]


def test_an_older_schema_is_named_and_not_changed(db):
    migrate(db.engine, db.where, "0004")
    with pytest.raises(DatabaseError, match=r"has schema 0004 .*run: sabatier db upgrade --data"):
        open_to_read(db.address)
    with db.engine.connect() as connection:
        assert (
            connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0004"
        )


def test_a_newer_schema_is_named(db):
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    with pytest.raises(DatabaseError, match=r"has schema 0999.*install a newer"):
        open_to_read(db.address)


def test_what_is_not_there_is_not_made(empty_address, tmp_path):
    with pytest.raises(NoDatabaseError, match=r"no screening database at .*run a campaign first"):
        open_to_read(empty_address)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_a_folder_of_others_is_read_as_it_stands(file):
    before = sorted(path.name for path in file.parent.iterdir())
    said: list[str] = []

    def read() -> object:
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("screening_db").addHandler(handler)
        return names(file), said

    assert as_another_user(read) == str(
        (
            ["first"],
            [
                f"the folder of {file} may not be written: the file is read as it stands, without "
                "what other processes store meanwhile"
            ],
        )
    )
    assert sorted(path.name for path in file.parent.iterdir()) == before


def test_what_another_process_just_stored_is_read(file, make):
    file.parent.chmod(0o755)
    db = open_database(file)
    with db.write() as session:
        session.add(make.campaign("second"))
    file.parent.chmod(0o555)
    assert (file.parent / "a.db-wal").stat().st_size > 0
    assert as_another_user(lambda: names(file)) == "['first', 'second']"
    db.close()


def test_changes_that_cannot_be_read_are_named(file, folder, make):
    folder.chmod(0o755)
    db = open_database(file)
    with db.write() as session:
        session.add(make.campaign("second"))
    copied = folder / "copied"
    copied.mkdir()
    for end in ("", "-wal"):
        shutil.copy(f"{file}{end}", copied)
    db.close()
    copied.chmod(0o555)
    said = as_another_user(lambda: names(copied / "a.db"))
    assert said == (
        f"DatabaseError: database {copied}/a.db cannot be read: its folder may not be written, and "
        f"changes wait in {copied}/a.db-wal; copy both files into a folder of yours and read them "
        "there"
    )


def test_a_file_that_may_not_be_read_is_one_line(file):
    file.chmod(0o600)
    if os.geteuid() != 0:
        file.chmod(0)
    said = as_another_user(lambda: names(file))
    assert said.startswith(f"DatabaseError: database {file}: it cannot be opened")


@pytest.mark.medium
def test_a_database_that_lets_nobody_write_is_read(empty_postgres):
    import psycopg

    open_database(empty_postgres).close()
    with psycopg.connect(empty_postgres, autocommit=True) as admin:
        admin.execute("ALTER DATABASE screening SET default_transaction_read_only = on")
    assert names(empty_postgres) == []


@pytest.fixture
def standby(filled_template: str, postgres_server: str) -> Iterator[str]:
    """Give the URL of a filled database on a server that follows another one."""
    with running_standby(postgres_server) as server:
        yield f"{server.url}/{filled_template}"


@pytest.mark.medium
def test_a_standby_server_is_read(standby):
    assert names(standby) == ["first"]
    with pytest.raises(DatabaseError, match="must not contain data-modifying statements"):
        run_select(open_to_read(standby), "with a as (delete from chunk returning 1) select 1")

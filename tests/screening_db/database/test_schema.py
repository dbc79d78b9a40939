"""The schema: migrations up and down, and what is refused."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from screening_db.database.address import database_url
from screening_db.database.engine import open_database
from screening_db.database.schema import current_revision, migrate, newest_revision
from screening_db.errors import DatabaseError
from screening_db.records.screening import record_chunk, record_items, record_predictions
from screening_db.tables.base import Base


def _index(index):
    options = {key: str(value) for key, value in index["dialect_options"].items()}
    return index["name"], str(index["column_names"]), str(index.get("expressions")), str(options)


def _described(engine):
    """Return all that the database itself says of its tables."""
    seen = inspect(engine)
    tables = {}
    for name in sorted(set(seen.get_table_names()) - {"alembic_version"}):
        tables[name] = (
            [(c["name"], str(c["type"]), c["nullable"]) for c in seen.get_columns(name)],
            seen.get_pk_constraint(name)["constrained_columns"],
            sorted(str(sorted(key.items(), key=str)) for key in seen.get_foreign_keys(name)),
            sorted((u["name"], u["column_names"]) for u in seen.get_unique_constraints(name)),
            sorted((c["name"], c["sqltext"]) for c in seen.get_check_constraints(name)),
            sorted(_index(index) for index in seen.get_indexes(name)),
        )
    return tables


def test_migrated_schema_equals_the_metadata(empty_address):
    db = open_database(empty_address)
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    db.close()


def test_migrated_rules_equal_those_of_the_tables(empty_address):
    db = open_database(empty_address)
    migrated = _described(db.engine)
    migrate(db.engine, db.where, "base")
    Base.metadata.create_all(db.engine)
    assert _described(db.engine) == migrated
    db.close()


def test_migrations_go_down_and_up_again(empty_address):
    db = open_database(empty_address)
    migrate(db.engine, db.where, "base")
    assert set(inspect(db.engine).get_table_names()) == {"alembic_version"}
    assert inspect(db.engine).get_view_names() == []
    migrate(db.engine, db.where)
    with db.engine.connect() as connection:
        assert current_revision(connection) == newest_revision()
    db.close()


def test_opening_twice_keeps_what_is_stored(db):
    again = open_database(db.address)
    with again.read() as session:
        assert session.execute(text("SELECT name FROM campaign")).scalar_one() == "first"
    again.close()


def test_a_database_that_is_not_there_is_not_made_by_reading(empty_address):
    with pytest.raises(DatabaseError, match="there is no screening database at"):
        open_database(empty_address, create=False)
    assert not Path(empty_address).exists()
    open_database(empty_address).close()
    open_database(empty_address, create=False).close()


def test_a_worker_opens_the_database_by_its_address(db):
    again = open_database(db.address)
    assert again.where == db.where
    again.close()


def test_a_newer_schema_is_refused(db):
    with db.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    with pytest.raises(DatabaseError, match=r"has schema 0999.*up to 00\d\d.*install a newer"):
        open_database(db.address)


def test_a_database_of_something_else_is_refused(empty_address):
    engine = create_engine(database_url(empty_address))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE accounts (id INTEGER)"))
    engine.dispose()
    with pytest.raises(DatabaseError, match=r"belongs to something else .*accounts"):
        open_database(empty_address)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database at all, but long enough to have a header" * 20)
    with pytest.raises(DatabaseError, match=r"is not an SQLite database.*give another path"):
        open_database(path)
    assert path.read_text().startswith("not a database")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DatabaseError, match="is a folder"):
        open_database(tmp_path)


def test_a_database_in_memory_is_refused():
    with pytest.raises(DatabaseError, match="needs a file"):
        open_database(":memory:")


def test_another_kind_of_server_is_refused():
    with pytest.raises(DatabaseError, match=r"got mysql.*postgresql://"):
        open_database("mysql://root@localhost/x")


def test_a_server_that_does_not_answer_is_named_without_its_password():
    with pytest.raises(DatabaseError, match="no server answers there") as caught:
        open_database("postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_driver_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseError, match=r"pip install 'sabatier\[postgres\]'"):
        open_database("postgresql://me@127.0.0.1:1/x")


def test_an_sqlite_that_is_too_old_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(DatabaseError, match=r"3\.35 or later is needed"):
        open_database(tmp_path / "a.db")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match="cannot be made"):
        open_database(tmp_path / "file" / "a.db")


def test_sqlite_lets_readers_go_on_while_one_writes(tmp_path):
    db = open_database(tmp_path / "a.db")
    with sqlite3.connect(tmp_path / "a.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with db.write(), db.read() as reader:
        assert reader.execute(text("SELECT count(*) FROM bulk")).scalar_one() == 0
    db.close()


@pytest.mark.parametrize(
    "broken",
    [
        {"sigma_ev": -0.1},
        {"sigma_ev": float("nan")},
        {"energy_ev": float("nan")},
        {"energy_ev": float("inf")},
        {"candidate_id": "unknown"},
        {"level": "unknown"},
    ],
)
def test_a_broken_prediction_is_refused_by_the_table(db, make, broken):
    record_chunk(db, "first", "one", [make.candidate("a")], [], [])
    row = make.prediction("a")
    for key, value in broken.items():
        setattr(row, key, value)
    with pytest.raises(DatabaseError, match="breaks its rules") as caught:
        record_predictions(db, [row])
    assert isinstance(caught.value.__cause__, IntegrityError)


@pytest.mark.parametrize(
    ("stage", "state", "reason"),
    [
        ("placement", "used", ""),
        ("bulk", "predicted", ""),
        ("bulk", "refused", ""),
        ("placement", "out_of_domain", ""),
        ("moon", "used", ""),
    ],
)
def test_a_state_that_its_stage_does_not_have_is_refused(db, make, stage, state, reason):
    row = make.placement("a")
    row.stage, row.state, row.reason = stage, state, reason
    with pytest.raises(DatabaseError, match="breaks its rules"):
        record_items(db, [row])


def test_a_new_database_that_several_open_at_once_is_made_once(empty_address):
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(open_database, [empty_address] * 4))
    revisions = [db.query("SELECT version_num FROM alembic_version") for db in opened]
    assert revisions == [[{"version_num": newest_revision()}]] * 4
    for db in opened:
        db.close()


def test_paths_may_hold_a_percent_sign_and_spaces(tmp_path: Path):
    db = open_database(tmp_path / "100% new" / "a b.db")
    assert db.path is not None
    assert db.path.exists()
    db.close()

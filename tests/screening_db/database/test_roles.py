"""The roles of a PostgreSQL database: each may do what it needs, and nothing else."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from screening_db.database import campaign_lock, open_database, open_to_read, run_select
from screening_db.database.engine import Database
from screening_db.database.roles import make_roles, session_bounds
from screening_db.database.schema import migrate
from screening_db.errors import DatabaseError
from screening_db.queries.campaigns import all_campaigns
from screening_db.records.screening import record_chunk

pytestmark = pytest.mark.medium
MEMBERS = {"anna": "reader", "ben": "worker", "cleo": "owner"}


@pytest.fixture
def system() -> str:
    """Say that tests of this file run on PostgreSQL alone."""
    return "postgresql"


@pytest.fixture
def guarded(db: Database) -> Iterator[Database]:
    """Give a filled database that has roles, each with a member who logs in."""
    make_roles(db)
    with db.engine.begin() as connection:
        for user, role in MEMBERS.items():
            connection.execute(text(f"CREATE USER {user}"))
            connection.execute(text(f"GRANT screening_{role} TO {user}"))
    yield db
    with db.engine.begin() as connection:
        roles = [*MEMBERS, *(f"screening_{role}" for role in MEMBERS.values())]
        connection.execute(text("REASSIGN OWNED BY screening_owner TO postgres"))
        for role in roles:
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))


def address(db: Database, user: str) -> str:
    return db.where.replace("postgres@", f"{user}@")


def outcome(db: Database, user: str, statement: str) -> str:
    """Run a statement by a session of ``user``; return what the server says against it."""
    import psycopg

    with psycopg.connect(address(db, user)) as session:
        try:
            session.execute(statement.encode())
        except psycopg.Error as fault:
            return str(fault).splitlines()[0]
    return ""


def test_roles_are_made_once(db):
    names, made = make_roles(db)
    assert names.all() == ("screening_reader", "screening_worker", "screening_owner")
    assert made[:3] == [f"role screening_{kind}: made" for kind in ("reader", "worker", "owner")]
    _, again = make_roles(db)
    assert again[:3] == [line.replace("made", "was there") for line in made[:3]]
    assert again[3:] == made[3:]
    with db.engine.begin() as connection:
        connection.execute(text("REASSIGN OWNED BY screening_owner TO postgres"))
        for role in names.all():
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO alembic_version VALUES ('0')",
        "UPDATE campaign SET seed = 2",
        "DELETE FROM chunk",
        "TRUNCATE chunk",
        "DROP TABLE chunk",
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "LOCK TABLE campaign IN EXCLUSIVE MODE",
        "SELECT * FROM campaign FOR UPDATE",
        "SELECT pg_sleep(100)",
        "SELECT pg_terminate_backend(1)",
        "SELECT pg_cancel_backend(1)",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_xact_lock_shared(1)",
        "SELECT pg_notify('a', 'b')",
        "SELECT set_config('work_mem', '1GB', false)",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_ls_dir('/')",
        "COPY campaign FROM PROGRAM 'true'",
        "COPY campaign TO '/tmp/campaign'",
        "CREATE EXTENSION dblink",
        "SET ROLE screening_owner",
        "ALTER ROLE anna SUPERUSER",
    ],
)
def test_a_reader_does_nothing_but_read(guarded, statement):
    said = outcome(guarded, "anna", f"SET TRANSACTION READ WRITE; {statement}")
    assert "permission denied" in said or "must be" in said


def test_a_reader_reads_everything(guarded):
    db = open_to_read(address(guarded, "anna"))
    assert [row.name for row in all_campaigns(db)] == ["first"]
    tables = run_select(db, "select relname from pg_class where relkind in ('r', 'v')").rows
    own = {name for (name,) in tables if not name.startswith(("pg_", "sql_"))}
    assert len(own & {"campaign", "ranked_candidates", "funnel", "verification_queue"}) == 4
    db.close()


def test_a_worker_screens_and_changes_no_table(guarded, make):
    db = open_database(address(guarded, "ben"))
    with campaign_lock(db, "first"):
        record_chunk(db, "first", "one", [make.candidate(i) for i in "ab"], [], [])
    assert len(run_select(db, "select id from candidate").rows) == 2
    db.close()
    for statement in (
        "DROP TABLE chunk",
        "ALTER TABLE chunk ADD COLUMN mine int",
        "UPDATE alembic_version SET version_num = '0'",
        "CREATE TABLE mine (id int)",
        "SELECT pg_read_file('/etc/passwd')",
    ):
        assert any(
            no in outcome(guarded, "ben", statement) for no in ("permission", "must be owner")
        )


def test_an_owner_makes_tables_that_the_others_have_their_rights_on(guarded, make):
    db = open_database(address(guarded, "cleo"))
    migrate(db.engine, db.where, "0004")
    migrate(db.engine, db.where)
    db.close()
    reader = open_to_read(address(guarded, "anna"))
    run_select(reader, "select * from verification_queue")
    reader.close()
    worker = open_database(address(guarded, "ben"))
    with worker.write() as session:
        session.add(make.campaign("second"))
    worker.close()
    assert "permission denied" in outcome(guarded, "anna", "BEGIN READ WRITE; DELETE FROM queue")


def test_bounds_of_sessions_are_set_for_users(guarded):
    """What is set for a role binds no session of its members."""

    def begins_with(name: str) -> str:
        by_anna = open_to_read(address(guarded, "anna"))
        value = str(by_anna.query(f"SELECT current_setting('{name}') AS value")[0]["value"])
        by_anna.close()
        return value

    assert begins_with("idle_in_transaction_session_timeout") == "0"
    with guarded.engine.begin() as connection:
        for statement in session_bounds(guarded, "anna"):
            connection.exec_driver_sql(statement)
    assert begins_with("idle_in_transaction_session_timeout") == "5min"
    assert begins_with("statement_timeout") == "5min"
    assert begins_with("default_transaction_read_only") == "on"


def test_no_line_says_that_sessions_of_members_are_bounded(guarded):
    _, done = make_roles(guarded)
    assert not any("session" in line for line in done if "functions that end" not in line)
    found = guarded.query("SELECT count(*) AS settings FROM pg_db_role_setting")
    assert found[0]["settings"] == 0


@pytest.mark.parametrize("mode", ["ROW EXCLUSIVE", "SHARE", "EXCLUSIVE", "ACCESS EXCLUSIVE"])
def test_a_reader_takes_no_lock_that_stops_writers(guarded, mode):
    assert "permission denied" in outcome(guarded, "anna", f"LOCK TABLE campaign IN {mode} MODE")


@pytest.mark.parametrize("user", ["postgres", *MEMBERS])
def test_a_typed_query_runs_as_the_reader(guarded, user):
    db = open_to_read(address(guarded, user))
    assert run_select(db, "select current_user").rows == (("screening_reader",),)
    db.close()


def test_who_may_make_no_roles_is_told_so(guarded):
    db = open_database(address(guarded, "cleo"))
    with pytest.raises(DatabaseError, match=r"superuser or one with CREATEROLE.*neither"):
        make_roles(db)
    db.close()


def test_a_role_that_may_do_more_is_refused(db):
    with db.engine.begin() as connection:
        connection.execute(text("CREATE ROLE screening_worker CREATEROLE"))
    with pytest.raises(DatabaseError, match=r"screening_worker is there and may do more than"):
        make_roles(db)
    with db.engine.begin() as connection:
        names = connection.scalars(text("SELECT rolname FROM pg_roles")).all()
        connection.execute(text("DROP ROLE screening_worker"))
    assert "screening_reader" not in names


def test_an_owner_without_all_power_makes_roles(db):
    """Functions stay as they are, and are refused by the allow-list."""
    with db.engine.begin() as connection:
        connection.execute(text("CREATE USER dora CREATEROLE"))
        connection.execute(text("ALTER DATABASE screening OWNER TO dora"))  # and of its schema
        tables = connection.scalars(
            text(
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'v') "
                "AND relnamespace = 'public'::regnamespace"
            )
        ).all()
        for table in tables:
            connection.execute(text(f"ALTER TABLE {table} OWNER TO dora"))
    by_dora = open_database(address(db, "dora"))
    _, done = make_roles(by_dora)
    assert "a superuser alone may take them from screening_reader" in done[-1]
    assert [row.name for row in all_campaigns(by_dora)] == ["first"]
    with pytest.raises(DatabaseError, match="pg_sleep may do more than read"):
        run_select(by_dora, "select pg_sleep(100)")
    by_dora.close()
    with db.engine.begin() as connection:
        roles = ("dora", "screening_owner", "screening_worker", "screening_reader")
        connection.execute(text("ALTER DATABASE screening OWNER TO postgres"))
        connection.execute(text("REASSIGN OWNED BY screening_owner, dora TO postgres"))
        for role in roles:
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))


def test_a_file_has_no_roles(tmp_path, make):
    db = make.new_database(tmp_path / "a.db")
    with pytest.raises(DatabaseError, match=r"roles are of PostgreSQL; .*a\.db is a file"):
        make_roles(db)

"""Queries that people type end in bounded time and memory, and do nothing but read."""

import signal
import subprocess
import sys

import pytest

from screening_db.database import sqlite_reader
from screening_db.database.engine import Database
from screening_db.database.read_only_sql import MAX_SQL_LENGTH, run_select
from screening_db.database.sql_text import called_names, explained_words, first_word
from screening_db.errors import DatabaseError

ENDLESS = "with recursive c(n) as (select 1 union all select n + 1 from c) select count(*) from c"
# A query that fits no memory, with less of it allowed than the process would notice.
SMALL_MEMORY = """
import sys
from screening_db.database import read_only_sql
from screening_db.database.engine import open_database
from screening_db.errors import DatabaseError
read_only_sql.MAX_MEMORY_BYTES = 2**25
db = open_database(sys.argv[1])
try:
    read_only_sql.run_select(db, sys.argv[2])
except DatabaseError as fault:
    print(fault)
"""


def test_an_endless_query_is_stopped(db):
    with pytest.raises(DatabaseError, match=r"more than 0\.5 s and was stopped; .*--timeout"):
        run_select(db, ENDLESS, timeout_s=0.5)
    assert running_queries(db) == 0


def test_ctrl_c_ends_a_query(db):
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_select(db, ENDLESS)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert running_queries(db) == 0


def running_queries(db: Database) -> int:
    """Return how many queries PostgreSQL still runs, or our threads on SQLite."""
    if db.is_sqlite:
        frames = sys._current_frames().values()
        return sum(frame.f_code.co_filename == sqlite_reader.__file__ for frame in frames)
    found = db.query(
        "SELECT count(*) AS running FROM pg_stat_activity WHERE state = 'active' "
        "AND datname = current_database() AND query LIKE 'FETCH %'"
    )
    return int(found[0]["running"])


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_time_limit_is_some_seconds(db, timeout_s):
    with pytest.raises(DatabaseError, match=r"between 0 and 86400 seconds, got .*--timeout"):
        run_select(db, "select 1", timeout_s=timeout_s)


def test_a_query_of_a_megabyte_is_refused(db):
    with pytest.raises(DatabaseError, match=f"at most {MAX_SQL_LENGTH} characters"):
        run_select(db, "select 1 --" + "/*" * MAX_SQL_LENGTH)


@pytest.mark.parametrize(
    "value",
    ["{n}", "repeat('x', 200000)"],
)
def test_an_answer_has_a_largest_size(db, value):
    if db.is_sqlite:
        value = value.replace("repeat('x', 200000)", "hex(zeroblob(100000))")
    rows = "with recursive c(n) as (select 1 union all select n + 1 from c) select {} from c"
    with pytest.raises(DatabaseError, match=r"at most 8 MiB, .* name fewer columns, or lower"):
        run_select(db, rows.format(value.format(n="n")), 10**9, max_bytes=2**23)


@pytest.mark.parametrize(
    "value",
    [
        "zeroblob(2000000000)",
        "randomblob(2000000000)",
        "replace(hex(zeroblob(30000)), '0', hex(zeroblob(30000)))",
    ],
)
def test_a_value_too_large_for_sqlite_is_refused(tmp_path, value, make):
    db = make.new_database(tmp_path / "a.db", is_filled=True)
    with pytest.raises(DatabaseError, match="string or blob too big"):
        run_select(db, f"select length({value})")


@pytest.mark.medium
@pytest.mark.parametrize(
    "sql",
    [
        "with recursive c(n) as (select 1 union select n + 1 from c) select count(*) from c",
        "with recursive c(n) as (select 1 union all select 2 from c) select * from c order by 1",
        "with recursive c(n) as (select 1 union all select n + 1 from c where n < 5000) "
        "select group_concat(hex(randomblob(5000)), '') from c",
    ],
)
def test_a_query_has_a_largest_memory_on_sqlite(tmp_path, sql, make):
    make.new_database(tmp_path / "a.db", is_filled=True).close()
    assert "more than 32 MiB of memory; ask for less" in in_small_memory(tmp_path / "a.db", sql)


@pytest.mark.slow
def test_a_value_too_large_for_memory_is_refused_on_postgresql(empty_postgres):
    said = in_small_memory(empty_postgres, "select repeat('x', 320000000)")
    assert "more than 32 MiB of memory; ask for less" in said


def in_small_memory(address: object, sql: str) -> str:
    command = [sys.executable, "-c", SMALL_MEMORY, str(address), sql]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return run.stdout


@pytest.mark.slow
def test_a_query_that_hears_nothing_does_not_keep_its_command(tmp_path, make):
    """One call of a function looks at no clock and no signal, and this one would take hours."""
    make.new_database(tmp_path / "a.db", is_filled=True).close()
    sql = "select instr(hex(zeroblob(20000000)), hex(zeroblob(10000000)) || '1')"
    command = [sys.executable, "-m", "flows.cli.app", "sql", sql, "--timeout", "1"]
    command += ["--database", str(tmp_path / "a.db")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ended.stderr == (
        "sabatier: the query took more than 1 s and was stopped; ask for less, or give it more "
        "with --timeout\n"
    )
    assert ended.returncode == 2


@pytest.mark.parametrize(
    "sql",
    [
        "select load_extension('x')",
        "select readfile('/etc/passwd')",
        "select * from pragma_database_list",
        "select edit('x')",
        "select fts3_tokenizer('simple')",
        "with a as (select 1) insert into chunk select * from chunk",
    ],
)
def test_sqlite_only_reads_tables_and_computes(tmp_path, sql, make):
    db = make.new_database(tmp_path / "a.db", is_filled=True)
    with pytest.raises(DatabaseError, match="the query was not answered: "):
        run_select(db, sql)


def test_a_refusal_says_what_is_refused_on_sqlite(tmp_path, make):
    db = make.new_database(tmp_path / "a.db", is_filled=True)
    with pytest.raises(DatabaseError, match="function load_extension is not for queries"):
        run_select(db, "select load_extension('x')")
    with pytest.raises(DatabaseError, match=r"may read tables, and does something else \(chunk\)"):
        run_select(db, "with a as (select 1) delete from chunk")


def test_every_view_can_be_read(db):
    kind = "sqlite_master where type" if db.is_sqlite else "pg_class where relkind"
    name, view = ("name", "view") if db.is_sqlite else ("relname", "v")
    own = "" if db.is_sqlite else " and relnamespace = current_schema()::regnamespace"
    views = run_select(db, f"select {name} from {kind} = '{view}'{own}").rows
    assert len(views) > 5
    for (view,) in views:
        assert run_select(db, f"select * from {view}").columns


REFUSED = [
    "pg_sleep(100)",
    "PG_Sleep (100)",
    '"pg_sleep"(100)',
    "pg_catalog.pg_sleep(100)",
    "pg_sleep /* ( */ (100)",
    "pg_sleep -- (\n(100)",
    "pg_terminate_backend(pg_backend_pid())",
    "pg_cancel_backend(1)",
    "pg_advisory_lock(1)",
    "pg_try_advisory_xact_lock(1)",
    "pg_notify('a', 'b')",
    "set_config('statement_timeout', '0', false)",
    "pg_read_file('/etc/passwd')",
    "lo_import('/etc/passwd')",
    "lo_from_bytea(0, 'x')",
    "query_to_xml('select pg_sleep(100)', true, true, '')",
    "nextval('x')",
    "ts_stat('select pg_sleep(100)')",
    "'a' || $a$ ' $a$ || pg_sleep(100)",
    "E'\\'' || pg_sleep(100) || ''",
    "(select pg_sleep(100))",
    "coalesce(null, pg_sleep(100)::text)",
]


@pytest.mark.medium
@pytest.mark.parametrize("call", REFUSED)
def test_a_function_that_does_more_than_read_is_refused_on_postgresql(call, empty_postgres):
    from screening_db.database.engine import open_database

    db = open_database(empty_postgres)
    with pytest.raises(DatabaseError, match=r"function \w+ may do more than read"):
        run_select(db, f"select {call}")
    db.close()


@pytest.mark.medium
@pytest.mark.parametrize(
    "sql",
    [
        "with recursive c(n) as (values (1)), d(m) as (select n from c) select count(*) from d",
        "select 'pg_sleep(1)', $$pg_sleep(1)$$, E'\\'pg_sleep(1)', 1 /* pg_sleep(1) /* */ ( */",
        "select percentile_cont(0.5) within group (order by n) from generate_series(1, 3) as s(n)",
        "select extract(epoch from now()), cast(1 as numeric(10, 2)), random() < 2",
        "select json_agg(t) from (select 1 as a) as t where 1 in (1, 2) and exists (select 1)",
        "explain (analyze) select 1",
        "explain (select 1)",
        "select 'a %s %(b)s' like '%'",
    ],
)
def test_a_function_that_only_reads_runs_on_postgresql(sql, empty_postgres):
    from screening_db.database.engine import open_database

    db = open_database(empty_postgres)
    assert run_select(db, sql).rows
    db.close()


@pytest.mark.parametrize(
    "sql", ["select 'a", 'select "a', "select $a$ $b$", "select 1 /* /* */", "/*"]
)
def test_what_has_no_end_is_refused(sql):
    with pytest.raises(DatabaseError, match="has no end; write it plainly"):
        called_names(sql)


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("select 1 -- \rpg_sleep(1)", "pg_sleep"),
        ("select \u2460a(1)", "\u2460a"),
        ("select \xa0A (1)", "\xa0a"),
    ],
)
def test_names_end_where_postgresql_ends_them(sql, name):
    assert name in called_names(sql)


def test_a_text_with_escapes_is_not_continued():
    with pytest.raises(DatabaseError, match="after a text with escapes"):
        called_names("select E'a'\n'\\'', pg_sleep(1), ''")


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("explain (analyze, format 'text') Select 1", ["select", "1"]),
        ("explain analyze verbose (with a", ["with", "a"]),
        ("explain query plan select", ["select"]),
        ("explain ((select", ["select"]),
        ("explain (analyze", []),
    ],
)
def test_what_explain_explains_is_told(sql, words):
    assert explained_words(sql) == words


def test_a_name_in_codes_is_refused():
    with pytest.raises(DatabaseError, match="Unicode codes"):
        called_names('select U&"pg\\005fsleep"(100)')


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("-- a\n/* b */ ((SELECT(1)))", "select"),
        ("", ""),
        ("1", ""),
        ("/* /* */ explain */ create", "create"),
        ("-- a\rcreate\nselect", "create"),
    ],
)
def test_a_statement_is_told_by_its_first_word(sql, word):
    assert first_word(sql) == word

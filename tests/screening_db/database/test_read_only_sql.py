"""Queries that people type: one reading statement, and nothing else."""

import pytest

from screening_db.database.read_only_sql import run_select
from screening_db.errors import DatabaseError
from screening_db.queries.campaigns import all_campaigns
from screening_db.records.screening import record_chunk


def test_a_query_answers_with_its_columns(db):
    answer = run_select(db, "select name, seed from campaign")
    assert answer.columns == ("name", "seed")
    assert answer.rows == (("first", 1),)
    assert not answer.more


def test_a_limit_says_that_there_is_more(db, make):
    record_chunk(db, "first", "one", [make.candidate(i) for i in "abc"], [], [])
    answer = run_select(db, "select id from candidate order by id", limit=2)
    assert (answer.rows, answer.more) == ((("a",), ("b",)), True)
    assert not run_select(db, "select id from candidate", limit=3).more


@pytest.mark.parametrize(
    "sql",
    [
        "select * from ranked_candidates limit 5",
        "SELECT * FROM pair_minimum;",
        "with c as (select 1 as one) select one from c",
        "-- a comment\nselect state, count from queue_status",
        "select count from funnel where reason like '%:no%'",
        "values (1)",
        "explain select 1",
    ],
)
def test_reading_statements_run(db, sql):
    assert run_select(db, sql).columns


@pytest.mark.parametrize(
    "sql",
    [
        "delete from campaign",
        "drop table rank",
        "update campaign set seed = 2",
        "attach database 'other.db' as other",
        "pragma query_only = off",
        "copy campaign to program 'true'",
        "/* select */ delete from campaign",
        "",
        " ; ",
        "explain create temp table x as select 1",
        "explain analyze create temp table x as select 1",
        "explain analyze verbose create temp table x as select 1",
        "explain (analyze) create temp table x as select 1",
        "explain (analyze, format /* ) select */ 'text') create temp table x as select 1",
        "explain -- select\n(analyze) create temp table x as select 1",
        "explain (analyze) select 1 into temp x",
        "explain with a as (select 1) select * into temp x from a",
        "explain (analyze) delete from campaign",
        "explain (analyze",
        "explain",
    ],
)
def test_statements_that_do_more_than_read_are_refused(db, sql):
    with pytest.raises(DatabaseError, match="only reading statements run here"):
        run_select(db, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "select 1; delete from chunk",
        "select 1; commit; delete from chunk",
        "with gone as (select 1) delete from chunk",
        "select * from nowhere",
        "select from where",
    ],
)
def test_a_faulty_query_is_one_line(db, sql):
    with pytest.raises(DatabaseError, match="the query was not answered") as caught:
        run_select(db, sql)
    assert "\n" not in str(caught.value)


def test_a_write_hidden_in_a_query_changes_nothing(db):
    with pytest.raises(DatabaseError, match=r"read-?only|not answered"):
        run_select(db, "with gone as (delete from chunk returning 1) select * from gone")
    assert [row.name for row in all_campaigns(db)] == ["first"]

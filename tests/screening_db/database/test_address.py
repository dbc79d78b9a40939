"""Addresses of databases: what is secret in one is in no message, however it was written."""

import contextlib
import re
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError
from support.paths import REPOSITORY

from screening_db.database.address import (
    database_url,
    has_password,
    hide_passwords,
    holds_secret,
    where,
)
from screening_db.database.engine import open_database
from screening_db.database.faults import describe_fault
from screening_db.errors import DatabaseError

# Long enough that they stand nowhere by chance; all that URLs, shells and regexes treat apart.
PASSWORDS = st.text(st.sampled_from("xyzQ7@:/?#%&=+ '\"\\[]$üπ*."), min_size=8, max_size=20)


def everything_said(address: str) -> str:
    """Open a database at which no server answers; return the message with its traceback."""
    try:
        open_database(address, create=False)
    except DatabaseError as fault:
        return "".join(traceback.format_exception(fault))
    raise AssertionError("a database was opened that is not there")


def test_a_byte_that_is_no_utf_8_is_refused_without_the_address() -> None:
    said = everything_said("postgresql://me:geh\udcfcim@127.0.0.1:1/x")
    assert "this address cannot be read" in said
    assert "geh" not in said.replace(__file__, "")


@settings(max_examples=40)
@given(PASSWORDS)
@pytest.mark.parametrize(
    "form",
    [
        "postgresql://me:{quoted}@127.0.0.1:1/x",
        "postgresql://me@127.0.0.1:1/x?password={quoted}",
        "postgresql://127.0.0.1:1/x?user=me&password={quoted}",
        "postgresql://me@127.0.0.1:1/x?sslmode=disable&sslpassword={quoted}",
        "postgresql://me@127.0.0.1:1/x?passwort={quoted}",
    ],
)
def test_a_written_password_is_in_no_message(form, password):
    quoted = quote(password, safe="")
    address = form.format(quoted=quoted)
    assert has_password(address)
    said = everything_said(address)
    assert password not in said
    assert quoted not in said
    assert "127.0.0.1:1/x" in said


@settings(max_examples=40)
@given(PASSWORDS)
@pytest.mark.parametrize(
    "form",
    [
        "postgresql://me:{}@127.0.0.1:notaport/x",
        "postgresql://me:{}@127.0.0.1:1/x",
        "postgresql://m/e:{}@127.0.0.1:1/x",
        "postgresql:/me:{}@127.0.0.1:1/x",
        "postgresql//me:{}@127.0.0.1:1/x password={}",
        "host=127.0.0.1 port=1 user=me password={}",
        "oracle://me:{}@127.0.0.1:1/x",
        " postgresql://me:{}@127.0.0.1:1/x",
    ],
)
def test_no_part_of_a_password_that_is_not_quoted_is_in_a_message(form, password):
    said = everything_said(form.replace("{}", f"first{password}second"))
    assert "first" not in said
    assert "second" not in said


def test_a_url_that_can_be_read_in_two_ways_is_refused():
    with pytest.raises(DatabaseError, match=r"write @ as %40.*PGPASSWORD or ~/\.pgpass"):
        database_url("postgresql://me:p@ss@host/x")
    assert database_url("postgresql://me:p%40ss@host/x").host == "host"


def test_a_message_keeps_what_says_which_database_is_meant():
    url = database_url("postgresql://me@/x?host=/run/pg&sslkey=/home/me/key&passfile=/home/me/.p")
    assert where(url) == "postgresql://me@/x?host=%2Frun%2Fpg"


@pytest.mark.parametrize(
    ("address", "secret"),
    [
        ("runs/screening.db", False),
        ("postgresql://me@host/x", False),
        ("postgresql://me@host/x?passfile=/home/me/.pgpass", False),
        ("postgresql://host/x?service=screening", False),
        ("postgresql://me:@host/x", True),
        ("postgresql://host/x?Password=p", True),
        ("postgresql://host/x?sslpassword=p", True),
        ("postgresql://host/x?host=a&password=p&password=q", True),
    ],
)
def test_a_password_is_found_in_every_part(address, secret):
    assert has_password(address) is secret


@pytest.mark.parametrize("said", ["no p@ss:w/rd here", "no p%40ss%3Aw%2Frd here"])
def test_a_drivers_message_with_the_password_is_left_out(said):
    url = database_url("postgresql://me:p%40ss%3Aw%2Frd@host/x")
    fault = OperationalError("select 1", {}, Exception(f"connection refused: {said}"))
    assert holds_secret(str(fault), url)
    assert str(describe_fault(fault, url)) == (
        "database postgresql://me:***@host/x: no server answers there; start it, or give the path "
        "of a file"
    )


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("['postgresql://me:p@:/ss@host/x']", "['postgresql://me:***@host/x']"),
        ("postgresql://host/x?password=p&port=1", "postgresql://host/x?password=***&port=1"),
        ("https://host:8080/path, a@b", "https://host:8080/path, a@b"),
    ],
)
def test_a_password_is_hidden_in_any_text(text, hidden):
    assert hide_passwords(text) == hidden


def test_a_database_shows_no_password(empty_address):
    with contextlib.closing(open_database(empty_address)) as db:
        assert repr(db) == f"Database({db.where})"


@pytest.mark.medium
def test_a_refused_password_is_in_no_message(postgres_server, request):
    import psycopg

    # the server trusts every connection: it is told to ask this user for a password
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as admin:
        admin.execute("CREATE ROLE asked LOGIN PASSWORD 'the right one'")
        rules = admin.execute("SHOW hba_file").fetchone()[0]
        before = Path(rules).read_text(encoding="utf-8")
        request.addfinalizer(lambda: _write_rules(postgres_server, rules, before))
        _write_rules(postgres_server, rules, "host all asked 127.0.0.1/32 scram-sha-256\n" + before)
    server = postgres_server.replace("postgres@", "asked:wr%40ng%3Aone@")
    said = everything_said(f"{server}/postgres")
    assert "the server refused the password" in said
    assert "PGPASSWORD" in said
    assert "wr@ng" not in said
    assert "wr%40ng" not in said


def _write_rules(server: str, file: str, text: str) -> None:
    import psycopg

    Path(file).write_text(text, encoding="utf-8")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        admin.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("x" * 300, "cannot be looked for .File name too long.: xxx"),
        (f"sqlite:///{'x' * 300}", "cannot be looked for .File name too long."),
        ("~nobody-of-that-name/a.db", "cannot be looked for .Could not determine home"),
        ("postgresql://me@\x89host/x", "this address cannot be read"),
        (f"postgresql://me@{'h' * 80}/x", "this address cannot be read"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_line(address, said):
    with pytest.raises(DatabaseError, match=said) as refused:
        database_url(address)
    assert "\n" not in str(refused.value)


def test_no_address_with_a_password_leaves_the_process():
    """Workers and jobs get work, not the database: nothing of ours asks for its whole address."""
    sources = [file for room in ("flows", "tasks") for file in (REPOSITORY / room).rglob("*.py")]
    handed_on = re.compile(r"(?<![.\w])(?:db|database)\.address\b|hide_password=False")
    found = [file.name for file in sources if handed_on.search(file.read_text(encoding="utf-8"))]
    assert found == []
